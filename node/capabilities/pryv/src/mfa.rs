//! The second factor of a log-in (spec/pryv-api §2.6). What waits for a code is named by a token of
//! its own, in the place of an access token.

use axum::Extension;
use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use homecore_http::context::ClientAddress;
use homecore_http::owner::{Owner, resolve};
use homecore_http::rate::RateKey;
use homecore_http::{ApiError, Credentials, JsonBody, Query, Rate, Unread, UserContext};
use homecore_kernel::audit::Source;
use homecore_types::Secret;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::caller::{Caller, owner};
use crate::session::endpoint;
use crate::state::State;

/// `POST /{username}/mfa/activate`: 302 with a body and nowhere to go, as clients know it.
pub(crate) async fn activate(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let content = body.into_object()?;
    let by_user = RateKey::User(actor.owner.username.as_str().into());
    state.context.rates.take(Rate::MfaSend, by_user)?;
    let token = state.kernel.mfa_activate(&actor, content).await?;
    let body = json!({ "mfaToken": token.expose() });
    state.context.reply(StatusCode::FOUND, &body)
}

/// `POST /{username}/mfa/confirm`.
pub(crate) async fn confirm(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    limit(&state, client, &user, Rate::MfaTry)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    let (token, source) = (mfa_token(&headers), Source::http(client.0));
    let kernel = &state.kernel;
    let reply = kernel
        .mfa_confirm(&owner(&user), &token, &params, source)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/mfa/challenge`.
pub(crate) async fn challenge(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    limit(&state, client, &user, Rate::MfaSend)?;
    let (token, source) = (mfa_token(&headers), Source::http(client.0));
    let kernel = &state.kernel;
    let reply = kernel.mfa_challenge(&owner(&user), &token, source).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/mfa/verify`.
pub(crate) async fn verify(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    limit(&state, client, &user, Rate::MfaTry)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    let (token, source) = (mfa_token(&headers), Source::http(client.0));
    let kernel = &state.kernel;
    let logged_in = kernel
        .mfa_verify(&owner(&user), &token, &params, source)
        .await?;
    let endpoint = endpoint(&state, &user, &logged_in);
    let body = json!({ "token": logged_in.token.expose(), "apiEndpoint": endpoint });
    state.context.reply(StatusCode::OK, &body)
}

/// `POST /{username}/mfa/deactivate`.
pub(crate) async fn deactivate(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    let reply = state.kernel.mfa_deactivate(&actor).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/mfa/recover`. It tells whether a password is right, as a log-in does.
pub(crate) async fn recover(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    body: Unread,
) -> Result<Response, ApiError> {
    limit(&state, client, &user, Rate::LoginByUser)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    let kernel = &state.kernel;
    let reply = kernel
        .mfa_recover(&owner(&user), &params, Source::http(client.0))
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `DELETE /system/users/{username}/mfa`: for who has lost the telephone and the recovery codes.
pub(crate) async fn remove(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    Extension(client): Extension<ClientAddress>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let user = resolve(&*state.context.directory, &name).await?;
    let (owner, source) = (owner(&user), Source::http(client.0));
    state.kernel.mfa_remove(&owner, source).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// As often as log-ins from one address, and as `by_user` says for one user.
fn limit(
    state: &State,
    client: ClientAddress,
    user: &UserContext,
    by_user: Rate,
) -> Result<(), ApiError> {
    state.limit(Rate::LoginByClient, client)?;
    let key = RateKey::User(user.username.as_str().into());
    state.context.rates.take(by_user, key)
}

/// The token in the `Authorization` header; none is as an unknown one.
fn mfa_token(headers: &HeaderMap) -> Secret {
    let read = Credentials::read(headers, &Query::default(), None);
    let token = read.ok().flatten().map(|credentials| credentials.token);
    token.unwrap_or_else(|| Secret::new(""))
}
