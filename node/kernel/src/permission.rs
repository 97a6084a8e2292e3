//! What an access may do. One question in one place: which level does it hold on a stream?
//! ([`Rights::level`], spec/pryv-api §3.2, §3.3, App. B.1.)

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::stream::store::{ACCOUNT_ROOT, AUDIT_ACCESS_PREFIX, AUDIT_ROOT, SHARED_SECRETS, Store};

pub mod grant;

/// A permission level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing: hides the stream and what lies below.
    None,
    /// See streams and events.
    Read,
    /// See streams and create events, but read none.
    CreateOnly,
    /// Read, create, update and delete events.
    Contribute,
    /// All of it, and the streams themselves.
    Manage,
}

impl Level {
    /// Every level, lowest rank first.
    pub const ALL: &'static [Self] = &[
        Self::None,
        Self::Read,
        Self::CreateOnly,
        Self::Contribute,
        Self::Manage,
    ];

    /// The wire form.
    #[must_use]
    pub const fn wire(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::CreateOnly => "create-only",
            Self::Contribute => "contribute",
            Self::Manage => "manage",
        }
    }

    /// Reads the wire form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|level| level.wire() == text)
    }

    /// The order of levels; two of them are equal in it.
    #[must_use]
    pub const fn rank(self) -> i8 {
        match self {
            Self::None => -1,
            Self::Read => 0,
            Self::CreateOnly | Self::Contribute => 1,
            Self::Manage => 2,
        }
    }

    /// The highest level that allows nothing but what both allow.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::Manage, level) | (level, Self::Manage) => level,
            (Self::Contribute, level) | (level, Self::Contribute) => level,
            (Self::Read, Self::Read) => Self::Read,
            (Self::CreateOnly, Self::CreateOnly) => Self::CreateOnly,
            // Who only creates reads nothing, and the other way round.
            (Self::Read, Self::CreateOnly) | (Self::CreateOnly, Self::Read) => Self::None,
            (Self::None, _) | (_, Self::None) => Self::None,
        }
    }

    /// May see the stream itself.
    #[must_use]
    pub const fn lists(self) -> bool {
        self.rank() >= Self::Read.rank()
    }

    /// May read its events.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.lists() && !matches!(self, Self::CreateOnly)
    }

    /// May create events in it.
    #[must_use]
    pub const fn creates(self) -> bool {
        self.rank() >= Self::Contribute.rank()
    }

    /// May change and delete its events.
    #[must_use]
    pub const fn updates(self) -> bool {
        matches!(self, Self::Contribute | Self::Manage)
    }

    /// May create, change and delete streams under it.
    #[must_use]
    pub const fn manages(self) -> bool {
        matches!(self, Self::Manage)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wire())
    }
}

/// Whether a feature is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// It is.
    Allowed,
    /// It is not.
    Forbidden,
}

/// The feature that lets an access read its own audit stream unless it is forbidden.
pub const SELF_AUDIT: &str = "selfAudit";
/// The feature that lets an access delete itself unless it is forbidden.
pub const SELF_REVOKE: &str = "selfRevoke";
/// The feature that lets an access create shared secrets unless it is forbidden.
pub const SECRET_SHARING: &str = "secretSharing";

/// One stored permission entry, as on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Permission {
    /// A level on a stream and what lies below it, or on `*`.
    Stream {
        /// The level.
        level: Level,
        /// Which stream, or `*`.
        #[serde(rename = "streamId")]
        stream_id: String,
    },
    /// A feature switched on or off.
    Feature {
        /// Which.
        feature: String,
        /// How.
        setting: Setting,
    },
    /// Every reading of events is limited to these streams. Made by operators, never by the API.
    ForcedStreams {
        /// Always `forcedStreams`.
        feature: ForcedStreams,
        /// Which streams.
        streams: Vec<String>,
    },
}

/// The name of the feature in [`Permission::ForcedStreams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForcedStreams {
    /// The only one.
    #[serde(rename = "forcedStreams")]
    ForcedStreams,
}

