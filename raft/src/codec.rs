//! How a value becomes bytes: one version byte, then `MessagePack` with structs as arrays.
//!
//! Arrays keep values small and field names out of the files; a field is added at the end with
//! `#[serde(default)]` and read as absent from older values. A value written by a newer release is
//! refused by its version byte or its length, never guessed at.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why bytes are not a value, or a value could not become bytes.
#[derive(Debug, Error)]
pub enum CodecError {
    /// Not even a version byte.
    #[error("the stored value is empty: not even a format version")]
    Empty,
    /// Written by a newer release, or not by homecore at all.
    #[error(
        "the stored value has format version {found}, the newest that this release knows is {newest}: start a newer release"
    )]
    UnknownVersion {
        /// The version byte.
        found: u8,
        /// The newest version that this release reads.
        newest: u8,
    },
    /// The version is known and the bytes are not of it.
    #[error("the stored value is damaged")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// Bytes follow the value.
    #[error("the stored value is followed by {0} bytes that are not its own")]
    Trailing(usize),
    /// The checksum behind it is of other bytes.
    #[error("the stored value is not what was written")]
    Changed,
    /// The value has no encoding.
    #[error("the value cannot be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Encodes a value behind its format version.
///
/// # Errors
/// When the value has no encoding (a map of unknown length, for example).
pub fn encode<T: Serialize + ?Sized>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(64);
    bytes.push(version);
    rmp_serde::encode::write(&mut bytes, value).map_err(CodecError::Encode)?;
    Ok(bytes)
}

/// Decodes a value whose newest format version is `newest`.
///
/// # Errors
/// When the version is unknown or the bytes are not of that version.
pub fn decode<T: DeserializeOwned>(newest: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (found, mut body) = split_version(bytes)?;
    if found != newest {
        return Err(CodecError::UnknownVersion { found, newest });
    }
    // From a reader, not from the slice: the reader tells what is left behind the value.
    let value = rmp_serde::decode::from_read(&mut body).map_err(CodecError::Malformed)?;
    if body.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Trailing(body.len()))
    }
}

/// The version byte and what follows it. For readers that convert from previous versions.
///
/// # Errors
/// When there is no byte at all.
pub fn split_version(bytes: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    bytes
        .split_first()
        .map(|(version, body)| (*version, body))
        .ok_or(CodecError::Empty)
}

/// Bytes as an operator reads them in an error: hex, cut short.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(32) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > 32 {
            write!(f, "… ({} bytes)", self.0.len())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
