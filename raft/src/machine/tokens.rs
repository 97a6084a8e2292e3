//! Join tokens, by the hash of their secret.

use std::time::Duration;

use homecore_types::{CoreId, Millis, NodeId};

use super::transaction::Transaction;
use super::{MachineError, Outcome};
use crate::command::{Rejection, Response};
use crate::keys::{Deadline, DeadlineKind, Deadlines, JoinTokens};
use crate::records::JoinToken;

/// How long a token that ended is remembered, so that whoever presents it is told what became of it.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Records a token. One that is there is only given a later end, and only while it may still admit its
/// core: where tokens come from a secret and the core's key, a core that was cut off presents the same
/// one again, perhaps long after. An earlier end changes nothing, so that the command may arrive twice
/// and in any order.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    id: &str,
    core: CoreId,
    at: Millis,
    expires: Millis,
) -> Outcome {
    let before = transaction.get::<JoinTokens>(id)?;
    let token = match before.clone() {
        None => JoinToken {
            core,
            issued_at: at,
            expires_at: expires,
            consumed_by: None,
            revoked_at: None,
        },
        Some(token) if is_extended(&token, &core, expires) => JoinToken {
            expires_at: expires,
            ..token
        },
        Some(_) => return Ok(Response::Done),
    };
    if let Some(before) = before {
        transaction.delete::<Deadlines>(&forgotten(id, before.expires_at));
    }
    transaction.put::<JoinTokens>(id, &token)?;
    transaction.put::<Deadlines>(&forgotten(id, expires), &())?;
    Ok(Response::Done)
}

fn is_extended(token: &JoinToken, core: &CoreId, expires: Millis) -> bool {
    token.consumed_by.is_none()
        && token.revoked_at.is_none()
        && token.core == *core
        && token.expires_at < expires
}

/// When a token that ends then is forgotten.
fn forgotten(id: &str, expires: Millis) -> Deadline {
    Deadline {
        at: expires + KEPT,
        kind: DeadlineKind::JoinToken,
        id: id.to_owned(),
    }
}

/// Makes a token useless. A used one has done its work: the core has to be removed instead.
pub(super) fn revoke(transaction: &mut Transaction<'_>, id: &str, at: Millis) -> Outcome {
    let mut token = transaction
        .get::<JoinTokens>(id)?
        .ok_or(Rejection::UnknownToken)?;
    if token.consumed_by.is_some() {
        return Err(Rejection::TokenConsumed.into());
    }
    if token.revoked_at.is_none() {
        token.revoked_at = Some(at);
        transaction.put::<JoinTokens>(id, &token)?;
    }
    Ok(Response::Done)
}

/// What presenting a token comes to.
pub(super) enum Presented {
    /// It admits its core now.
    Open(JoinToken),
    /// It admitted its core before, with the same key.
    Again(NodeId),
}

/// Checks a token that a core presents.
pub(super) fn present(
    token: Option<JoinToken>,
    core: &CoreId,
    key: &str,
    at: Millis,
) -> Result<Presented, Rejection> {
    let token = token.ok_or(Rejection::UnknownToken)?;
    if token.revoked_at.is_some() {
        return Err(Rejection::TokenRevoked);
    }
    if token.core != *core {
        return Err(Rejection::TokenForOtherCore { core: token.core });
    }
    match &token.consumed_by {
        Some((by, node)) if by == key => Ok(Presented::Again(*node)),
        Some(_) => Err(Rejection::TokenConsumed),
        None if token.expires_at < at => Err(Rejection::TokenExpired),
        None => Ok(Presented::Open(token)),
    }
}

/// Forgets a token long after its end.
pub(super) fn forget(transaction: &mut Transaction<'_>, id: &str) -> Result<(), MachineError> {
    transaction.delete::<JoinTokens>(id);
    Ok(())
}
