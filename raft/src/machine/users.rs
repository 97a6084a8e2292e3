//! Users: reserved with all their names and a home in one step, then committed or given back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homecore_types::{CoreId, Millis, UserId};

use super::transaction::{Transaction, inconsistent};
use super::{MachineError, Outcome, Stop, config, emails, invitations, names};
use crate::command::{Rejection, ReserveUser, Response};
use crate::directory::Directory;
use crate::keys::{
    Deadline, DeadlineKind, Deadlines, ReservationRow, ReservationState, Reservations, Space,
    Unique, Users,
};
use crate::records::{Core, CoreState, Reservation, User};

/// How long a committed reservation is remembered: a core that crashed between creating an account and
/// hearing of its commit asks again when it is back.
const COMMITTED_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The hosting of a core that names none, and what clients ask for where none are configured
/// (spec/platform §3.4).
const DEFAULT_HOSTING: &str = "default";

fn deadline(reservation: &str, at: Millis) -> Deadline {
    Deadline {
        at,
        kind: DeadlineKind::Reservation,
        id: reservation.to_owned(),
    }
}

pub(super) fn reserve(transaction: &mut Transaction<'_>, asked: ReserveUser) -> Outcome {
    if let Some(repeated) = repeated(transaction, &asked) {
        return repeated;
    }
    config::check_fields(transaction, asked.fields_version)?;
    let invitation = invitations::check(transaction, asked.invitation.as_deref())?;
    let hosting = wanted_hosting(transaction.directory(), asked.hosting.as_deref());
    check_hosting(transaction.directory(), hosting)?;
    check_conflicts(transaction, &asked)?;
    let core = choose_core(transaction.directory(), hosting, &asked.live)?;

    let invitation = match invitation {
        Some((id, row)) => {
            invitations::hold(transaction, &id, row, &asked.reservation)?;
            Some(id)
        }
        None => None,
    };
    take(transaction, asked, core, invitation)
}

/// Takes the names of a user whose data is on a core.
pub(super) fn adopt(
    transaction: &mut Transaction<'_>,
    asked: ReserveUser,
    core: CoreId,
) -> Outcome {
    if let Some(repeated) = repeated(transaction, &asked) {
        return repeated;
    }
    config::check_fields(transaction, asked.fields_version)?;
    check_conflicts(transaction, &asked)?;
    let known = transaction.directory().core(&core);
    if known.is_none_or(|core| core.state != CoreState::Serving) {
        return Err(Rejection::NoCore.into());
    }
    take(transaction, asked, core, None)
}

/// The answer to a reservation that was made before.
fn repeated(transaction: &Transaction<'_>, asked: &ReserveUser) -> Option<Outcome> {
    let row = match transaction.get::<Reservations>(&asked.reservation) {
        Ok(row) => row?,
        Err(error) => return Some(Err(error.into())),
    };
    Some(match row.state {
        ReservationState::Held | ReservationState::Committed => Ok(Response::Reserved {
            core: row.core,
            user: row.user,
        }),
        ReservationState::Released => Err(Rejection::ReservationGone.into()),
    })
}

fn take(
    transaction: &mut Transaction<'_>,
    asked: ReserveUser,
    core: CoreId,
    invitation: Option<String>,
) -> Outcome {
    let user = User {
        id: asked.user,
        username: asked.username,
        core,
        unique: asked.unique,
        indexed: asked.indexed,
        reservation: Some(Reservation {
            id: asked.reservation,
            deadline: asked.deadline,
        }),
        invitation,
        created_at: asked.at,
        aliases: Vec::new(),
        name_changes: 0,
    };
    write_reserved(transaction, &user)?;
    Ok(Response::Reserved {
        core: user.core,
        user: user.id,
    })
}

fn write_reserved(transaction: &mut Transaction<'_>, user: &User) -> Result<(), MachineError> {
    transaction.put::<Users>(&user.id, user)?;
    names::put(transaction, user)?;
    for (field, value) in &user.unique {
        transaction.put::<Unique>(&(field.clone(), value.clone()), &user.id)?;
    }
    if let Some(reservation) = &user.reservation {
        let row = ReservationRow {
            user: user.id.clone(),
            core: user.core.clone(),
            state: ReservationState::Held,
        };
        transaction.put::<Reservations>(&reservation.id, &row)?;
        transaction.put::<Deadlines>(&deadline(&reservation.id, reservation.deadline), &())?;
    }
    transaction.count_user(&user.core, true);
    Ok(())
}

fn hosting_of(core: &Core) -> &str {
    core.addresses
        .hosting
        .as_deref()
        .filter(|own| !own.is_empty())
        .unwrap_or(DEFAULT_HOSTING)
}

