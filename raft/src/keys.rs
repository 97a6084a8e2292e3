//! The registry of key spaces: what the state machine stores, under which number, key and version.
//!
//! A number, a key layout or a version is part of every disk and every snapshot: numbers are never
//! used again, new spaces go at the end. Keys are big-endian, and every part but the last carries its
//! length, so that no two keys of different parts are the same bytes.

use homecore_types::{CoreId, Millis, UserId, Username};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::records::{
    AccessRequest, Core, DnsRecord, Invitation, JoinToken, PlatformConfig, User, UserHoldings,
};

/// A key space: one tree or table of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// What has been applied. The only space that snapshots carry in their header instead.
    Meta = 0,
    /// Username, present or former → whose it is and where it lives: all that routing asks.
    Names = 1,
    /// User id → user.
    Users = 2,
    /// (field, value) → user id.
    Unique = 3,
    /// Reservation id → what became of it.
    Reservations = 4,
    /// Core id → core, removed ones included: core ids and node ids are never used again.
    Cores = 5,
    /// Hex SHA-256 of the secret → join token.
    JoinTokens = 6,
    /// Invitation token → invitation and who holds it.
    Invitations = 7,
    /// Hex SHA-256 of the poll key → access request.
    AccessRequests = 8,
    /// Label → records.
    Dns = 9,
    /// What the cluster was founded with.
    Founding = 10,
    /// The platform-wide configuration.
    Config = 11,
    /// (time, kind, id) → nothing: what a sweep has to look at, in the order of time.
    Deadlines = 12,
    /// User id → what it holds beside its name and fields; no row where that is nothing.
    Holdings = 13,
}

impl Space {
    /// Every space, in the order of numbers.
    pub const ALL: [Self; 14] = [
        Self::Meta,
        Self::Names,
        Self::Users,
        Self::Unique,
        Self::Reservations,
        Self::Cores,
        Self::JoinTokens,
        Self::Invitations,
        Self::AccessRequests,
        Self::Dns,
        Self::Founding,
        Self::Config,
        Self::Deadlines,
        Self::Holdings,
    ];

    /// The replicated spaces: everything that a snapshot carries and a state hash covers.
    #[must_use]
    pub fn replicated() -> &'static [Self] {
        let (_, replicated) = Self::ALL.split_at(1);
        replicated
    }

    /// The number on disk.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The space of a number; none: written by a newer release, or damage.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name of its tree or table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Names => "names",
            Self::Users => "users",
            Self::Unique => "unique",
            Self::Reservations => "reservations",
            Self::Cores => "cores",
            Self::JoinTokens => "join-tokens",
            Self::Invitations => "invitations",
            Self::AccessRequests => "access-requests",
            Self::Dns => "dns",
            Self::Founding => "founding",
            Self::Config => "config",
            Self::Deadlines => "deadlines",
            Self::Holdings => "holdings",
        }
    }

    /// The newest format version of its values.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::Meta
            | Self::Names
            | Self::Users
            | Self::Unique
            | Self::Reservations
            | Self::Cores
            | Self::JoinTokens
            | Self::Invitations
            | Self::AccessRequests
            | Self::Dns
            | Self::Founding
            | Self::Config
            | Self::Deadlines
            | Self::Holdings => 1,
        }
    }
}

/// A key space with its types. The marker types below are the only implementations.
pub trait Table {
    /// Which space.
    const SPACE: Space;
    /// What a key is.
    type Key: ?Sized;
    /// What a value is.
    type Value: Serialize + DeserializeOwned;
    /// The key as the engine orders it.
    fn key(key: &Self::Key) -> Vec<u8>;

    /// A value as the engine keeps it.
    ///
    /// # Errors
    /// See [`codec::encode`].
    fn encode(value: &Self::Value) -> Result<Vec<u8>, CodecError> {
        codec::encode(Self::SPACE.version(), value)
    }

    /// A value that the engine kept.
    ///
    /// # Errors
    /// See [`codec::decode`].
    fn decode(bytes: &[u8]) -> Result<Self::Value, CodecError> {
        codec::decode(Self::SPACE.version(), bytes)
    }
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $key:ty, $value:ty, $encode:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Table for $name {
            const SPACE: Space = Space::$name;
            type Key = $key;
            type Value = $value;
            fn key(key: &$key) -> Vec<u8> {
                let encode: fn(&$key) -> Vec<u8> = $encode;
                encode(key)
            }
        }
    };
}

