//! What the platform knows about its zone, as plain values: the input of
//! [`Zone::build`](crate::Zone::build). No hickory type here, so that whoever gathers the facts
//! needs to know none.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use homecore_types::CoreId;

/// Everything in the zone but the users, who are asked for one by one through
/// [`Names`](crate::Names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    /// The platform's domain, the name of the zone (`dns.domain`).
    pub domain: String,
    /// Grows with every change of anything the zone answers from, users included: the applied
    /// index of the platform store. The zone's serial is made of it.
    pub generation: u64,
    /// TTL of records, in seconds (`dns.defaultTTL`).
    pub ttl_s: u32,
    /// TTL of answers that move: users and the service names `reg`, `access`, `mfa`.
    pub user_ttl_s: u32,
    /// The zone's SOA.
    pub soa: SoaFacts,
    /// Name servers of the zone. Empty: the SOA's primary.
    pub ns: Vec<String>,
    /// Further records of the zone's own name (`dns.records.root`). A CNAME is refused here.
    pub apex: RecordSet,
    /// The cores of the cluster.
    pub cores: Vec<CoreFact>,
    /// Entries of the configuration, by label (`dns.staticEntries`). They win over `records`.
    pub statics: BTreeMap<String, RecordSet>,
    /// Entries made at run time, by label, which may have dots (`_acme-challenge.alice`).
    pub records: BTreeMap<String, RecordSet>,
}

impl ZoneFacts {
    /// The facts of a zone with nothing in it and the default times.
    #[must_use]
    pub fn new(domain: impl Into<String>) -> Self {
        let domain = domain.into();
        Self {
            soa: SoaFacts::new(&domain),
            domain,
            generation: 0,
            ttl_s: 300,
            user_ttl_s: 60,
            ns: Vec::new(),
            apex: RecordSet::default(),
            cores: Vec::new(),
            statics: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }
}

/// What the SOA says, but for the generation's part of the serial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoaFacts {
    /// The primary name server.
    pub primary: String,
    /// Who answers for the zone, as an e-mail address or as a name.
    pub admin: String,
    /// Where the serial starts counting; the generation is added to it. A platform that comes from
    /// a server with serials of its own sets it to the last of them.
    pub serial_base: u32,
    /// Seconds.
    pub refresh: u32,
    /// Seconds.
    pub retry: u32,
    /// Seconds.
    pub expire: u32,
    /// How long a "no such name" or "no such data" may be kept, in seconds.
    pub minimum: u32,
}

impl SoaFacts {
    /// The defaults below a domain (spec/platform §7.3).
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self {
            primary: format!("core.{domain}"),
            admin: format!("hostmaster@{domain}"),
            serial_base: 0,
            refresh: 3_600,
            retry: 600,
            expire: 604_800,
            minimum: 60,
        }
    }
}

/// One core, as far as names are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreFact {
    /// The core's label.
    pub id: CoreId,
    /// Its public IPv4 addresses.
    pub a: Vec<Ipv4Addr>,
    /// Its public IPv6 addresses.
    pub aaaa: Vec<Ipv6Addr>,
    /// Its public name; answered only when the core has no address.
    pub cname: Option<String>,
    /// It takes part: neither joining nor removed.
    pub serving: bool,
    /// It has been heard of lately.
    pub live: bool,
}

/// The records of one name. With a CNAME nothing else is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordSet {
    /// IPv4 addresses.
    pub a: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub aaaa: Vec<Ipv6Addr>,
    /// The name that this one is an alias of; always taken as absolute.
    pub cname: Option<String>,
    /// Texts, one record each; long ones are cut into strings of 255 bytes.
    pub txt: Vec<String>,
    /// Mail servers.
    pub mx: Vec<Mx>,
    /// Who may issue certificates.
    pub caa: Vec<Caa>,
}

impl RecordSet {
    /// True when it holds nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cname.is_none() && !self.has_data()
    }

    /// True when it holds something besides a CNAME.
    #[must_use]
    pub fn has_data(&self) -> bool {
        !(self.a.is_empty()
            && self.aaaa.is_empty()
            && self.txt.is_empty()
            && self.mx.is_empty()
            && self.caa.is_empty())
    }
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first; 10 where nothing is said.
    pub preference: u16,
    /// The server's name, `.` for "no mail here" (RFC 7505).
    pub exchange: String,
}

/// A certification authority authorization (RFC 8659).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// 128 marks the property critical.
    pub flags: u8,
    /// `issue`, `issuewild`, `iodef` …
    pub tag: String,
    /// What the property says.
    pub value: String,
}
