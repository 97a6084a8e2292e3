//! What an operator decides about the kernel.

use std::str::FromStr;
use std::time::Duration;

use homecore_types::limits;

use crate::account::name;
use crate::account::passwords::PasswordPolicy;
use crate::attachment::token::ReadTokenKey;
use crate::audit::AuditSettings;
use crate::preview::PreviewSettings;
use crate::shared_secret::SharedSecretSettings;
use crate::stream::schema::SchemaSource;
use crate::trust::TrustedAppsSource;

/// Settings of the kernel, checked when the configuration is read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a personal session lives without use (`auth.sessionMaxAge`).
    pub session_max_age: Duration,
    /// How long a token to reset a password works (`auth.passwordResetRequestMaxAge`).
    pub reset_max_age: Duration,
    /// How long a second factor may be given after the password (`services.mfa.sessions.ttlSeconds`).
    pub mfa_max_age: Duration,
    /// Which apps may ask for a person's password, from where (`auth.trustedApps`).
    pub trusted_apps: TrustedAppsSource,
    /// Every changed event's former version is kept (`versioning.forceKeepHistory`).
    pub keep_history: bool,
    /// What stays of a deleted event (`versioning.deletionMode`).
    pub deletion_mode: DeletionMode,
    /// Updates of fields that only the server writes are dropped instead of refused
    /// (`updates.ignoreProtectedFields`).
    pub ignore_protected_fields: bool,
    /// When and for what accesses are used is written down (`access_tracking.active`).
    pub track_accesses: bool,
    /// Behind the read tokens of attachments (`auth.filesReadTokenSecret`).
    pub read_token_key: ReadTokenKey,
    /// Which calls leave an entry in the audit log.
    pub audit: AuditSettings,
    /// Which passwords may be chosen, and for how long (`auth.password*`).
    pub passwords: PasswordPolicy,
    /// How often a person may change the name (`auth.usernameChangeLimit`).
    pub username_changes_max: u32,
    /// Addresses that an account may have (`account.maxEmails`).
    pub emails_max: usize,
    /// Which streams accounts have, and so which fields (`custom.systemStreams`).
    pub account_schema: SchemaSource,
    /// What secrets may be left with an account (`sharedSecrets.*`).
    pub shared_secrets: SharedSecretSettings,
    /// How much is kept of previews, and for how long.
    pub previews: PreviewSettings,
}

/// What stays of an event that is deleted for good, beside its id and the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionMode {
    /// Nothing; its history goes as well.
    #[default]
    KeepNothing,
    /// Who changed it last and when, of the event and of each version in its history.
    KeepAuthors,
    /// All of it.
    KeepEverything,
}

impl DeletionMode {
    /// Every mode.
    pub const ALL: &'static [Self] = &[Self::KeepNothing, Self::KeepAuthors, Self::KeepEverything];

    /// As it is written in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeepNothing => "keep-nothing",
            Self::KeepAuthors => "keep-authors",
            Self::KeepEverything => "keep-everything",
        }
    }
}

/// A text that names no [`DeletionMode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of keep-nothing, keep-authors, keep-everything")]
pub struct UnknownDeletionMode;

impl FromStr for DeletionMode {
    type Err = UnknownDeletionMode;
    fn from_str(text: &str) -> Result<Self, UnknownDeletionMode> {
        Self::ALL
            .iter()
            .copied()
            .find(|mode| mode.as_str() == text)
            .ok_or(UnknownDeletionMode)
    }
}

impl Default for Settings {
    /// The default session age, no trusted app, no read tokens, and nothing kept of what is gone.
    fn default() -> Self {
        Self {
            session_max_age: limits::SESSION_MAX_AGE,
            reset_max_age: limits::PASSWORD_RESET_MAX_AGE,
            mfa_max_age: limits::MFA_MAX_AGE,
            trusted_apps: TrustedAppsSource::default(),
            keep_history: false,
            deletion_mode: DeletionMode::default(),
            ignore_protected_fields: false,
            track_accesses: true,
            read_token_key: ReadTokenKey::new(|| None),
            audit: AuditSettings::default(),
            passwords: PasswordPolicy::default(),
            username_changes_max: name::CHANGES_MAX,
            emails_max: 5,
            account_schema: SchemaSource::default(),
            shared_secrets: SharedSecretSettings::default(),
            previews: PreviewSettings::default(),
        }
    }
}
