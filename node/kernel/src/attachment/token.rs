//! Read tokens: an attachment's address that works without any other credential, made for one
//! access and one file (spec/pryv-api App. B.6).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use homecore_store::{StoreError, View};
use homecore_types::{ErrorId, Secret};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;

use crate::access::token::{Found, TokenError, in_force};
use crate::access::{self, Access};
use crate::error::Refusal;
use crate::event::stored::Head;
use crate::kernel::Context;

/// The platform's secret behind read tokens. The same for every core and after every start; a core
/// that has not learned it yet has no users either.
#[derive(Clone)]
pub struct ReadTokenKey(Arc<dyn Fn() -> Option<Secret> + Send + Sync>);

impl fmt::Debug for ReadTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadTokenKey(***)")
    }
}

impl ReadTokenKey {
    /// Asked for each time it is needed; the source keeps it at hand.
    #[must_use]
    pub fn new(source: impl Fn() -> Option<Secret> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// One that is known.
    #[must_use]
    pub fn fixed(secret: Secret) -> Self {
        Self::new(move || Some(secret.clone()))
    }

    /// A key for something else that only this platform is to read; none where the secret is not known.
    #[must_use]
    pub(crate) fn derived(&self, purpose: &str) -> Option<hmac::Tag> {
        let key = (self.0)()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        Some(hmac::sign(&key, purpose.as_bytes()))
    }

    /// `<access id>-<hmac>`; none where the secret is not known.
    #[must_use]
    pub fn token(&self, access: &str, secret: &str, file: &str) -> Option<Secret> {
        let key = (self.0)()?;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.expose().as_bytes());
        let tag = hmac::sign(&key, format!("{file}-{secret}").as_bytes());
        // The original swaps the two letters of URL-safe base64: `/` is `_` and `+` is `-`, as there.
        let text = URL_SAFE_NO_PAD.encode(tag.as_ref());
        Some(Secret::new(format!("{access}-{text}")))
    }
}

/// Adds read tokens to the events that one access is shown.
#[derive(Clone, Debug)]
pub struct ReadTokens {
    key: ReadTokenKey,
    access: Arc<Access>,
}

impl ReadTokens {
    /// Those of an access.
    #[must_use]
    pub fn of(context: &Context, access: &Arc<Access>) -> Self {
        Self {
            key: context.settings.read_token_key.clone(),
            access: Arc::clone(access),
        }
    }

    /// Whether there are any: not before this core knows the platform's secret.
    pub(crate) fn has_key(&self) -> bool {
        (self.key.0)().is_some()
    }

    /// An event as the access sees it. One without attachments is left as it is.
    #[must_use]
    pub fn shown(&self, head: &Head, json: Bytes) -> Bytes {
        if head.attachments.is_empty() {
            return json;
        }
        self.added(json)
    }

    /// The same where the event's head was not read.
    #[must_use]
    pub fn shown_alone(&self, json: Bytes) -> Bytes {
        #[derive(Deserialize)]
        struct Files {
            #[serde(default)]
            attachments: Vec<IgnoredAny>,
        }
        match serde_json::from_slice::<Files>(&json) {
            Ok(files) if !files.attachments.is_empty() => self.added(json),
            Ok(_) | Err(_) => json,
        }
    }

    fn added(&self, json: Bytes) -> Bytes {
        let Ok(mut event) = serde_json::from_slice::<Value>(&json) else {
            return json;
        };
        let attachments = event.get_mut("attachments").and_then(Value::as_array_mut);
        for attachment in attachments.into_iter().flatten() {
            let Value::Object(map) = attachment else {
                continue;
            };
            let id = map.get("id").and_then(Value::as_str).unwrap_or_default();
            let secret = &self.access.stored.token;
            if let Some(token) = self.key.token(&self.access.id, secret, id) {
                map.insert("readToken".to_owned(), Value::from(token.expose()));
            }
        }
        event.to_string().into()
    }
}

/// Why a read token opens nothing.
#[derive(Debug, Error)]
pub enum ReadTokenError {
    /// It has not the form, no access is named so, or it is not this file's.
    #[error("The read token is not valid.")]
    Invalid,
    /// This core does not know the secret yet.
    #[error("Read tokens cannot be checked yet")]
    NoKey,
    /// The access is no longer in force.
    #[error(transparent)]
    Access(#[from] TokenError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ReadTokenError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Invalid => ErrorId::MissingAccessToken,
            Self::NoKey => ErrorId::ApiUnavailable,
            Self::Access(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Access(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

/// Finds the access of a read token for a file. It is checked against what it must be, in constant
/// time, before anything else is said of the access.
///
/// # Errors
/// See [`ReadTokenError`].
pub fn find(
    view: &dyn View,
    context: &Context,
    given: &Secret,
    file: &str,
) -> Result<Found, ReadTokenError> {
    let (id, _) = given
        .expose()
        .split_once('-')
        .ok_or(ReadTokenError::Invalid)?;
    let stored = access::load(view, id)?.ok_or(ReadTokenError::Invalid)?;
    let wanted = context
        .settings
        .read_token_key
        .token(id, &stored.token, file)
        .ok_or(ReadTokenError::NoKey)?;
    if !wanted.matches(given.expose()) {
        return Err(ReadTokenError::Invalid);
    }
    Ok(in_force(view, context, id.to_owned(), stored)?)
}
