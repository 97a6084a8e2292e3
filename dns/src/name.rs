//! Names: read from text at the edge, and cut into the part below the zone when a query comes in.
//!
//! A [`Key`] is that part in wire form (length, bytes, length, bytes …) and lower case. Wire form
//! rather than text, because a label may hold any byte, a dot included; on the stack, because one
//! is made for each query.

use hickory_proto::rr::Name;
use thiserror::Error;

/// Longest name in wire form (RFC 1035 §2.3.4).
const WIRE_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// Why a text is not a name that this zone can hold or point to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing between two dots, or nothing at all.
    #[error("{0:?} has an empty label")]
    Empty(String),
    /// See the message.
    #[error("{0:?} has a label longer than 63 bytes")]
    LongLabel(String),
    /// See the message.
    #[error("{0:?} is longer than a name may be (255 bytes)")]
    Long(String),
    /// See the message.
    #[error("{0:?} has a character that is not a letter, a digit, a dash or an underscore")]
    Character(String),
}

/// Reads an absolute name; a dot at its end is optional. `.` is the root.
pub(crate) fn absolute(text: &str) -> Result<Name, NameError> {
    if text == "." {
        return Ok(Name::root());
    }
    assemble(text, text.strip_suffix('.').unwrap_or(text), None)
}

/// Reads a label, or several with dots between them, below `origin`.
pub(crate) fn below(text: &str, origin: &Name) -> Result<Name, NameError> {
    assemble(text, text, Some(origin))
}

/// Reads the SOA's admin: an e-mail address, whose name part becomes one label, or a name.
pub(crate) fn mailbox(text: &str) -> Result<Name, NameError> {
    let Some((local, domain)) = text.split_once('@') else {
        return absolute(text);
    };
    let domain = absolute(domain)?;
    if local.is_empty() {
        return Err(NameError::Empty(text.to_owned()));
    }
    if local.len() > LABEL_BYTES_MAX {
        return Err(NameError::LongLabel(text.to_owned()));
    }
    if !local.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(NameError::Character(text.to_owned()));
    }
    let labels = std::iter::once(local.as_bytes()).chain(domain.iter());
    Name::from_labels(labels).map_err(|_too_long| NameError::Long(text.to_owned()))
}

fn assemble(text: &str, labels: &str, origin: Option<&Name>) -> Result<Name, NameError> {
    let lower = labels.to_ascii_lowercase();
    for label in lower.split('.') {
        if label.is_empty() {
            return Err(NameError::Empty(text.to_owned()));
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(NameError::LongLabel(text.to_owned()));
        }
        if !label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return Err(NameError::Character(text.to_owned()));
        }
    }
    let above = origin.into_iter().flat_map(Name::iter);
    Name::from_labels(lower.split('.').map(str::as_bytes).chain(above))
        .map_err(|_too_long| NameError::Long(text.to_owned()))
}

/// A name in wire form and lower case, with the root.
pub(crate) fn wire(name: &Name) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(WIRE_BYTES_MAX);
    for label in name {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    bytes.push(0);
    bytes.into()
}

/// The part of a name below the zone: lower case, wire form, without the root.
pub(crate) struct Key {
    bytes: [u8; WIRE_BYTES_MAX],
    len: usize,
}

impl Key {
    /// Cuts `origin` off `name`; `None` when the name is not in the zone. Compares label by label,
    /// so that `evilexample.com` is not in `example.com`.
    pub(crate) fn within(name: &Name, origin: &Name) -> Option<Self> {
        let depth = name.iter().count().checked_sub(origin.iter().count())?;
        let inside = name
            .iter()
            .skip(depth)
            .zip(origin.iter())
            .all(|(a, b)| a.eq_ignore_ascii_case(b));
        if !inside {
            return None;
        }
        let mut key = Self {
            bytes: [0; WIRE_BYTES_MAX],
            len: 0,
        };
        for label in name.iter().take(depth) {
            key.push(u8::try_from(label.len()).ok()?)?;
            for byte in label {
                key.push(byte.to_ascii_lowercase())?;
            }
        }
        Some(key)
    }

