//! Names of users: the present one and those before it, which stay the user's and lead to it as long
//! as there is the user, and random aliases ([`super::aliases`]).
//!
//! One table holds them all, so that nobody can have a name that is or was another's, and it is
//! looked into with cores, records and reserved words ([`Directory::holder`](crate::directory::Directory::holder)).

use std::collections::BTreeMap;

use homecore_types::{UserId, Username};

use super::transaction::Transaction;
use super::{MachineError, Outcome, aliases};
use crate::command::{Rejection, Response};
use crate::keys::{NameRow, Names, Users};
use crate::records::User;

/// Writes whose the names of a user are, from the user as it now is.
pub(super) fn put(transaction: &mut Transaction<'_>, user: &User) -> Result<(), MachineError> {
    let drawn = aliases::of(transaction, &user.id)?;
    let present = std::iter::once((&user.username, None));
    let others = user.aliases.iter().chain(&drawn);
    for (name, alias_of) in present.chain(others.map(|name| (name, Some(&user.username)))) {
        put_one(transaction, user, name, alias_of)?;
    }
    Ok(())
}

/// Writes one name of a user; one that is not its present one leads to that.
pub(super) fn put_one(
    transaction: &mut Transaction<'_>,
    user: &User,
    name: &Username,
    alias_of: Option<&Username>,
) -> Result<(), MachineError> {
    let row = NameRow {
        id: user.id.clone(),
        core: user.core.clone(),
        active: user.reservation.is_none(),
        alias_of: alias_of.cloned(),
    };
    transaction.put::<Names>(name.as_str(), &row)?;
    transaction.directory_mut().set_name(name.as_str(), &row);
    Ok(())
}

/// Frees every name of a user.
pub(super) fn remove_all(
    transaction: &mut Transaction<'_>,
    user: &User,
) -> Result<(), MachineError> {
    let drawn = aliases::of(transaction, &user.id)?;
    for name in std::iter::once(&user.username)
        .chain(&user.aliases)
        .chain(&drawn)
    {
        remove(transaction, name);
    }
    Ok(())
}

/// Frees one name.
pub(super) fn remove(transaction: &mut Transaction<'_>, name: &Username) {
    transaction.delete::<Names>(name.as_str());
    transaction.directory_mut().remove_name(name.as_str());
}

/// What [`Command::RenameUser`](crate::command::Command::RenameUser) asks for.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) from: Username,
    pub(super) to: Username,
    pub(super) changes: u32,
    pub(super) changes_max: u32,
}

/// Gives a user another name. One that it had before it may have again.
pub(super) fn rename(transaction: &mut Transaction<'_>, id: UserId, change: Change) -> Outcome {
    let Change {
        from,
        to,
        changes,
        changes_max,
    } = change;
    let mut user = match transaction.get::<Users>(&id)? {
        Some(user) if user.reservation.is_none() => user,
        _ => return Err(Rejection::UnknownUser { user: id }.into()),
    };
    let done = user.username == to && Some(user.name_changes) == changes.checked_add(1);
    if !done {
        // The number tells a name from the same one had again.
        let is_current = user.username == from && user.name_changes == changes;
        if !is_current || from == to {
            let present = user.username;
            return Err(Rejection::NameChanged { present }.into());
        }
        if user.name_changes >= changes_max {
            let used = user.name_changes;
            return Err(Rejection::NameChangesUsed { used }.into());
        }
        if !user.aliases.contains(&to) {
            check_free(transaction, &to)?;
        }
        user.aliases.retain(|alias| *alias != to);
        let former = std::mem::replace(&mut user.username, to);
        user.aliases.push(former);
        user.name_changes = user.name_changes.saturating_add(1);
        transaction.put::<Users>(&id, &user)?;
        put(transaction, &user)?;
    }
    Ok(Response::Renamed {
        aliases: user.aliases,
        changes: user.name_changes,
    })
}

/// # Errors
/// If somebody or something holds the name.
pub(super) fn check_free(transaction: &Transaction<'_>, name: &Username) -> Result<(), Rejection> {
    match transaction.directory().holder(name.as_str()) {
        None => Ok(()),
        Some("user") => Err(Rejection::Conflict {
            fields: BTreeMap::from([("username".to_owned(), name.to_string())]),
        }),
        Some(holder) => Err(Rejection::LabelTaken {
            label: name.to_string(),
            holder: holder.to_owned(),
        }),
    }
}
