//! Previews of attached pictures (spec/pryv-api §9.6). The original serves them from a port of its own,
//! where a proxy finds them under `/{username}/events/{id}`; here they are on every listener below
//! `/previews`, and [`Previews`] is for those who want that port. Errors are without `meta`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use homecore_http::context::plain_reply;
use homecore_http::openapi::{Auth, Content, Operation, Routes, Verb};
use homecore_http::owner::{Owner, resolve};
use homecore_http::range::{self, Wanted};
use homecore_http::{ApiError, Capability, Context, Kind, Query, UserContext};
use homecore_kernel::describe::{Field, Member, Type};
use homecore_kernel::error::InvalidParameters;
use homecore_kernel::preview::{Preview, Wish};
use homecore_kernel::{Actor, Violation};
use homecore_types::{ErrorId, Millis};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use crate::state::State;
use crate::{Pryv, caller};

/// Previews where the original has them: `/{username}/events/{id}`, and nothing else. For a listener of
/// its own.
#[derive(Clone, Debug)]
pub struct Previews(pub Pryv);

impl Capability for Previews {
    fn name(&self) -> &'static str {
        "previews"
    }

    fn roots(&self) -> &'static [&'static str] {
        &["clean-up-cache"]
    }

    fn root_routes(&self, context: &Arc<Context>) -> Routes {
        Routes::new()
            .route(
                Operation::new(
                    Verb::Post,
                    "/clean-up-cache",
                    "previews.cleanUp",
                    "Deletes previews that were not looked at for long",
                )
                .auth(Auth::Admin)
                .says([Member::one("message", "Text")])
                .plain(),
                clean_up,
            )
            .with_state(self.0.state(context))
    }

    fn user_routes(&self, context: &Arc<Context>) -> Routes {
        Routes::new()
            .route(operation("/events/{id}", "events.getPreview"), get_one)
            .with_state(self.0.state(context))
    }
}

/// What is said of a preview, wherever it is.
pub(crate) fn operation(path: &'static str, id: &'static str) -> Operation {
    let side = |name| Field::new(name, Type::Number);
    Operation::new(
        Verb::Get,
        path,
        id,
        "A small picture of the picture that is attached to an event, as JPEG",
    )
    .auth(Auth::Token)
    .query(&[side("width"), side("w"), side("height"), side("h")])
    .answers(200, Content::File)
    .answers(204, Content::Nothing)
    .answers(206, Content::File)
    .answers(304, Content::Nothing)
    .answers(416, Content::Nothing)
    .refuses(&[
        ErrorId::InvalidParametersFormat,
        ErrorId::UnknownResource,
        ErrorId::CorruptedData,
    ])
    .plain()
}

/// `GET /{username}/previews/events/{id}`: where the host names the user.
pub(crate) async fn get_one(
    extract::State(state): extract::State<State>,
    Owner(user): Owner,
    Path(id): Path<String>,
    request: extract::Request,
) -> Response {
    send(&state, &user, &id, request).await
}

/// `GET /previews/{username}/events/{id}`.
pub(crate) async fn get_of(
    extract::State(state): extract::State<State>,
    Path((name, id)): Path<(String, String)>,
    request: extract::Request,
) -> Response {
    match resolve(&*state.context.directory, &name).await {
        Ok(user) => send(&state, &user, &id, request).await,
        Err(error) => ApiError::from(error).plain().into_response(),
    }
}

async fn send(state: &State, user: &UserContext, id: &str, request: extract::Request) -> Response {
    let (parts, _body) = request.into_parts();
    let actor = match caller::identify_as(state, &parts, user).await {
        Ok(actor) => actor,
        Err(error) => return error.plain().into_response(),
    };
    let answer = answer(state, &actor, id, &parts).await;
    let response = answer.map_err(ApiError::plain).into_response();
    caller::name_access(response, &actor)
}