    /// As [`Key::within`], of a name in wire form that ends with the root. `origin` is one, too, in lower
    /// case.
    pub(crate) fn within_wire(name: &[u8], origin: &[u8]) -> Option<Self> {
        let below = name.len().checked_sub(origin.len())?;
        let (labels, suffix) = name.split_at_checked(below)?;
        // No length of a label is a letter: what ignores case compares lengths exactly.
        if !suffix.eq_ignore_ascii_case(origin) {
            return None;
        }
        let mut at = 0;
        while at < below {
            at = at
                .saturating_add(usize::from(*labels.get(at)?))
                .saturating_add(1);
        }
        // Otherwise what looks like the origin begins inside a label.
        if at != below {
            return None;
        }
        let mut key = Self {
            bytes: [0; WIRE_BYTES_MAX],
            len: below,
        };
        let bytes = key.bytes.get_mut(..below)?;
        bytes.copy_from_slice(labels);
        bytes.make_ascii_lowercase();
        Some(key)
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len = self.len.saturating_add(1);
        Some(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The zone's own name.
    pub(crate) fn is_apex(&self) -> bool {
        self.len == 0
    }

    /// The label directly below the zone, if the name is one and could be a core's or a user's.
    pub(crate) fn as_label(&self) -> Option<&str> {
        let (len, label) = self.as_bytes().split_first()?;
        if usize::from(*len) != label.len() {
            return None;
        }
        std::str::from_utf8(label)
            .ok()
            .filter(|text| homecore_types::id::is_label(text))
    }
}

/// The keys of all names between that of `key` and the zone, nearest first.
pub(crate) fn ancestors(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first()?;
        rest = tail.get(usize::from(*len)..)?;
        (!rest.is_empty()).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn the_suffix_is_compared_by_label_and_without_case() {
        let origin = absolute("example.com").unwrap();
        let key = |text: &str| Key::within(&name(text), &origin).map(|k| k.as_bytes().to_vec());
        assert_eq!(key("example.com."), Some(vec![]));
        assert_eq!(key("EXAMPLE.Com."), Some(vec![]));
        assert_eq!(key("Alice.eXample.com."), Some(b"\x05alice".to_vec()));
        assert_eq!(
            key("x.alice.example.com."),
            Some(b"\x01x\x05alice".to_vec())
        );
        assert_eq!(key("evilexample.com."), None);
        assert_eq!(key("com."), None);
        assert_eq!(key("."), None);
        assert_eq!(key("example.com.org."), None);
    }

    #[test]
    fn names_in_wire_form_are_cut_alike() {
        let origin = absolute("example.com").unwrap();
        for text in [
            "example.com.",
            "EXAMPLE.Com.",
            "Alice.eXample.com.",
            "x.alice.example.com.",
            "evilexample.com.",
            "com.",
            ".",
            "example.com.org.",
            "exam.ple.com.",
        ] {
            let name = name(text);
            let mut bytes = Vec::new();
            for label in &name {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend_from_slice(label);
            }
            bytes.push(0);
            let plain = Key::within(&name, &origin).map(|key| key.as_bytes().to_vec());
            let from_wire =
                Key::within_wire(&bytes, &wire(&origin)).map(|key| key.as_bytes().to_vec());
            assert_eq!(from_wire, plain, "{text}");
        }
        // The origin's bytes, but inside a label.
        let inside = b"\x0dx\x07example\x03com\x00";
        assert!(Key::within_wire(inside, &wire(&origin)).is_none());
    }

    #[test]
    fn a_dot_inside_a_label_is_not_two_labels() {
        let origin = absolute("example.com").unwrap();
        let odd = Name::from_labels([&b"a.b"[..], b"example", b"com"]).unwrap();
        let key = Key::within(&odd, &origin).unwrap();
        assert_eq!(key.as_bytes(), b"\x03a.b");
        assert_eq!(key.as_label(), None);
        assert_eq!(ancestors(key.as_bytes()).count(), 0);
    }

    #[test]
    fn ancestors_go_up_to_the_zone() {
        let origin = absolute("example.com").unwrap();
        let key = Key::within(&name("a.bc.def.example.com."), &origin).unwrap();
        let above: Vec<_> = ancestors(key.as_bytes()).collect();
        assert_eq!(above, [&b"\x02bc\x03def"[..], b"\x03def"]);
    }

    #[test]
    fn texts_are_checked() {
        assert_eq!(
            absolute("Core.Example.com.").unwrap().to_ascii(),
            "core.example.com."
        );
        assert_eq!(absolute(".").unwrap(), Name::root());
        assert_eq!(absolute(""), Err(NameError::Empty(String::new())));
        assert_eq!(absolute("a..b"), Err(NameError::Empty("a..b".into())));
        assert_eq!(absolute("a b"), Err(NameError::Character("a b".into())));
        assert_eq!(absolute("*.b"), Err(NameError::Character("*.b".into())));
        let long_label = "a".repeat(64);
        assert_eq!(absolute(&long_label), Err(NameError::LongLabel(long_label)));
        let long = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(62),
        ]
        .join(".");
        assert_eq!(absolute(&long), Err(NameError::Long(long)));
        let most = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        assert!(absolute(&most).is_ok());
    }

    #[test]
    fn the_admins_dots_stay_in_one_label() {
        let admin = mailbox("dns.admin@example.com").unwrap();
        assert_eq!(admin.iter().next(), Some(&b"dns.admin"[..]));
        assert_eq!(
            mailbox("hostmaster.example.com.").unwrap().iter().count(),
            3
        );
        assert!(mailbox("@example.com").is_err());
    }
}
