//! `account.changeUsername` and `account.usernameChanges` (spec/pryv-api §9.2): another name for an
//! account. The platform is the authority of names and takes the new one in one command; the former
//! one stays the account's and leads to it. Tokens remain valid.

use homecore_store::{Base, Transaction, View};
use homecore_types::{UserId, Username};
use serde_json::{Map, Value};

use super::change::ChangeError;
use super::taking::Asked;
use super::{Account, AccountError};
use crate::actor::{Actor, Owner};
use crate::audit::entry::Draft;
use crate::error::{Error, InvalidParameters};
use crate::fields::{Fields, Null};
use crate::kernel::{Context, Kernel};
use crate::ports::{NameChange, TakeError, UserNames};
use crate::reply::Reply;
use crate::violation::Violation;

/// How often a name may be changed, unless the operator says otherwise.
pub const CHANGES_MAX: u32 = 2;
/// What a name looks like.
const PATTERN: &str = "^[a-z0-9][a-z0-9-]{3,58}[a-z0-9]$";

/// Reads the parameters of `account.changeUsername`: `{newUsername}`.
///
/// # Errors
/// If it cannot be a name.
pub fn parse(params: &Value) -> Result<Username, InvalidParameters> {
    let mut fields = Fields::strict(params, &["newUsername"], &["newUsername"])?;
    let text = fields.text("newUsername", Null::Refused);
    let name = text.and_then(|text| Username::parse(text.to_lowercase()).ok());
    if text.is_some() && name.is_none() {
        fields.violated(Violation::pattern("#/newUsername", PATTERN));
    }
    let missing = || InvalidParameters(vec![Violation::pattern("#/newUsername", PATTERN)]);
    fields.finish()?;
    name.ok_or_else(missing)
}

/// `account.usernameChanges`.
///
/// # Errors
/// If the caller is not the person, or of the store.
pub fn changes(view: &dyn View, context: &Context, actor: &Actor) -> Result<Reply, Error> {
    if !actor.is_personal() {
        return Err(ChangeError::PersonOnly.into());
    }
    let account = super::load(view)?;
    let most = context.settings.username_changes_max;
    let number = |name: &str, value: u32| (name.to_owned(), Value::from(value));
    let used = account.username_changes;
    Ok(Reply::from_map(Map::from_iter([
        number("usernameChangesUsed", used),
        number("usernameChangesLimit", most),
        number("usernameChangesRemaining", most.saturating_sub(used)),
    ])))
}

/// Writes the names into the account, if they differ; the account as it is then.
///
/// # Errors
/// If there is no account, or of the store.
pub fn write(tx: &mut Transaction<'_>, names: &UserNames) -> Result<Account, AccountError> {
    let mut account = super::load(tx.view())?;
    let differ = account.username != names.present
        || account.former_usernames != names.former
        || account.username_changes != names.changes;
    if differ {
        account.username.clone_from(&names.present);
        account.former_usernames.clone_from(&names.former);
        account.username_changes = names.changes;
        super::store(tx, &account, Base::Any)?;
    }
    Ok(account)
}

impl Account {
    /// Whether this is its name, or was.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let mut names = std::iter::once(&self.username).chain(&self.former_usernames);
        names.any(|own| own.as_str() == name)
    }

    /// Whether a name that somebody gives is that of the user whom the address means. Under an alias
    /// that is the alias alone: nobody can try whom it stands for.
    #[must_use]
    pub fn is_meant(&self, owner: &Owner, name: &str) -> bool {
        let name = name.to_lowercase();
        match &owner.alias {
            Some(alias) => alias.as_str() == name,
            None => owner.username.as_str() == name || self.is_called(&name),
        }
    }
}

impl Kernel {
    /// Brings an account's names up to what the platform has.
    ///
    /// # Errors
    /// Of the store.
    pub async fn adopt_names(&self, user: &UserId, names: UserNames) -> Result<(), Error> {
        let written = self.write(user, move |writer| {
            writer.attempt(|tx| write(tx, &names)).map(drop)
        });
        Ok(written.await??)
    }

    pub(super) async fn change_username(
        &self,
        actor: &Actor,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        self.change(actor, Asked::Username(params), draft).await?;
        let most = self.settings().username_changes_max;
        let usage = self.usage(&actor.owner.id).await?;
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        let left = most.saturating_sub(account.username_changes);
        let mut map = account.to_wire(&self.schema(), usage, false);
        map.insert("usernameChangesRemaining".to_owned(), Value::from(left));
        Ok(Reply::from_map(map))
    }

    /// What is to change, as far as it can be judged here.
    pub(super) async fn name_change(
        &self,
        actor: &Actor,
        params: &Value,
    ) -> Result<NameChange, Error> {
        if !actor.is_personal() {
            return Err(ChangeError::PersonOnly.into());
        }
        let to = parse(params)?;
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        if account.username == to {
            return Err(ChangeError::SameName.into());
        }
        let is_reserved = self
            .reserved_names()
            .is_some_and(|names| names.is_reserved(&to));
        if is_reserved && !account.is_called(to.as_str()) {
            return Err(ChangeError::ReservedName(to).into());
        }
        let (used, most) = (
            account.username_changes,
            self.settings().username_changes_max,
        );
        // The cores need not agree on it.
        if used >= most {
            return Err(ChangeError::Take(TakeError::ChangesUsed { used, most }).into());
        }
        Ok(NameChange {
            from: account.username,
            to,
            changes: used,
            changes_max: most,
        })
    }
}

#[cfg(test)]
mod tests;
