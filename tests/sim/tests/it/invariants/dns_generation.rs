//! The zone's generation never goes back: not in a directory, not in what a core answers from. It is never
//! ahead of what is applied, and one generation has one content, on every core.
//!
//! A core that starts from a snapshot takes the snapshot's index for the generation, not that of the last
//! change before it; so generations may differ at one index, and still order contents alike.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use homecore_raft::directory::Directory;

use crate::invariants::Seen;
use crate::net::Host;

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Generation → content.
    contents: BTreeMap<u64, u64>,
    /// What a life of a core knew and answered from last.
    lives: BTreeMap<(Host, u64), (u64, u64)>,
}

pub(crate) fn check(book: &mut Book, seen: &Seen) -> Result<(), String> {
    let generation = seen.directory.dns_generation();
    if generation > seen.index {
        return Err(format!(
            "DNS generation: {generation} is ahead of {}",
            seen.index
        ));
    }
    let content = content(&seen.directory);
    let known = *book.contents.entry(generation).or_insert(content);
    if known != content {
        return Err(format!(
            "DNS generation: {generation} has another content at {} here than elsewhere",
            seen.index
        ));
    }
    let life = (seen.running.host, seen.running.life);
    let now = (generation, seen.zone_generation);
    let before = book.lives.insert(life, now).unwrap_or((0, 0));
    if now.0 < before.0 || now.1 < before.1 {
        return Err(format!(
            "DNS generation: it went back from {before:?} to {now:?} (directory, zone)"
        ));
    }
    Ok(())
}

/// All that the zone shows.
fn content(directory: &Directory) -> u64 {
    let mut hasher = DefaultHasher::new();
    for core in directory.cores() {
        format!("{} {:?} {:?}", core.id, core.state, core.addresses).hash(&mut hasher);
    }
    for (label, record) in directory.dns() {
        format!("{label} {record:?}").hash(&mut hasher);
    }
    hasher.finish()
}
