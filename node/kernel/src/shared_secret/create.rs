//! `sharedSecrets.create`: leaves a secret with the account and answers its key.

use homecore_store::{Base, Kind, PutError, StoreError, Transaction, Write};
use homecore_types::{Millis, entropy, limits};
use serde_json::{Map, Number, Value, json};

use super::item::{self, EXPIRED, Item, SYSTEM, Status, TYPE};
use super::seal::{self, Held, Kept, Key, Under};
use super::{Problem, SharedSecretError, SharedSecretSettings};
use crate::actor::Actor;
use crate::event::stored::{Head, StoredEvent};
use crate::fields::Fields;
use crate::indexes::{self, SECRET_BY_END};
use crate::kernel::Context;
use crate::number::seconds;
use crate::permission::{Parents, SECRET_SHARING, Setting};
use crate::reply::Reply;
use crate::stream::Stream;
use crate::stream::cache::Trees;
use crate::stream::store::SHARED_SECRETS;

/// Longest title.
const TITLE_CHARS_MAX: usize = 255;
/// Longest text for who comes too late.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// Longest address to go to then.
const RETURN_URL_BYTES_MAX: usize = 2_000;
/// Longest proof.
const PROOF_BYTES_MAX: usize = 1_024;

/// How the asker proves more than that it has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProofKind {
    /// By a text that it was told otherwise.
    Secret,
    /// By an HMAC over the key, computed by the client on both sides.
    Hmac,
}

impl ProofKind {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Secret, Self::Hmac]
            .into_iter()
            .find(|kind| kind.wire() == text)
    }

    const fn wire(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Hmac => "hmac-sha256",
        }
    }
}

/// Parameters of `sharedSecrets.create`.
struct NewSecret {
    ttl: Number,
    title: String,
    on_consumed: Map<String, Value>,
    secret: Value,
    proof: Option<(ProofKind, String)>,
    /// The client made the key.
    key_hash: Option<String>,
}

impl NewSecret {
    fn parse(params: &Value, settings: &SharedSecretSettings) -> Result<Self, SharedSecretError> {
        const KNOWN: &[&str] = &[
            "ttl",
            "title",
            "onConsumed",
            "secret",
            "signature",
            "keyHash",
        ];
        let fields = Fields::strict(params, &[], KNOWN)?;
        let given = |name: &str| fields.raw(name).filter(|value| !value.is_null());
        let read = Self {
            ttl: ttl(given("ttl"), settings)?,
            title: text(given("title"), TITLE_CHARS_MAX, Problem::Title)?,
            on_consumed: on_consumed(given("onConsumed"))?,
            secret: secret(given("secret"), settings)?,
            proof: given("signature").map(proof).transpose()?,
            key_hash: given("keyHash").map(key_hash).transpose()?,
        };
        fields.finish()?;
        if matches!(read.proof, Some((ProofKind::Hmac, _))) && read.key_hash.is_none() {
            return Err(SharedSecretError::Invalid(Problem::KeyHash));
        }
        Ok(read)
    }

