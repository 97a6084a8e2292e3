//! What openraft's generics stand for here, and how its values become bytes.
//!
//! Everything generic stays in this crate: [`crate::Handle`] shows none of it, so that no other
//! crate compiles openraft again.

use openraft::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::command::{Command, Response};

/// How log entries, votes and consensus messages are encoded. Part of what is on disk and on the
/// wire: a new number needs a release that still reads the old one.
pub(crate) const FORMAT: u8 = 1;

/// A member as the consensus configuration records it. The address is the one that it joined with
/// and only a fallback: the present one is looked up in the directory by node id, because a changed
/// address in the configuration itself could point two ids at one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The core's name.
    pub core: String,
    /// `host:port` of its gRPC listener when it joined.
    pub rpc: String,
}

openraft::declare_raft_types!(
    /// The types of this consensus group.
    pub(crate) TypeConfig:
        D = Command,
        R = Response,
        NodeId = u64,
        Node = Member,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Encodes a value of openraft's behind [`FORMAT`].
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode(FORMAT, value)
}

/// Decodes a value of openraft's.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(FORMAT, bytes)
}
