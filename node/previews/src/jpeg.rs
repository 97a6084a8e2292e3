//! How often a JPEG goes over its pixels, told without decoding any of them.
//!
//! A progressive file may have any number of scans, each a few bytes long and each over the whole
//! picture: what costs an attacker nothing costs the decoder a pass.

const MARKER: u8 = 0xFF;
const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;

/// The number of scans before the end of the picture.
pub(crate) fn scans(bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    let mut scans = 0;
    while let Some((marker, after)) = next_marker(rest) {
        rest = after;
        match marker {
            END_OF_IMAGE => break,
            // Stuffing, restarts and the start of the image have no segment.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                scans += u64::from(marker == START_OF_SCAN);
                let Some((length, _)) = rest.split_first_chunk::<2>() else {
                    break;
                };
                let length = usize::from(u16::from_be_bytes(*length));
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    scans
}

/// The kind of the next marker, and what follows it.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == MARKER)?;
    // A marker may be preceded by any number of fill bytes.
    let mut rest = bytes.get(at..)?;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != MARKER {
            return Some((*first, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_counted_where_they_are() {
        let scan = [0xFF, 0xDA, 0, 3, 1, 0xAA, 0xFF, 0x00, 0xFF, 0xD0, 0xBB];
        let comment = [0xFF, 0xFE, 0, 6, 0xFF, 0xDA, 0xFF, 0xDA];
        let mut file = vec![0xFF, 0xD8];
        assert_eq!(scans(&file), 0);
        file.extend(comment);
        for count in 1..=3 {
            file.extend(scan);
            assert_eq!(scans(&file), count, "a comment is no scan");
        }
        file.extend([0xFF, 0xFF, 0xFF, 0xDA, 0, 3, 1]);
        assert_eq!(scans(&file), 4, "fill bytes");
        file.extend([0xFF, 0xD9]);
        file.extend(scan);
        assert_eq!(scans(&file), 4, "what follows the end is another file");
        for cut in 0..file.len() {
            assert!(scans(&file[..cut]) <= 4);
        }
    }
}
