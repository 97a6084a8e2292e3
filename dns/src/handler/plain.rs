//! The messages that nearly all are, byte by byte: a question for addresses, with nothing beside it but a
//! plain OPT, and its answer (adr/0002). The way of [`super`] makes names and records of every message.
//!
//! Only what is wholly understood is read here. Whatever is unusual goes the other way, which bounds
//! what foreign bytes can do; a property test holds the two ways together.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use homecore_types::limits::DNS_UDP_BYTES_MAX;

use super::{HEADER_BYTES, PLAIN_UDP_BYTES};
use crate::limit::Kind;
use crate::zone::{Negative, Plain, PlainQuestion, address};

/// Longest name in wire form (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// An OPT record without options (RFC 6891 §6.1.2).
const OPT_BYTES: usize = 11;
/// A pointer to another place of the message (RFC 1035 §4.1.4).
const POINTER: u16 = 0xc000;
const CLASS_IN: u16 = 1;
const DNSSEC_OK: u16 = 0x8000;

/// Bits of the header's second word (RFC 1035 §4.1.1, RFC 4035 §3.2).
mod flag {
    pub(super) const RESPONSE: u16 = 0x8000;
    pub(super) const AUTHORITATIVE: u16 = 0x0400;
    pub(super) const TRUNCATED: u16 = 0x0200;
    pub(super) const RECURSION_DESIRED: u16 = 0x0100;
    pub(super) const AUTHENTIC: u16 = 0x0020;
    pub(super) const CHECKING_DISABLED: u16 = 0x0010;
}

/// A message that asks for addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'m> {
    pub(super) question: PlainQuestion<'m>,
    flags: u16,
    /// Name, type and class, to be repeated.
    asked: &'m [u8],
    edns: Option<Edns>,
}

#[derive(Clone, Copy, Debug)]
struct Edns {
    payload_bytes: u16,
    dnssec_ok: bool,
}

/// Reads a message, if it is one of those.
pub(super) fn read(message: &[u8]) -> Option<Query<'_>> {
    let word = |at: usize| {
        let bytes = message.get(at..at.checked_add(2)?)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let flags = word(2)?;
    let usual = flag::RECURSION_DESIRED | flag::AUTHENTIC | flag::CHECKING_DISABLED;
    let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
    let ([1, 0, 0, additionals @ (0 | 1)], 0) = (counts, flags & !usual) else {
        return None;
    };
    let name = name_at_start(message.get(HEADER_BYTES..)?)?;
    let name_end = HEADER_BYTES.checked_add(name.len())?;
    let record_type = match word(name_end)? {
        1 => RecordType::A,
        28 => RecordType::AAAA,
        _ => return None,
    };
    if word(name_end.checked_add(2)?)? != CLASS_IN {
        return None;
    }
    let asked_end = name_end.checked_add(4)?;
    let rest = message.get(asked_end..)?;
    let edns = match (additionals, rest) {
        (0, []) => None,
        // The root, the type, the payload, no extended code, version 0, flags, no options.
        (1, [0, 0, 41, size_high, size_low, 0, 0, flags_high, 0, 0, 0]) => {
            let flags = u16::from_be_bytes([*flags_high, 0]);
            if flags & !DNSSEC_OK != 0 {
                return None;
            }
            Some(Edns {
                payload_bytes: u16::from_be_bytes([*size_high, *size_low]),
                dnssec_ok: flags == DNSSEC_OK,
            })
        }
        _ => return None,
    };
    Some(Query {
        question: PlainQuestion {
            name,
            record_type,
            rotation: word(0)?,
        },
        flags,
        asked: message.get(HEADER_BYTES..asked_end)?,
        edns,
    })
}

/// A name that is spelled out, with the root.
fn name_at_start(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0_usize;
    loop {
        match bytes.get(at)? {
            0 => return bytes.get(..=at).filter(|name| name.len() <= NAME_BYTES_MAX),
            length @ 1..=63 => at = at.checked_add(usize::from(*length))?.checked_add(1)?,
            _ => return None,
        }
    }
}

/// How answers of this kind are counted by the rate limit.
pub(super) fn kind_of(answer: &Plain<'_>) -> Kind {
    match answer {
        Plain::Addresses { .. } => Kind::Data,
        Plain::NoData(_) => Kind::NoData,
        Plain::NoName(_) => Kind::NoName,
    }
}

/// The code of an answer.
pub(super) fn code_of(answer: &Plain<'_>) -> ResponseCode {
    match answer {
        Plain::Addresses { .. } | Plain::NoData(_) => ResponseCode::NoError,
        Plain::NoName(_) => ResponseCode::NXDomain,
    }
}

