//! Random aliases of users, each of an access, and names that a user brings along: all of them are in
//! the one table of names ([`super::names`]), beside the present name and former ones. Addresses that
//! it brings along are taken with them.

use homecore_types::{UserId, Username, limits};

use super::transaction::Transaction;
use super::{MachineError, Outcome, emails, names, users};
use crate::command::{HoldNames, Rejection, Response};
use crate::keys::{Holdings, ReservationState, Reservations, Users};
use crate::records::{User, UserHoldings};

/// Those of a user.
pub(super) fn of(
    transaction: &Transaction<'_>,
    user: &UserId,
) -> Result<Vec<Username>, MachineError> {
    let held = transaction.get::<Holdings>(user)?;
    Ok(held.map(|held| held.aliases).unwrap_or_default())
}

/// Takes one for a user.
pub(super) fn take(transaction: &mut Transaction<'_>, id: UserId, alias: Username) -> Outcome {
    let user = present(transaction, id)?;
    let mut held = transaction.get::<Holdings>(&user.id)?.unwrap_or_default();
    if !held.aliases.contains(&alias) {
        check(transaction, &alias)?;
        check_count(held.aliases.len().saturating_add(1))?;
        names::put_one(transaction, &user, &alias, Some(&user.username))?;
        held.aliases.push(alias);
        transaction.put::<Holdings>(&user.id, &held)?;
    }
    Ok(Response::Done)
}

/// Frees those of a list that a user has. Its other names stay, whatever the list says.
pub(super) fn free(transaction: &mut Transaction<'_>, id: UserId, aliases: &[Username]) -> Outcome {
    let user = present(transaction, id)?;
    let mut held = transaction.get::<Holdings>(&user.id)?.unwrap_or_default();
    let (going, staying) = std::mem::take(&mut held.aliases)
        .into_iter()
        .partition::<Vec<_>, _>(|alias| aliases.contains(alias));
    if going.is_empty() {
        return Ok(Response::Done);
    }
    for alias in &going {
        names::remove(transaction, alias);
    }
    held.aliases = staying;
    if held == UserHoldings::default() {
        transaction.delete::<Holdings>(&user.id);
    } else {
        transaction.put::<Holdings>(&user.id, &held)?;
    }
    Ok(Response::Done)
}

/// Takes the names of a user who is only reserved: former ones, aliases and addresses.
pub(super) fn hold(transaction: &mut Transaction<'_>, asked: HoldNames) -> Outcome {
    let row = transaction
        .get::<Reservations>(&asked.reservation)?
        .ok_or(Rejection::ReservationGone)?;
    match row.state {
        ReservationState::Released => return Err(Rejection::ReservationGone.into()),
        ReservationState::Committed => return Err(Rejection::AlreadyCommitted.into()),
        ReservationState::Held => {}
    }
    let mut user = users::reserved_user(transaction, &row)?;
    let mut held = transaction.get::<Holdings>(&user.id)?.unwrap_or_default();
    for name in asked.former {
        let is_own =
            name == user.username || user.aliases.contains(&name) || held.aliases.contains(&name);
        if !is_own {
            names::check_free(transaction, &name)?;
            user.aliases.push(name);
        }
    }
    for alias in asked.aliases {
        if !held.aliases.contains(&alias) && !user.aliases.contains(&alias) {
            check(transaction, &alias)?;
            held.aliases.push(alias);
        }
    }
    check_count(held.aliases.len().max(user.aliases.len()))?;
    emails::hold(transaction, &user, &mut held, asked.emails)?;
    held.email_changes = held.email_changes.max(asked.email_changes);
    // Whoever never had another name never changed it.
    if !user.aliases.is_empty() {
        let former = u32::try_from(user.aliases.len()).unwrap_or(u32::MAX);
        user.name_changes = user.name_changes.max(asked.changes).max(former);
    }
    if held != UserHoldings::default() {
        transaction.put::<Holdings>(&user.id, &held)?;
    }
    transaction.put::<Users>(&user.id, &user)?;
    names::put(transaction, &user)?;
    Ok(Response::Done)
}

/// A user; one that is only reserved is none yet.
fn present(transaction: &Transaction<'_>, id: UserId) -> Result<User, super::Stop> {
    match transaction.get::<Users>(&id)? {
        Some(user) if user.reservation.is_none() => Ok(user),
        _ => Err(Rejection::UnknownUser { user: id }.into()),
    }
}

fn check(transaction: &Transaction<'_>, alias: &Username) -> Result<(), Rejection> {
    if !Username::is_alias(alias.as_str()) {
        return Err(Rejection::LabelTaken {
            label: alias.to_string(),
            holder: "no-alias".to_owned(),
        });
    }
    names::check_free(transaction, alias)
}

fn check_count(names: usize) -> Result<(), Rejection> {
    if names <= limits::ALIASES_MAX {
        return Ok(());
    }
    Err(Rejection::TooManyAliases {
        most: u64::try_from(limits::ALIASES_MAX).unwrap_or(u64::MAX),
    })
}
