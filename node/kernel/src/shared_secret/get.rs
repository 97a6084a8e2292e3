//! `sharedSecrets.getOne`: how it stands with a shared secret. It is not handed over.

use homecore_store::Transaction;
use serde_json::Value;

use super::SharedSecretError;
use super::item::{EXPIRED, Item, SYSTEM, Status};
use super::seal::Key;
use crate::actor::Actor;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::reply::Reply;

/// Tells its maker, or the person; one whose time is over ends here.
///
/// # Errors
/// See [`SharedSecretError`].
pub(crate) fn get_one(
    tx: &mut Transaction<'_>,
    context: &Context,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, SharedSecretError> {
    context.settings.shared_secrets.check_active()?;
    let mut fields = Fields::strict(params, &["key"], &["key"])?;
    let text = fields.text("key", Null::Refused);
    fields.finish()?;
    let key = text.and_then(Key::parse);
    let item = Item::of_key(tx.view(), &key.ok_or(SharedSecretError::Unknown)?)?;
    if !actor.is_personal() && !item.is_of(&actor.access.id) {
        return Err(SharedSecretError::Forbidden);
    }
    if item.is_pending() && item.has_expired(tx.at()) {
        let item = item.end(tx, context, Status::Discarded, Some(EXPIRED), SYSTEM)?;
        return Ok(item.reply());
    }
    Ok(item.reply())
}
