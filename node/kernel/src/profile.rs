//! Profiles (spec/pryv-api §9.1): small free objects beside the data. A person has a public and a
//! private one, and every app has one of its own, by its name.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homecore_store::{Base, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::{ErrorId, limits};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::access::AccessType;
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::patch::merge_keys;
use crate::reply::Reply;

/// Longest name of an app that stands in the id of its profile as it is.
const NAME_BYTES_MAX: usize = 200;

/// Which profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every access reads it, the person writes it.
    Public,
    /// The person's alone.
    Private,
    /// That of the app that calls.
    App,
}

/// Why a profile was not read or changed.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// It is the person's.
    #[error("You cannot access this resource using the given access token.")]
    Forbidden,
    /// The caller is no app.
    #[error("This resource is only available to app accesses.")]
    AppsOnly,
    /// Larger than it may be.
    #[error("A profile can have {} bytes, not more", limits::PROFILE_BYTES_MAX)]
    TooLarge,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ProfileError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Forbidden => ErrorId::Forbidden,
            Self::AppsOnly | Self::TooLarge => ErrorId::InvalidOperation,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Forbidden | Self::AppsOnly | Self::TooLarge | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

/// `profile.getPublic` and `profile.getApp`: `{"profile": {…}}`, empty where nothing was set.
///
/// # Errors
/// See [`ProfileError`].
pub fn get(view: &dyn View, actor: &Actor, which: Which) -> Result<Reply, ProfileError> {
    let present = load(view, &document_id(actor, which)?)?;
    Ok(reply(present))
}

/// `profile.get`, with the profile's name as `id`.
///
/// # Errors
/// See [`ProfileError`].
pub fn get_named(view: &dyn View, actor: &Actor, params: &Value) -> Result<Reply, ProfileError> {
    check_person(actor)?;
    let mut fields = Fields::lenient(params, &["id"])?;
    let which = named(&mut fields);
    fields.finish()?;
    get(view, actor, which)
}

/// `profile.updateApp`, with the changes as `update`.
///
/// # Errors
/// See [`ProfileError`].
pub fn update_app(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, ProfileError> {
    let id = document_id(actor, Which::App)?;
    let mut fields = Fields::lenient(params, &["update"])?;
    let changes = fields.object("update", Null::Refused);
    fields.finish()?;
    merge(tx, &id, changes)
}

/// `profile.update`, with the profile's name as `id` and the changes as `update`.
///
/// # Errors
/// See [`ProfileError`].
pub fn update_named(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, ProfileError> {
    check_person(actor)?;
    let mut fields = Fields::lenient(params, &["id", "update"])?;
    let which = named(&mut fields);
    let changes = fields.object("update", Null::Refused);
    fields.finish()?;
    merge(tx, &document_id(actor, which)?, changes)
}

fn check_person(actor: &Actor) -> Result<(), ProfileError> {
    if actor.is_personal() {
        Ok(())
    } else {
        Err(ProfileError::Forbidden)
    }
}

fn named(fields: &mut Fields<'_>) -> Which {
    match fields.choice("id", &["public", "private"]) {
        Some("public") => Which::Public,
        _ => Which::Private,
    }
}

/// Under which id a profile is stored. An app's never is that of a profile of the person.
fn document_id(actor: &Actor, which: Which) -> Result<String, ProfileError> {
    let name = match which {
        Which::Public => return Ok("public".to_owned()),
        Which::Private => return Ok("private".to_owned()),
        Which::App if actor.access.stored.kind == AccessType::App => &actor.access.stored.name,
        Which::App => return Err(ProfileError::AppsOnly),
    };
    Ok(id_of_app(name))
}

/// Under which id the profile of an app is stored.
pub(crate) fn id_of_app(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return format!("app:{name}");
    }
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    format!("app-sha256:{}", URL_SAFE_NO_PAD.encode(hash))
}

fn load(view: &dyn View, id: &str) -> Result<Map<String, Value>, StoreError> {
    match view.get(Kind::Profile, id)? {
        Some(document) if !document.deleted => {
            serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
                what: format!("profile {id}: {error}"),
            })
        }
        _ => Ok(Map::new()),
    }
}

/// The person's private profile.
pub(crate) fn private(view: &dyn View) -> Result<Map<String, Value>, StoreError> {
    load(view, "private")
}

/// Sets a member of the private profile, or removes it.
pub(crate) fn set_private(
    tx: &mut Transaction<'_>,
    name: &str,
    value: Value,
) -> Result<(), ProfileError> {
    let changes = Map::from_iter([(name.to_owned(), value)]);
    merge(tx, "private", Some(&changes)).map(drop)
}

fn merge(
    tx: &mut Transaction<'_>,
    id: &str,
    changes: Option<&Map<String, Value>>,
) -> Result<Reply, ProfileError> {
    let mut profile = load(tx.view(), id)?;
    if let Some(changes) = changes {
        merge_keys(&mut profile, changes);
    }
    let body = Value::Object(profile.clone()).to_string();
    if body.len() > limits::PROFILE_BYTES_MAX {
        return Err(ProfileError::TooLarge);
    }
    let write = Write {
        kind: Kind::Profile,
        id: id.to_owned(),
        base: Base::Any,
        body: body.into(),
        deleted: false,
        entries: Vec::new(),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(reply(profile)),
        Err(PutError::Store(error)) => Err(error.into()),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("profile {id} changed while it was being changed"),
        }
        .into()),
    }
}

fn reply(profile: Map<String, Value>) -> Reply {
    Reply::of("profile", Value::Object(profile).to_string().as_bytes())
}

#[cfg(test)]
mod tests;
