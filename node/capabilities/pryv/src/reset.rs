//! What goes by mail: setting a new password (spec/pryv-api §2.5) and proving an address (§9.2). No token
//! of an access is needed: whoever asks proves nothing, and is told nothing.

use axum::Extension;
use axum::extract;
use axum::response::Response;
use homecore_http::context::ClientAddress;
use homecore_http::owner::Owner;
use homecore_http::rate::RateKey;
use homecore_http::{ApiError, Rate, Unread};
use homecore_kernel::audit::Source;
use http::header::ORIGIN;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::caller::owner;
use crate::state::State;

/// `POST /{username}/account/request-password-reset`.
pub(crate) async fn request(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::ResetByClient, client)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    if state.kernel.may_request_reset(&params, origin(&headers)) {
        let by_user = RateKey::User(user.username.as_str().into());
        state.context.rates.take(Rate::ResetByUser, by_user)?;
    }
    let (owner, source) = (owner(&user), Source::http(client.0));
    let reply = state
        .kernel
        .request_password_reset(&owner, &params, origin(&headers), source)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/account/reset-password`. It tells whether a token is right: no more of them
/// than log-ins. Not limited with the requests, which anybody can make in the person's name.
pub(crate) async fn reset(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::LoginByClient, client)?;
    let by_user = RateKey::User(user.username.as_str().into());
    state.context.rates.take(Rate::LoginByUser, by_user)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    let (owner, source) = (owner(&user), Source::http(client.0));
    let reply = state
        .kernel
        .reset_password(&owner, &params, origin(&headers), source)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/account/verify-email`. It tells whether a token is right: no more of them than
/// log-ins.
pub(crate) async fn verify_email(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::LoginByClient, client)?;
    let by_user = RateKey::User(user.username.as_str().into());
    state.context.rates.take(Rate::LoginByUser, by_user)?;
    let params = Value::Object(body.json(&state.context).await?.into_object()?);
    let (owner, source) = (owner(&user), Source::http(client.0));
    let reply = state
        .kernel
        .verify_email(&owner, &params, origin(&headers), source)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// The `Origin`, and nothing in its place.
fn origin(headers: &HeaderMap) -> &str {
    let value = headers.get(ORIGIN);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
