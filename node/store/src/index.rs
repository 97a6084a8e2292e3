//! Ordered indexes. The kernel says, with each version of a document, under which keys it is to be
//! found; the engine keeps exactly those of the present version, in the same transaction.
//!
//! Keys are compared as bytes, so whoever makes them encodes numbers big-endian (see [`key`]).

use serde::{Deserialize, Serialize};

/// Which index. Numbers are on disk and belong to the kernel, which lists them in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Index(pub u8);

/// One key under which a document is found. Several documents may share a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Which index.
    pub index: Index,
    /// At most 1,024 bytes.
    #[serde(with = "serde_bytes_vec")]
    pub key: Vec<u8>,
}

/// A range of an index to read, at most `limit` documents, in the order of (key, document id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Which index.
    pub index: Index,
    /// First key, inclusive.
    pub from: Vec<u8>,
    /// End, exclusive; none: to the end of the index.
    pub to: Option<Vec<u8>>,
    /// Largest first?
    pub descending: bool,
    /// Most documents to return.
    pub limit: usize,
    /// Go on after this (key, document id), exclusive, in the direction of the scan.
    pub after: Option<(Vec<u8>, String)>,
}

/// Builds keys whose byte order is the order of their parts.
pub mod key {
    /// Appends a float so that bytes sort as numbers do (−∞ … −0 = +0 … ∞).
    pub fn push_f64(key: &mut Vec<u8>, number: f64) {
        let number = if number == 0.0 { 0.0 } else { number };
        let bits = number.to_bits();
        let ordered = if bits >> 63 == 1 {
            !bits
        } else {
            bits | (1 << 63)
        };
        key.extend_from_slice(&ordered.to_be_bytes());
    }

    /// Appends an integer, big-endian.
    pub fn push_u64(key: &mut Vec<u8>, number: u64) {
        key.extend_from_slice(&number.to_be_bytes());
    }

    /// Appends a text and an end mark, so that no text is a prefix of another's key. A NUL inside
    /// is escaped.
    pub fn push_text(key: &mut Vec<u8>, text: &str) {
        for byte in text.bytes() {
            key.push(byte);
            if byte == 0 {
                key.push(0xFF);
            }
        }
        key.extend_from_slice(&[0, 0]);
    }

    /// The smallest key that is larger than every key beginning with `prefix`; none if there is none.
    #[must_use]
    pub fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xFF {
                end.push(last + 1);
                return Some(end);
            }
        }
        None
    }
}

/// Bytes as a `MessagePack` binary instead of an array of numbers.
mod serde_bytes_vec {
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn floats_sort_as_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -1e-300,
            0.0,
            1e-300,
            1.5,
            2.0,
            f64::MAX,
        ];
        let keys: Vec<Vec<u8>> = numbers
            .iter()
            .map(|n| {
                let mut k = Vec::new();
                key::push_f64(&mut k, *n);
                k
            })
            .collect();
        assert!(keys.is_sorted());
        let (mut plus, mut minus) = (Vec::new(), Vec::new());
        key::push_f64(&mut plus, 0.0);
        key::push_f64(&mut minus, -0.0);
        assert_eq!(plus, minus);
    }

    #[test]
    fn texts_are_no_prefix_of_each_other() {
        let encode = |text: &str| {
            let mut k = Vec::new();
            key::push_text(&mut k, text);
            k
        };
        assert!(!encode("ab").starts_with(&encode("a")));
        assert!(!encode("a\0b").starts_with(&encode("a")));
        assert!(encode("a") < encode("ab") && encode("ab") < encode("b"));
    }

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(key::end_of_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(key::end_of_prefix(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(key::end_of_prefix(&[0xFF]), None);
    }
}
