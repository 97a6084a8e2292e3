//! The one place where a name in an address becomes a user of this core.
//!
//! Everything that belongs to a user is reached through [`resolve`]: paths below `/{username}`
//! (batch calls and greetings included, with and without slash), and, through the same function,
//! surfaces that carry the name elsewhere, such as the namespace of a socket. A second way in would
//! sooner or later serve a user from the wrong core (spec/platform §4.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use homecore_kernel::ports::{Directory, Home, Unavailable};
use homecore_types::{ErrorId, UserId, Username};
use http::request::Parts;
use serde_json::json;
use thiserror::Error;

use crate::error::{ApiError, shorten};

/// A user who lives on this core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserContext {
    /// Whose folder.
    pub user: UserId,
    /// The canonical name.
    pub username: Username,
    /// The random alias in the address, if that is what it has: who asks under it is not told the name.
    pub alias: Option<Username>,
}

/// Why a name is not served here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnerError {
    /// Nobody has the name.
    #[error("nobody is called {0:?}")]
    Unknown(String),
    /// Another core serves the user.
    #[error("{username:?} lives on another core, at {core_url}")]
    Elsewhere {
        /// As asked for, in lower case.
        username: String,
        /// Base URL of that core, ending in `/`.
        core_url: String,
    },
    /// Not known here, and the platform cannot tell.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Finds the user that a name in an address means.
///
/// # Errors
/// When the user is unknown, lives elsewhere, or the platform cannot tell.
pub async fn resolve(directory: &dyn Directory, name: &str) -> Result<UserContext, OwnerError> {
    let name = name.to_lowercase();
    // What cannot be a name is nobody's; it costs the platform no question.
    if Username::parse(name.as_str()).is_err() {
        return Err(OwnerError::Unknown(shorten(&name)));
    }
    let home = match directory.find(&name) {
        Some(home) => Some(home),
        None => directory.find_current(&name).await?,
    };
    match home {
        Some(Home::Here { user, username }) => Ok(UserContext {
            user,
            alias: Username::parse(name)
                .ok()
                .filter(|name| *name != username && Username::is_alias(name.as_str())),
            username,
        }),
        Some(Home::Elsewhere { core_url, .. }) => Err(OwnerError::Elsewhere {
            username: name,
            core_url,
        }),
        None => Err(OwnerError::Unknown(name)),
    }
}

impl From<OwnerError> for ApiError {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::Unknown(name) => Self::unknown_user(&name),
            OwnerError::Elsewhere { username, core_url } => Self {
                core_url: Some(core_url.as_str().into()),
                ..Self::new(
                    ErrorId::WrongCore,
                    format!("User \"{username}\" is hosted on another core: {core_url}"),
                )
                .with_data(json!({ "coreUrl": core_url }))
                .plain()
            },
            OwnerError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

/// The user of the request, for handlers below `/{username}`.
#[derive(Clone, Debug)]
pub struct Owner(pub Arc<UserContext>);

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Arc<UserContext>>()
            .map(|user| Self(Arc::clone(user)))
            .ok_or_else(|| ApiError::unexpected("a user route was reached without its user"))
    }
}

impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for Owner {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts
            .extensions
            .get::<Arc<UserContext>>()
            .map(|user| Self(Arc::clone(user))))
    }
}
