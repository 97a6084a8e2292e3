//! One encrypted file: a header, then frames. A frame is its length, the sealed bytes and their tag;
//! its number is the nonce, so frames can be neither moved nor dropped from the middle.
//!
//! All frames but the last are full, so a file that was cut is only taken for whole if it was cut
//! right after a full frame; the readers of lines and of attachments notice that by what is in them.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_types::Entropy;
use serde::{Deserialize, Serialize};

use super::{CHUNK_MAX, DataKey, SALT_BYTES, decode};
use crate::SinkFile;
use crate::error::Fault;

const MAGIC: &[u8; 8] = b"PRYVBKE1";
const TAG_BYTES: usize = 16;
const HEADER_BYTES_MAX: usize = 4_096;

#[derive(Serialize, Deserialize)]
struct Header {
    v: u64,
    salt: String,
    chunk: u64,
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0_u8; 12];
    let (_, counter) = bytes.split_at_mut(4);
    counter.copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Reads an encrypted file.
pub(crate) struct Decrypt<R> {
    inner: R,
    key: LessSafeKey,
    chunk: usize,
    index: u64,
    plain: Vec<u8>,
    /// Bytes of `plain` that were given out.
    given: usize,
    /// The last frame was not full: none may follow.
    last: bool,
}

impl<R: Read> Decrypt<R> {
    /// Reads the header.
    pub(crate) fn open(mut inner: R, key: &DataKey) -> io::Result<Self> {
        let mut magic = [0_u8; 8];
        inner.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(Fault::Damaged("it is not encrypted, the archive is".to_owned()).into_io());
        }
        let length = read_length(&mut inner)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if length > HEADER_BYTES_MAX {
            return Err(damaged("its header is too long"));
        }
        let mut header = vec![0_u8; length];
        inner.read_exact(&mut header)?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_error| damaged("its header is no JSON"))?;
        let chunk = usize::try_from(header.chunk)
            .ok()
            .filter(|chunk| *chunk == key.chunk() && *chunk <= CHUNK_MAX)
            .ok_or_else(|| damaged("its frames are not as encryption.json says"))?;
        if header.v != 1 {
            return Err(Fault::Unsupported(format!("file format {}", header.v)).into_io());
        }
        let salt = decode(&header.salt).map_err(Fault::into_io)?;
        Ok(Self {
            inner,
            key: key.of_file(&salt).map_err(Fault::into_io)?,
            chunk,
            index: 0,
            plain: Vec::new(),
            given: 0,
            last: false,
        })
    }

    /// Opens the next frame; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(length) = read_length(&mut self.inner)? else {
            return Ok(false);
        };
        if self.last || length <= TAG_BYTES || length > self.chunk.saturating_add(TAG_BYTES) {
            return Err(damaged("a frame has a wrong length"));
        }
        let mut sealed = vec![0_u8; length];
        self.inner.read_exact(&mut sealed)?;
        let plain = self
            .key
            .open_in_place(nonce(self.index), Aad::empty(), &mut sealed)
            .map_err(|_wrong| {
                // The first frame says whether the key is right at all.
                if self.index == 0 {
                    Fault::WrongKey.into_io()
                } else {
                    damaged("a frame is not what was sealed")
                }
            })?
            .len();
        sealed.truncate(plain);
        self.last = plain < self.chunk;
        self.plain = sealed;
        self.given = 0;
        self.index = self.index.saturating_add(1);
        Ok(true)
    }
}

impl<R: Read> Read for Decrypt<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given >= self.plain.len() {
            if out.is_empty() || !self.advance()? {
                return Ok(0);
            }
        }
        let rest = self.plain.get(self.given..).unwrap_or_default();
        let count = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        self.given = self.given.saturating_add(count);
        Ok(count)
    }
}

/// A length in front of bytes; none at the end of the file.
fn read_length(from: &mut impl Read) -> io::Result<Option<usize>> {
    let mut bytes = [0_u8; 4];
    let (first, rest) = bytes.split_at_mut(1);
    loop {
        match from.read(first) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    from.read_exact(rest)?;
    let length = u32::from_be_bytes(bytes);
    usize::try_from(length)
        .map(Some)
        .map_err(|_large| damaged("a length is out of bounds"))
}

fn damaged(why: &str) -> io::Error {
    Fault::Damaged(why.to_owned()).into_io()
}

/// Writes an encrypted file.
pub(crate) struct Encrypt {
    inner: Box<dyn SinkFile>,
    key: LessSafeKey,
    chunk: usize,
    index: u64,
    gathered: Vec<u8>,
}

impl Encrypt {
    /// Writes the header.
    pub(crate) fn create(
        inner: Box<dyn SinkFile>,
        key: &DataKey,
        entropy: &dyn Entropy,
    ) -> io::Result<Self> {
        let mut salt = [0_u8; SALT_BYTES];
        entropy.fill(&mut salt);
        Self::with_salt(inner, key, &salt)
    }

    pub(crate) fn with_salt(
        mut inner: Box<dyn SinkFile>,
        key: &DataKey,
        salt: &[u8],
    ) -> io::Result<Self> {
        let header = serde_json::to_vec(&Header {
            v: 1,
            salt: STANDARD.encode(salt),
            chunk: u64::try_from(key.chunk()).unwrap_or(u64::MAX),
        })?;
        inner.write_all(MAGIC)?;
        write_block(&mut inner, &header)?;
        Ok(Self {
            inner,
            key: key.of_file(salt).map_err(Fault::into_io)?,
            chunk: key.chunk(),
            index: 0,
            gathered: Vec::new(),
        })
    }

    fn seal(&mut self) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.gathered);
        self.key
            .seal_in_place_append_tag(nonce(self.index), Aad::empty(), &mut frame)
            .map_err(|_unspecified| io::Error::other("a frame cannot be sealed"))?;
        self.index = self.index.saturating_add(1);
        write_block(&mut self.inner, &frame)?;
        frame.clear();
        self.gathered = frame;
        Ok(())
    }
}

fn write_block(to: &mut impl Write, block: &[u8]) -> io::Result<()> {
    let length = u32::try_from(block.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(block)
}

impl Write for Encrypt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.chunk.saturating_sub(self.gathered.len());
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.gathered.extend_from_slice(now);
        if self.gathered.len() >= self.chunk {
            self.seal()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl SinkFile for Encrypt {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.seal()?;
        }
        self.inner.finish()
    }
}
