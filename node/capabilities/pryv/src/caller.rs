//! Who calls: the token of a request becomes an [`Actor`] before any route of a user that needs one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use homecore_http::body::KnownCaller;
use homecore_http::context::ClientAddress;
use homecore_http::credentials::FormToken;
use homecore_http::{ApiError, Credentials, Query, UserContext};
use homecore_kernel::audit::Source;
use homecore_kernel::{Actor, Credential, Owner};
use homecore_types::ErrorId;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::state::State;

/// Authenticates, lets the body be large, goes on, and names the access in the answer, be it an error.
pub(crate) async fn authenticate(
    Extract(state): Extract<State>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let actor = match identify(&state, &parts).await {
        Ok(actor) => actor,
        Err(error) => return error.into_response(),
    };
    parts.extensions.insert(actor.clone());
    parts.extensions.insert(KnownCaller);
    let response = next.run(Request::from_parts(parts, body)).await;
    name_access(response, &actor)
}

/// Names the access in an answer.
pub(crate) fn name_access(mut response: Response, actor: &Actor) -> Response {
    if let Ok(id) = HeaderValue::try_from(actor.access.id.as_str()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("pryv-access-id"), id);
    }
    response
}

/// The caller that the token of a request stands for.
pub(crate) async fn identify(state: &State, parts: &Parts) -> Result<Actor, ApiError> {
    let user = parts
        .extensions
        .get::<Arc<UserContext>>()
        .ok_or_else(|| ApiError::unexpected("a user route was reached without its user"))?;
    identify_as(state, parts, user).await
}

/// The same where the request's address does not begin with the user.
pub(crate) async fn identify_as(
    state: &State,
    parts: &Parts,
    user: &UserContext,
) -> Result<Actor, ApiError> {
    let query = Query::parse(parts.uri.query());
    let form = parts.extensions.get::<FormToken>();
    let credentials = Credentials::read(&parts.headers, &query, form)?.ok_or_else(|| {
        ApiError::new(
            ErrorId::MissingAccessToken,
            "The access token is missing: expected an \"Authorization\" header or an \"auth\" \
             query string parameter.",
        )
    })?;
    let credential = Credential {
        token: credentials.token,
        caller: credentials.caller,
        source: source(parts),
    };
    Ok(state.kernel.authenticate(&owner(user), credential).await?)
}

/// The user as the kernel knows it.
pub(crate) fn owner(user: &UserContext) -> Owner {
    Owner {
        id: user.user.clone(),
        username: user.username.clone(),
        alias: user.alias.clone(),
    }
}

/// From where a request comes, for the audit log.
pub(crate) fn source(parts: &Parts) -> Source {
    let client = parts.extensions.get::<ClientAddress>();
    client.map_or_else(Source::default, |client| Source::http(client.0))
}

/// The caller of the request, for handlers behind [`authenticate`].
pub(crate) struct Caller(pub(crate) Actor);

impl FromRequestParts<State> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &State) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Actor>()
            .cloned()
            .map(Self)
            .ok_or_else(|| ApiError::unexpected("a route was reached without its caller"))
    }
}
