//! What can be wrong with the facts of a zone: with the configuration, which refuses the zone, and
//! with single rows, which are left out of it.

use hickory_proto::rr::RecordType;
use homecore_types::CoreId;
use thiserror::Error;

use super::record::{RECORDS_PER_TYPE_MAX, SECONDS_MAX, TEXT_BYTES_MAX};
use crate::name::NameError;

/// Why a zone cannot be built from these facts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// The domain itself.
    #[error("dns.domain is not the name of a zone")]
    Domain(#[source] NameError),
    /// The root is not ours.
    #[error("dns.domain is the root; set it to the platform's domain")]
    Root,
    /// The SOA's primary or admin.
    #[error("the SOA's {field} is not usable")]
    Soa {
        /// `primary` or `admin`.
        field: &'static str,
        /// Why.
        #[source]
        source: NameError,
    },
    /// A TTL or a time of the SOA.
    #[error("{field} is {seconds} s; at most {SECONDS_MAX} is possible")]
    Seconds {
        /// Which.
        field: &'static str,
        /// As given.
        seconds: u32,
    },
    /// A name server.
    #[error("a name server of the zone is not usable")]
    NameServer(#[source] NameError),
    /// A record of the zone's own name.
    #[error("the records of the domain itself are not usable")]
    Apex(#[source] RecordError),
    /// An entry of the configuration.
    #[error("the static entry {label:?} is not usable")]
    Static {
        /// Its label.
        label: String,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// Why an entry cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The label itself.
    #[error("the label is not a name below the domain")]
    Label(#[source] NameError),
    /// The target of a CNAME.
    #[error("the target of the CNAME is not a name")]
    Cname(#[source] NameError),
    /// An alias has no data of its own (RFC 2181 §10.1).
    #[error("a name with a CNAME can have no other records; remove one or the other")]
    CnameAndData,
    /// The zone's own name has an SOA and name servers.
    #[error("the domain itself cannot have a CNAME")]
    CnameAtApex,
    /// A mail server.
    #[error("a mail server is not a name")]
    Mx(#[source] NameError),
    /// A CAA's tag.
    #[error("{0:?} is not a CAA tag: 1 to 15 letters or digits")]
    CaaTag(String),
    /// Too many of one kind.
    #[error("{count} {kind} records; at most {RECORDS_PER_TYPE_MAX} fit")]
    Count {
        /// The record type.
        kind: RecordType,
        /// As given.
        count: usize,
    },
    /// Too much text.
    #[error("{bytes} bytes of text; at most {TEXT_BYTES_MAX} fit")]
    Text {
        /// As given.
        bytes: usize,
    },
}

/// Something that was left out of a zone, or that cannot be reached in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// An entry made at run time is left out.
    #[error("the entry {label:?} is left out")]
    Entry {
        /// Its label.
        label: String,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// An entry made at run time has a CNAME and data; the CNAME is served.
    #[error("the entry {label:?} has a CNAME: its other records are not served")]
    DataBesideCname {
        /// Its label.
        label: String,
    },
    /// An entry whose name something with precedence has.
    #[error("the entry {label:?} is shadowed by {by}")]
    Shadowed {
        /// Its label.
        label: String,
        /// By what.
        by: Shadow,
    },
    /// An entry that takes a core's name away from it.
    #[error("the entry {label:?} hides the core of that name")]
    HidesCore {
        /// The label of both.
        label: String,
    },
    /// A core's public name is not one.
    #[error("the cname of core {core} is left out")]
    CoreCname {
        /// The core.
        core: CoreId,
        /// Why.
        #[source]
        source: NameError,
    },
}

/// What shadows an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shadow {
    /// `lsc`, `reg`, `access` or `mfa`.
    Service,
    /// An entry of the configuration.
    Static,
    /// An entry whose label differs in case only.
    Twin,
}

impl std::fmt::Display for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Service => "a name that the platform answers itself",
            Self::Static => "an entry of the configuration",
            Self::Twin => "an entry whose label differs in case only",
        })
    }
}
