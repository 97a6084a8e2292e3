//! From facts to rows. What belongs to the configuration must be right, or the zone is refused;
//! what came in at run time is taken as far as it is usable, and the rest is reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, RecordType};
use homecore_types::CoreId;

use super::record::{RECORDS_PER_TYPE_MAX, key_of, node_of, push};
use super::{Names, Node, Problem, RecordError, Rows, Shadow, Zone, ZoneError};
use super::{serial, soa_records};
use crate::facts::{CoreFact, RecordSet, ZoneFacts};
use crate::name::{self, ancestors};

/// Addresses that `reg`, `access` and `mfa` answer; with more cores, the first by id.
const SERVICE_ADDRESSES_MAX: usize = 32;
/// Addresses that `lsc` answers, of each family; bounded so that an answer fits a TCP message.
const ALL_ADDRESSES_MAX: usize = 1_000;

/// Names that list the cores to be used now (spec/platform §7.2, row 3).
const SERVICES: [&str; 3] = ["reg", "access", "mfa"];
/// The name that lists all cores (row 2).
const ALL_CORES: &str = "lsc";

pub(super) fn build(facts: &ZoneFacts, names: Arc<dyn Names>) -> Result<Zone, ZoneError> {
    let origin = name::absolute(&facts.domain).map_err(ZoneError::Domain)?;
    if origin.is_root() {
        return Err(ZoneError::Root);
    }
    for (field, seconds) in [
        ("dns.defaultTTL", facts.ttl_s),
        ("the TTL of users", facts.user_ttl_s),
    ] {
        seconds_of(field, seconds)?;
    }
    let soa = soa_of(facts)?;
    let apex = apex_of(facts, &soa)?;

    let mut rows = Rows {
        origin: name::wire(&origin),
        apex,
        named: BTreeMap::new(),
        cores: BTreeMap::new(),
        nowhere: Node::default(),
        problems: Vec::new(),
    };
    add_cores(&mut rows, facts);
    add_services(&mut rows, facts, &origin);
    add_statics(&mut rows, facts, &origin)?;
    add_records(&mut rows, facts, &origin);
    add_implied(&mut rows, facts.ttl_s);

    let (soa, negative_soa) = soa_records(&origin, facts.ttl_s, &soa);
    Ok(Zone {
        origin,
        generation: facts.generation,
        serial_base: facts.soa.serial_base,
        soa,
        negative_soa,
        user_ttl_s: facts.user_ttl_s,
        rows: Arc::new(rows),
        names,
    })
}

fn seconds_of(field: &'static str, seconds: u32) -> Result<i32, ZoneError> {
    i32::try_from(seconds).map_err(|_too_large| ZoneError::Seconds { field, seconds })
}

fn soa_of(facts: &ZoneFacts) -> Result<SOA, ZoneError> {
    let soa = &facts.soa;
    let primary = name::absolute(&soa.primary).map_err(|source| ZoneError::Soa {
        field: "primary",
        source,
    })?;
    let admin = name::mailbox(&soa.admin).map_err(|source| ZoneError::Soa {
        field: "admin",
        source,
    })?;
    seconds_of("the SOA's minimum", soa.minimum)?;
    Ok(SOA::new(
        primary,
        admin,
        serial(soa.serial_base, facts.generation),
        seconds_of("the SOA's refresh", soa.refresh)?,
        seconds_of("the SOA's retry", soa.retry)?,
        seconds_of("the SOA's expire", soa.expire)?,
        soa.minimum,
    ))
}

fn apex_of(facts: &ZoneFacts, soa: &SOA) -> Result<Node, ZoneError> {
    if facts.apex.cname.is_some() {
        return Err(ZoneError::Apex(RecordError::CnameAtApex));
    }
    let mut node = node_of(&facts.apex, facts.ttl_s).map_err(ZoneError::Apex)?;
    let mut servers = Vec::with_capacity(facts.ns.len().max(1));
    for server in &facts.ns {
        servers.push(RData::NS(NS(
            name::absolute(server).map_err(ZoneError::NameServer)?
        )));
    }
    if servers.is_empty() {
        servers.push(RData::NS(NS(soa.mname.clone())));
    }
    if servers.len() > RECORDS_PER_TYPE_MAX {
        let count = servers.len();
        return Err(ZoneError::Apex(RecordError::Count {
            kind: RecordType::NS,
            count,
        }));
    }
    push(&mut node, RecordType::NS, servers);
    Ok(node)
}

fn add_cores(rows: &mut Rows, facts: &ZoneFacts) {
    for core in &facts.cores {
        let mut node = Node {
            ttl_s: facts.ttl_s,
            ..Node::default()
        };
        let most = RECORDS_PER_TYPE_MAX;
        let a = core
            .a
            .iter()
            .take(most)
            .map(|ip| RData::A(A(*ip)))
            .collect();
        let aaaa = core
            .aaaa
            .iter()
            .take(most)
            .map(|ip| RData::AAAA(AAAA(*ip)))
            .collect();
        push(&mut node, RecordType::A, a);
        push(&mut node, RecordType::AAAA, aaaa);
        if let Some(target) = &core.cname {
            match name::absolute(target) {
                Ok(_) if !node.sets.is_empty() => {}
                Ok(target) => {
                    push(
                        &mut node,
                        RecordType::CNAME,
                        vec![RData::CNAME(CNAME(target))],
                    );
                }
                Err(source) => {
                    rows.problems.push(Problem::CoreCname {
                        core: core.id.clone(),
                        source,
                    });
                }
            }
        }
        rows.cores.insert(core.id.clone(), node);
    }
}

