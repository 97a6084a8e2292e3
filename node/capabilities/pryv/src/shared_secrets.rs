//! Shared secrets (spec/pryv-api §9.7). Who has the key of one needs no access to be given it.

use axum::Extension;
use axum::extract;
use axum::response::Response;
use homecore_http::context::ClientAddress;
use homecore_http::owner::Owner;
use homecore_http::{ApiError, JsonBody, Rate, Unread};
use homecore_kernel::Method;
use homecore_kernel::audit::Source;
use http::StatusCode;

use crate::caller::{Caller, owner};
use crate::items::given;
use crate::state::State;

/// `POST /{username}/shared-secrets`.
pub(crate) async fn create(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let method = Method::SharedSecretsCreate;
    let reply = state.kernel.call(&actor, method, given(body)).await?;
    state
        .context
        .reply_text(StatusCode::CREATED, reply.as_bytes())
}

/// `POST /{username}/shared-secrets/status`.
pub(crate) async fn status(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let method = Method::SharedSecretsGetOne;
    let reply = state.kernel.call(&actor, method, given(body)).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/shared-secrets/retrieve`.
pub(crate) async fn retrieve(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::SharedSecret, client)?;
    let params = given(body.json(&state.context).await?);
    let (owner, source) = (owner(&user), Source::http(client.0));
    let kernel = &state.kernel;
    let reply = kernel
        .retrieve_shared_secret(&owner, &params, source)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}
