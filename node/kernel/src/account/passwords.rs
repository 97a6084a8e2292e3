//! Which passwords an operator lets people choose, and `account.changePassword` (spec/pryv-api §2.5).
//!
//! A change ends no session: whoever wants that logs the others out.

use std::time::Duration;

use homecore_store::{Base, Transaction};
use homecore_types::{ErrorId, Millis, Secret};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Account, AccountError};
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::password::{HashError, Hasher, PasswordHashText};
use crate::violation::Violation;

/// Fewest and most characters of any password.
pub const CHARS: std::ops::RangeInclusive<usize> = 6..=100;
/// Most former passwords that can be kept from being used again: each costs a hash to compare.
pub const HISTORY_MAX: usize = 24;

/// What the operator asks of passwords (`auth.password*`); the default asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Fewest characters, if more than [`CHARS`] asks for.
    pub chars_min: usize,
    /// Of how many of lower case, upper case, digits and others there must be a character.
    pub categories_min: usize,
    /// A password must be changed when it is this old.
    pub age_max: Option<Duration>,
    /// A password cannot be changed before it is this old.
    pub age_min: Option<Duration>,
    /// How many last passwords, the present one included, cannot be chosen again.
    pub history: usize,
}

/// When a password ends, and from when on it may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordTimes {
    /// `passwordExpires`.
    pub expires: Option<Millis>,
    /// `passwordCanBeChanged`.
    pub can_be_changed: Option<Millis>,
}

impl PasswordTimes {
    /// As answers show them: only those that there are.
    #[must_use]
    pub fn to_json(self) -> Map<String, Value> {
        [
            ("passwordExpires", self.expires),
            ("passwordCanBeChanged", self.can_be_changed),
        ]
        .into_iter()
        .filter_map(|(name, at)| Some((name.to_owned(), json!(at?.as_seconds()))))
        .collect()
    }
}

/// Why a password was not set.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// Only the person may.
    #[error("You cannot access this resource using the given access token.")]
    PersonOnly,
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// Too many were tried.
    #[error("Too many passwords were tried; slow down")]
    TooMany {
        /// How long to wait.
        wait: Duration,
    },
    /// The present password is another one.
    #[error("The given password does not match.")]
    WrongOld,
    /// The policy refuses it.
    #[error("The new password does not follow complexity rules: {rule}")]
    TooSimple {
        /// How.
        rule: String,
    },
    /// The present password is too young.
    #[error("The password was changed too recently")]
    TooYoung {
        /// From when on it may be changed.
        can_be_changed: Millis,
    },
    /// It was used before.
    #[error("The new password must differ from the {last} last used ones")]
    Used {
        /// How many are remembered.
        last: usize,
    },
    /// See [`HashError`].
    #[error(transparent)]
    Hash(#[from] HashError),
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`homecore_store::StoreError`].
    #[error(transparent)]
    Store(#[from] homecore_store::StoreError),
}

