//! What an operator decides about the kernel.

use std::time::Duration;

use homecore_types::limits;

use crate::trust::TrustedApps;

/// Settings of the kernel, checked when the configuration is read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a personal session lives without use (`auth.sessionMaxAge`).
    pub session_max_age: Duration,
    /// Which apps may ask for a person's password, from where (`auth.trustedApps`).
    pub trusted_apps: TrustedApps,
}

impl Default for Settings {
    /// The default session age, and no trusted app.
    fn default() -> Self {
        Self {
            session_max_age: limits::SESSION_MAX_AGE,
            trusted_apps: TrustedApps::default(),
        }
    }
}
