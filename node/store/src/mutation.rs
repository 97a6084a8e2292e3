//! What a write became: final states, no conditions. Applying the same commit twice is harmless.

use homecore_types::{Millis, UserId};
use serde::{Deserialize, Serialize};

use crate::document::{Kind, Rev, Seq};
use crate::error::StoreError;
use crate::index::Entry;

/// The encoding of commits in the journal. 1: `MessagePack` arrays. 2: each mutation says at its end
/// whether its document's history is dropped.
pub const COMMIT_FORMAT: u8 = 2;

/// The oldest encoding that is read: there, no history was ever dropped.
const OLDEST_COMMIT_FORMAT: u8 = 1;

/// One document's new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its version, one more than before.
    pub rev: Rev,
    /// Its place in the user's changes.
    pub seq: Seq,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// The whole body.
    pub body: bytes::Bytes,
    /// Every key under which it is found from now on.
    pub entries: Vec<Entry>,
    /// Keep the version that this one replaces.
    pub keep_previous: bool,
    /// Forget every version that was kept before. The replaced one may still be kept.
    #[serde(default)]
    pub drop_history: bool,
}

/// All mutations of one write: applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Whose.
    pub user: UserId,
    /// When.
    pub at: Millis,
    /// In order; their `seq` are consecutive.
    pub mutations: Vec<Mutation>,
}

impl Commit {
    /// The journal's bytes: a format byte, then `MessagePack`.
    ///
    /// # Errors
    /// Never for values that this crate makes; the encoder's signature allows it.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![COMMIT_FORMAT];
        rmp_serde::encode::write(&mut bytes, self)
            .map_err(|error| StoreError::engine("encoding a commit", error))?;
        Ok(bytes)
    }

    /// Reads what [`Commit::encode`] wrote.
    ///
    /// # Errors
    /// [`StoreError::UnknownFormat`] or [`StoreError::Corrupted`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes.split_first() {
            Some((&(OLDEST_COMMIT_FORMAT..=COMMIT_FORMAT), body)) => rmp_serde::from_slice(body)
                .map_err(|error| StoreError::Corrupted {
                    what: format!("a commit: {error}"),
                }),
            Some((&found, _)) => Err(StoreError::UnknownFormat {
                what: "a commit in the journal".to_owned(),
                found: u64::from(found),
                known: u64::from(COMMIT_FORMAT),
            }),
            None => Err(StoreError::Corrupted {
                what: "an empty commit".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
