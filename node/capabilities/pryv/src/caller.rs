//! Who calls: the token of a request becomes an [`Actor`] before any route of a user that needs one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use homecore_http::body::KnownCaller;
use homecore_http::context::ClientAddress;
use homecore_http::credentials::FormToken;
use homecore_http::openapi::{Operation, Verb};
use homecore_http::rate::{Rate, RateKey};
use homecore_http::{ApiError, Credentials, Query, UserContext};
use homecore_kernel::access::token::by_token;
use homecore_kernel::audit::Source;
use homecore_kernel::{Actor, Credential, Owner};
use homecore_types::ErrorId;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::state::State;

/// The methods behind routes: the log names them also where a call ends before its route.
#[derive(Clone, Debug)]
pub(crate) struct Methods(Arc<BTreeMap<(Verb, &'static str), &'static str>>);

impl Methods {
    pub(crate) fn of(operations: &[Operation]) -> Self {
        let reached = operations.iter().map(Operation::reached);
        Self(Arc::new(
            reached.map(|(verb, path, id)| ((verb, path), id)).collect(),
        ))
    }

    fn behind(&self, parts: &Parts) -> Option<&'static str> {
        let verb = Verb::try_from(&parts.method).ok()?;
        let path = parts.extensions.get::<MatchedPath>()?;
        // The paths of routes are known for as long as the program runs, the matched one is not.
        let mut routes = self.0.iter();
        routes.find_map(|((v, p), id)| (*v == verb && *p == path.as_str()).then_some(*id))
    }
}

/// Authenticates, lets the body be large, goes on, and names the access in the answer, be it an error.
pub(crate) async fn authenticate(
    Extract((state, methods)): Extract<(State, Methods)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let actor = match identify(&state, &parts).await {
        Ok(actor) => actor,
        Err(error) => {
            note_stranger(&state, &methods, &parts, &error).await;
            return refuse(&state, &parts, error).await;
        }
    };
    parts.extensions.insert(actor.clone());
    parts.extensions.insert(KnownCaller);
    let response = next.run(Request::from_parts(parts, body)).await;
    name_access(response, &actor)
}

/// Notes a call that was refused for its token, as far as one user's log has room for such.
async fn note_stranger(state: &State, methods: &Methods, parts: &Parts, error: &ApiError) {
    let user = parts.extensions.get::<Arc<UserContext>>();
    let (Some(user), Some(method)) = (user, methods.behind(parts)) else {
        return;
    };
    let key = RateKey::User(user.user.as_str().into());
    if error.id.status() < 500 && state.context.rates.take(Rate::Stranger, key).is_ok() {
        let (source, refused) = (source(parts), (error.id, error.message.as_str()));
        let kernel = &state.kernel;
        kernel
            .note_stranger(&user.user, source, method, refused)
            .await;
    }
}

/// The answer to a call that was refused for its token.
pub(crate) async fn refuse(state: &State, parts: &Parts, error: ApiError) -> Response {
    let expired = expired_access(state, parts, &error).await;
    let response = error.into_response();
    match expired {
        Some(id) => name_id(response, &id),
        None => response,
    }
}

/// The access of a token that was refused because it has expired (spec/pryv-api §1.3): it was found,
/// so the answer names it (§1.5).
async fn expired_access(state: &State, parts: &Parts, error: &ApiError) -> Option<String> {
    if error.id != ErrorId::Forbidden {
        return None;
    }
    let user = parts.extensions.get::<Arc<UserContext>>()?;
    let token = credentials(parts).ok()??.token;
    let users = state.kernel.users();
    let found = users.read_short(&user.user, move |view| by_token(view, &token));
    let (id, _access) = found.await.ok()?.ok()??;
    Some(id)
}

/// Names the access in an answer.
pub(crate) fn name_access(response: Response, actor: &Actor) -> Response {
    name_id(response, &actor.access.id)
}

fn name_id(mut response: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::try_from(id) {
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
    let credentials = credentials(parts)?.ok_or_else(|| {
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

fn credentials(parts: &Parts) -> Result<Option<Credentials>, ApiError> {
    let query = Query::parse(parts.uri.query());
    let form = parts.extensions.get::<FormToken>();
    Credentials::read(&parts.headers, &query, form)
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
