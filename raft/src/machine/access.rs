//! Access requests: an app asks, a user answers, the app polls at any core (spec/platform §3.7).

use homecore_types::Millis;
use homecore_types::limits::{ACCESS_REQUEST_BYTES_MAX, ACCESS_REQUESTS_MAX};

use super::transaction::Transaction;
use super::{MachineError, Outcome};
use crate::command::{Rejection, Response};
use crate::keys::{AccessRequests, Deadline, DeadlineKind, Deadlines};
use crate::records::AccessRequest;

/// The one state that is not final.
const PENDING: &str = "NEED_SIGNIN";

fn deadline(id: &str, at: Millis) -> Deadline {
    Deadline {
        at,
        kind: DeadlineKind::AccessRequest,
        id: id.to_owned(),
    }
}

fn bound(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn check_size(request: &AccessRequest) -> Result<(), Rejection> {
    let bytes = request.payload.len().saturating_add(request.status.len());
    if bytes <= ACCESS_REQUEST_BYTES_MAX {
        return Ok(());
    }
    let what = "bytes of an access request".to_owned();
    Err(Rejection::TooMany {
        what,
        most: bound(ACCESS_REQUEST_BYTES_MAX),
    })
}

/// Stores a new request. One that is there stays as it is: this is the command again, perhaps after
/// the answer.
pub(super) fn put(transaction: &mut Transaction<'_>, id: &str, request: &AccessRequest) -> Outcome {
    check_size(request)?;
    if transaction.get::<AccessRequests>(id)?.is_some() {
        return Ok(Response::Done);
    }
    let most = bound(ACCESS_REQUESTS_MAX);
    if transaction.directory().counts().access_requests >= most {
        return Err(Rejection::TooMany {
            what: "pending access requests".to_owned(),
            most,
        }
        .into());
    }
    transaction.put::<AccessRequests>(id, request)?;
    transaction.put::<Deadlines>(&deadline(id, request.deadline), &())?;
    let counts = transaction.directory_mut().counts_mut();
    counts.access_requests = counts.access_requests.saturating_add(1);
    Ok(Response::Done)
}

/// Gives a pending request its final state.
pub(super) fn resolve(
    transaction: &mut Transaction<'_>,
    id: &str,
    request: &AccessRequest,
    at: Millis,
) -> Outcome {
    check_size(request)?;
    let present = transaction
        .get::<AccessRequests>(id)?
        .ok_or(Rejection::UnknownAccessRequest)?;
    if present.deadline < at {
        return Err(Rejection::UnknownAccessRequest.into());
    }
    if present == *request {
        return Ok(Response::Done);
    }
    if present.status != PENDING {
        return Err(Rejection::AlreadyResolved.into());
    }
    transaction.put::<AccessRequests>(id, request)?;
    transaction.delete::<Deadlines>(&deadline(id, present.deadline));
    transaction.put::<Deadlines>(&deadline(id, request.deadline), &())?;
    Ok(Response::Done)
}

/// Forgets a request whose deadline has passed.
pub(super) fn forget(transaction: &mut Transaction<'_>, id: &str) -> Result<(), MachineError> {
    if transaction.get::<AccessRequests>(id)?.is_some() {
        transaction.delete::<AccessRequests>(id);
        let counts = transaction.directory_mut().counts_mut();
        counts.access_requests = counts.access_requests.saturating_sub(1);
    }
    Ok(())
}
