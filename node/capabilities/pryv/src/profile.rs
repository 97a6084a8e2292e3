//! Profiles (spec/pryv-api §9.1).

use axum::extract;
use axum::response::Response;
use homecore_http::{ApiError, JsonBody};
use homecore_kernel::{Actor, Method};
use http::StatusCode;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::items::given;
use crate::state::State;

/// `GET /{username}/profile/public`.
pub(crate) async fn get_public(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    call(&state, &actor, Method::ProfileGetPublic, json!({})).await
}

/// `PUT /{username}/profile/public`: the body is the changes.
pub(crate) async fn update_public(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "id": "public", "update": given(body) });
    call(&state, &actor, Method::ProfileUpdate, params).await
}

/// `GET /{username}/profile/private`.
pub(crate) async fn get_private(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    let params = json!({ "id": "private" });
    call(&state, &actor, Method::ProfileGet, params).await
}

/// `PUT /{username}/profile/private`: the body is the changes.
pub(crate) async fn update_private(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "id": "private", "update": given(body) });
    call(&state, &actor, Method::ProfileUpdate, params).await
}

/// `GET /{username}/profile/app`.
pub(crate) async fn get_app(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    call(&state, &actor, Method::ProfileGetApp, json!({})).await
}

/// `PUT /{username}/profile/app`: the body is the changes.
pub(crate) async fn update_app(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "update": given(body) });
    call(&state, &actor, Method::ProfileUpdateApp, params).await
}

async fn call(
    state: &State,
    actor: &Actor,
    method: Method,
    params: Value,
) -> Result<Response, ApiError> {
    let reply = state.kernel.call(actor, method, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}
