//! What of an account is taken on the platform before it is written here (adr/0008).

use homecore_store::Transaction;
use homecore_types::UserId;

use super::{Account, AccountError, change, name};
use crate::ports::{Claim, FieldChanges, NameChange, Registry, TakeError, UserNames};

/// What is to change.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Fields.
    Fields(FieldChanges),
    /// The name.
    Name(NameChange),
}

/// What the platform has and the account has not yet.
#[derive(Debug)]
pub(super) enum Taken {
    Fields(FieldChanges),
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
            Self::Fields(changes) => {
                let claim = registry.take(user, &changes).await?;
                Ok((Taken::Fields(changes), claim))
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
            Self::Fields(changes) => change::write(tx, changes),
            Self::Names(names) => name::write(tx, names),
        }
    }
}
