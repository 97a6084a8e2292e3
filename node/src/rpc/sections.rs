//! The platform's configuration, a document of sections that every core reads: what an operator brings of
//! a file, and the words of mails ([`super::mail_templates`]), over the operator's socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use homecore_kernel::stream::schema::Schema;
use homecore_proto::membership::platform_sections_server;
use homecore_proto::membership::{ApplySectionsReply, ApplySectionsRequest};
use homecore_raft::command::{Command, Rejection};
use homecore_raft::records::PlatformConfig;
use tonic::{Request, Response, Status};

use crate::cluster::{Cluster, CommandError};
use crate::config::{brought_section, check_section};
use crate::telemetry::chain;

/// Attempts at a change while others change the configuration, too.
const ATTEMPTS: usize = 5;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct PlatformSections {
    cluster: Arc<Cluster>,
}

impl PlatformSections {
    /// For this core.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }
}

#[tonic::async_trait]
impl platform_sections_server::PlatformSections for PlatformSections {
    async fn apply(
        &self,
        request: Request<ApplySectionsRequest>,
    ) -> Result<Response<ApplySectionsReply>, Status> {
        // In one order, for what is said of them.
        let given: BTreeMap<String, String> = request.into_inner().sections.into_iter().collect();
        for (name, text) in &given {
            check(name, text)?;
        }
        let changed = change_unless(&self.cluster, |config| {
            let before = config.sections.get(PlatformConfig::FIELDS);
            let custom = given.get(PlatformConfig::FIELDS);
            let refused = custom.and_then(|custom| may_follow(custom, before).err());
            let mut changed = Vec::new();
            for (name, text) in &given {
                if let Some(text) = brought(name, config.sections.get(name), text)? {
                    config.sections.insert(name.clone(), text);
                    changed.push(name.clone());
                }
            }
            Ok((changed, refused))
        })
        .await?;
        Ok(Response::new(ApplySectionsReply { changed }))
    }
}

/// The file's reader checked it before; another program may ask, too.
fn check(name: &str, text: &str) -> Result<(), Status> {
    check_section(name, text).map_err(|problems| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Status::invalid_argument(said.join("; "))
    })
}

/// What the section becomes, if it changes. One of which this release can read nothing stays as it is.
fn brought(name: &str, there: Option<&String>, text: &str) -> Result<Option<String>, Status> {
    brought_section(name, there, text).map_err(|error| {
        Status::failed_precondition(format!(
            "{name}: this release cannot read what the platform says: {error}"
        ))
    })
}

/// Whether a declaration of account fields may follow the one that accounts were made with.
fn may_follow(custom: &str, before: Option<&String>) -> Result<(), Status> {
    let schema = |text: &str| {
        let value =
            serde_json::from_str(text).map_err(|error| Status::internal(error.to_string()))?;
        Schema::parse(&value).map_err(|error| Status::internal(error.to_string()))
    };
    let Some(before) = before else {
        return Ok(());
    };
    schema(custom)?
        .may_follow(&schema(before)?)
        .map_err(|error| Status::failed_precondition(error.to_string()))
}

/// The platform's configuration as it is now on the leader.
pub(super) async fn current(cluster: &Cluster) -> Result<PlatformConfig, Status> {
    let directory = cluster.platform.current().await;
    let directory = directory.map_err(|error| unavailable(&error))?;
    let config = directory.config().map(|config| (**config).clone());
    config.ok_or_else(|| Status::failed_precondition("the cluster is not founded yet"))
}

/// Changes the configuration, on top of whatever others change meanwhile.
pub(super) async fn change<T>(
    cluster: &Cluster,
    change: impl Fn(&mut PlatformConfig) -> Result<T, Status>,
) -> Result<T, Status> {
    change_unless(cluster, |config| Ok((change(config)?, None))).await
}

/// As [`change`], where the change may come with why it is refused if there are accounts.
async fn change_unless<T>(
    cluster: &Cluster,
    change: impl Fn(&mut PlatformConfig) -> Result<(T, Option<Status>), Status>,
) -> Result<T, Status> {
    for _ in 0..ATTEMPTS {
        let mut config = current(cluster).await?;
        let (changed, refused) = change(&mut config)?;
        let base_version = config.version;
        let put = Command::PutConfig {
            config,
            base_version,
            unless_accounts: Some(refused.is_some()),
        };
        match (cluster.done(put, "PutConfig").await, refused) {
            (Ok(()), _) => return Ok(changed),
            (Err(CommandError::Rejected(Rejection::StaleVersion { .. })), _) => {}
            (Err(CommandError::Rejected(Rejection::AccountsExist)), Some(refused)) => {
                return Err(refused);
            }
            (Err(error), _) => return Err(unavailable(&error)),
        }
    }
    Err(Status::aborted(
        "others change the configuration at this moment; try again",
    ))
}

fn unavailable(error: &dyn std::error::Error) -> Status {
    Status::unavailable(chain(error))
}
