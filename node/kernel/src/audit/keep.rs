//! The whole log of one user, page after page, for whoever keeps it when the user goes
//! (`audit.onUserDelete`).

use bytes::Bytes;
use homecore_types::UserId;

use super::page;
use crate::error::Error;
use crate::indexes::{self, AUDIT_BY_STREAM};
use crate::kernel::Kernel;

/// Pages read at once.
const FETCH: usize = 16;

/// Up to where a log was read.
#[derive(Clone, Debug)]
pub struct Place {
    key: Vec<u8>,
    page: String,
}

impl Kernel {
    /// The next entries of a user's log after a place, as events in JSON, oldest first but for what
    /// was written within one moment; none at the end. What waits in memory is written before.
    ///
    /// # Errors
    /// Of the store.
    pub async fn audit_log(
        &self,
        user: &UserId,
        after: Option<Place>,
    ) -> Result<Option<(Vec<Bytes>, Place)>, Error> {
        if after.is_none() {
            self.settle_audit_of(user).await;
        }
        let read = self
            .read(user, move |view, _| {
                let prefix = indexes::audit_prefix("");
                let (from, to) = (f64::NEG_INFINITY, f64::INFINITY);
                let mut scan = indexes::range(AUDIT_BY_STREAM, &prefix, from, to, false);
                scan.limit = FETCH;
                scan.after = after.map(|place| (place.key, place.page));
                let (mut events, mut last) = (Vec::new(), None);
                for (key, document) in view.scan(&scan)? {
                    let entries = page::decode(&document)?;
                    events.extend(entries.iter().enumerate().map(|(place, entry)| {
                        entry.to_event(&page::event_id(&document.id, place)).json
                    }));
                    last = Some(Place {
                        key,
                        page: document.id,
                    });
                }
                Ok::<_, homecore_store::StoreError>(last.map(|last| (events, last)))
            })
            .await??;
        Ok(read)
    }
}
