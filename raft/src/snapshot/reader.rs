//! Reading a snapshot file, frame by frame, each checked before it is believed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{
    CHECK_BYTES, Check, Damage, FORMAT, FRAME_BYTES_MAX, HEADER, HEADER_VERSION, Header, ITEMS,
    Item, MAGIC, SnapshotError, TRAILER, check, first_check,
};
use crate::codec;
use crate::files::because;
use crate::keys::Space;

/// Reads one snapshot file.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    previous: Check,
    /// Where the next frame begins.
    offset: u64,
    items: u64,
    ended: bool,
}

/// Reads a whole file for nothing but its checks.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn verify(path: &Path) -> Result<Header, SnapshotError> {
    let mut reader = Reader::open(path)?;
    while reader.next_items()?.is_some() {}
    Ok(reader.header)
}

impl Reader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or was written by a newer release.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(because("open", path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            header: Header::default(),
            previous: first_check(),
            offset: 0,
            items: 0,
            ended: false,
        };
        let mut magic = [0; 8];
        reader.fill(&mut magic)?;
        if &magic != MAGIC {
            return Err(reader.damaged(Damage::Magic));
        }
        let mut format = [0; 4];
        reader.fill(&mut format)?;
        let found = u32::from_be_bytes(format);
        if found != FORMAT {
            return Err(SnapshotError::UnknownFormat {
                path: path.to_owned(),
                found,
            });
        }
        reader.offset = 12;
        let body = reader.frame()?;
        match body.split_first() {
            Some((&HEADER, encoded)) => {
                reader.header = codec::decode(HEADER_VERSION, encoded).map_err(|source| {
                    SnapshotError::Header {
                        path: path.to_owned(),
                        source,
                    }
                })?;
            }
            _ => return Err(reader.damaged(Damage::Frame)),
        }
        reader.pass(&body);
        Ok(reader)
    }

    /// What the snapshot is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next items; none at the end, which is only told once the trailer is read and right.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn next_items(&mut self) -> Result<Option<Vec<Item>>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let body = self.frame()?;
        match body.split_first() {
            Some((&ITEMS, items)) => {
                let items = parse_items(items).map_err(|damage| self.damaged(damage))?;
                self.items = self
                    .items
                    .saturating_add(u64::try_from(items.len()).unwrap_or(u64::MAX));
                self.pass(&body);
                Ok(Some(items))
            }
            Some((&TRAILER, count)) => {
                if count != self.items.to_be_bytes() {
                    return Err(self.damaged(Damage::Count));
                }
                self.pass(&body);
                self.expect_end()?;
                self.ended = true;
                Ok(None)
            }
            _ => Err(self.damaged(Damage::Frame)),
        }
    }

    /// The body of the next frame, checked. The offset stays, for errors about the body.
    fn frame(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged(Damage::Length));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        let mut expected = [0; CHECK_BYTES];
        self.fill(&mut expected)?;
        let found = check(&self.previous, &body);
        if found != expected {
            return Err(self.damaged(Damage::Check));
        }
        self.previous = found;
        Ok(body)
    }

    fn pass(&mut self, body: &[u8]) {
        let frame = body.len().saturating_add(4 + CHECK_BYTES);
        self.offset = self
            .offset
            .saturating_add(u64::try_from(frame).unwrap_or(u64::MAX));
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(Damage::Truncated))
            }
            Err(error) => Err(because("read", &self.path)(error).into()),
        }
    }

    fn expect_end(&mut self) -> Result<(), SnapshotError> {
        let mut more = [0];
        match self.file.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(Damage::Trailing)),
            Err(error) => Err(because("read", &self.path)(error).into()),
        }
    }

    fn damaged(&self, damage: Damage) -> SnapshotError {
        SnapshotError::Damaged {
            path: self.path.clone(),
            offset: self.offset,
            damage,
        }
    }
}

fn parse_items(mut bytes: &[u8]) -> Result<Vec<Item>, Damage> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (number, key_length, value_length, rest) = parse_lengths(bytes).ok_or(Damage::Frame)?;
        let space = Space::from_number(number).ok_or(Damage::Space(number))?;
        let (key, rest) = rest.split_at_checked(key_length).ok_or(Damage::Frame)?;
        let (value, rest) = rest.split_at_checked(value_length).ok_or(Damage::Frame)?;
        items.push((space, key.to_vec(), value.to_vec()));
        bytes = rest;
    }
    Ok(items)
}

fn parse_lengths(bytes: &[u8]) -> Option<(u8, usize, usize, &[u8])> {
    let (number, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_first_chunk::<4>()?;
    let length = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).ok();
    Some((*number, length(key)?, length(value)?, rest))
}
