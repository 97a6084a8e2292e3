//! A checksum behind what is stored, so that a changed byte is noticed by whoever reads it and not
//! by whoever believes it.
//!
//! CRC-32 over the bytes and over where they belong: it finds damage, and bytes that ended up in
//! another's place. It is no protection against people.

use crc32fast::Hasher;

const BYTES: usize = 4;

/// Puts a checksum behind bytes that belong to a place, given in pieces.
pub fn seal(bytes: &mut Vec<u8>, place: &[&[u8]]) {
    let sum = checksum(bytes, place);
    bytes.extend_from_slice(&sum);
}

/// The bytes without their checksum; none if they are not what was sealed for this place.
///
/// ```
/// use homecore_types::seal::{seal, unsealed};
///
/// let mut bytes = b"a value".to_vec();
/// seal(&mut bytes, &[b"key"]);
/// assert_eq!(unsealed(&bytes, &[b"key"]), Some(&b"a value"[..]));
/// assert_eq!(unsealed(&bytes, &[b"another"]), None);
/// bytes[2] ^= 1;
/// assert_eq!(unsealed(&bytes, &[b"key"]), None);
/// ```
#[must_use]
pub fn unsealed<'a>(bytes: &'a [u8], place: &[&[u8]]) -> Option<&'a [u8]> {
    let (body, sum) = bytes.split_last_chunk::<BYTES>()?;
    (checksum(body, place) == *sum).then_some(body)
}

fn checksum(bytes: &[u8], place: &[&[u8]]) -> [u8; BYTES] {
    let mut hasher = Hasher::new();
    for piece in place {
        hasher.update(piece);
    }
    hasher.update(bytes);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_noticed() {
        let mut sealed = b"something that is stored".to_vec();
        seal(&mut sealed, &[b"here"]);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unsealed(&changed, &[b"here"]), None, "{bit}");
        }
        assert_eq!(unsealed(&sealed[..sealed.len() - 1], &[b"here"]), None);
        assert_eq!(unsealed(&[], &[]), None);
    }
}
