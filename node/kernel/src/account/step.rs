//! What of an account is taken on the platform before it is written here (adr/0008).

use homecore_store::Transaction;
use homecore_types::UserId;

use super::emails::NewLink;
use super::{Account, AccountError, change, name};
use crate::ports::{Claim, FieldChanges, NameChange, NoClaim, Registry, TakeError, UserNames};

/// What is to change.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Fields, and links that are sent to addresses among them.
    Fields(FieldChanges, Vec<NewLink>),
    /// The name.
    Name(NameChange),
}

/// What the platform has and the account has not yet.
#[derive(Debug)]
pub(super) enum Taken {
    Fields(FieldChanges, Vec<NewLink>),
    Names(UserNames),
}

impl Step {
    /// Takes it on the platform.
    pub(super) async fn take(
        self,
        registry: &dyn Registry,
        user: &UserId,
    ) -> Result<(Taken, Box<dyn Claim>), TakeError> {
        match self {
            // Links are the account's alone.
            Self::Fields(changes, links) if changes.is_empty() => {
                Ok((Taken::Fields(changes, links), Box::new(NoClaim)))
            }
            Self::Fields(changes, links) => {
                let claim = registry.take(user, &changes).await?;
                Ok((Taken::Fields(changes, links), claim))
            }
            Self::Name(change) => {
                let (names, claim) = registry.rename(user, &change).await?;
                Ok((Taken::Names(names), claim))
            }
        }
    }
}

impl Taken {
    /// Writes it into the account; the account as it is then.
    pub(super) fn write(&self, tx: &mut Transaction<'_>) -> Result<Account, AccountError> {
        match self {
            Self::Fields(changes, links) => change::write(tx, changes, links),
            Self::Names(names) => name::write(tx, names),
        }
    }
}
