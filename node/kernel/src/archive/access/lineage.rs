//! Which of the accesses of an archive are versions of another one that do not say so: one engine of
//! the other server writes former versions without `headId`. Taken as accesses, they would give their
//! old rights to a token, also to one that was revoked since.
//!
//! A version is told by what an update never changes: token, type, and who made it when. Where that
//! leaves a doubt the access is [`Standing::Disputed`], and nobody's: one token has one owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use homecore_types::Millis;

use crate::access::StoredAccess;

/// Accesses of one user that are compared.
pub const ACCESSES_MAX: usize = 1_000_000;

/// What an access of an archive is, beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A former version of this one.
    FormerOf(String),
    /// It has the token, or type, name and device, of this one, and is no former version of it.
    Disputed(String),
}

/// The accesses of an archive, but for former versions that say that they are. Ids come once.
#[derive(Debug, Default)]
pub struct Lineage {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    id: String,
    token: String,
    /// Type, name and device.
    label: (&'static str, String, Option<String>),
    made: Made,
    /// Its number, and when it was changed.
    version: (u32, Millis),
    deleted: Option<Millis>,
}

/// What no update changes, beside the token: type, and who made it when.
type Made = (&'static str, Millis, String);

impl Known {
    /// Whether it is an earlier state of another that was made by the same hand at the same time.
    fn is_before(&self, other: &Self) -> bool {
        self.version.0 < other.version.0 && self.version.1 <= other.version.1
    }
}

impl Lineage {
    /// One more.
    pub fn add(&mut self, id: &str, access: &StoredAccess) {
        self.known.push(Known {
            id: id.to_owned(),
            token: access.token.clone(),
            label: (
                access.kind.wire(),
                access.name.clone(),
                access.device_name.clone(),
            ),
            made: (
                access.kind.wire(),
                access.created,
                access.created_by.clone(),
            ),
            version: (access.serial, access.modified),
            deleted: access.deleted,
        });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Those that do not stand for themselves, by id.
    #[must_use]
    pub fn settle(&self) -> BTreeMap<String, Standing> {
        let mut settled = BTreeMap::new();
        let mut by_token: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
        for known in &self.known {
            by_token.entry(&known.token).or_default().push(known);
        }
        for group in by_token.into_values() {
            judge(group, &mut settled);
        }
        // A name is free again when its access is deleted.
        let mut by_label: BTreeMap<_, Vec<&Known>> = BTreeMap::new();
        for known in &self.known {
            if known.deleted.is_none() && !settled.contains_key(&known.id) {
                by_label.entry(&known.label).or_default().push(known);
            }
        }
        for group in by_label.into_values() {
            judge(group, &mut settled);
        }
        follow(&mut settled);
        settled
    }
}

/// Of those that share what only one can have, the latest version stands.
fn judge(mut group: Vec<&Known>, settled: &mut BTreeMap<String, Standing>) {
    if group.len() < 2 {
        return;
    }
    // Deleted ones first, for none of them gives way; of equals the first in the archive.
    group.sort_by_key(|known| (known.deleted.is_none(), Reverse(known.version)));
    let mut heads: BTreeMap<&Made, &Known> = BTreeMap::new();
    let (mut last_deleted, mut live): (Option<&Known>, Option<&Known>) = (None, None);
    for known in group {
        let head = heads.get(&known.made).copied();
        if known.deleted.is_some() {
            last_deleted = last_deleted
                .filter(|last| last.deleted >= known.deleted)
                .or(Some(known));
            heads.entry(&known.made).or_insert(known);
            continue;
        }
        // One that was made after the other was deleted has its token anew.
        let lived = last_deleted.filter(|last| last.deleted > Some(known.made.1));
        match (head.filter(|head| known.is_before(head)), lived.or(live)) {
            (Some(head), _) => {
                settled.insert(known.id.clone(), Standing::FormerOf(head.id.clone()));
            }
            (None, Some(rival)) => {
                settled.insert(known.id.clone(), Standing::Disputed(rival.id.clone()));
            }
            (None, None) => {
                live = Some(known);
                heads.entry(&known.made).or_insert(known);
            }
        }
    }
}

/// What is a version of one that does not stand itself is of what that became.
fn follow(settled: &mut BTreeMap<String, Standing>) {
    let became: Vec<(String, Standing)> = settled
        .iter()
        .filter_map(|(id, standing)| match standing {
            Standing::FormerOf(head) => Some((id.clone(), settled.get(head)?.clone())),
            Standing::Disputed(_) => None,
        })
        .collect();
    settled.extend(became);
}

#[cfg(test)]
mod tests;
