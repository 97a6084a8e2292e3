//! The answers that nearly all questions get, without making records of them: the addresses of a name,
//! that it has none of the kind, or that there is no such name. The rest is [`Zone::answer`]'s, and
//! so are these over TCP; both find names alike.

use std::net::IpAddr;

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, RecordType};

use super::Zone;
use crate::name::Key;

/// A question for addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainQuestion<'q> {
    /// The name in wire form, in the case it came in, with the root.
    pub(crate) name: &'q [u8],
    /// A or AAAA.
    pub(crate) record_type: RecordType,
    /// See [`super::Question::rotation`].
    pub(crate) rotation: u16,
}

/// An answer to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plain<'z> {
    /// Addresses of the kind that was asked for, those in `first` before those in `then`.
    Addresses {
        first: &'z [RData],
        then: &'z [RData],
        ttl_s: u32,
    },
    /// The name has none of the kind.
    NoData(Negative<'z>),
    /// There is no such name.
    NoName(Negative<'z>),
}

/// What says how long a negative answer may be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negative<'z> {
    /// Bytes of the question's name below the zone's.
    pub(crate) below: usize,
    pub(crate) ttl_s: u32,
    pub(crate) soa: &'z SOA,
    zone: &'z Zone,
}

impl Zone {
    /// The answer to a plain question, if it is one of those here.
    pub(crate) fn answer_plain(&self, question: &PlainQuestion<'_>) -> Option<Plain<'_>> {
        let key = Key::within_wire(question.name, &self.rows.origin)?;
        let RData::SOA(soa) = &self.negative_soa.data else {
            return None;
        };
        let negative = Negative {
            below: key.as_bytes().len(),
            ttl_s: self.negative_soa.ttl,
            soa,
            zone: self,
        };
        let Some(found) = self.find(&key) else {
            return Some(Plain::NoName(negative));
        };
        if found.node.alias().is_some() {
            return None;
        }
        let set = found.node.set(question.record_type).unwrap_or_default();
        if set.is_empty() {
            return Some(Plain::NoData(negative));
        }
        let start = usize::from(question.rotation).checked_rem(set.len())?;
        let (then, first) = set.split_at_checked(start)?;
        Some(Plain::Addresses {
            first,
            then,
            ttl_s: found.ttl_s,
        })
    }
}

impl Negative<'_> {
    /// The labels of a name that lies in the zone, up to the zone's own; none if it does not.
    pub(crate) fn labels_below<'n>(
        &self,
        name: &'n Name,
    ) -> Option<impl Iterator<Item = &'n [u8]> + use<'n>> {
        Key::within(name, &self.zone.origin)?;
        let depth = name
            .iter()
            .count()
            .checked_sub(self.zone.origin.iter().count())?;
        Some(name.iter().take(depth))
    }
}

/// The address of a record.
pub(crate) fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}
