//! One home of a user: its account is on the core that the platform names, is not given up while the user
//! lives, and is nowhere else.

use crate::invariants::Seen;
use crate::oracle::Oracle;

pub(crate) fn check(oracle: &Oracle, seen: &Seen) -> Result<(), String> {
    let here = &seen.running.core;
    for (id, user) in oracle.living() {
        if user.home == *here && !seen.running.folders.has(id) {
            return Err(format!(
                "one home: the account of {} ({id}) is gone from {here}, its home",
                user.name
            ));
        }
        // A core that has not come that far may know an earlier reservation, for another home: one that was
        // overdue by the leader's clock, and was made again by the same write.
        if user.index.is_some_and(|known| known <= seen.index)
            && let Some(entry) = seen.directory.user(&user.name)
            && entry.id == *id
            && entry.core != user.home
        {
            return Err(format!(
                "one home: {} ({id}) was told that it lives on {}, at {} here it lives on {}",
                user.name, user.home, seen.index, entry.core
            ));
        }
    }
    for id in seen.running.folders.settled() {
        if let Some(user) = oracle.users.get(&id)
            && user.home != *here
        {
            return Err(format!(
                "one home: {here} has an account of {id}, who lives on {}",
                user.home
            ));
        }
    }
    Ok(())
}