impl Permission {
    /// A level on a stream.
    pub fn stream(stream_id: impl Into<String>, level: Level) -> Self {
        Self::Stream {
            level,
            stream_id: stream_id.into(),
        }
    }

    /// The stream that it is about.
    #[must_use]
    pub fn stream_id(&self) -> Option<&str> {
        match self {
            Self::Stream { stream_id, .. } => Some(stream_id),
            Self::Feature { .. } | Self::ForcedStreams { .. } => None,
        }
    }

    /// The wire form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        match self {
            Self::Stream { level, stream_id } => {
                map.insert("streamId".to_owned(), Value::from(stream_id.as_str()));
                map.insert("level".to_owned(), Value::from(level.wire()));
            }
            Self::Feature { feature, setting } => {
                map.insert("feature".to_owned(), Value::from(feature.as_str()));
                let setting = match setting {
                    Setting::Allowed => "allowed",
                    Setting::Forbidden => "forbidden",
                };
                map.insert("setting".to_owned(), Value::from(setting));
            }
            Self::ForcedStreams { streams, .. } => {
                map.insert("feature".to_owned(), Value::from("forcedStreams"));
                map.insert("streams".to_owned(), Value::from(streams.clone()));
            }
        }
        Value::Object(map)
    }
}

/// The stored entries of an access with those that every access has: first none on the account
/// streams, last its own audit stream unless that is forbidden (spec/pryv-api §2.4).
#[must_use]
pub fn with_injected(access_id: &str, stored: &[Permission]) -> Vec<Permission> {
    let mut all = Vec::with_capacity(stored.len() + 2);
    all.push(Permission::stream(ACCOUNT_ROOT, Level::None));
    all.extend(stored.iter().cloned());
    let audit_forbidden = stored.iter().any(|entry| {
        matches!(entry, Permission::Feature { feature, setting: Setting::Forbidden }
            if feature == SELF_AUDIT)
    });
    if !audit_forbidden {
        let own = format!("{AUDIT_ACCESS_PREFIX}{access_id}");
        all.push(Permission::stream(own, Level::Read));
    }
    all
}

/// All that an access holds: what it is told of ([`with_injected`]), and reading what is left of the
/// shared secrets that it made.
#[must_use]
pub fn held(access_id: &str, stored: &[Permission]) -> Vec<Permission> {
    let mut all = with_injected(access_id, stored);
    let own = format!("{SHARED_SECRETS}{access_id}");
    all.insert(0, Permission::stream(own, Level::Read));
    all
}

/// Where a stream hangs. The tree answers it; unknown streams have no parent.
pub trait Parents {
    /// The parent of a stream, or none for a root and for an unknown stream.
    fn parent_of(&self, stream_id: &str) -> Option<&str>;

    /// Whether there is such a stream.
    fn contains(&self, stream_id: &str) -> bool;
}

/// More steps up than any stream lies deep: ends a walk whatever is stored.
const STEPS_MAX: usize = 1_000;

/// The rights of an access, ready for the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The person: everything, on all stores.
    Personal,
    /// What the entries say.
    Limited(Entries),
}

/// The entries of an access by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    by_stream: BTreeMap<String, Level>,
    /// In the order in which the streams were first named.
    order: Vec<String>,
    features: BTreeMap<String, Setting>,
    forced: Vec<String>,
}

impl Entries {
    fn of(entries: &[Permission]) -> Self {
        let mut rights = Self::default();
        for entry in entries {
            match entry {
                Permission::Stream { level, stream_id } => rights.set(stream_id, *level),
                Permission::ForcedStreams { streams, .. } => {
                    rights.forced.extend(streams.iter().cloned());
                }
                Permission::Feature { feature, setting } => {
                    // What is forbidden once stays so.
                    let known = rights.features.entry(feature.clone()).or_insert(*setting);
                    if *setting == Setting::Forbidden {
                        *known = *setting;
                    }
                }
            }
        }
        rights
    }