async fn answer(
    state: &State,
    actor: &Actor,
    id: &str,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let wish = wish(&Query::parse(parts.uri.query()))?;
    // The ending is for those who go by names.
    let endings = [".jpg", ".jpeg"];
    let id = endings
        .into_iter()
        .find_map(|ending| id.strip_suffix(ending))
        .unwrap_or(id);
    match state.kernel.event_preview(actor, id, wish).await? {
        Some(preview) => respond(&parts.headers, preview, state.context.clock.now()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// The size that a query asks for.
fn wish(query: &Query) -> Result<Wish, ApiError> {
    let names = ["width", "w", "height", "h"];
    let given = query.coerce(&names.map(|name| (name, Kind::Number)));
    let mut violations = Vec::new();
    let mut side = |names: [&str; 2]| {
        let (name, value) = names
            .into_iter()
            .find_map(|name| given.get(name).map(|value| (name, value)))?;
        let number = value.as_f64();
        if number.is_none() {
            violations.push(Violation::wrong_type(&format!("#/{name}"), &["number"]));
        }
        number
    };
    let wish = Wish {
        width: side(["width", "w"]),
        height: side(["height", "h"]),
    };
    if violations.is_empty() {
        Ok(wish)
    } else {
        let refused: homecore_kernel::Error = InvalidParameters(violations).into();
        Err(refused.into())
    }
}

/// `POST /clean-up-cache`, for administrators: deletes what was not looked at for long.
async fn clean_up(extract::State(state): extract::State<State>, headers: HeaderMap) -> Response {
    if !state.settings().is_admin(&headers) {
        return ApiError::unknown_route().plain().into_response();
    }
    let message = match state.kernel.sweep_previews().await {
        Ok(true) => "Clean-up successful.",
        Ok(false) => "Clean-up already in progress.",
        Err(error) => return ApiError::from(error).plain().into_response(),
    };
    plain_reply(StatusCode::OK, &json!({ "message": message }))
        .map_err(ApiError::plain)
        .into_response()
}

/// The answer with a preview, or what of it is wanted. It is looked at anew each time whether there is
/// another: the address is the event's, whatever is attached to it.
fn respond(asked: &HeaderMap, preview: Preview, now: Millis) -> Result<Response, ApiError> {
    let Preview {
        jpeg,
        tag,
        modified,
    } = preview;
    let etag = format!("\"{tag}\"");
    let dated = date(modified, now);
    let size = u64::try_from(jpeg.len()).unwrap_or(u64::MAX);
    let wanted = if dated.is_some_and(|modified| is_known(asked, modified)) {
        Wanted::NotModified
    } else {
        range::wanted(asked, &etag, size)
    };
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, value(&etag)?);
    if let Some(modified) = dated {
        headers.insert(LAST_MODIFIED, value(&httpdate::fmt_http_date(modified))?);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, body) = match wanted {
        Wanted::Whole => (StatusCode::OK, Some(jpeg)),
        Wanted::Part { from, to } => {
            let range = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
            headers.insert(CONTENT_RANGE, value(&range)?);
            let at = |offset: u64| usize::try_from(offset).unwrap_or(jpeg.len());
            let part = jpeg.slice(at(from)..at(to));
            (StatusCode::PARTIAL_CONTENT, Some(part))
        }
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
        Wanted::Unsatisfiable => {
            headers.insert(CONTENT_RANGE, value(&format!("bytes */{size}"))?);
            (StatusCode::RANGE_NOT_SATISFIABLE, None)
        }
    };
    if let Some(body) = &body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut response = Response::new(body.unwrap_or_default().into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// When a preview was last changed; none where that tells it from no other: dates have whole seconds, and
/// within the same one another may follow (RFC 9110 §8.8.2.2). What was imported may have any date.
fn date(modified: Millis, now: Millis) -> Option<SystemTime> {
    let is_settled = now.0.saturating_sub(modified.0) >= 1_000;
    let since_epoch = Duration::from_millis(u64::try_from(modified.0).unwrap_or(0));
    is_settled.then(|| UNIX_EPOCH + since_epoch)
}

/// Whether the client has what was last changed then. A date says less than a tag, and counts only
/// where there is none (RFC 9110 §13.1.3).
fn is_known(asked: &HeaderMap, modified: SystemTime) -> bool {
    let since = asked
        .get(IF_MODIFIED_SINCE)
        .filter(|_| !asked.contains_key(IF_NONE_MATCH))
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    // Dates have whole seconds.
    since.is_some_and(|since| modified < since + Duration::from_secs(1))
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|error| ApiError::internal(&error))
}

#[cfg(test)]
mod tests;
