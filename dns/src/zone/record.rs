//! One entry: from a label and its records to a key and a node.

use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Node, RecordError};
use crate::facts::{Caa, RecordSet};
use crate::name::{self, Key, NameError};

/// Records of one type at one entry.
pub const RECORDS_PER_TYPE_MAX: usize = 64;
/// Bytes of all texts of one entry, of TXT and CAA together: what any answer needs for them fits
/// a TCP message.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Largest TTL (RFC 2181 §8), and largest time that an SOA holds here.
pub(super) const SECONDS_MAX: u32 = 0x7fff_ffff;
/// A string inside a TXT record (RFC 1035 §3.3).
const TXT_STRING_BYTES_MAX: usize = 255;

/// Checks an entry before it is written: what passes here is served as given.
///
/// # Errors
/// Says why the entry cannot be served.
pub fn check_record(domain: &str, label: &str, set: &RecordSet) -> Result<(), RecordError> {
    let origin = name::absolute(domain).map_err(RecordError::Label)?;
    key_of(label, &origin)?;
    node_of(set, 0).map(drop)
}

/// A label's key, and the label again if it is a single one.
pub(super) fn key_of(
    label: &str,
    origin: &Name,
) -> Result<(Box<[u8]>, Option<String>), RecordError> {
    let full = name::below(label, origin).map_err(RecordError::Label)?;
    let key = Key::within(&full, origin)
        .ok_or_else(|| RecordError::Label(NameError::Long(label.to_owned())))?;
    Ok((Box::from(key.as_bytes()), key.as_label().map(str::to_owned)))
}

pub(super) fn node_of(set: &RecordSet, ttl_s: u32) -> Result<Node, RecordError> {
    let mut node = Node {
        ttl_s,
        ..Node::default()
    };
    if let Some(target) = &set.cname {
        if set.has_data() {
            return Err(RecordError::CnameAndData);
        }
        let target = name::absolute(target).map_err(RecordError::Cname)?;
        push(
            &mut node,
            RecordType::CNAME,
            vec![RData::CNAME(CNAME(target))],
        );
        return Ok(node);
    }
    let texts = set.txt.iter().chain(set.caa.iter().map(|caa| &caa.value));
    let bytes = texts.map(String::len).fold(0, usize::saturating_add);
    if bytes > TEXT_BYTES_MAX {
        return Err(RecordError::Text { bytes });
    }
    let mut mx = Vec::with_capacity(set.mx.len());
    for server in &set.mx {
        let exchange = name::absolute(&server.exchange).map_err(RecordError::Mx)?;
        mx.push(RData::MX(MX::new(server.preference, exchange)));
    }
    let caa = set.caa.iter().map(caa_of).collect::<Result<Vec<_>, _>>()?;
    // The order in which ANY chooses: what is asked for most and is smallest comes first.
    let sets = [
        (
            RecordType::A,
            set.a.iter().map(|ip| RData::A(A(*ip))).collect(),
        ),
        (
            RecordType::AAAA,
            set.aaaa.iter().map(|ip| RData::AAAA(AAAA(*ip))).collect(),
        ),
        (RecordType::MX, mx),
        (RecordType::CAA, caa),
        (
            RecordType::TXT,
            set.txt.iter().map(|text| txt_of(text)).collect(),
        ),
    ];
    for (kind, values) in sets {
        let values: Vec<RData> = values;
        if values.len() > RECORDS_PER_TYPE_MAX {
            return Err(RecordError::Count {
                kind,
                count: values.len(),
            });
        }
        push(&mut node, kind, values);
    }
    Ok(node)
}

pub(super) fn push(node: &mut Node, kind: RecordType, values: Vec<RData>) {
    if !values.is_empty() {
        node.sets.push((kind, values.into_boxed_slice()));
    }
}

fn txt_of(text: &str) -> RData {
    let mut strings: Vec<&[u8]> = text.as_bytes().chunks(TXT_STRING_BYTES_MAX).collect();
    if strings.is_empty() {
        strings.push(b"");
    }
    RData::TXT(TXT::from_bytes(strings))
}

fn caa_of(caa: &Caa) -> Result<RData, RecordError> {
    let tag_fits = (1..=15).contains(&caa.tag.len());
    if !tag_fits || !caa.tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(RecordError::CaaTag(caa.tag.clone()));
    }
    let mut data = CAA::new_issue(caa.flags & 0x80 != 0, None, Vec::new());
    data.reserved_flags = caa.flags & 0x7f;
    data.tag = caa.tag.to_ascii_lowercase();
    data.value = caa.value.clone().into_bytes();
    Ok(RData::CAA(data))
}
