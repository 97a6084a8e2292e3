//! The audit log of a user that goes, kept as a file where the operator wants it
//! (`audit.on_user_delete`): one line of JSON about the user, then one for each entry.

use std::path::PathBuf;
use std::sync::Arc;

use homecore_kernel::Kernel;
use homecore_kernel::ports::Unavailable;
use homecore_types::{ErrorId, UserId};
use serde_json::json;

use super::unavailable;
use crate::cluster::Cluster;
use crate::rpc::files::{self, Writing};
use crate::telemetry::chain;

/// Where logs are kept; none where they go with their users.
#[derive(Clone, Debug)]
pub(super) struct KeptAudit(pub(super) Option<PathBuf>);

impl KeptAudit {
    /// Writes a user's log down, on disk when this returns. Again, after a crash: anew, as long as the
    /// user's data is there.
    pub(super) async fn keep(
        &self,
        kernel: &Kernel,
        cluster: &Arc<Cluster>,
        user: &UserId,
    ) -> Result<(), Unavailable> {
        let Some(directory) = &self.0 else {
            return Ok(());
        };
        let read = |error: homecore_kernel::Error| unavailable(error.to_string());
        let mut next = match kernel.audit_log(user, None).await {
            // Nothing of the user is here any more: it was written down before.
            Err(error) if error.id() == ErrorId::UnknownResource => return Ok(()),
            next => next.map_err(read)?,
        };
        let record = cluster.platform.find_user_by_id(user).await;
        let username = record.ok().flatten().map(|record| record.username);
        let head = json!({
            "userId": user.as_str(),
            "username": username.map(|name| name.to_string()),
            "deletedAt": cluster.clock.now().as_seconds(),
        });
        let path = directory.join(format!("{user}.jsonl"));
        let (directory, head) = (directory.clone(), format!("{head}\n"));
        let mut writing = on_disk(move || {
            files::DataDir::open(&directory)?;
            let mut writing = Writing::begin(&path)?;
            writing.append(head.as_bytes())?;
            Ok(writing)
        })
        .await?;
        while let Some((events, place)) = next {
            writing = on_disk(move || {
                for event in events {
                    writing.append(&event)?;
                    writing.append(b"\n")?;
                }
                Ok(writing)
            })
            .await?;
            next = kernel.audit_log(user, Some(place)).await.map_err(read)?;
        }
        on_disk(move || writing.finish()).await
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, files::FileError> + Send + 'static,
) -> Result<T, Unavailable> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| unavailable(chain(&error))),
        Err(error) => Err(unavailable(error.to_string())),
    }
}