    /// The event that shows it.
    fn to_event(&self, id: &str, key_hash: &str, actor: &Actor, at: Millis) -> Map<String, Value> {
        let pending = Status::Pending.wire();
        let mut content = Map::new();
        content.insert("keyHash".to_owned(), json!(key_hash));
        content.insert("title".to_owned(), json!(self.title));
        content.insert("status".to_owned(), json!(pending));
        let history = json!([{ "status": pending, "time": seconds(at) }]);
        content.insert("statusHistory".to_owned(), history);
        content.insert("onConsumed".to_owned(), json!(self.on_consumed));
        if let Some((kind, _)) = &self.proof {
            content.insert("signature".to_owned(), json!({ "type": kind.wire() }));
        }
        let (time, author) = (seconds(at), actor.author());
        let event = json!({
            "id": id, "streamIds": [stream_of(&actor.access.id)], "time": time,
            "duration": self.ttl, "type": TYPE, "content": content,
            "created": time, "createdBy": author, "modified": time, "modifiedBy": author,
        });
        match event {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

fn ttl(
    given: Option<&Value>,
    settings: &SharedSecretSettings,
) -> Result<Number, SharedSecretError> {
    let Some(Value::Number(ttl)) = given else {
        return Err(SharedSecretError::Invalid(Problem::Ttl));
    };
    match ttl.as_f64() {
        Some(seconds) if seconds > settings.ttl_max.as_secs_f64() => {
            Err(SharedSecretError::Invalid(Problem::TtlTooLong))
        }
        Some(seconds) if seconds > 0.0 => Ok(ttl.clone()),
        _ => Err(SharedSecretError::Invalid(Problem::Ttl)),
    }
}

fn text(
    given: Option<&Value>,
    chars_max: usize,
    problem: Problem,
) -> Result<String, SharedSecretError> {
    given
        .and_then(Value::as_str)
        .filter(|text| (1..=chars_max).contains(&text.chars().count()))
        .map(str::to_owned)
        .ok_or(SharedSecretError::Invalid(problem))
}

fn on_consumed(given: Option<&Value>) -> Result<Map<String, Value>, SharedSecretError> {
    let invalid = SharedSecretError::Invalid(Problem::OnConsumed);
    let Some(Value::Object(given)) = given else {
        return Err(invalid);
    };
    if given
        .keys()
        .any(|name| !matches!(name.as_str(), "message" | "returnUrl"))
    {
        return Err(invalid);
    }
    let message = text(given.get("message"), MESSAGE_CHARS_MAX, Problem::OnConsumed)?;
    let mut read = Map::new();
    read.insert("message".to_owned(), Value::from(message));
    if let Some(url) = given.get("returnUrl").filter(|url| !url.is_null()) {
        let url = url
            .as_str()
            .filter(|url| is_page(url))
            .ok_or(SharedSecretError::Invalid(Problem::ReturnUrl))?;
        read.insert("returnUrl".to_owned(), Value::from(url));
    }
    Ok(read)
}

/// Whether a text is an address that a browser may be sent to.
fn is_page(url: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    url.len() <= RETURN_URL_BYTES_MAX
        && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !url.contains(|c: char| c.is_control() || c.is_whitespace())
}

fn secret(
    given: Option<&Value>,
    settings: &SharedSecretSettings,
) -> Result<Value, SharedSecretError> {
    let given = given.ok_or(SharedSecretError::Invalid(Problem::MissingSecret))?;
    if given.to_string().len() > settings.size_bytes_max {
        return Err(SharedSecretError::Invalid(Problem::TooLarge));
    }
    Ok(given.clone())
}

fn proof(given: &Value) -> Result<(ProofKind, String), SharedSecretError> {
    let text = |name: &str| given.get(name).and_then(Value::as_str);
    let value = text("value").filter(|value| (1..=PROOF_BYTES_MAX).contains(&value.len()));
    text("type")
        .and_then(ProofKind::parse)
        .zip(value)
        .map(|(kind, value)| (kind, seal::hash(value)))
        .ok_or(SharedSecretError::Invalid(Problem::Signature))
}

fn key_hash(given: &Value) -> Result<String, SharedSecretError> {
    let is_hash = |text: &&str| {
        text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    given
        .as_str()
        .filter(is_hash)
        .map(str::to_owned)
        .ok_or(SharedSecretError::Invalid(Problem::KeyHash))
}

/// Leaves a secret with the account.
///
/// # Errors
/// See [`SharedSecretError`].
pub(crate) fn create(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, SharedSecretError> {
    let settings = &context.settings.shared_secrets;
    settings.check_active()?;
    if actor.access.rights().feature(SECRET_SHARING) == Some(Setting::Forbidden) {
        return Err(SharedSecretError::Forbidden);
    }
    let new = NewSecret::parse(params, settings)?;
    make_room(tx, context, &actor.access.id)?;
    provide_streams(tx, trees, actor)?;
    let id = entropy::wire_id(context.entropy.as_ref());
    let key = match new.key_hash {
        Some(_) => None,
        None => Some(Key::draw(&id, context.entropy.as_ref())),
    };
    let key_hash = match (&new.key_hash, &key) {
        (Some(hash), _) => hash.clone(),
        (None, key) => key.as_ref().map(Key::hash).unwrap_or_default(),
    };
    let event = new.to_event(&id, &key_hash, actor, tx.at());
    let mut shown = item::shown(&event);
    if let Some(key) = &key {
        shown.insert("key".to_owned(), Value::from(key.to_text()));
    }
    let expires = tx.at().as_seconds() + new.ttl.as_f64().unwrap_or_default();
    let held = Held {
        secret: new.secret,
        proof: new.proof.map(|(_, hash)| hash),
    };
    let (access, entropy) = (&actor.access.id, context.entropy.as_ref());
    let under = match &key {
        Some(key) => Under::Key(key),
        None => Under::Platform(&context.settings.read_token_key),
    };
    let kept = Kept::new((&id, access), expires, &held, &under, entropy)?;
    put_event(tx, &id, event)?;
    let entries = vec![indexes::secret_entry(expires)];
    put_new(tx, Kind::SharedSecret, &id, kept.encode()?, entries)?;
    let shown = Value::Object(shown).to_string();
    Ok(Reply::of("sharedSecret", shown.as_bytes()))
}

/// Ends those whose time is over or that cannot be read, and sees that there are not too many left.
fn make_room(
    tx: &mut Transaction<'_>,
    context: &Context,
    access: &str,
) -> Result<(), SharedSecretError> {
    let mut scan = indexes::range(SECRET_BY_END, &[], f64::NEG_INFINITY, f64::INFINITY, false);
    scan.limit = limits::SHARED_SECRETS_PENDING_MAX;
    let now = tx.at().as_seconds();
    let (mut pending, mut of_access, mut over) = (0_usize, 0_usize, Vec::new());
    for (_, document) in tx.view().scan(&scan)? {
        match Kept::decode(&document.id, &document.body) {
            Ok(kept) if now <= kept.expires => {
                pending += 1;
                of_access += usize::from(kept.access == access);
            }
            Ok(_) => over.push((document.id, EXPIRED)),
            // One that nobody can be handed is in the way of no other.
            Err(error) => {
                tracing::warn!(%error, "a shared secret is lost");
                over.push((document.id, "lost"));
            }
        }
    }
    for (id, why) in over {
        match Item::find(tx.view(), &id)? {
            Some(item) if item.is_pending() => {
                item.end(tx, context, Status::Discarded, Some(why), SYSTEM)?;
            }
            // No item would ever take it along.
            _ => item::remove_secret(tx, &id)?,
        }
    }
    if pending >= limits::SHARED_SECRETS_PENDING_MAX
        || of_access >= limits::SHARED_SECRETS_PER_ACCESS_MAX
    {
        return Err(SharedSecretError::TooMany);
    }
    Ok(())
}

/// The stream of an access's secrets.
fn stream_of(access: &str) -> String {
    format!("{SHARED_SECRETS}{access}")
}

/// Makes the stream of the access and the one above it, unless they are there. Their names are
/// their ids: no name that a person chose is in the way.
fn provide_streams(
    tx: &mut Transaction<'_>,
    trees: &mut dyn Trees,
    actor: &Actor,
) -> Result<(), StoreError> {
    let tree = trees.current(tx.view())?;
    let own = stream_of(&actor.access.id);
    for (id, parent) in [(SHARED_SECRETS, None), (own.as_str(), Some(SHARED_SECRETS))] {
        if tree.contains(id) {
            continue;
        }
        let stream = Stream {
            name: id.to_owned(),
            parent_id: parent.map(str::to_owned),
            client_data: None,
            trashed: false,
            created: tx.at(),
            created_by: SYSTEM.to_owned(),
            modified: tx.at(),
            modified_by: SYSTEM.to_owned(),
        };
        stream.replace(tx, id)?;
    }
    Ok(())
}

fn put_event(
    tx: &mut Transaction<'_>,
    id: &str,
    event: Map<String, Value>,
) -> Result<(), StoreError> {
    let event = StoredEvent::sealed(event);
    let head: Head =
        serde_json::from_slice(&event.json).map_err(|error| StoreError::Corrupted {
            what: format!("event {id}: {error}"),
        })?;
    put_new(tx, Kind::Event, id, event.json.to_vec(), head.entries())
}

fn put_new(
    tx: &mut Transaction<'_>,
    kind: Kind,
    id: &str,
    body: Vec<u8>,
    entries: Vec<homecore_store::Entry>,
) -> Result<(), StoreError> {
    let write = Write {
        kind,
        id: id.to_owned(),
        base: Base::Absent,
        body: body.into(),
        deleted: false,
        entries,
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("{id} was there before it was made"),
        }),
    }
}
