//! Whether a WebP file is as long as it says, in all of its parts, and its pixels are as many as it says:
//! its decoder makes room first and looks after.

use crate::render::RenderError;

/// The name of a part.
type Name = [u8; 4];

const LOSSY: Name = *b"VP8 ";
const LOSSLESS: Name = *b"VP8L";
const EXTENDED: Name = *b"VP8X";
const FRAME: Name = *b"ANMF";
const ALPHA: Name = *b"ALPH";
/// Where the first part is.
const HEAD_BYTES: usize = 12;
/// Of a frame, before its parts.
const FRAME_HEAD_BYTES: usize = 16;
/// The bits of a side, of those that scale it.
const SIDE_MASK: u32 = 0x3FFF;

/// Width and height.
type Sides = (u32, u32);

/// The bytes of the file, without what follows it.
///
/// # Errors
/// [`RenderError::Broken`] if it is not what it says.
pub(crate) fn checked(bytes: &[u8]) -> Result<&[u8], RenderError> {
    let said = bytes.get(4..).and_then(number).ok_or_else(cut_short)?;
    let end = usize::try_from(said)
        .ok()
        .and_then(|said| said.checked_add(8))
        .ok_or_else(cut_short)?;
    // An odd length may lack the byte that makes it even.
    if end > bytes.len().saturating_add(1) {
        return Err(cut_short());
    }
    let file = bytes.get(..end).unwrap_or(bytes);
    let mut parts = Parts(file.get(HEAD_BYTES..).ok_or_else(cut_short)?);
    let Some((name, body)) = parts.next()? else {
        return Err(cut_short());
    };
    if name != EXTENDED {
        return Ok(file);
    }
    let canvas = sides_at(body, 4).ok_or_else(cut_short)?;
    while let Some((name, body)) = parts.next()? {
        match name {
            FRAME => check_frame(body)?,
            LOSSY | LOSSLESS => check_sides(name, body, canvas)?,
            _ => {}
        }
    }
    Ok(file)
}

/// Checks a frame of a film.
fn check_frame(body: &[u8]) -> Result<(), RenderError> {
    let sides = sides_at(body, 6).ok_or_else(cut_short)?;
    let mut parts = Parts(body.get(FRAME_HEAD_BYTES..).ok_or_else(cut_short)?);
    let mut after_alpha = false;
    while let Some((name, body)) = parts.next()? {
        match name {
            LOSSY | LOSSLESS => check_sides(name, body, sides)?,
            // The decoder takes it for the colours, whatever it is.
            _ if after_alpha => return Err(broken("a frame has no colours")),
            _ => {}
        }
        after_alpha = name == ALPHA;
    }
    Ok(())
}

/// Checks that there are as many pixels as were said.
fn check_sides(name: Name, body: &[u8], said: Sides) -> Result<(), RenderError> {
    let sides = if name == LOSSY {
        lossy_sides(body)
    } else {
        lossless_sides(body)
    };
    if sides.ok_or_else(cut_short)? == said {
        Ok(())
    } else {
        Err(broken("its pixels are not as many as it says"))
    }
}

fn lossy_sides(body: &[u8]) -> Option<Sides> {
    let [tag, _, _, 0x9D, 0x01, 0x2A, sides @ ..] = body.first_chunk::<10>()? else {
        return None;
    };
    // Only what needs no picture before it has sides.
    let sides = (tag & 1 == 0).then(|| number(sides))??;
    Some((sides & SIDE_MASK, (sides >> 16) & SIDE_MASK))
}

fn lossless_sides(body: &[u8]) -> Option<Sides> {
    let sides = number(body.strip_prefix(b"\x2F")?)?;
    Some((1 + (sides & SIDE_MASK), 1 + ((sides >> 14) & SIDE_MASK)))
}

/// Two sides of three bytes each, each less by one.
fn sides_at(body: &[u8], at: usize) -> Option<Sides> {
    let [a, b, c, d, e, f] = *body.get(at..)?.first_chunk::<6>()?;
    let side = |low, middle, high| number(&[low, middle, high, 0]).map(|side| side + 1);
    Some((side(a, b, c)?, side(d, e, f)?))
}

#[expect(clippy::little_endian_bytes, reason = "the format's own order")]
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// What is left of parts, one after the other.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// The next part; none at the end, where a few bytes may follow that are none.
    fn next(&mut self) -> Result<Option<(Name, &'a [u8])>, RenderError> {
        let Some((name, rest)) = self.0.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = number(length)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(cut_short)?;
        let (body, rest) = rest.split_at_checked(length).ok_or_else(cut_short)?;
        // Of an odd length, one byte follows; of the last part it may lack.
        self.0 = rest.get(length % 2..).unwrap_or_default();
        Ok(Some((*name, body)))
    }
}

fn cut_short() -> RenderError {
    broken("it was cut short")
}

fn broken(why: &'static str) -> RenderError {
    RenderError::Broken(why.into())
}

#[cfg(test)]
pub(crate) mod tests;
