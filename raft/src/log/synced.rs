//! How many commits of the log were on disk for sure, said in every later commit.
//!
//! SQLite ends its write-ahead log at the first page whose checksum is wrong. That is right after a power
//! cut, whose last commit may be cut off anywhere; but a page that changes later, under commits that were
//! synced and acknowledged, is taken for the same, and the log is shorter than it was.
//!
//! So each commit says how many synced ones came before it. It was written only when they were on disk:
//! a page that says more than what SQLite found tells that something is gone, wherever in the file it
//! lies and however it was ended. What a power cut leaves never says so. What remains unnoticed is a
//! change in the last synced commit when nothing was written behind it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use homecore_types::seal;

/// The note in the log's head.
pub(super) const NOTE: &str = "synced";
/// Found in the bytes of a page.
const MAGIC: &[u8; 16] = b"homecore-synced\x01";
/// Magic, number, kind, checksum.
const BYTES: usize = 16 + 8 + 1 + 4;
/// Read at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// What a commit says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Synced commits before it.
    pub(super) synced: u64,
    /// Whether it is synced itself.
    pub(super) full: bool,
}

impl Mark {
    /// Synced commits when this one is done.
    pub(super) fn after(self) -> u64 {
        self.synced.saturating_add(u64::from(self.full))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.synced.to_be_bytes());
        bytes.push(u8::from(self.full));
        seal::seal(&mut bytes, &[]);
        bytes
    }

    /// Reads one from the beginning of bytes.
    pub(super) fn find(bytes: &[u8]) -> Option<Self> {
        let plain = seal::unsealed(bytes.get(..BYTES)?, &[])?;
        let (number, kind) = plain.strip_prefix(MAGIC)?.split_first_chunk()?;
        Some(Self {
            synced: u64::from_be_bytes(*number),
            full: kind == [1],
        })
    }
}

/// The write-ahead log of a database.
pub(super) fn wal_of(log: &Path) -> PathBuf {
    let mut name = OsString::from(log);
    name.push("-wal");
    PathBuf::from(name)
}

/// The most commits that anything in the write-ahead log of `log` says were synced before it.
pub(super) fn most(log: &Path) -> io::Result<u64> {
    let mut file = match File::open(wal_of(log)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let (mut most, mut window) = (0, Vec::with_capacity(PIECE_BYTES + BYTES));
    loop {
        let piece = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
        let read = (&mut file).take(piece).read_to_end(&mut window)?;
        most = most.max(most_in(&window));
        if read == 0 {
            return Ok(most);
        }
        // One may lie across two pieces.
        window.drain(..window.len().saturating_sub(BYTES - 1));
    }
}

fn most_in(bytes: &[u8]) -> u64 {
    bytes
        .windows(BYTES)
        .filter(|window| window.starts_with(MAGIC))
        .filter_map(Mark::find)
        .map(|mark| mark.synced)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_it_lies_and_not_if_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(most(&log).unwrap(), 0);
        let mark = |synced| Mark { synced, full: true }.to_bytes();
        for at in [0, 7, PIECE_BYTES - 5, PIECE_BYTES, 2 * PIECE_BYTES - BYTES] {
            let mut bytes = vec![0; at];
            bytes.extend(mark(9));
            bytes.extend(mark(3));
            std::fs::write(dir.path().join("log-wal"), &bytes).unwrap();
            assert_eq!(most(&log).unwrap(), 9, "{at}");
            for bit in 0..BYTES * 8 {
                let mut changed = mark(9);
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(most_in(&changed), 0, "{bit}");
            }
        }
    }
}
