//! Looking for an access on every core at once. Which core has it nobody knows: see
//! [`crate::accounts::inspect`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use homecore_kernel::access::AccessType;
use homecore_kernel::ports::{AccessInfo, Unavailable};
use homecore_proto::platform::users_client::UsersClient;
use homecore_proto::platform::{FindAccessRequest, FoundAccess};
use homecore_raft::records::{Core, CoreState};
use homecore_types::{Millis, Username};
use tokio::time::{Instant, timeout_at};

use crate::accounts::inspect::Searched;
use crate::accounts::{Accounts, unavailable};
use crate::cluster::Cluster;

/// Other cores that are asked at once.
const CORES_MAX: usize = 8;
/// Every other core must have answered within this time; it reads its users for a little less.
const ANSWERED_WITHIN: Duration = Duration::from_secs(25);

/// What a core answered, or why it did not.
type Answer = (String, Result<Searched, Unavailable>);

/// Whose an access is. That nobody has it is only said if every core has read all its users.
pub(super) async fn find(
    cluster: &Cluster,
    accounts: &Accounts,
    id: &str,
) -> Result<Option<AccessInfo>, Unavailable> {
    let deadline = Instant::now() + ANSWERED_WITHIN;
    let others: Vec<Arc<Core>> = cluster
        .directory()
        .cores()
        .filter(|core| core.id != cluster.core && core.state == CoreState::Serving)
        .map(Arc::clone)
        .collect();
    let own = stream::once(async {
        let answer = accounts.find_access(id).await;
        (cluster.core.to_string(), answer)
    });
    let asked = stream::iter(others)
        .map(|core| async move {
            let answer = ask(cluster, &core, id, deadline).await;
            (core.id.to_string(), answer)
        })
        .buffer_unordered(CORES_MAX);
    let mut answers = Box::pin(stream::select(own, asked));
    let mut left = Vec::new();
    while let Some(answer) = answers.next().await {
        match seen(answer) {
            Ok(Some(access)) => return Ok(Some(access)),
            Ok(None) => {}
            Err(why) => left.push(why),
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    left.sort();
    let why = left.join("; ");
    Err(unavailable(format!(
        "nobody who was looked at has it, but {why}"
    )))
}

/// The access, or that this core certainly has none, or what it leaves open.
fn seen((core, answer): Answer) -> Result<Option<AccessInfo>, String> {
    match answer {
        Ok(Searched {
            found: Some(access),
            ..
        }) => Ok(Some(access)),
        Ok(Searched { users_left: 0, .. }) => Ok(None),
        Ok(Searched { users_left, .. }) => {
            Err(format!("{core} has not read {users_left} of its users"))
        }
        Err(why) => Err(format!("{core} could not be asked: {}", why.reason)),
    }
}

async fn ask(
    cluster: &Cluster,
    core: &Core,
    id: &str,
    deadline: Instant,
) -> Result<Searched, Unavailable> {
    let channel = cluster
        .peers
        .open(core.node, &core.addresses.rpc)
        .map_err(|error| unavailable(error.to_string()))?;
    let request = FindAccessRequest { id: id.to_owned() };
    let mut client = UsersClient::new(channel);
    let reply = timeout_at(deadline, client.find_access(request))
        .await
        .map_err(|_elapsed| unavailable("it did not answer in time"))?
        .map_err(|status| unavailable(status.message()))?
        .into_inner();
    let found = reply.found.map(|found| read(found, core, id)).transpose()?;
    Ok(Searched {
        found,
        users_left: reply.users_left,
    })
}

/// What another core says of an access of its user.
fn read(found: FoundAccess, core: &Core, id: &str) -> Result<AccessInfo, Unavailable> {
    let strange = || unavailable("its answer cannot be read");
    let kinds = [AccessType::Personal, AccessType::App, AccessType::Shared];
    let kind = kinds.into_iter().find(|kind| kind.wire() == found.r#type);
    Ok(AccessInfo {
        id: id.to_owned(),
        username: Username::parse(found.username).map_err(|_error| strange())?,
        core: core.id.clone(),
        kind: kind.ok_or_else(strange)?,
        expires: found.expires.map(Millis),
        created: Millis(found.created),
        modified: Millis(found.modified),
        deleted: found.deleted.map(Millis),
    })
}

#[cfg(test)]
mod tests {
    use homecore_types::CoreId;

    use super::*;

    #[test]
    fn a_core_that_has_not_read_everybody_leaves_it_open() {
        let answer = |answer| seen(("core-b".to_owned(), answer));
        assert_eq!(answer(Ok(Searched::default())), Ok(None));
        let some = Searched {
            users_left: 3,
            ..Searched::default()
        };
        let why = "core-b has not read 3 of its users".to_owned();
        assert_eq!(answer(Ok(some.clone())), Err(why));
        let why = "core-b could not be asked: no way".to_owned();
        assert_eq!(answer(Err(unavailable("no way"))), Err(why));
        let access = AccessInfo {
            id: "cabc".to_owned(),
            username: Username::parse("anna1").unwrap(),
            core: CoreId::parse("core-b").unwrap(),
            kind: AccessType::App,
            expires: None,
            created: Millis(1),
            modified: Millis(2),
            deleted: None,
        };
        let found = Some(access);
        let has = Searched {
            found: found.clone(),
            ..some
        };
        assert_eq!(answer(Ok(has)), Ok(found), "whoever else was not read");
    }
}
