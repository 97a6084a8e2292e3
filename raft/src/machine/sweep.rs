//! What has passed its deadline is dropped, in the order of deadlines and a bounded number at a time:
//! the leader asks again while something is due.

use homecore_types::Millis;

use super::transaction::{Transaction, inconsistent};
use super::{Outcome, access, tokens, users};
use crate::command::Response;
use crate::keys::{Deadline, DeadlineKind, Deadlines, Space};

/// Deadlines handled by one command.
pub(super) const SWEEP_MAX: usize = 4_096;
const PAGE: usize = 256;

pub(super) fn sweep(transaction: &mut Transaction<'_>, now: Millis) -> Outcome {
    let mut after: Option<Vec<u8>> = None;
    let mut left = SWEEP_MAX;
    while left > 0 {
        let page = transaction.scan(Space::Deadlines, after.as_deref(), PAGE.min(left))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        left = left.saturating_sub(page.len());
        for (key, _) in page {
            let deadline = Deadline::from_key(&key)
                .ok_or_else(|| inconsistent(Space::Deadlines, &key, "no key of a deadline"))?;
            if deadline.at >= now {
                return Ok(Response::Done);
            }
            match deadline.kind {
                DeadlineKind::Reservation => users::expire(transaction, &deadline.id)?,
                DeadlineKind::AccessRequest => access::forget(transaction, &deadline.id)?,
                DeadlineKind::JoinToken => tokens::forget(transaction, &deadline.id)?,
            }
            transaction.delete::<Deadlines>(&deadline);
        }
    }
    Ok(Response::Done)
}
