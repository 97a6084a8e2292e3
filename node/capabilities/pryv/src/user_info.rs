//! `GET /system/user-info/{username}`: what administrators see of a user.

use axum::extract::{self, Path};
use axum::response::Response;
use homecore_http::ApiError;
use homecore_http::owner::resolve;
use http::StatusCode;
use serde_json::json;

use crate::admin::Admin;
use crate::caller::owner;
use crate::state::State;

/// How much is stored, and how often is called, by method and by app; nothing of what is kept.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let user = resolve(&*state.context.directory, &name).await?;
    let info = state.kernel.user_info(&owner(&user)).await?;
    let body = json!({ "userInfo": info });
    state.context.reply(StatusCode::OK, &body)
}