impl Refusal for PasswordError {
    fn id(&self) -> ErrorId {
        match self {
            Self::PersonOnly => ErrorId::Forbidden,
            Self::Parameters(invalid) => invalid.id(),
            Self::TooMany { .. } => ErrorId::TooManyRequests,
            Self::TooSimple { .. } => ErrorId::InvalidParametersFormat,
            Self::WrongOld | Self::TooYoung { .. } | Self::Used { .. } => ErrorId::InvalidOperation,
            Self::Hash(error) => error.id(),
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::TooSimple { rule } => Some(json!([rule])),
            Self::TooYoung { can_be_changed } => {
                Some(json!({ "passwordCanBeChanged": can_be_changed.as_seconds() }))
            }
            Self::PersonOnly
            | Self::TooMany { .. }
            | Self::WrongOld
            | Self::Used { .. }
            | Self::Hash(_)
            | Self::Account(_)
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Hash(error) => error.client_message(),
            Self::Account(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait } => Some(*wait),
            Self::Hash(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl PasswordPolicy {
    /// Whether the policy lets a password be chosen, as far as the password alone tells.
    ///
    /// # Errors
    /// [`PasswordError::TooSimple`].
    pub fn check(&self, password: &Secret) -> Result<(), PasswordError> {
        let text = password.expose();
        let chars = text.chars().count();
        if chars < self.chars_min {
            let rule = format!(
                "Password is {chars} characters long, but at least {} are required",
                self.chars_min
            );
            return Err(PasswordError::TooSimple { rule });
        }
        let is_other = |c: char| !c.is_lowercase() && !c.is_uppercase() && !c.is_numeric();
        let found = [
            text.contains(char::is_lowercase),
            text.contains(char::is_uppercase),
            text.contains(char::is_numeric),
            text.contains(is_other),
        ];
        let categories = found.iter().filter(|found| **found).count();
        if categories < self.categories_min {
            let rule = format!(
                "Password contains characters from {categories} categories, but at least {} are \
                 required (lowercase letters, uppercase letters, numbers, special characters)",
                self.categories_min
            );
            return Err(PasswordError::TooSimple { rule });
        }
        Ok(())
    }

    /// Whether a password ends, or has to wait.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.age_max.is_some() || self.age_min.is_some()
    }

    /// When an account's password ends and may be changed.
    #[must_use]
    pub fn times(&self, account: &Account) -> PasswordTimes {
        PasswordTimes {
            expires: self.age_max.map(|age| account.password_set + age),
            can_be_changed: self.age_min.map(|age| account.password_set + age),
        }
    }

    /// Whether the present password may be changed now.
    ///
    /// # Errors
    /// [`PasswordError::TooYoung`].
    pub fn check_age(&self, account: &Account, now: Millis) -> Result<(), PasswordError> {
        match self.times(account).can_be_changed {
            Some(can_be_changed) if now < can_be_changed => {
                Err(PasswordError::TooYoung { can_be_changed })
            }
            _ => Ok(()),
        }
    }

    /// Whether a password is none of the last ones. Takes as long as that many hashes.
    ///
    /// # Errors
    /// [`PasswordError::Used`], or of the hasher.
    pub async fn check_history(
        &self,
        hasher: &Hasher,
        account: &Account,
        password: &Secret,
    ) -> Result<(), PasswordError> {
        let last = std::iter::once(&account.password_hash).chain(&account.former_passwords);
        for hash in last.take(self.history) {
            if hasher.verify(password.clone(), Some(hash.clone())).await? {
                let last = self.history;
                return Err(PasswordError::Used { last });
            }
        }
        Ok(())
    }
}

/// Parameters of `account.changePassword`.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// The present one, as typed.
    pub old: Secret,
    /// The one to be.
    pub new: Secret,
}

impl ChangePassword {
    /// Reads the parameters.
    ///
    /// # Errors
    /// All violations.
    pub fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const KNOWN: &[&str] = &["oldPassword", "newPassword"];
        let mut fields = Fields::strict(params, KNOWN, KNOWN)?;
        let old = fields.text("oldPassword", Null::Refused).map(Secret::new);
        let new = new_password(&mut fields);
        fields.finish()?;
        Ok(Self {
            old: old.unwrap_or_else(|| Secret::new("")),
            new,
        })
    }
}

/// The field `newPassword`, of a length that any password must have.
pub(super) fn new_password(fields: &mut Fields<'_>) -> Secret {
    let text = fields.text("newPassword", Null::Refused);
    let path = fields.path_of("newPassword");
    match text.map(|text| text.chars().count()) {
        Some(chars) if chars < *CHARS.start() => {
            fields.violated(Violation::too_short(&path, *CHARS.start()));
        }
        Some(chars) if chars > *CHARS.end() => {
            fields.violated(Violation::too_long(&path, *CHARS.end()));
        }
        _ => {}
    }
    Secret::new(text.unwrap_or_default())
}

/// Sets a password whose hash replaces `expected`.
///
/// # Errors
/// [`PasswordError::WrongOld`] if another was set meanwhile; or of the store.
pub fn set(
    tx: &mut Transaction<'_>,
    policy: &PasswordPolicy,
    expected: &str,
    hash: PasswordHashText,
) -> Result<(), PasswordError> {
    let mut account = super::load(tx.view())?;
    if account.password_hash != expected {
        return Err(PasswordError::WrongOld);
    }
    account.replace_password(policy, hash, tx.at());
    super::store(tx, &account, Base::Any)?;
    Ok(())
}

impl Account {
    /// Sets a password and remembers the former one as the policy asks. Tokens that were sent to set
    /// one are void.
    pub(super) fn replace_password(
        &mut self,
        policy: &PasswordPolicy,
        hash: PasswordHashText,
        now: Millis,
    ) {
        let former = std::mem::replace(&mut self.password_hash, hash);
        self.password_set = now;
        self.former_passwords.insert(0, former);
        self.former_passwords
            .truncate(policy.history.saturating_sub(1));
        self.resets.clear();
    }
}