impl Query<'_> {
    /// Writes an answer into the room that whoever asks has; false if it does not fit.
    pub(super) fn answer(&self, answer: &Plain<'_>, reply: &mut Vec<u8>) -> bool {
        let (answers, authorities) = match answer {
            Plain::Addresses { first, then, .. } => (first.len().saturating_add(then.len()), 0),
            Plain::NoData(_) | Plain::NoName(_) => (0, 1),
        };
        let Ok(answers) = u16::try_from(answers) else {
            return false;
        };
        self.begin(0, code_of(answer), [answers, authorities], reply);
        match answer {
            Plain::Addresses { first, then, ttl_s } => {
                for data in first.iter().chain(*then) {
                    if !address_record(data, *ttl_s, reply) {
                        return false;
                    }
                }
            }
            Plain::NoData(negative) | Plain::NoName(negative) => soa_record(negative, reply),
        }
        self.end(reply);
        reply.len() <= self.room()
    }

    /// Writes an answer without records that says that they were left out.
    pub(super) fn truncated(&self, answer: &Plain<'_>, reply: &mut Vec<u8>) {
        self.begin(flag::TRUNCATED, code_of(answer), [0, 0], reply);
        self.end(reply);
    }

    fn room(&self) -> usize {
        let room = self.edns.map_or(PLAIN_UDP_BYTES, |edns| {
            edns.payload_bytes.clamp(PLAIN_UDP_BYTES, DNS_UDP_BYTES_MAX)
        });
        usize::from(room)
    }

    /// Header and question.
    fn begin(&self, flags: u16, code: ResponseCode, counts: [u16; 2], reply: &mut Vec<u8>) {
        let theirs = self.flags & (flag::RECURSION_DESIRED | flag::CHECKING_DISABLED);
        let flags = flag::RESPONSE | flag::AUTHORITATIVE | flags | theirs | u16::from(code.low());
        let [answers, authorities] = counts;
        let additionals = u16::from(self.edns.is_some());
        reply.clear();
        for word in [
            self.question.rotation,
            flags,
            1,
            answers,
            authorities,
            additionals,
        ] {
            reply.extend_from_slice(&word.to_be_bytes());
        }
        reply.extend_from_slice(self.asked);
    }

    /// OPT.
    fn end(&self, reply: &mut Vec<u8>) {
        let Some(edns) = self.edns else { return };
        let [size_high, size_low] = DNS_UDP_BYTES_MAX.to_be_bytes();
        let [flags_high, flags_low] = if edns.dnssec_ok { DNSSEC_OK } else { 0 }.to_be_bytes();
        let opt: [u8; OPT_BYTES] = [
            0, 0, 41, size_high, size_low, 0, 0, flags_high, flags_low, 0, 0,
        ];
        reply.extend_from_slice(&opt);
    }
}

/// A pointer to where the question's name goes on after so many bytes.
fn pointer(below: usize) -> [u8; 2] {
    let at = HEADER_BYTES.saturating_add(below);
    // A name has 255 bytes at most.
    (POINTER | u16::try_from(at).unwrap_or(0)).to_be_bytes()
}

/// Name, type, class and time to live.
fn record(name: [u8; 2], record_type: RecordType, ttl_s: u32, reply: &mut Vec<u8>) {
    reply.extend_from_slice(&name);
    reply.extend_from_slice(&u16::from(record_type).to_be_bytes());
    reply.extend_from_slice(&CLASS_IN.to_be_bytes());
    reply.extend_from_slice(&ttl_s.to_be_bytes());
}

fn address_record(data: &RData, ttl_s: u32, reply: &mut Vec<u8>) -> bool {
    match address(data) {
        Some(IpAddr::V4(ip)) => {
            record(pointer(0), RecordType::A, ttl_s, reply);
            reply.extend_from_slice(&[0, 4]);
            reply.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            record(pointer(0), RecordType::AAAA, ttl_s, reply);
            reply.extend_from_slice(&[0, 16]);
            reply.extend_from_slice(&ip.octets());
        }
        None => return false,
    }
    true
}

fn soa_record(negative: &Negative<'_>, reply: &mut Vec<u8>) {
    record(
        pointer(negative.below),
        RecordType::SOA,
        negative.ttl_s,
        reply,
    );
    let length_at = reply.len();
    reply.extend_from_slice(&[0, 0]);
    let data_at = reply.len();
    name(&negative.soa.mname, negative, reply);
    name(&negative.soa.rname, negative, reply);
    reply.extend_from_slice(&negative.soa.serial.to_be_bytes());
    for seconds in [
        negative.soa.refresh,
        negative.soa.retry,
        negative.soa.expire,
    ] {
        reply.extend_from_slice(&seconds.to_be_bytes());
    }
    reply.extend_from_slice(&negative.soa.minimum.to_be_bytes());
    let length = reply.len().saturating_sub(data_at);
    // Two names and five numbers: 530 bytes at most.
    let length = u16::try_from(length).unwrap_or(0).to_be_bytes();
    if let Some(place) = reply.get_mut(length_at..data_at) {
        place.copy_from_slice(&length);
    }
}

/// A name: up to the zone's own, and a pointer there; spelled out if it is of another zone.
fn name(name: &Name, negative: &Negative<'_>, reply: &mut Vec<u8>) {
    match negative.labels_below(name) {
        Some(labels) => {
            labels.for_each(|label| push_label(label, reply));
            reply.extend_from_slice(&pointer(negative.below));
        }
        None => {
            name.iter().for_each(|label| push_label(label, reply));
            reply.push(0);
        }
    }
}

fn push_label(label: &[u8], reply: &mut Vec<u8>) {
    // A label has 63 bytes at most.
    reply.push(u8::try_from(label.len()).unwrap_or(0));
    reply.extend_from_slice(label);
}

#[cfg(test)]
mod tests;
