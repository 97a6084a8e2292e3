//! `sharedSecrets.retrieve`: the hand-over. Whoever has the key asks, without any access.
//!
//! The item ends and the secret is removed in one commit of the user's one writer, and the answer
//! leaves after it: of two who ask at once one gets the secret. A wrong proof ends the item, too,
//! so a proof cannot be guessed.

use homecore_store::{Kind, Transaction, View};
use serde_json::Value;

use super::create::ProofKind;
use super::item::{EXPIRED, Item, SYSTEM, Status};
use super::seal::{self, Held, Kept, Key};
use super::{Problem, SharedSecretError};
use crate::actor::Owner;
use crate::audit::entry::Draft;
use crate::audit::{self, Source};
use crate::error::Error;
use crate::fields::{Fields, Null};
use crate::kernel::{Context, Kernel};
use crate::reply::Reply;

/// The method id.
const METHOD: &str = "sharedSecrets.retrieve";

/// A proof as it was given.
#[derive(Debug)]
struct Proof {
    kind: ProofKind,
    hash: String,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    key: Key,
    proof: Option<Proof>,
}

impl Asked {
    fn parse(params: &Value) -> Result<Self, SharedSecretError> {
        let mut fields = Fields::strict(params, &["key"], &["key", "signature"])?;
        let key = fields.text("key", Null::Refused);
        let signature = fields.raw("signature").filter(|given| !given.is_null());
        fields.finish()?;
        // Judged before the key is looked up: what is answered tells nothing about it.
        let proof = match signature {
            None => None,
            Some(given) => {
                let text = |name: &str| given.get(name).and_then(Value::as_str);
                let kind = text("type").and_then(ProofKind::parse);
                match (kind, text("payload")) {
                    (Some(kind), Some(payload)) => Some(Proof {
                        kind,
                        hash: seal::hash(payload),
                    }),
                    _ => return Err(SharedSecretError::Invalid(Problem::Signature)),
                }
            }
        };
        let key = key.and_then(Key::parse).ok_or(SharedSecretError::Unknown)?;
        Ok(Self { key, proof })
    }
}

/// How it ended. A refusal may have changed something, which is to be kept.
pub(super) enum Outcome {
    HandedOver(Reply),
    Refused(SharedSecretError),
}

fn retrieve(
    tx: &mut Transaction<'_>,
    context: &Context,
    asked: &Asked,
) -> Result<Outcome, SharedSecretError> {
    let item = Item::of_key(tx.view(), &asked.key)?;
    if !item.is_pending() {
        return Err(item.unavailable());
    }
    match judge(tx.view(), context, &item, asked)? {
        Ok(held) => {
            item.end(tx, context, Status::Consumed, None, SYSTEM)?;
            let secret = held.secret.to_string();
            Ok(Outcome::HandedOver(Reply::of("secret", secret.as_bytes())))
        }
        Err(reason) => {
            let item = item.end(tx, context, Status::Discarded, Some(reason), SYSTEM)?;
            Ok(Outcome::Refused(item.unavailable()))
        }
    }
}

/// What a pending item holds, or why it is to end without being handed over.
fn judge(
    view: &dyn View,
    context: &Context,
    item: &Item,
    asked: &Asked,
) -> Result<Result<Held, &'static str>, SharedSecretError> {
    if item.has_expired(context.now()) {
        return Ok(Err(EXPIRED));
    }
    let kept = view.get(Kind::SharedSecret, item.id())?;
    let Some(kept) = kept.filter(|kept| !kept.deleted) else {
        return Ok(Err("lost"));
    };
    let platform = &context.settings.read_token_key;
    let held = Kept::decode(item.id(), &kept.body)?.open(&asked.key, platform)?;
    let Some(expected) = &held.proof else {
        return Ok(Ok(held));
    };
    // Nothing was tried yet: whoever has the key may come again.
    let Some(given) = &asked.proof else {
        return Err(item.unavailable());
    };
    let is_right = seal::is_same(expected, &given.hash);
    if is_right && item.proof_kind() == Some(given.kind) {
        Ok(Ok(held))
    } else {
        Ok(Err("The signature does not match"))
    }
}

/// One take, as the kernel makes it.
#[cfg(test)]
pub(super) fn take(
    params: &Value,
    attempt: impl FnOnce(&mut Attempt<'_>) -> Result<Outcome, SharedSecretError>,
) -> Result<Reply, Error> {
    let asked = Asked::parse(params)?;
    attempt(&mut |tx, context| retrieve(tx, context, &asked))?.result()
}

#[cfg(test)]
type Attempt<'a> =
    dyn FnMut(&mut Transaction<'_>, &Context) -> Result<Outcome, SharedSecretError> + 'a;

impl Outcome {
    fn result(self) -> Result<Reply, Error> {
        match self {
            Self::HandedOver(reply) => Ok(reply),
            Self::Refused(error) => Err(error.into()),
        }
    }
}

impl Kernel {
    /// `sharedSecrets.retrieve`: `{"secret": …}`, once.
    ///
    /// # Errors
    /// See [`SharedSecretError`].
    pub async fn retrieve_shared_secret(
        &self,
        owner: &Owner,
        params: &Value,
        source: Source,
    ) -> Result<Reply, Error> {
        let draft = Draft::anonymous(&source, audit::PUBLIC, METHOD, self.now());
        let active = self.settings().shared_secrets.check_active();
        let asked = match active.and_then(|()| Asked::parse(params)) {
            Ok(asked) => asked,
            Err(error) => {
                let error = Error::from(error);
                self.note(&owner.id, draft.refused(&error)).await;
                return Err(error);
            }
        };
        let context = self.context();
        let (result, ()) = self
            .write_noted(&owner.id, draft, move |writer| {
                let outcome = writer.attempt(|tx| retrieve(tx, &context, &asked));
                (outcome.map_err(Error::from).and_then(Outcome::result), ())
            })
            .await?;
        result
    }
}
