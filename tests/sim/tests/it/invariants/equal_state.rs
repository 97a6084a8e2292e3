//! State is equal at equal applied index, on every core and in every life.

use std::collections::BTreeMap;

use homecore_types::Millis;

use crate::invariants::Seen;

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Log index → hash of the state, and who had it first.
    by_index: BTreeMap<u64, ([u8; 32], String)>,
}

/// The state of a core at an index.
#[derive(Debug)]
pub(crate) struct State {
    index: u64,
    hash: [u8; 32],
    /// The deadline of the reservation that has been held the longest.
    pub(crate) overdue: Option<Millis>,
}

/// Reads the state of a core; none if it moves on meanwhile or ends.
pub(crate) async fn read(seen: &Seen) -> Result<Option<State>, String> {
    let platform = &seen.running.platform;
    let index = platform.directory().applied_index();
    let (Ok(hash), Ok(users)) = (
        platform.state_hash().await,
        platform.users(None, None, 1_000).await,
    ) else {
        return Ok(None);
    };
    let Some(index) = index.filter(|_| platform.directory().applied_index() == index) else {
        return Ok(None);
    };
    let deadlines = users
        .iter()
        .filter_map(|user| user.reservation.as_ref().map(|held| held.deadline));
    Ok(Some(State {
        index,
        hash,
        overdue: deadlines.min(),
    }))
}

pub(crate) fn check(book: &mut Book, seen: &Seen, state: &State) -> Result<(), String> {
    let core = seen.running.core.to_string();
    let (hash, first) = book
        .by_index
        .entry(state.index)
        .or_insert((state.hash, core));
    if *hash != state.hash {
        return Err(format!(
            "equal state: at {} this core has another state than {first}",
            state.index
        ));
    }
    Ok(())
}