fn text(key: &str) -> Vec<u8> {
    key.as_bytes().to_vec()
}

table! {
    /// See [`Space::Meta`].
    Meta, (), Applied, |()| Vec::new()
}
table! {
    /// See [`Space::Names`].
    Names, str, NameRow, text
}
table! {
    /// See [`Space::Users`].
    Users, UserId, User, |user| text(user.as_str())
}
table! {
    /// See [`Space::Unique`].
    Unique, (String, String), UserId, |(field, value)| pair(field, value)
}
table! {
    /// See [`Space::Reservations`].
    Reservations, str, ReservationRow, text
}
table! {
    /// See [`Space::Cores`].
    Cores, CoreId, Core, |core| text(core.as_str())
}
table! {
    /// See [`Space::JoinTokens`].
    JoinTokens, str, JoinToken, text
}
table! {
    /// See [`Space::Invitations`].
    Invitations, str, InvitationRow, text
}
table! {
    /// See [`Space::AccessRequests`].
    AccessRequests, str, AccessRequest, text
}
table! {
    /// See [`Space::Dns`].
    Dns, str, DnsRecord, text
}
table! {
    /// See [`Space::Founding`].
    Founding, (), crate::command::Founding, |()| Vec::new()
}
table! {
    /// See [`Space::Config`].
    Config, (), PlatformConfig, |()| Vec::new()
}
table! {
    /// See [`Space::Deadlines`].
    Deadlines, Deadline, (), Deadline::to_key
}
table! {
    /// See [`Space::Holdings`].
    Holdings, UserId, UserHoldings, |user| text(user.as_str())
}

/// Two parts as one key. The length of the first stands before it.
fn pair(first: &str, second: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + first.len() + second.len());
    key.extend_from_slice(&u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(first.as_bytes());
    key.extend_from_slice(second.as_bytes());
    key
}

/// What the state machine has applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Index of the last entry applied; none: not even one.
    pub index: Option<u64>,
    /// Its log id, as the caller encoded it.
    pub log_id: Option<Vec<u8>>,
    /// The last membership applied, as the caller encoded it.
    pub membership: Option<Vec<u8>>,
}

/// Whose a username is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// The user.
    pub id: UserId,
    /// Its home.
    pub core: CoreId,
    /// False while only reserved.
    pub active: bool,
    /// The present name of the user, where this is a former one. Left out of present ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<Username>,
}

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRow {
    /// The user that it is for.
    pub user: UserId,
    /// The home that was chosen.
    pub core: CoreId,
    /// Held, committed or released. The last two are remembered for a while, so that a command that
    /// arrives twice is answered as the first time.
    pub state: ReservationState,
}

/// How far a reservation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationState {
    /// The names are held.
    Held,
    /// The reservation is a user.
    Committed,
    /// The names were given back.
    Released,
}

/// An invitation, and the reservation that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationRow {
    /// As made and, perhaps, used.
    pub invitation: Invitation,
    /// The reservation that will use it when it commits.
    pub held_by: Option<String>,
}

/// Something that a sweep has to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// After this.
    pub at: Millis,
    /// What it is.
    pub kind: DeadlineKind,
    /// Which one.
    pub id: String,
}

/// What a deadline is of. The numbers are in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DeadlineKind {
    /// A reservation: to be given back, or to be forgotten.
    Reservation = 1,
    /// An access request: to be forgotten.
    AccessRequest = 2,
    /// A join token: to be forgotten.
    JoinToken = 3,
}

impl DeadlineKind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Reservation),
            2 => Some(Self::AccessRequest),
            3 => Some(Self::JoinToken),
            _ => None,
        }
    }
}

/// Flips the sign bit: two's complement then orders as unsigned bytes do.
const SIGN: u64 = 1 << 63;

impl Deadline {
    /// The key, ordered by time first.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(9 + self.id.len());
        key.extend_from_slice(&(self.at.0.cast_unsigned() ^ SIGN).to_be_bytes());
        key.push(self.kind as u8);
        key.extend_from_slice(self.id.as_bytes());
        key
    }

    /// The deadline of a key; none: damage.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (at, rest) = key.split_first_chunk::<8>()?;
        let (kind, id) = rest.split_first()?;
        Some(Self {
            at: Millis((u64::from_be_bytes(*at) ^ SIGN).cast_signed()),
            kind: DeadlineKind::from_number(*kind)?,
            id: std::str::from_utf8(id).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
