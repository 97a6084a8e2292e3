//! Brings users' databases up to the journal: all of them at start, one of them after a commit
//! failed. Applying is idempotent twice over: a database knows the last position that it holds,
//! and skips mutations at or below its last change.

use std::collections::{BTreeMap, BTreeSet};

use homecore_types::UserId;

use super::shared::{Shared, chain};
use crate::document::Seq;
use crate::engine::UserDatabase;
use crate::error::StoreError;
use crate::journal::Position;
use crate::mutation::Commit;

/// Bytes of the journal's tail that are held at once.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the tail holds of each user, in order.
type Rows = BTreeMap<UserId, Vec<(Position, Commit)>>;

/// Replays the whole journal. A user that fails is noted as behind; the others go on.
pub(super) fn recover_all(shared: &Shared) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    let mut held = 0;
    let mut announced = BTreeSet::new();
    let mut replayed: u64 = 0;
    shared
        .journal
        .replay(Position(0), &mut |position, user, bytes| {
            let commit = Commit::decode(bytes)?;
            replayed += 1;
            if commit.mutations.is_empty() {
                announced.insert(user.clone());
                return Ok(());
            }
            held += bytes.len();
            rows.entry(user.clone())
                .or_default()
                .push((position, commit));
            if held >= HELD_BYTES_MAX {
                held = 0;
                apply_all(shared, std::mem::take(&mut rows));
            }
            Ok(())
        })?;
    apply_all(shared, rows);
    for user in announced {
        remove_if_empty(shared, &user);
    }
    if replayed > 0 {
        tracing::info!(commits = replayed, "replayed the journal");
    }
    Ok(())
}

fn apply_all(shared: &Shared, rows: Rows) {
    for (user, rows) in rows {
        // What a user already lacks comes first: it gets all of it when it is next asked for.
        if shared.is_behind(&user) {
            continue;
        }
        let Some(first) = rows.first().map(|(position, _)| *position) else {
            continue;
        };
        match apply(shared, &user, &rows) {
            // The user was removed after these rows were written.
            Ok(()) | Err(StoreError::UnknownUser { .. }) => {}
            Err(error) => {
                let error = chain(&error);
                tracing::error!(%user, error, "the journal could not be applied; the user is refused");
                let floor = Position(first.0.saturating_sub(1));
                shared.set_behind(user, shared.outstanding.hold(floor));
            }
        }
    }
}

fn apply(shared: &Shared, user: &UserId, rows: &[(Position, Commit)]) -> Result<(), StoreError> {
    let mut database = shared.engine.open(user)?;
    let applied = database.applied()?;
    let missing: Vec<_> = rows
        .iter()
        .filter(|(position, _)| *position > applied)
        .collect();
    let Some((last, _)) = missing.last() else {
        return Ok(());
    };
    database.begin()?;
    for (_, commit) in &missing {
        database.apply(commit)?;
    }
    database.commit(*last)
}

/// A user that was about to be made when the process died, and was not.
fn remove_if_empty(shared: &Shared, user: &UserId) {
    if shared.is_behind(user) {
        return;
    }
    let removed = match shared
        .engine
        .open(user)
        .and_then(|database| database.last_seq())
    {
        Ok(Seq(0)) => shared.engine.remove(user),
        Ok(_) | Err(StoreError::UnknownUser { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        let error = chain(&error);
        tracing::error!(%user, error, "an unfinished user could not be removed");
        shared.outstanding.hold(Position(0)).keep();
    }
}

/// Opens a user's database with everything that the journal holds of it up to `through`. Its former
/// handle is closed.
pub(super) fn recover_user(
    shared: &Shared,
    user: &UserId,
    through: Position,
) -> Result<Box<dyn UserDatabase>, StoreError> {
    let mut database = shared.engine.open(user)?;
    let applied = database.applied()?;
    let mut last = applied;
    database.begin()?;
    shared
        .journal
        .replay(applied, &mut |position, whose, bytes| {
            if whose == user && position <= through {
                database.apply(&Commit::decode(bytes)?)?;
                last = position;
            }
            Ok(())
        })?;
    database.commit(last)?;
    Ok(database)
}
