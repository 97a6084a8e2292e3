//! Where what is in an archive.

/// A kind of record of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// The account: one record.
    Account,
    /// Streams.
    Streams,
    /// Accesses.
    Accesses,
    /// Profiles.
    Profile,
    /// Webhooks.
    Webhooks,
    /// Events, their former versions and deletions.
    Events,
    /// The audit log.
    Audit,
    /// Data points of series.
    Series,
}

impl Section {
    /// Every section.
    pub const ALL: &'static [Self] = &[
        Self::Account,
        Self::Streams,
        Self::Accesses,
        Self::Profile,
        Self::Webhooks,
        Self::Events,
        Self::Audit,
        Self::Series,
    ];

    /// Its name in files and manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Streams => "streams",
            Self::Accesses => "accesses",
            Self::Profile => "profile",
            Self::Webhooks => "webhooks",
            Self::Events => "events",
            Self::Audit => "audit",
            Self::Series => "series",
        }
    }

    /// Whether it is continued in several files.
    pub(crate) const fn is_chunked(self) -> bool {
        matches!(self, Self::Events | Self::Audit)
    }

    /// The folder of its files, below the user's.
    pub(crate) const fn folder(self) -> Option<&'static str> {
        match self {
            Self::Events => Some("events"),
            Self::Audit => Some("audit"),
            Self::Series => Some("series"),
            _ => None,
        }
    }
}

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const ENCRYPTION: &str = "encryption.json";
pub(crate) const README: &str = "RESTORE-README.md";
pub(crate) const PLATFORM: &str = "platform/platform";

/// The folder of a user.
pub(crate) fn user(id: &str) -> String {
    format!("users/{id}")
}

/// The manifest of a user.
pub(crate) fn user_manifest(id: &str) -> String {
    format!("users/{id}/user-manifest.json")
}

/// The bytes of an attachment.
pub(crate) fn attachment(user: &str, file: &str) -> String {
    format!("users/{user}/attachments/{file}")
}

/// A file of JSON lines.
pub(crate) fn lines(base: &str, compressed: bool) -> String {
    let end = if compressed { ".jsonl.gz" } else { ".jsonl" };
    format!("{base}{end}")
}

/// Whether a name is that of a file in a folder, and of none outside of it.
pub(crate) fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|c| c == '/' || c == '\\' || c.is_control())
}
