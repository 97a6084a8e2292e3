//! The app directory (`/apps`), and whether an invitation is good (spec/platform §3.1).

use axum::Extension;
use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use homecore_http::context::{ClientAddress, plain_reply};
use homecore_http::error::shorten;
use homecore_http::{ApiError, Rate, Unread};
use homecore_types::ErrorId;
use http::StatusCode;
use serde_json::{Value, json};

use crate::state::State;

/// `GET /apps`.
pub(crate) async fn list(
    extract::State(state): extract::State<State>,
) -> Result<Response, ApiError> {
    plain_reply(StatusCode::OK, &json!({ "apps": state.settings().apps }))
}

/// `GET /apps/{id}`.
pub(crate) async fn one(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let settings = state.settings();
    let app = settings
        .apps
        .iter()
        .find(|app| app.get("id").and_then(Value::as_str) == Some(id.as_str()))
        .ok_or_else(|| {
            ApiError::new(
                ErrorId::UnknownResource,
                format!("Unknown app \"{}\"", shorten(&id)),
            )
            .plain()
        })?;
    plain_reply(StatusCode::OK, &json!({ "app": app }))
}

/// `POST /access/invitationtoken/check` with `{invitationtoken}`: the text `true` or `false`.
pub(crate) async fn check_invitation(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client).map_err(ApiError::plain)?;
    let body = body.json(&state.context).await?;
    let check = async {
        let body = body.into_object()?;
        let token = body
            .get("invitationtoken")
            .or_else(|| body.get("invitationToken"));
        let valid = match token.and_then(Value::as_str) {
            Some(token) => state.platform.invitation_valid(token).await?,
            None => false,
        };
        Ok(if valid { "true" } else { "false" }.into_response())
    };
    check.await.map_err(ApiError::plain)
}
