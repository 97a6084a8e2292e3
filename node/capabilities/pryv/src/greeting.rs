//! The root, and what stands there about the service (spec/pryv-api §1.2, §2.1).

use axum::extract;
use axum::response::{Html, IntoResponse, Response};
use homecore_http::{API_VERSION, ApiError};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::state::State;

const LEARN_MORE: &str = "https://pryv.github.io/";

/// `GET /` and `GET /{username}/`.
pub(crate) async fn greet(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if prefers_json(&headers) {
        let body = json!({ "cheersFrom": "Pryv API", "learnMoreAt": LEARN_MORE });
        return state.context.reply(StatusCode::OK, &body);
    }
    let now = state.context.clock.now().as_seconds();
    Ok(Html(format!(
        "# Cheers from the Pryv API!\n\n- API version: {API_VERSION}\n- Server time: {now}\n\n\
         Learn more at {LEARN_MORE}"
    ))
    .into_response())
}

/// `…/service/info`.
pub(crate) async fn service_info(
    extract::State(state): extract::State<State>,
) -> Result<Response, ApiError> {
    let info = state.settings().service_info(&state.own_url());
    state.context.reply(StatusCode::OK, &info)
}

/// Programs get JSON, also those that do not say; whoever names a text type first gets text.
fn prefers_json(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("*/*");
    let first = |wanted: &str| accept.find(wanted).unwrap_or(usize::MAX);
    first("application/json") <= first("text/")
}
