//! What is stored: documents of a kind, each with its own revisions, all in one sequence of changes.

use bytes::Bytes;
use homecore_types::Millis;
use serde::{Deserialize, Serialize};

/// What a document is. The numbers are on disk: never change or re-use one; add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum Kind {
    /// The account itself: name, password hash, account fields. One document.
    Account = 1,
    /// A stream of events.
    Stream = 2,
    /// An event.
    Event = 3,
    /// A credential with its permissions.
    Access = 4,
    /// A live login of a person.
    Session = 5,
    /// A profile (public, private, an app's).
    Profile = 6,
    /// A webhook.
    Webhook = 7,
    /// A page of the audit log.
    Audit = 8,
    /// How an access was used.
    AccessUses = 9,
    /// A secret that waits to be handed over.
    SharedSecret = 10,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Account,
        Self::Stream,
        Self::Event,
        Self::Access,
        Self::Session,
        Self::Profile,
        Self::Webhook,
        Self::Audit,
        Self::AccessUses,
        Self::SharedSecret,
    ];
}

impl From<Kind> for u8 {
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant is the stored number"
    )]
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for Kind {
    type Error = UnknownKind;
    fn try_from(number: u8) -> Result<Self, UnknownKind> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| u8::from(*kind) == number)
            .ok_or(UnknownKind(number))
    }
}

/// A stored kind that this version does not know: written by a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document kind {0} is unknown to this version")]
pub struct UnknownKind(pub u8);

/// Position in a user's sequence of changes: 1, 2, 3 … without gaps, one a mutation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// How often a document was written: 1 for its first version. Deleting writes a version too.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Rev(pub u64);

/// A document as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind, at most 255 bytes.
    pub id: String,
    /// Its version.
    pub rev: Rev,
    /// The change that wrote this version.
    pub seq: Seq,
    /// When this version was written.
    pub written_at: Millis,
    /// Whether this version is a tombstone; its body then holds what the kind keeps of it.
    pub deleted: bool,
    /// Opaque to the store; the kernel writes JSON.
    pub body: Bytes,
}
