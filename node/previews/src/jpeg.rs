//! How often a JPEG goes over its pixels, told without decoding any of them.
//!
//! A progressive file may have any number of scans, each a few bytes long and each over the whole
//! picture: what costs an attacker nothing costs the decoder a pass. A scan may be of one colour component
//! or of several, so it is these that are counted.

const MARKER: u8 = 0xFF;
const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;

/// How many components all scans before the end of the picture have together.
pub(crate) fn scanned_components(bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    let mut components = 0;
    while let Some((marker, after)) = next_marker(rest) {
        rest = after;
        match marker {
            END_OF_IMAGE => break,
            // Stuffing, restarts and the start of the image have no segment.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let Some((length, segment)) = rest.split_first_chunk::<2>() else {
                    break;
                };
                if marker == START_OF_SCAN {
                    components += segment.first().map_or(1, |count| u64::from(*count).max(1));
                }
                let length = usize::from(u16::from_be_bytes(*length));
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    components
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
    fn a_scan_counts_by_its_components() {
        let file = [
            0xFF, 0xD8, 0xFF, 0xDA, 0, 3, 3, 0xFF, 0xDA, 0, 3, 0, 0xFF, 0xDA, 0, 2,
        ];
        assert_eq!(scanned_components(&file), 5, "three, and at least one each");
    }

    #[test]
    fn scans_are_counted_where_they_are() {
        let scan = [0xFF, 0xDA, 0, 3, 1, 0xAA, 0xFF, 0x00, 0xFF, 0xD0, 0xBB];
        let comment = [0xFF, 0xFE, 0, 6, 0xFF, 0xDA, 0xFF, 0xDA];
        let mut file = vec![0xFF, 0xD8];
        assert_eq!(scanned_components(&file), 0);
        file.extend(comment);
        for count in 1..=3 {
            file.extend(scan);
            assert_eq!(scanned_components(&file), count, "a comment is no scan");
        }
        file.extend([0xFF, 0xFF, 0xFF, 0xDA, 0, 3, 1]);
        assert_eq!(scanned_components(&file), 4, "fill bytes");
        file.extend([0xFF, 0xD9]);
        file.extend(scan);
        assert_eq!(
            scanned_components(&file),
            4,
            "what follows the end is another file"
        );
        for cut in 0..file.len() {
            assert!(scanned_components(&file[..cut]) <= 4);
        }
    }
}
