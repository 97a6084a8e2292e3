//! The zone: from a question to an answer, as a pure function of an immutable snapshot.
//!
//! The rules and their order are those of spec/platform §7.2, with the recommendations of §7.6: the
//! zone's own name; `lsc`, all cores; `reg`, `access`, `mfa`, the cores to be used now; entries of
//! the configuration, then those made at run time; cores; users; nothing. Rows that change rarely
//! are laid out when the zone is built and shared by all snapshots ([`Zone::with_users`]); users
//! are a million and change all the time, so they are asked for through [`Names`].
//!
//! Deliberately not here: wildcards, delegations, DNSSEC, zone transfers. Users are never listed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use homecore_types::CoreId;

use crate::facts::ZoneFacts;
use crate::name::Key;

mod build;
mod plain;
mod problem;
mod record;

pub use crate::name::NameError;
pub(crate) use plain::{Negative, Plain, PlainQuestion, address};
pub use problem::{Problem, RecordError, Shadow, ZoneError};
pub use record::{RECORDS_PER_TYPE_MAX, TEXT_BYTES_MAX, check_record};

/// Steps of a chain of CNAMEs followed inside the zone for one answer.
pub const CNAME_STEPS_MAX: usize = 8;
/// Addresses of name or mail servers added to an answer that did not ask for them.
pub const ADDITIONAL_RECORDS_MAX: usize = 16;

/// Where users live. Asked for each query that nothing else answers: it must come from memory and
/// not wait.
pub trait Names: Send + Sync + fmt::Debug {
    /// The home core of a user, by name or alias. `label` is lower-case and a valid label.
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>>;
}

/// A platform without users.
impl Names for () {
    fn core_of(&self, _label: &str) -> Option<Cow<'_, str>> {
        None
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The name, in the case it came in: answers are given in the same (0x20).
    pub name: &'q Name,
    /// The type.
    pub record_type: RecordType,
    /// Any number that differs between queries: the addresses of a name are rotated by it.
    pub rotation: u16,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'z> {
    /// NOERROR, NXDOMAIN or REFUSED.
    pub rcode: ResponseCode,
    /// The zone speaks for the name.
    pub authoritative: bool,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section: the SOA of a negative answer.
    pub authority: Option<&'z Record>,
    /// Additional section; may be left out.
    pub additional: Vec<Record>,
}

impl Answer<'_> {
    fn refused() -> Self {
        Self {
            rcode: ResponseCode::Refused,
            authoritative: false,
            answers: Vec::new(),
            authority: None,
            additional: Vec::new(),
        }
    }
}

/// One state of the zone. Cheap to replace: see [`Zone::with_users`].
#[derive(Clone, Debug)]
pub struct Zone {
    origin: Name,
    generation: u64,
    serial_base: u32,
    /// As asked for.
    soa: Record,
    /// As added to negative answers: its TTL is how long those may be kept (RFC 2308 §3).
    negative_soa: Record,
    user_ttl_s: u32,
    rows: Arc<Rows>,
    names: Arc<dyn Names>,
}

/// Everything that is laid out when the zone is built.
#[derive(Debug)]
struct Rows {
    /// The zone's name in wire form.
    origin: Box<[u8]>,
    apex: Node,
    /// Service names, entries, and the names that exist only because something is below them.
    named: BTreeMap<Box<[u8]>, Node>,
    cores: BTreeMap<CoreId, Node>,
    /// Stands in for a home core that is not in the list.
    nowhere: Node,
    problems: Vec<Problem>,
}

/// The records of one name.
#[derive(Debug, Default)]
struct Node {
    ttl_s: u32,
    /// Exists only as a part of longer names (an "empty non-terminal").
    implied: bool,
    /// In the order in which ANY prefers them. A CNAME stands alone.
    sets: Vec<(RecordType, Box<[RData]>)>,
}

impl Node {
    fn set(&self, wanted: RecordType) -> Option<&[RData]> {
        self.sets
            .iter()
            .find(|(have, _)| *have == wanted)
            .map(|(_, set)| &**set)
    }

    fn alias(&self) -> Option<&Name> {
        match self.set(RecordType::CNAME)?.first()? {
            RData::CNAME(target) => Some(&target.0),
            _ => None,
        }
    }
}

/// A name that exists, and how long what it says may be kept.
struct Found<'z> {
    node: &'z Node,
    ttl_s: u32,
}

impl Zone {
    /// Lays out the zone. What is wrong with a single entry made at run time or with a core's
    /// `cname` does not stop it: the entry is left out and named in [`Zone::problems`], for one
    /// bad row must not take a platform's names away.
    ///
    /// # Errors
    /// When the domain, the SOA, the name servers or an entry of the configuration is not usable.
    pub fn build(facts: &ZoneFacts, names: Arc<dyn Names>) -> Result<Self, ZoneError> {
        build::build(facts, names)
    }

    /// The same zone after a change of users: everything else is shared with this one.
    #[must_use]
    pub fn with_users(&self, generation: u64, names: Arc<dyn Names>) -> Self {
        let mut next = Self {
            generation,
            names,
            ..self.clone()
        };
        let serial = next.serial();
        for soa in [&mut next.soa, &mut next.negative_soa] {
            if let RData::SOA(data) = &mut soa.data {
                data.serial = serial;
            }
        }
        next
    }

    /// The zone's name.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The generation of the facts that this zone shows.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The SOA's serial: `serial_base` plus the generation, in 32 bits. It grows with every change
    /// that the generation counts, and is the same on every core that shows the same generation.
    /// It wraps, which RFC 1982 allows as long as a reader looks once in 2³¹ changes.
    #[must_use]
    pub fn serial(&self) -> u32 {
        serial(self.serial_base, self.generation)
    }

