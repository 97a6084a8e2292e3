//! What of a JPEG its decoder is given: the segments that say how the pixels are stored, which side is
//! up, and the pixels up to the end of the picture. All else is left out before a decoder sees it: what
//! some programs and cameras add can cost a decoder more than the pixels, and what the decoder reads
//! otherwise than it is read here would not be counted.
//!
//! What is counted is how often a JPEG goes over its pixels. A progressive file may have any number of
//! scans, each a few bytes long and each over the whole picture: what costs an attacker nothing costs
//! the decoder a pass. A scan may be of one colour component or of several, so it is these that are
//! counted.

use crate::render::RenderError;

const MARKER: u8 = 0xFF;
const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
/// The most segments of any kind: a profile has 255 at most, and notes of several megabytes have dozens.
const SEGMENTS_MAX: usize = 2_048;
/// Bytes of the tables of a file and the like: those of a scan take less than one kilobyte.
const TABLES_BYTES_MAX: usize = 1024 * 1024;

/// A JPEG with nothing but its pixels and what is needed to read them.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) bytes: Vec<u8>,
    /// How many components all scans have together.
    pub(crate) scanned_components: u64,
}

/// What the bytes that come next belong to.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// What is before the first scan.
    Header,
    Scan,
    /// Tables that follow a scan and precede another.
    Tables,
}

/// # Errors
/// [`RenderError::Broken`] where decoders do not agree on how a file is read, and
/// [`RenderError::TooLarge`] for more segments than pictures have.
pub(crate) fn plain(bytes: &[u8]) -> Result<Plain, RenderError> {
    let start = [MARKER, START_OF_IMAGE];
    let mut rest = bytes
        .strip_prefix(&start)
        .ok_or_else(|| broken("it does not begin as it must"))?;
    let mut plain = Plain {
        bytes: Vec::with_capacity(bytes.len()),
        scanned_components: 0,
    };
    plain.bytes.extend(start);
    let mut place = Place::Header;
    let mut kept = Kept::default();
    let mut segments = 0_usize;
    while let Some(next) = next_marker(rest) {
        if place == Place::Scan {
            plain.bytes.extend_from_slice(next.before);
        }
        rest = next.after;
        match next.marker {
            END_OF_IMAGE if place != Place::Header => {
                plain.bytes.extend([MARKER, END_OF_IMAGE]);
                return Ok(plain);
            }
            restart @ 0xD0..=0xD7 if place == Place::Scan => {
                plain.bytes.extend([MARKER, restart]);
            }
            // They have no segment, but not every decoder knows that.
            0x01 | 0xD0..=END_OF_IMAGE => {
                return Err(broken("it has a marker where there is none"));
            }
            marker => {
                let Some((segment, after)) = split_segment(rest)? else {
                    if place == Place::Header {
                        return Err(broken("it was cut short"));
                    }
                    return Ok(plain);
                };
                rest = after;
                segments += 1;
                if segments > SEGMENTS_MAX {
                    return Err(RenderError::TooLarge);
                }
                if !kept.keeps(marker, segment)? {
                    continue;
                }
                plain.bytes.extend([MARKER, marker]);
                plain.bytes.extend_from_slice(segment);
                if marker == START_OF_SCAN {
                    let components = segment.get(2).map_or(1, |count| (*count).max(1));
                    plain.scanned_components += u64::from(components);
                    place = Place::Scan;
                } else if place == Place::Scan {
                    place = Place::Tables;
                }
            }
        }
    }
    match place {
        Place::Header => return Err(broken("it has no pixels")),
        Place::Scan => plain.bytes.extend_from_slice(rest),
        Place::Tables => {}
    }
    Ok(plain)
}

/// What was kept so far.
#[derive(Default)]
struct Kept {
    tables_bytes: usize,
    exif: bool,
}

impl Kept {
    /// Whether a segment is kept. It begins with the two bytes of its length.
    fn keeps(&mut self, marker: u8, segment: &[u8]) -> Result<bool, RenderError> {
        let says = |what: &[u8]| segment.get(2..).is_some_and(|body| body.starts_with(what));
        let keeps = match marker {
            START_OF_SCAN => return Ok(true),
            // Frames and tables.
            0xC0..=0xCF | 0xDB..=0xDD => true,
            // Pictures of films lack their tables, and this tells.
            0xE0 => says(b"AVI1\0"),
            0xE1 => says(b"Exif\0\0") && !std::mem::replace(&mut self.exif, true),
            // What the colours are.
            0xEE => says(b"Adobe"),
            _ => false,
        };
        if keeps {
            self.tables_bytes += segment.len();
            if self.tables_bytes > TABLES_BYTES_MAX {
                return Err(RenderError::TooLarge);
            }
        }
        Ok(keeps)
    }
}

fn broken(why: &'static str) -> RenderError {
    RenderError::Broken(why.into())
}

/// A segment with its length, and what follows it.
type Segment<'a> = (&'a [u8], &'a [u8]);

/// The next segment; none if it was cut short.
fn split_segment(bytes: &[u8]) -> Result<Option<Segment<'_>>, RenderError> {
    let Some(length) = bytes.first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < 2 {
        return Err(broken("it has a segment that is shorter than its length"));
    }
    Ok(bytes.split_at_checked(length))
}

struct Next<'a> {
    before: &'a [u8],
    marker: u8,
    after: &'a [u8],
}

/// The next marker. A zero makes what looks like one a part of the pixels.
fn next_marker(bytes: &[u8]) -> Option<Next<'_>> {
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == MARKER)?;
        // A marker may be preceded by any number of fill bytes.
        let fill = bytes.get(at..)?.iter().position(|byte| *byte != MARKER)?;
        let (before, _) = bytes.split_at_checked(at)?;
        let (marker, after) = bytes.get(at + fill..)?.split_first()?;
        if *marker != 0 {
            return Some(Next {
                before,
                marker: *marker,
                after,
            });
        }
        from = at + fill + 1;
    }
}

#[cfg(test)]
mod tests;