fn add_services(rows: &mut Rows, facts: &ZoneFacts, origin: &Name) {
    let all: Vec<&CoreFact> = facts.cores.iter().collect();
    let usable: Vec<&CoreFact> = all
        .iter()
        .copied()
        .filter(|c| c.serving && c.live)
        .collect();
    // Better an address that may not answer than none: nobody can register without one.
    let usable = if usable.is_empty() { &all } else { &usable };

    let mut service = |label: &str, cores: &[&CoreFact], ttl_s: u32, most: usize| {
        if let Ok((key, _)) = key_of(label, origin) {
            let node = cores_node(&rows.cores, cores, ttl_s, most);
            rows.named.insert(key, node);
        }
    };
    service(ALL_CORES, &all, facts.ttl_s, ALL_ADDRESSES_MAX);
    for label in SERVICES {
        service(label, usable, facts.user_ttl_s, SERVICE_ADDRESSES_MAX);
    }
}

/// The addresses of several cores under one name. Where no core has an address, an alias of the
/// first that has a public name: a name can be an alias of one other only.
fn cores_node(
    known: &BTreeMap<CoreId, Node>,
    cores: &[&CoreFact],
    ttl_s: u32,
    most: usize,
) -> Node {
    let mut node = Node {
        ttl_s,
        ..Node::default()
    };
    for kind in [RecordType::A, RecordType::AAAA] {
        let mut set: Vec<RData> = Vec::new();
        for core in cores {
            let theirs = known
                .get(&core.id)
                .and_then(|n| n.set(kind))
                .unwrap_or_default();
            for data in theirs {
                if set.len() < most && !set.contains(data) {
                    set.push(data.clone());
                }
            }
        }
        push(&mut node, kind, set);
    }
    if node.sets.is_empty() {
        let alias = cores
            .iter()
            .find_map(|core| known.get(&core.id)?.set(RecordType::CNAME));
        if let Some(alias) = alias {
            push(&mut node, RecordType::CNAME, alias.to_vec());
        }
    }
    node
}

fn add_statics(rows: &mut Rows, facts: &ZoneFacts, origin: &Name) -> Result<(), ZoneError> {
    for (label, set) in &facts.statics {
        let fail = |source| ZoneError::Static {
            label: label.clone(),
            source,
        };
        let (key, single) = key_of(label, origin).map_err(fail)?;
        let node = node_of(set, facts.ttl_s).map_err(fail)?;
        insert(rows, label, (key, single), node, Shadow::Twin);
    }
    Ok(())
}

fn add_records(rows: &mut Rows, facts: &ZoneFacts, origin: &Name) {
    let statics: Vec<Box<[u8]>> = facts
        .statics
        .keys()
        .filter_map(|label| key_of(label, origin).ok().map(|(key, _)| key))
        .collect();
    for (label, set) in &facts.records {
        let mut set = set.clone();
        if set.cname.is_some() && set.has_data() {
            rows.problems.push(Problem::DataBesideCname {
                label: label.clone(),
            });
            set = RecordSet {
                cname: set.cname,
                ..RecordSet::default()
            };
        }
        let made = key_of(label, origin).and_then(|key| Ok((key, node_of(&set, facts.ttl_s)?)));
        match made {
            Ok((key, node)) => {
                let by = if statics.contains(&key.0) {
                    Shadow::Static
                } else {
                    Shadow::Twin
                };
                insert(rows, label, key, node, by);
            }
            Err(source) => {
                rows.problems.push(Problem::Entry {
                    label: label.clone(),
                    source,
                });
            }
        }
    }
}

/// Adds an entry unless its name is taken; `by` is by what, if it is not by the platform.
fn insert(
    rows: &mut Rows,
    label: &str,
    (key, single): (Box<[u8]>, Option<String>),
    node: Node,
    by: Shadow,
) {
    if node.sets.is_empty() {
        return;
    }
    if rows.named.contains_key(&key) {
        let own = single.is_some_and(|s| s == ALL_CORES || SERVICES.contains(&s.as_str()));
        let by = if own { Shadow::Service } else { by };
        rows.problems.push(Problem::Shadowed {
            label: label.to_owned(),
            by,
        });
        return;
    }
    if single.is_some_and(|label| rows.cores.contains_key(label.as_str())) {
        rows.problems.push(Problem::HidesCore {
            label: label.to_owned(),
        });
    }
    rows.named.insert(key, node);
}

/// Makes the names exist that are parts of longer ones (RFC 8020).
fn add_implied(rows: &mut Rows, ttl_s: u32) {
    let implied: Vec<Box<[u8]>> = rows
        .named
        .keys()
        .flat_map(|key| ancestors(key))
        .map(Box::from)
        .collect();
    for key in implied {
        rows.named.entry(key).or_insert_with(|| Node {
            ttl_s,
            implied: true,
            sets: Vec::new(),
        });
    }
}