    fn set(&mut self, stream_id: &str, level: Level) {
        if self.by_stream.insert(stream_id.to_owned(), level).is_none() {
            self.order.push(stream_id.to_owned());
        }
    }

    /// See [`Rights::level`].
    fn level(&self, parents: &impl Parents, stream_id: &str) -> Option<Level> {
        let store = Store::of(stream_id);
        let mut current = Some(stream_id).filter(|id| *id != "*");
        for _ in 0..STEPS_MAX {
            let Some(id) = current else { break };
            if let Some(level) = self.by_stream.get(id) {
                return Some(*level);
            }
            current = parents.parent_of(id);
            // Above a stream that is lost there may be an entry that withholds what `*` grants. (One that was
            // asked for by a name that no stream has is judged by `*`: it may come yet.)
            if current.is_some_and(|above| {
                !parents.contains(above) && !self.by_stream.contains_key(above)
            }) {
                return None;
            }
        }
        self.star_of(store)
    }

    /// The entry on everything in a store: its own one (`:store:*`), else that on `*`.
    fn star_of(&self, store: Store<'_>) -> Option<Level> {
        let own = match store {
            Store::Local | Store::Account | Store::SharedSecrets => None,
            Store::Audit => self.by_stream.get(&format!("{AUDIT_ROOT}*")),
            Store::Other(name) => self.by_stream.get(&format!(":{name}:*")),
        };
        let star = || {
            store
                .takes_part_in_star()
                .then(|| self.by_stream.get("*"))
                .flatten()
        };
        own.or_else(star).copied()
    }
}

impl Rights {
    /// Rights from entries, the injected ones included. Of entries for one stream the last wins.
    #[must_use]
    pub fn limited(entries: &[Permission]) -> Self {
        Self::Limited(Entries::of(entries))
    }

    /// The level on a stream, or on `*`; none where nothing is granted at all.
    #[must_use]
    pub fn level(&self, parents: &impl Parents, stream_id: &str) -> Option<Level> {
        match self {
            Self::Personal => Some(Level::Manage),
            Self::Limited(entries) => entries.level(parents, stream_id),
        }
    }

    /// Whether the level on a stream satisfies a condition.
    #[must_use]
    pub fn allows(&self, parents: &impl Parents, stream_id: &str, may: fn(Level) -> bool) -> bool {
        self.level(parents, stream_id).is_some_and(may)
    }

    /// Every stream named in an entry, in order, with its level; nothing for the person.
    pub fn named(&self) -> impl Iterator<Item = (&str, Level)> {
        let entries = match self {
            Self::Personal => None,
            Self::Limited(entries) => Some(entries),
        };
        entries.into_iter().flat_map(|entries| {
            entries
                .order
                .iter()
                .filter_map(|id| Some((id.as_str(), *entries.by_stream.get(id)?)))
        })
    }

    /// The level of the entry on `*` itself.
    #[must_use]
    pub fn star(&self) -> Option<Level> {
        match self {
            Self::Personal => Some(Level::Manage),
            Self::Limited(entries) => entries.by_stream.get("*").copied(),
        }
    }

    /// How a feature is set, if it is.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<Setting> {
        match self {
            Self::Personal => None,
            Self::Limited(entries) => entries.features.get(name).copied(),
        }
    }

    /// The entry that limits every reading of events.
    fn forced_entry(&self) -> Option<Permission> {
        let streams = self.forced();
        (!streams.is_empty()).then(|| Permission::ForcedStreams {
            feature: ForcedStreams::ForcedStreams,
            streams: streams.to_vec(),
        })
    }

    /// Streams that every reading of events is limited to.
    #[must_use]
    pub fn forced(&self) -> &[String] {
        match self {
            Self::Personal => &[],
            Self::Limited(entries) => &entries.forced,
        }
    }
}

#[cfg(test)]
mod tests;
