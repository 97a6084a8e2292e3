//! From a token to an access that is in force (spec/pryv-api §1.3).

use homecore_store::{StoreError, View};
use homecore_types::{ErrorId, Secret};
use thiserror::Error;

use super::{Access, StoredAccess};
use crate::error::Refusal;
use crate::indexes::{ACCESS_BY_TOKEN, exactly, token_key};
use crate::kernel::Context;
use crate::session::{self, Session};

/// Longest token that is looked up.
const TOKEN_BYTES_MAX: usize = 512;

/// Why a token does not open anything.
#[derive(Debug, Error)]
pub enum TokenError {
    /// No access has it, or no more.
    #[error("Cannot find access from token.")]
    Unknown,
    /// The access ended.
    #[error("Access has expired.")]
    Expired,
    /// The session of a personal access ended or timed out.
    #[error("Access session has expired.")]
    SessionEnded,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for TokenError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Unknown | Self::SessionEnded => ErrorId::InvalidAccessToken,
            Self::Expired => ErrorId::Forbidden,
            Self::Store(error) => error.id(),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

/// An access that is in force.
#[derive(Debug)]
pub struct Found {
    /// Itself.
    pub access: Access,
    /// The session of a personal access.
    pub session: Option<Session>,
    /// Its session is to be written down as used.
    pub touch: bool,
}

/// Finds the access of a token. The index decides nothing alone: the token is compared with the
/// stored one in constant time.
///
/// # Errors
/// See [`TokenError`].
pub fn find(view: &dyn View, context: &Context, token: &Secret) -> Result<Found, TokenError> {
    if token.expose().len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Unknown);
    }
    let (id, stored) = by_token(view, token)?.ok_or(TokenError::Unknown)?;
    in_force(view, context, id, stored)
}

/// Checks that an access is in force.
///
/// # Errors
/// See [`TokenError`].
pub fn in_force(
    view: &dyn View,
    context: &Context,
    id: String,
    stored: StoredAccess,
) -> Result<Found, TokenError> {
    let now = context.now();
    if stored.expires.is_some_and(|expires| expires <= now) {
        return Err(TokenError::Expired);
    }
    let access = Access::new(id, stored);
    let (mut touch, mut found) = (false, None);
    if access.is_personal() {
        let max_age = context.settings.session_max_age;
        let session = session::load(view, &access.id)?.ok_or(TokenError::SessionEnded)?;
        if !session.is_alive(now, max_age) {
            return Err(TokenError::SessionEnded);
        }
        touch = session.wants_touch(now, max_age);
        found = Some(session);
    }
    Ok(Found {
        access,
        session: found,
        touch,
    })
}

/// The live access with a token, whatever else may be wrong with it.
///
/// # Errors
/// Of the store.
pub fn by_token(
    view: &dyn View,
    token: &Secret,
) -> Result<Option<(String, StoredAccess)>, StoreError> {
    let scan = exactly(ACCESS_BY_TOKEN, token_key(token.expose()), 2);
    for (_, document) in view.scan(&scan)? {
        if document.deleted {
            continue;
        }
        let stored = StoredAccess::decode(&document)?;
        if token.matches(&stored.token) {
            return Ok(Some((document.id, stored)));
        }
    }
    Ok(None)
}