/// The hosting that a core must be of; none: any core will do. Without a tree of hostings every
/// hosting is accepted (spec/platform §3.5): clients are shown one that is called "default" and stands
/// for the whole platform, whatever its cores name, and one that no core names says nothing either.
fn wanted_hosting<'a>(directory: &Directory, asked: Option<&'a str>) -> Option<&'a str> {
    let has_tree = directory.policy().hostings.is_some();
    let is_named = |hosting| directory.cores().any(|core| hosting_of(core) == hosting);
    asked.filter(|hosting| {
        let says_something = *hosting != DEFAULT_HOSTING && is_named(*hosting);
        !hosting.is_empty() && (has_tree || says_something)
    })
}

/// With a tree of hostings in the configuration, only those in it are known.
fn check_hosting(directory: &Directory, hosting: Option<&str>) -> Result<(), Rejection> {
    match (hosting, &directory.policy().hostings) {
        (Some(hosting), Some(known)) if !known.contains(hosting) => {
            Err(Rejection::UnknownHosting {
                hosting: hosting.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// Finds everything that someone else holds, so that a person learns it in one go.
fn check_conflicts(transaction: &Transaction<'_>, asked: &ReserveUser) -> Result<(), Stop> {
    let mut fields = BTreeMap::new();
    for (field, value) in &asked.unique {
        if transaction
            .get::<Unique>(&(field.clone(), value.clone()))?
            .is_some()
        {
            fields.insert(field.clone(), value.clone());
        }
    }
    let username = asked.username.as_str();
    if transaction.directory().holder(username).is_some() {
        fields.insert("username".to_owned(), username.to_owned());
    }
    // Drawn at random, so this is a proposer's defect; but it must not overwrite a user.
    if transaction.get::<Users>(&asked.user)?.is_some() {
        fields.insert("id".to_owned(), asked.user.to_string());
    }
    if fields.is_empty() {
        Ok(())
    } else {
        Err(Rejection::Conflict { fields }.into())
    }
}

/// The core with the fewest users of those that serve, are alive, open and of the hosting asked for.
/// Of equals the first by id.
fn choose_core(
    directory: &Directory,
    hosting: Option<&str>,
    live: &[CoreId],
) -> Result<CoreId, Rejection> {
    directory
        .cores()
        .filter(|core| core.state == CoreState::Serving && core.available)
        .filter(|core| live.contains(&core.id))
        .filter(|core| hosting.is_none_or(|hosting| hosting_of(core) == hosting))
        .min_by_key(|core| core.users)
        .map(|core| core.id.clone())
        .ok_or(Rejection::NoCore)
}

/// Makes a reservation a user. That its deadline has passed does not matter until a sweep says so.
pub(super) fn commit(transaction: &mut Transaction<'_>, id: &str, at: Millis) -> Outcome {
    let row = transaction
        .get::<Reservations>(id)?
        .ok_or(Rejection::ReservationGone)?;
    match row.state {
        ReservationState::Released => return Err(Rejection::ReservationGone.into()),
        ReservationState::Committed => {
            // Again. But a user that was deleted meanwhile must not look as if it were there.
            let present = transaction.get::<Users>(&row.user)?.is_some();
            return if present {
                Ok(Response::Done)
            } else {
                Err(Rejection::ReservationGone.into())
            };
        }
        ReservationState::Held => {}
    }
    let mut user = reserved_user(transaction, &row)?;
    invitations::consume(transaction, &user, id, at)?;
    if let Some(reservation) = user.reservation.take() {
        transaction.delete::<Deadlines>(&deadline(id, reservation.deadline));
    }
    transaction.put::<Deadlines>(&deadline(id, at + COMMITTED_KEPT), &())?;
    transaction.put::<Users>(&user.id, &user)?;
    names::put(transaction, &user)?;
    let row = ReservationRow {
        state: ReservationState::Committed,
        ..row
    };
    transaction.put::<Reservations>(id, &row)?;
    Ok(Response::Done)
}

/// Gives a reservation's names back. That it was released is remembered until its deadline, lest the
/// reservation arrives once more and takes them again.
pub(super) fn release(transaction: &mut Transaction<'_>, id: &str) -> Outcome {
    let Some(row) = transaction.get::<Reservations>(id)? else {
        return Ok(Response::Done);
    };
    match row.state {
        ReservationState::Released => Ok(Response::Done),
        ReservationState::Committed => Err(Rejection::AlreadyCommitted.into()),
        ReservationState::Held => {
            let user = reserved_user(transaction, &row)?;
            drop_account(transaction, &user)?;
            Ok(Response::Done)
        }
    }
}

/// Frees every name of a user. One that is only reserved is none yet.
pub(super) fn delete(transaction: &mut Transaction<'_>, id: UserId) -> Outcome {
    match transaction.get::<Users>(&id)? {
        Some(user) if user.reservation.is_none() => {
            drop_account(transaction, &user)?;
            Ok(Response::Done)
        }
        _ => Err(Rejection::UnknownUser { user: id }.into()),
    }
}

/// What is to become of fields of a user; others stay.
pub(super) struct Fields {
    pub(super) unique: BTreeMap<String, String>,
    pub(super) indexed: BTreeMap<String, String>,
    /// Nothing is kept of them but what is set.
    pub(super) freed: BTreeSet<String>,
}

impl Fields {
    pub(super) const fn new(
        unique: BTreeMap<String, String>,
        indexed: BTreeMap<String, String>,
        freed: BTreeSet<String>,
    ) -> Self {
        Self {
            unique,
            indexed,
            freed,
        }
    }

    /// Whether they are so already.
    pub(super) fn are_of(&self, user: &User) -> bool {
        let are = |own: &BTreeMap<String, String>, set: &BTreeMap<String, String>| {
            set.keys()
                .chain(self.freed())
                .all(|field| own.get(field) == set.get(field))
        };
        are(&user.unique, &self.unique) && are(&user.indexed, &self.indexed)
    }

    /// The address is a field of every user.
    fn freed(&self) -> impl Iterator<Item = &String> {
        self.freed.iter().filter(|field| *field != emails::EMAIL)
    }
}

/// Sets fields of a user: those given, all or none.
pub(super) fn update(
    transaction: &mut Transaction<'_>,
    id: UserId,
    fields: Fields,
    fields_version: Option<u64>,
) -> Outcome {
    let mut user = match transaction.get::<Users>(&id)? {
        Some(user) if user.reservation.is_none() => user,
        _ => return Err(Rejection::UnknownUser { user: id }.into()),
    };
    config::check_fields(transaction, fields_version)?;
    emails::check_free(transaction, &id, fields.unique.clone())?;
    put_fields(transaction, &mut user, fields)?;
    transaction.put::<Users>(&id, &user)?;
    Ok(Response::Done)
}

/// Gives a user values, unique ones that nobody else has, for those that it had of these fields.
pub(super) fn put_fields(
    transaction: &mut Transaction<'_>,
    user: &mut User,
    fields: Fields,
) -> Result<(), MachineError> {
    for field in fields.freed() {
        user.indexed.remove(field);
        if let Some(value) = user.unique.remove(field) {
            transaction.delete::<Unique>(&(field.clone(), value));
        }
    }
    user.indexed.extend(fields.indexed);
    for (field, value) in fields.unique {
        if let Some(former) = user.unique.insert(field.clone(), value.clone()) {
            transaction.delete::<Unique>(&(field.clone(), former));
        }
        if field == emails::EMAIL {
            emails::became_present(transaction, &user.id, &value)?;
        }
        transaction.put::<Unique>(&(field, value), &user.id)?;
    }
    Ok(())
}

/// A deadline of a reservation has passed: held names become free, and what is only remembered is
/// forgotten.
pub(super) fn expire(transaction: &mut Transaction<'_>, id: &str) -> Result<(), MachineError> {
    let Some(row) = transaction.get::<Reservations>(id)? else {
        return Ok(());
    };
    if row.state == ReservationState::Held {
        let user = reserved_user(transaction, &row)?;
        drop_account(transaction, &user)?;
    }
    transaction.delete::<Reservations>(id);
    Ok(())
}

/// Frees everything that a user or a reservation holds.
pub(super) fn drop_account(
    transaction: &mut Transaction<'_>,
    user: &User,
) -> Result<(), MachineError> {
    if let Some(reservation) = &user.reservation {
        invitations::release(transaction, user, &reservation.id)?;
        let row = ReservationRow {
            user: user.id.clone(),
            core: user.core.clone(),
            state: ReservationState::Released,
        };
        transaction.put::<Reservations>(&reservation.id, &row)?;
    }
    for (field, value) in &user.unique {
        transaction.delete::<Unique>(&(field.clone(), value.clone()));
    }
    names::remove_all(transaction, user)?;
    emails::release(transaction, &user.id)?;
    transaction.delete::<Users>(&user.id);
    transaction.count_user(&user.core, false);
    Ok(())
}

pub(super) fn reserved_user(
    transaction: &Transaction<'_>,
    row: &ReservationRow,
) -> Result<User, MachineError> {
    transaction.get::<Users>(&row.user)?.ok_or_else(|| {
        inconsistent(
            Space::Users,
            row.user.as_str().as_bytes(),
            "a held reservation without a user",
        )
    })
}
