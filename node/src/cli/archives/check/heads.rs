//! What of a user's events fits together: ids come once, and former versions are of an event that is
//! there. Neither is known before all events were read, so that those in question are read again; most
//! archives have none.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use homecore_archive::{ArchiveError, Place, Record, Section, Source};
use homecore_kernel::archive::event::{self, EventRecord};
use serde_json::Value;

use super::{Checker, is_account_event, is_account_stream, too_large};

/// Events with former versions whose ids are remembered.
const HEADS_MAX: usize = 5_000_000;
/// Events that are compared with each other. Of more than that the core finds those that come twice.
const HASHES_MAX: usize = 64 * 1024 * 1024;

/// Ids of events.
#[derive(Default)]
pub(super) struct Ids {
    /// Of all of them, the hashes: two that are equal are looked at again.
    hashes: Vec<u64>,
    /// Of those that former versions belong to.
    former: BTreeSet<String>,
}

impl Ids {
    /// One more event.
    pub(super) fn add(&mut self, id: &str) {
        if self.hashes.len() < HASHES_MAX {
            self.hashes.push(hash_of(id));
        }
    }

    /// One more former version.
    pub(super) fn add_former(&mut self, head: String, place: &Place) -> Result<(), ArchiveError> {
        self.former.insert(head);
        if self.former.len() > HEADS_MAX {
            let of = "events with former versions";
            return Err(too_large(place.clone(), HEADS_MAX, of));
        }
        Ok(())
    }

    /// The hashes that came more than once.
    fn repeated(&mut self) -> BTreeSet<u64> {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.sort_unstable();
        let pairs = hashes.windows(2);
        pairs
            .filter_map(|pair| match pair {
                [one, other] if one == other => Some(*one),
                _ => None,
            })
            .collect()
    }
}

fn hash_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl<S: Source> Checker<'_, S> {
    /// That no event comes twice. The first one stands.
    pub(super) fn twice(&mut self) -> Result<(), ArchiveError> {
        let repeated = self.event_ids.repeated();
        if repeated.is_empty() {
            return Ok(());
        }
        let (user, mut seen) = (self.user, BTreeSet::new());
        for record in user.records(Section::Events)? {
            let Some((record, id)) = self.sent_event(record) else {
                continue;
            };
            if !repeated.contains(&hash_of(&id)) {
                continue;
            }
            if seen.contains(&id) {
                self.damaged(&record.place, || format!("event {id:?} is there twice"));
            } else if !self.plan.is_full() {
                seen.insert(id);
            }
        }
        Ok(())
    }

    /// That the events of all former versions are there, and are sent.
    pub(super) fn heads(&mut self) -> Result<(), ArchiveError> {
        let mut orphans = std::mem::take(&mut self.event_ids.former);
        if orphans.is_empty() {
            return Ok(());
        }
        let user = self.user;
        for record in user.records(Section::Events)? {
            if let Some((_, id)) = self.sent_event(record) {
                orphans.remove(&id);
            }
        }
        if orphans.is_empty() {
            return Ok(());
        }
        for record in user.records(Section::Events)? {
            let Ok(record) = record else { continue };
            let place = record.place;
            if !event::is_former(&record.object) || self.plan.leaves_out(&place) {
                continue;
            }
            let names_account = names_account(&record.object);
            if let Ok(taken) = event::read(record.object)
                && let EventRecord::Former(version) = taken.item
                && orphans.contains(&version.id)
            {
                if names_account {
                    self.plan.leave_out(&place);
                    self.report.leave_out("former versions of account fields");
                } else {
                    let id = version.id;
                    self.damaged(&place, || {
                        format!("it is a former version of event {id:?}, which is not there")
                    });
                }
            }
        }
        Ok(())
    }

    /// A record of an event or a deletion, if it is sent, with its id.
    fn sent_event(&self, record: Result<Record, ArchiveError>) -> Option<(Record, String)> {
        // What is no record was told by the first reading.
        let record = record.ok()?;
        if event::is_former(&record.object) || self.plan.leaves_out(&record.place) {
            return None;
        }
        if names_account(&record.object)
            && let Ok(taken) = event::read(record.object.clone())
            && let EventRecord::Event(event) = taken.item
            && is_account_event(&event)
        {
            return None;
        }
        let id = record.object.get("id")?.as_str()?.to_owned();
        Some((record, id))
    }
}

/// Whether a record names a stream of the account: its event may be one of its fields.
fn names_account(object: &serde_json::Map<String, Value>) -> bool {
    let several = ["streamIds", "stream_ids"].iter();
    let several = several
        .filter_map(|name| object.get(*name)?.as_array())
        .flatten();
    several
        .chain(object.get("streamId"))
        .filter_map(Value::as_str)
        .any(is_account_stream)
}
