//! Bodies that come compressed (`Content-Encoding`), as the original's body parser takes them: gzip,
//! and deflate in the form of RFC 9110 §8.4.1.2, which is zlib's. What comes out is counted as it
//! comes, so a small body that would become a large one is refused before it has.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::body::too_large;
use crate::error::ApiError;

/// Bytes that are inflated at once.
const PIECE_BYTES: usize = 16 * 1024;

/// How a body was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// None if it was not.
    ///
    /// # Errors
    /// 400 `invalid-request-structure` for what is not read here.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut names = headers.get_all(CONTENT_ENCODING).iter();
        let name = names.next().map_or(&b""[..], |name| name.as_bytes());
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if names.next().is_some() {
            Err(unknown())
        } else if is("") || is("identity") {
            Ok(None)
        } else if is("gzip") {
            Ok(Some(Self::Gzip))
        } else if is("deflate") {
            Ok(Some(Self::Deflate))
        } else {
            Err(unknown())
        }
    }
}

/// Inflates a body to no more than `max` bytes, each piece of which is charged first.
///
/// # Errors
/// 400 `invalid-request-structure` when it is larger, damaged or cut off; what `charge` says.
pub(crate) fn inflate(
    coding: Coding,
    compressed: &[u8],
    max: usize,
    mut charge: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut source: Box<dyn Read + '_> = match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(compressed)),
        Coding::Deflate => Box::new(Zlib::new(compressed)),
    };
    loop {
        let count = source.read(&mut piece).map_err(|error| damaged(&error))?;
        let Some(more) = piece.get(..count).filter(|more| !more.is_empty()) else {
            return Ok(bytes.freeze());
        };
        if bytes.len().saturating_add(count) > max {
            return Err(too_large(max));
        }
        charge(count)?;
        bytes.extend_from_slice(more);
    }
}

/// A zlib stream. Unlike that of the library it notices when it is cut off.
struct Zlib<'a> {
    rest: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Zlib<'a> {
    fn new(rest: &'a [u8]) -> Self {
        let state = Decompress::new(true);
        Self {
            rest,
            state,
            ended: false,
        }
    }
}

impl Read for Zlib<'_> {
    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        while !self.ended {
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(self.rest, piece, FlushDecompress::None)?;
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let taken = count(self.state.total_in(), taken);
            let given = count(self.state.total_out(), given);
            self.rest = self.rest.get(taken..).unwrap_or_default();
            self.ended = status == Status::StreamEnd;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && !self.ended {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

fn unknown() -> ApiError {
    ApiError::unreadable("Of Content-Encodings only gzip and deflate are read here")
}

fn damaged(error: &std::io::Error) -> ApiError {
    ApiError::unreadable(format!("The body cannot be inflated: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    fn compressed(coding: Coding, text: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn what_was_compressed_comes_back_and_every_byte_is_charged() {
        let long = b"x, y".repeat(30_000);
        for coding in [Coding::Gzip, Coding::Deflate] {
            for text in [&b""[..], b"{}", &long] {
                let mut charged = 0;
                let inflated = inflate(coding, &compressed(coding, text), text.len(), |more| {
                    charged += more;
                    Ok(())
                });
                assert_eq!(inflated.unwrap(), text);
                assert_eq!(charged, text.len());
            }
        }
    }

    #[test]
    fn what_becomes_too_large_is_refused_before_it_is() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let bomb = compressed(coding, &vec![b' '; 10_000_000]);
            assert!(bomb.len() < 20_000);
            let mut charged = 0;
            let refused = inflate(coding, &bomb, 100_000, |more| {
                charged += more;
                Ok(())
            });
            assert_eq!(refused.unwrap_err().message, too_large(100_000).message);
            assert!(charged <= 100_000);
        }
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_refused() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let good = compressed(coding, &b"x, y".repeat(3_000));
            for length in 0..good.len() {
                let cut = inflate(coding, &good[..length], 100_000, |_| Ok(()));
                assert!(cut.is_err() || length == 0, "{coding:?} {length}");
            }
            let mut changed = good.clone();
            let last = changed.len() - 1;
            changed[last] ^= 1;
            assert!(inflate(coding, &changed, 100_000, |_| Ok(())).is_err());
        }
    }

    #[test]
    fn codings_are_known_by_their_names() {
        for (names, expected) in [
            (&[][..], Some(None)),
            (&["identity"], Some(None)),
            (&["GZip"], Some(Some(Coding::Gzip))),
            (&["deflate"], Some(Some(Coding::Deflate))),
            (&["br"], None),
            (&["gzip, gzip"], None),
            (&["gzip", "gzip"], None),
        ] {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(name));
            }
            assert_eq!(Coding::of(&headers).ok(), expected, "{names:?}");
        }
    }
}