    /// What was left out, and why.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.rows.problems
    }

    /// Answers one question.
    ///
    /// ANY gets one set of records (RFC 8482 §4.1), the smallest kind the name has: addresses
    /// before texts. A CNAME is given for every type and followed as long as it stays in the zone,
    /// for [`CNAME_STEPS_MAX`] steps; the response code is that of the last name (RFC 6604).
    #[must_use]
    pub fn answer(&self, question: &Question<'_>) -> Answer<'_> {
        let Some(mut key) = Key::within(question.name, &self.origin) else {
            return Answer::refused();
        };
        let mut answer = Answer {
            rcode: ResponseCode::NoError,
            authoritative: true,
            answers: Vec::new(),
            authority: None,
            additional: Vec::new(),
        };
        let mut owner = question.name;
        for _ in 0..CNAME_STEPS_MAX {
            let Some(found) = self.find(&key) else {
                answer.rcode = ResponseCode::NXDomain;
                answer.authority = Some(&self.negative_soa);
                return answer;
            };
            let wants_alias = matches!(question.record_type, RecordType::CNAME | RecordType::ANY);
            let alias = if wants_alias {
                None
            } else {
                found.node.alias()
            };
            let Some(target) = alias else {
                self.fill(&mut answer, &key, &found, owner, question);
                return answer;
            };
            answer
                .answers
                .extend(records(owner, &found, RecordType::CNAME, 0));
            let seen = answer.answers.iter().any(|record| record.name == *target);
            let next = Key::within(target, &self.origin).filter(|_| !seen);
            let Some(next) = next else { return answer };
            key = next;
            owner = target;
        }
        answer
    }

    /// Looks a name up, in the order of the rules.
    fn find(&self, key: &Key) -> Option<Found<'_>> {
        if key.is_apex() {
            return Some(Found {
                node: &self.rows.apex,
                ttl_s: self.rows.apex.ttl_s,
            });
        }
        let named = self.rows.named.get(key.as_bytes());
        if let Some(node) = named.filter(|node| !node.implied) {
            return Some(Found {
                node,
                ttl_s: node.ttl_s,
            });
        }
        if let Some(label) = key.as_label() {
            if let Some(node) = self.rows.cores.get(label) {
                return Some(Found {
                    node,
                    ttl_s: node.ttl_s,
                });
            }
            if let Some(core) = self.names.core_of(label) {
                // A user whose core is not listed exists all the same: "no data", not "no name".
                let node = self.rows.cores.get(&*core).unwrap_or(&self.rows.nowhere);
                return Some(Found {
                    node,
                    ttl_s: self.user_ttl_s,
                });
            }
        }
        named.map(|node| Found {
            node,
            ttl_s: node.ttl_s,
        })
    }

    /// Adds the records of the last name of a chain, or the SOA where there are none.
    fn fill<'z>(
        &'z self,
        answer: &mut Answer<'z>,
        key: &Key,
        found: &Found<'_>,
        owner: &Name,
        question: &Question<'_>,
    ) {
        let wanted = match question.record_type {
            RecordType::ANY => found
                .node
                .sets
                .first()
                .map_or(RecordType::SOA, |(kind, _)| *kind),
            other => other,
        };
        if wanted == RecordType::SOA && key.is_apex() {
            let mut soa = self.soa.clone();
            soa.name.clone_from(owner);
            answer.answers.push(soa);
            return;
        }
        let before = answer.answers.len();
        answer
            .answers
            .extend(records(owner, found, wanted, question.rotation));
        if answer.answers.len() == before {
            answer.authority = Some(&self.negative_soa);
            return;
        }
        if matches!(wanted, RecordType::NS | RecordType::MX) {
            self.add_addresses(answer);
        }
    }

    /// Adds the addresses of the servers that an NS or MX answer names, as far as they are in the
    /// zone.
    fn add_addresses(&self, answer: &mut Answer<'_>) {
        for record in &answer.answers {
            let target = match &record.data {
                RData::NS(ns) => &ns.0,
                RData::MX(mx) => &mx.exchange,
                _ => continue,
            };
            let Some(key) = Key::within(target, &self.origin) else {
                continue;
            };
            let Some(found) = self.find(&key) else {
                continue;
            };
            for kind in [RecordType::A, RecordType::AAAA] {
                let room = ADDITIONAL_RECORDS_MAX.saturating_sub(answer.additional.len());
                answer
                    .additional
                    .extend(records(target, &found, kind, 0).take(room));
            }
        }
    }
}

/// The records of one type at a name, starting at a place given by `rotation`.
fn records<'z>(
    owner: &'z Name,
    found: &Found<'z>,
    wanted: RecordType,
    rotation: u16,
) -> impl Iterator<Item = Record> + use<'z> {
    let set = found.node.set(wanted).unwrap_or_default();
    let start = usize::from(rotation).checked_rem(set.len()).unwrap_or(0);
    let (head, tail) = set.split_at_checked(start).unwrap_or((set, &[]));
    let ttl_s = found.ttl_s;
    tail.iter()
        .chain(head)
        .map(move |data| Record::from_rdata(owner.clone(), ttl_s, data.clone()))
}

fn serial(base: u32, generation: u64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 32 bits are what is wanted"
    )]
    let low = generation as u32;
    base.wrapping_add(low)
}

/// The two SOA records of a zone: as asked for, and as added to negative answers.
fn soa_records(origin: &Name, ttl_s: u32, soa: &SOA) -> (Record, Record) {
    let record = |ttl_s| Record::from_rdata(origin.clone(), ttl_s, RData::SOA(soa.clone()));
    (record(ttl_s), record(ttl_s.min(soa.minimum)))
}

#[cfg(test)]
mod tests;
