//! E-mail addresses of users: the present one is the unique field `email`, others are held beside it.
//! All of them are in the one table of unique values, so that nobody can have an address of another's.

use std::collections::{BTreeMap, BTreeSet};

use homecore_types::{UserId, limits};

use super::transaction::Transaction;
use super::{MachineError, Outcome, Stop, config, users};
use crate::command::{Rejection, Response, SetEmails};
use crate::keys::{Holdings, Unique, Users};
use crate::records::{User, UserHoldings};

/// The unique field of addresses.
pub(super) const EMAIL: &str = "email";

fn row(email: &str) -> (String, String) {
    (EMAIL.to_owned(), email.to_owned())
}

/// Sets all addresses of a user: takes those that are new and gives those back that are not among them.
pub(super) fn set(transaction: &mut Transaction<'_>, mut change: SetEmails) -> Outcome {
    let id = change.user;
    let mut once = BTreeSet::from([change.present.clone()]);
    change.others.retain(|email| once.insert(email.clone()));
    let mut user = match transaction.get::<Users>(&id)? {
        Some(user) if user.reservation.is_none() => user,
        _ => return Err(Rejection::UnknownUser { user: id }.into()),
    };
    let mut holdings = transaction.get::<Holdings>(&id)?.unwrap_or_default();
    let fields = users::Fields::new(change.unique, change.indexed, change.freed);
    let present = user.unique.get(EMAIL);
    // Of two that plan from the same number the later one is refused, even with the same addresses: its
    // fields are not the user's.
    let done = Some(holdings.email_changes) == change.changes.checked_add(1)
        && present == Some(&change.present)
        && holdings.emails == change.others
        && fields.are_of(&user);
    if done {
        return Ok(Response::Done);
    }
    // The number tells addresses from the same ones had again.
    if holdings.email_changes != change.changes {
        let changes = holdings.email_changes;
        return Err(Rejection::EmailsChanged { changes }.into());
    }
    let held = present.into_iter().chain(&holdings.emails);
    let held: BTreeSet<String> = held.cloned().collect();
    let wanted = once;
    config::check_fields(transaction, change.fields_version)?;
    check_count(wanted.len())?;
    let addresses = wanted.iter().map(|email| row(email));
    check_free(transaction, &id, addresses.chain(fields.unique.clone()))?;
    for email in held.difference(&wanted) {
        transaction.delete::<Unique>(&row(email));
    }
    for email in wanted.difference(&held) {
        transaction.put::<Unique>(&row(email), &id)?;
    }
    users::put_fields(transaction, &mut user, fields)?;
    user.unique.insert(EMAIL.to_owned(), change.present);
    holdings.emails = change.others;
    holdings.email_changes = holdings.email_changes.saturating_add(1);
    transaction.put::<Users>(&id, &user)?;
    transaction.put::<Holdings>(&id, &holdings)?;
    Ok(Response::Done)
}

/// Takes addresses for a user who is only reserved, beside those that it holds: all of them, or none.
pub(super) fn hold(
    transaction: &mut Transaction<'_>,
    user: &User,
    holdings: &mut UserHoldings,
    asked: Vec<String>,
) -> Result<(), Stop> {
    let mut wanted = BTreeSet::new();
    let present = user.unique.get(EMAIL);
    for email in asked {
        if present != Some(&email) && !holdings.emails.contains(&email) {
            holdings.emails.push(email.clone());
            wanted.insert(email);
        }
    }
    check_count(holdings.emails.len().saturating_add(1))?;
    check_free(transaction, &user.id, wanted.iter().map(|email| row(email)))?;
    for email in &wanted {
        transaction.put::<Unique>(&row(email), &user.id)?;
    }
    Ok(())
}

fn check_count(emails: usize) -> Result<(), Rejection> {
    if emails <= limits::EMAILS_MAX {
        return Ok(());
    }
    Err(Rejection::TooMany {
        what: "addresses of one user".to_owned(),
        most: u64::try_from(limits::EMAILS_MAX).unwrap_or(u64::MAX),
    })
}

/// That nobody else has any of these values of fields.
pub(super) fn check_free(
    transaction: &Transaction<'_>,
    id: &UserId,
    wanted: impl IntoIterator<Item = (String, String)>,
) -> Result<(), Stop> {
    let mut fields = BTreeMap::new();
    for row in wanted {
        let holder = transaction.get::<Unique>(&row)?;
        if holder.is_some_and(|holder| holder != *id) {
            fields.extend([row]);
        }
    }
    if fields.is_empty() {
        return Ok(());
    }
    Err(Rejection::Conflict { fields }.into())
}

/// An address of a user's became the present one: it is not held beside it any more.
pub(super) fn became_present(
    transaction: &mut Transaction<'_>,
    id: &UserId,
    email: &str,
) -> Result<(), MachineError> {
    let Some(mut holdings) = transaction.get::<Holdings>(id)? else {
        return Ok(());
    };
    holdings.emails.retain(|other| other != email);
    holdings.email_changes = holdings.email_changes.saturating_add(1);
    transaction.put::<Holdings>(id, &holdings)
}

/// Frees the addresses that a user holds beside the present one.
pub(super) fn release(transaction: &mut Transaction<'_>, id: &UserId) -> Result<(), MachineError> {
    if let Some(holdings) = transaction.get::<Holdings>(id)? {
        for email in &holdings.emails {
            transaction.delete::<Unique>(&row(email));
        }
        transaction.delete::<Holdings>(id);
    }
    Ok(())
}
