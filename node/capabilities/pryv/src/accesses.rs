//! Accesses (spec/pryv-api §3). The kernel knows no URL: each access that it answers gets its
//! `apiEndpoint` here.

use axum::extract::{self, Path};
use axum::response::Response;
use homecore_http::{ApiError, JsonBody, Query};
use homecore_kernel::{Actor, Method, Reply};
use homecore_types::Secret;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::items::{given, params};
use crate::settings::Addressing;
use crate::state::State;

/// `GET /{username}/accesses`.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let params = params(&query, Method::AccessesGet);
    call(&state, &actor, Method::AccessesGet, Value::Object(params)).await
}

/// `GET /{username}/accesses/{id}`.
pub(crate) async fn get_one(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let mut params = params(&query, Method::AccessesGetOne);
    params.insert("id".to_owned(), Value::from(id));
    let params = Value::Object(params);
    call(&state, &actor, Method::AccessesGetOne, params).await
}

/// `POST /{username}/accesses`.
pub(crate) async fn create(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    call(&state, &actor, Method::AccessesCreate, given(body)).await
}

/// `PUT /{username}/accesses/{id}`: the body is the changes.
pub(crate) async fn update(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "id": id, "update": given(body) });
    call(&state, &actor, Method::AccessesUpdate, params).await
}

/// `POST /{username}/accesses/check-app`.
pub(crate) async fn check_app(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    call(&state, &actor, Method::AccessesCheckApp, given(body)).await
}

/// `DELETE /{username}/accesses/{id}`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let params = json!({ "id": id });
    call(&state, &actor, Method::AccessesDelete, params).await
}

async fn call(
    state: &State,
    actor: &Actor,
    method: Method,
    params: Value,
) -> Result<Response, ApiError> {
    let reply = state.kernel.call(actor, method, params).await?;
    let reply = with_endpoints(state, actor, method, reply)?;
    let status = match method {
        Method::AccessesCreate => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    state.context.reply_text(status, reply.as_bytes())
}

/// An answer with the endpoint of every access in it that can be used: under its alias, if it has one,
/// else under the name by which the caller knows the user.
pub(crate) fn with_endpoints(
    state: &State,
    actor: &Actor,
    method: Method,
    reply: Reply,
) -> Result<Reply, ApiError> {
    let names: &[&str] = match method {
        Method::AccessesGet => &["accesses"],
        Method::AccessesGetOne => &["access", "history"],
        Method::AccessesCreate | Method::AccessesUpdate => &["access"],
        _ => return Ok(reply),
    };
    let mut answer: Map<String, Value> =
        serde_json::from_slice(reply.as_bytes()).map_err(|error| ApiError::internal(&error))?;
    let (settings, core_url) = (state.settings(), state.own_url());
    let username = actor.shown_name().as_str();
    for name in names {
        match answer.get_mut(*name) {
            Some(Value::Object(access)) => add(&settings.addressing, &core_url, username, access),
            Some(Value::Array(accesses)) => {
                for access in accesses.iter_mut().filter_map(Value::as_object_mut) {
                    add(&settings.addressing, &core_url, username, access);
                }
            }
            _ => {}
        }
    }
    Ok(Reply::from_map(answer))
}

fn add(addressing: &Addressing, core_url: &str, username: &str, access: &mut Map<String, Value>) {
    if let Some(token) = access.get("token").and_then(Value::as_str) {
        let alias = access.get("alias").and_then(Value::as_str);
        let name = alias.unwrap_or(username);
        let endpoint = addressing.api_endpoint(core_url, name, &Secret::new(token));
        access.insert("apiEndpoint".to_owned(), Value::from(endpoint));
    }
}
