//! Shared secrets (spec/pryv-api §9.7): a secret that is left with an account and handed over once,
//! to whoever presents its key.
//!
//! What may be seen of one is an event of type `shared-secret/item` below `:_shared-secrets:`, its
//! maker's and the person's to read. The secret itself never is in an event: it is a document of its own
//! ([`Kind::SharedSecret`](homecore_store::Kind)), gone with the commit that hands it over. It is
//! sealed ([`seal`]): under its key where the core makes that, else under one of the platform.
//! Answers leave after their commit is on disk, so no crash gives a secret twice.

mod create;
mod error;
mod get;
mod item;
mod retrieve;
mod seal;

use std::time::Duration;

pub(crate) use create::create;
pub use error::{Problem, SharedSecretError};
pub(crate) use get::get_one;
pub(crate) use item::{after_import, discard_deleted, is_item_type};

/// What an operator decides about shared secrets (`sharedSecrets.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSecretSettings {
    /// Whether there are any.
    pub active: bool,
    /// Largest secret, as JSON text.
    pub size_bytes_max: usize,
    /// Longest life.
    pub ttl_max: Duration,
}

/// Largest secret that an operator can allow: all that wait are looked at when one is made.
pub const SIZE_BYTES_LIMIT: u32 = 16 * 1024;

impl Default for SharedSecretSettings {
    fn default() -> Self {
        Self {
            active: true,
            size_bytes_max: 4_096,
            ttl_max: Duration::from_secs(2_592_000),
        }
    }
}

impl SharedSecretSettings {
    fn check_active(&self) -> Result<(), SharedSecretError> {
        if self.active {
            Ok(())
        } else {
            Err(SharedSecretError::Inactive)
        }
    }
}

#[cfg(test)]
mod tests;
