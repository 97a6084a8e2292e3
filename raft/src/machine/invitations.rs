//! Invitations: made, held by a reservation, used up when it commits.

use std::collections::BTreeMap;

use homecore_types::Millis;

use super::transaction::Transaction;
use super::{MachineError, Outcome, Stop};
use crate::command::{Rejection, Response};
use crate::keys::{InvitationRow, Invitations};
use crate::records::{Invitation, User};

/// Invitations on the whole platform, used ones included.
const INVITATIONS_MAX: u64 = 1_000_000;

pub(super) fn create(
    transaction: &mut Transaction<'_>,
    invitations: BTreeMap<String, Invitation>,
) -> Outcome {
    let mut added = Vec::new();
    for (id, invitation) in invitations {
        if transaction.get::<Invitations>(&id)?.is_none() {
            added.push((
                id,
                InvitationRow {
                    invitation,
                    held_by: None,
                },
            ));
        }
    }
    let more = u64::try_from(added.len()).unwrap_or(u64::MAX);
    let count = transaction
        .directory()
        .counts()
        .invitations
        .saturating_add(more);
    if count > INVITATIONS_MAX {
        let what = "invitations".to_owned();
        return Err(Rejection::TooMany {
            what,
            most: INVITATIONS_MAX,
        }
        .into());
    }
    for (id, row) in added {
        transaction.put::<Invitations>(&id, &row)?;
    }
    transaction.directory_mut().counts_mut().invitations = count;
    Ok(Response::Done)
}

/// Whether a registration may go on with the invitation given, and the row that it will hold.
///
/// While there are rows, used ones included, they alone decide. Without rows the configuration does:
/// its tokens can be used any number of times, and nothing is held.
pub(super) fn check(
    transaction: &Transaction<'_>,
    given: Option<&str>,
) -> Result<Option<(String, InvitationRow)>, Stop> {
    let invalid = || Stop::from(Rejection::InvalidInvitation);
    if transaction.directory().counts().invitations > 0 {
        let id = given.ok_or_else(invalid)?;
        let row = transaction.get::<Invitations>(id)?.ok_or_else(invalid)?;
        let free = row.invitation.consumed_at.is_none() && row.held_by.is_none();
        return if free {
            Ok(Some((id.to_owned(), row)))
        } else {
            Err(invalid())
        };
    }
    match &transaction.directory().policy().invitation_tokens {
        None => Ok(None),
        Some(tokens) if given.is_some_and(|given| tokens.contains(given)) => Ok(None),
        Some(_) => Err(invalid()),
    }
}

/// Sets a row aside for a reservation.
pub(super) fn hold(
    transaction: &mut Transaction<'_>,
    id: &str,
    mut row: InvitationRow,
    reservation: &str,
) -> Result<(), MachineError> {
    row.held_by = Some(reservation.to_owned());
    transaction.put::<Invitations>(id, &row)
}

/// Uses up the invitation that a user's reservation holds, if any.
pub(super) fn consume(
    transaction: &mut Transaction<'_>,
    user: &User,
    reservation: &str,
    at: Millis,
) -> Result<(), MachineError> {
    change_held(transaction, user, reservation, |row| {
        row.invitation.consumed_at = Some(at);
        row.invitation.consumed_by = Some(user.username.to_string());
    })
}

/// Gives the invitation back that a user's reservation holds, if any.
pub(super) fn release(
    transaction: &mut Transaction<'_>,
    user: &User,
    reservation: &str,
) -> Result<(), MachineError> {
    change_held(transaction, user, reservation, |_| {})
}

fn change_held(
    transaction: &mut Transaction<'_>,
    user: &User,
    reservation: &str,
    change: impl FnOnce(&mut InvitationRow),
) -> Result<(), MachineError> {
    let Some(id) = &user.invitation else {
        return Ok(());
    };
    let Some(mut row) = transaction.get::<Invitations>(id)? else {
        return Ok(());
    };
    if row.held_by.as_deref() != Some(reservation) {
        return Ok(());
    }
    row.held_by = None;
    change(&mut row);
    transaction.put::<Invitations>(id, &row)
}
