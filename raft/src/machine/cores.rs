//! Cores: admitted once, announced by themselves, removed for good.

use homecore_types::{CoreId, Millis, NodeId};

use super::tokens::{self, Presented};
use super::transaction::{Transaction, inconsistent};
use super::{MachineError, Outcome, users};
use crate::command::{Rejection, Response};
use crate::keys::{JoinTokens, Space, Users};
use crate::records::{Core, CoreAddresses, CoreState};

/// A core that asks to join.
pub(super) struct Asking {
    pub(super) core: CoreId,
    pub(super) key: String,
    pub(super) addresses: CoreAddresses,
    pub(super) at: Millis,
}

pub(super) fn admit(transaction: &mut Transaction<'_>, token_id: &str, asking: Asking) -> Outcome {
    let Asking {
        core: id,
        key,
        addresses,
        at,
    } = asking;
    let token = transaction.get::<JoinTokens>(token_id)?;
    let mut token = match tokens::present(token, &id, &key, at)? {
        Presented::Again(node) => return admitted_before(transaction, id, node, addresses),
        Presented::Open(token) => token,
    };
    match transaction.directory().holder(id.as_str()) {
        None => {}
        Some("core") => return Err(Rejection::CoreExists { core: id }.into()),
        Some(holder) => return Err(taken(&id, holder).into()),
    }
    let node = free_node(transaction);
    token.consumed_by = Some((key.clone(), node));
    transaction.put::<JoinTokens>(token_id, &token)?;
    transaction.put_core(Core {
        id,
        node,
        addresses,
        key,
        state: CoreState::Joining,
        available: true,
        users: 0,
        joined_at: at,
        removed_at: None,
    });
    Ok(Response::Admitted { node })
}

/// A join that was cut off and is repeated. Until the core serves, it may have moved meanwhile.
fn admitted_before(
    transaction: &mut Transaction<'_>,
    id: CoreId,
    node: NodeId,
    addresses: CoreAddresses,
) -> Outcome {
    let core = transaction
        .directory()
        .core_or_removed(id.as_str())
        .cloned();
    match core.filter(|core| core.node == node) {
        Some(core) if core.state == CoreState::Removed => Err(taken(&id, "removed-core").into()),
        Some(core) => {
            if core.state == CoreState::Joining && core.addresses != addresses {
                transaction.put_core(Core {
                    addresses,
                    ..(*core).clone()
                });
            }
            Ok(Response::Admitted { node })
        }
        None => Err(inconsistent(
            Space::Cores,
            id.as_str().as_bytes(),
            "a token admitted a core that is not there",
        )
        .into()),
    }
}

fn taken(id: &CoreId, holder: &str) -> Rejection {
    Rejection::LabelTaken {
        label: id.to_string(),
        holder: holder.to_owned(),
    }
}

/// The index of the entry, which no other entry has. Only the founder's id was drawn otherwise: if it
/// is this very number, the next one that no core has.
fn free_node(transaction: &Transaction<'_>) -> NodeId {
    let mut node = NodeId(transaction.index());
    while transaction.directory().core_by_node(node).is_some() {
        node = NodeId(node.0.wrapping_add(1));
    }
    node
}

pub(super) fn announce(
    transaction: &mut Transaction<'_>,
    id: CoreId,
    node: NodeId,
    addresses: CoreAddresses,
) -> Outcome {
    let core = member(transaction, id)?;
    if core.node != node {
        return Err(Rejection::UnknownCore { core: core.id }.into());
    }
    let announced = Core {
        addresses,
        state: CoreState::Serving,
        ..core.clone()
    };
    if announced != core {
        transaction.put_core(announced);
    }
    Ok(Response::Done)
}

pub(super) fn set_available(
    transaction: &mut Transaction<'_>,
    id: CoreId,
    available: bool,
) -> Outcome {
    let core = member(transaction, id)?;
    if core.available != available {
        transaction.put_core(Core { available, ..core });
    }
    Ok(Response::Done)
}

/// Removes a core. What is left of it keeps its ids from being used again. Abandoning users touches
/// each of them in this one entry: an operator's last resort for a core that is lost.
pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    id: CoreId,
    abandon_users: bool,
    at: Millis,
) -> Outcome {
    let core = member(transaction, id)?;
    if core.users > 0 && !abandon_users {
        return Err(Rejection::CoreHasUsers {
            core: core.id,
            users: core.users,
        }
        .into());
    }
    if transaction.directory().cores().count() == 1 {
        return Err(Rejection::LastCore { core: core.id }.into());
    }
    abandon(transaction, &core.id)?;
    transaction.put_core(Core {
        state: CoreState::Removed,
        available: false,
        users: 0,
        removed_at: Some(at),
        ..core
    });
    Ok(Response::Done)
}

fn abandon(transaction: &mut Transaction<'_>, core: &CoreId) -> Result<(), MachineError> {
    // As it was before: what is dropped leaves the newer one. In which order does not matter to the outcome.
    let before = transaction.directory().clone();
    for (_, entry) in before.users(Some(core)) {
        let user = transaction.get::<Users>(&entry.id)?.ok_or_else(|| {
            inconsistent(
                Space::Users,
                entry.id.as_str().as_bytes(),
                "a name without a user",
            )
        })?;
        users::drop_account(transaction, &user)?;
    }
    Ok(())
}

fn member(transaction: &Transaction<'_>, id: CoreId) -> Result<Core, Rejection> {
    match transaction.directory().core(&id) {
        Some(core) => Ok((**core).clone()),
        None => Err(Rejection::UnknownCore { core: id }),
    }
}
