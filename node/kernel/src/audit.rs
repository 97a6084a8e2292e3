//! The audit log: one entry for every call on a user, by whom, from where and how it ended
//! (spec/pryv-api §9.5).
//!
//! Entries are shown as events of the store `:_audit:`. They are kept in pages, each a document of
//! its own with many entries, so that a log that grows with every call stays cheap. What a call wrote
//! and its entry are in one commit. A call that wrote nothing must not cost a disk sync: its entry
//! waits in memory ([`pending`]) for a moment and is written with others; what waits is lost if the
//! core is killed, and shown like the rest to whoever reads the log before.

pub mod entry;
pub mod keep;
pub mod listener;
pub mod page;
pub(crate) mod pending;
pub mod scan;
mod streams;

use std::collections::BTreeSet;
use std::str::FromStr;

pub use entry::{Entry, Source};
pub use listener::AuditListener;
pub use streams::noted_methods;
pub(crate) use streams::streams_below;

/// The pseudo access of a login that succeeded.
pub const VALID_PASSWORD: &str = "valid-password";
/// The pseudo access of a caller that proved nothing.
pub const INVALID: &str = "invalid";
/// The pseudo access of a caller that needs none.
pub const PUBLIC: &str = "public";
/// The pseudo access of who asks for a password reset.
pub const RESET_REQUEST: &str = "password-reset-request";
/// The pseudo access of who resets a password with a token that came by mail.
pub const RESET_TOKEN: &str = "password-reset-token";
/// The pseudo access of who proves an address with a token that came by mail.
pub const EMAIL_TOKEN: &str = "email-verification-token";
/// The pseudo access of the operator.
pub const ADMIN: &str = "admin";

/// What is written into the audit log (`audit.*` of the configuration).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Whether anything is.
    pub active: bool,
    /// Only these methods; none: all.
    pub include: Option<MethodSet>,
    /// But never these.
    pub exclude: MethodSet,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            active: true,
            include: None,
            exclude: MethodSet::default(),
        }
    }
}

impl AuditSettings {
    /// Whether a method's calls are written down.
    #[must_use]
    pub fn covers(&self, method: &str) -> bool {
        self.active
            && self.include.as_ref().is_none_or(|set| set.holds(method))
            && !self.exclude.holds(method)
    }
}

/// Methods by id, `events.all` for all of a family, `all` for every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(BTreeSet<MethodPattern>);

impl MethodSet {
    /// A set of such names.
    pub fn new(names: impl IntoIterator<Item = MethodPattern>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Whether no method is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a method is in it.
    #[must_use]
    pub fn holds(&self, method: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(method))
    }
}

/// A method's id, or `family.all`, or `all`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MethodPattern(String);

impl MethodPattern {
    /// Whether the log may have entries of what this names: another word is a mistake.
    #[must_use]
    pub fn is_of_the_log(&self) -> bool {
        noted_methods().iter().any(|method| self.matches(method))
    }

    fn matches(&self, method: &str) -> bool {
        let family = self.0.strip_suffix(".all");
        self.0 == "all"
            || self.0 == method
            || family
                .is_some_and(|family| method.split_once('.').is_some_and(|(own, _)| own == family))
    }
}

/// A text that can be no method's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a method such as events.get, a family such as events.all, or all")]
pub struct InvalidMethodPattern;

impl FromStr for MethodPattern {
    type Err = InvalidMethodPattern;
    fn from_str(text: &str) -> Result<Self, InvalidMethodPattern> {
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
        let mut words = text.split('.');
        let good = words.clone().count() <= 2 && words.all(is_word);
        good.then(|| Self(text.to_owned()))
            .ok_or(InvalidMethodPattern)
    }
}

#[cfg(test)]
mod tests;
