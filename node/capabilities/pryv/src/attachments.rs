//! Files attached to events (spec/pryv-api §4.11): forms are received straight onto disk, and files
//! are sent from there, a piece at a time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use homecore_http::multipart::{Event, PartHead};
use homecore_http::range::{self, Wanted};
use homecore_http::upload::Form;
use homecore_http::{ApiError, Query, Unread, UserContext};
use homecore_kernel::attachment::{FILE_NAME_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, NewFile, OpenFile};
use homecore_kernel::{Actor, Error, Method};
use homecore_types::{ErrorId, Secret, limits};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::caller::{self, Caller};
use crate::state::State;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 128 * 1024;
/// What stands for itself in the file name of a header: as JavaScript's `encodeURIComponent`, for
/// clients compare.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Takes from a document all that it could do where it came from.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");
/// The media type of files that were sent without one.
const UNTYPED: &str = "application/octet-stream";

/// A form that was received: its files, and its text as JSON.
struct Received {
    files: Vec<NewFile>,
    params: Value,
}

/// `POST /{username}/events` with files.
pub(crate) async fn create(
    state: &State,
    actor: &Actor,
    body: Unread,
) -> Result<Response, ApiError> {
    let form = Form::of(&state.context, body.into_request())?;
    let received = receive(state, actor, form).await?;
    let params = match received.params {
        Value::Null => Value::Object(Map::new()),
        params => params,
    };
    let reply = state
        .kernel
        .event_create_with_files(actor, params, received.files)
        .await?;
    state
        .context
        .reply_text(StatusCode::CREATED, reply.as_bytes())
}

/// `POST /{username}/events/{id}`: adds files. Without any it is an update that changes nothing, whatever
/// else was sent, as in the original.
pub(crate) async fn add(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: Unread,
) -> Result<Response, ApiError> {
    if !body.is_multipart() {
        body.json(&state.context).await?;
        return touch(&state, &actor, id).await;
    }
    let allowed = state.kernel.may_attach(&actor, &id).await;
    let form = Form::of(&state.context, body.into_request())?;
    allowed?;
    let received = receive(&state, &actor, form).await?;
    if received.files.is_empty() {
        return touch(&state, &actor, id).await;
    }
    let reply = state
        .kernel
        .event_attach(&actor, &id, received.files)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

async fn touch(state: &State, actor: &Actor, id: String) -> Result<Response, ApiError> {
    let params = json!({ "id": id, "update": {} });
    let reply = state
        .kernel
        .call(actor, Method::EventsUpdate, params)
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// Receives a form: any number of files, and at most one part that is none.
async fn receive(state: &State, actor: &Actor, mut form: Form) -> Result<Received, ApiError> {
    let files = receive_parts(state, actor, &mut form).await?;
    let params = form.into_json().await?;
    Ok(Received { files, params })
}

async fn receive_parts(
    state: &State,
    actor: &Actor,
    form: &mut Form,
) -> Result<Vec<NewFile>, ApiError> {
    let (mut files, mut has_text) = (Vec::new(), false);
    while let Some(event) = form.next().await? {
        let Event::Begin(head) = event else { continue };
        match head.file_name.clone() {
            Some(name) => {
                if files.len() >= limits::FILES_PER_REQUEST_MAX {
                    return Err(ApiError::unreadable("The form has too many files"));
                }
                files.extend(receive_file(state, actor, form, name, &head).await?);
            }
            None if has_text => {
                return Err(ApiError::unreadable(
                    "In multipart requests, we don't expect more than one non-file part.",
                ));
            }
            None => {
                has_text = true;
                while let Some(Event::Data(data)) = form.next().await? {
                    form.keep_text(&data)?;
                }
            }
        }
    }
    Ok(files)
}

/// Receives one file; none for the empty one of a form field in which nothing was chosen.
async fn receive_file(
    state: &State,
    actor: &Actor,
    form: &mut Form,
    name: String,
    head: &PartHead,
) -> Result<Option<NewFile>, ApiError> {
    let kind = head.content_type.as_deref().unwrap_or(UNTYPED);
    if name.len() > FILE_NAME_BYTES_MAX || kind.len() > MEDIA_TYPE_BYTES_MAX {
        return Err(ApiError::unreadable(
            "The name or the type of a file is too long",
        ));
    }
    let mut upload = state.kernel.receive_file(actor)?;
    while let Some(Event::Data(data)) = form.next().await? {
        upload.write(&data).await.map_err(Error::from)?;
    }
    if name.is_empty() && upload.size() == 0 {
        return Ok(None);
    }
    let blob = upload.finish().await.map_err(Error::from)?;
    Ok(Some(NewFile {
        name,
        kind: kind.to_owned(),
        blob,
    }))
}

/// `DELETE /{username}/events/{id}/{fileId}`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let mut params = Map::new();
    params.insert("id".to_owned(), Value::from(id));
    params.insert("fileId".to_owned(), Value::from(file));
    let method = Method::EventsDeleteAttachment;
    let reply = state
        .kernel
        .call(&actor, method, Value::Object(params))
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `GET /{username}/events/{id}/{fileId}`.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((id, file)): Path<(String, String)>,
    request: extract::Request,
) -> Response {
    send(&state, &id, &file, request).await
}

/// `GET /{username}/events/{id}/{fileId}/{anything}`: the name is for people and browsers.
pub(crate) async fn get_named(
    extract::State(state): extract::State<State>,
    Path((id, file, _name)): Path<(String, String, String)>,
    request: extract::Request,
) -> Response {
    send(&state, &id, &file, request).await
}

async fn send(state: &State, id: &str, file: &str, request: extract::Request) -> Response {
    let (parts, _body) = request.into_parts();
    let actor = match identify(state, &parts, file).await {
        Ok(actor) => actor,
        Err(error) => return caller::refuse(state, &parts, error).await,
    };
    let answer = match state.kernel.event_file(&actor, id, file).await {
        Ok(open) => respond(&parts.headers, open),
        Err(error) => Err(error.into()),
    };
    caller::name_access(answer.into_response(), &actor)
}

/// Who asks for a file: by header or read token. A token of the access itself is not taken from an
/// address, for addresses of files are passed on.
async fn identify(state: &State, parts: &Parts, file: &str) -> Result<Actor, ApiError> {
    let query = Query::parse(parts.uri.query());
    if query.first("auth").is_some() {
        return Err(ApiError::new(
            ErrorId::MissingAccessToken,
            "Query parameter \"auth\" is forbidden here, please use the \"readToken\" instead or \
             provide the auth token in \"Authorization\" header.",
        ));
    }
    let Some(token) = query.first("readToken") else {
        return caller::identify(state, parts).await;
    };
    let user = parts
        .extensions
        .get::<Arc<UserContext>>()
        .ok_or_else(|| ApiError::unexpected("a user route was reached without its user"))?;
    let token = Secret::new(token);
    Ok(state
        .kernel
        .authenticate_read_token(&caller::owner(user), token, file, caller::source(parts))
        .await?)
}

/// The answer with a file, or what of it is wanted.
fn respond(asked: &HeaderMap, file: OpenFile) -> Result<Response, ApiError> {
    let etag = format!("\"{}\"", file.hash);
    let size = file.download.size();
    let wanted = range::wanted(asked, &etag, size);
    let (status, from, to) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Wanted::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, value(&etag)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match wanted {
        Wanted::Part { .. } => {
            let range = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
            headers.insert(CONTENT_RANGE, value(&range)?);
        }
        Wanted::Unsatisfiable => {
            headers.insert(CONTENT_RANGE, value(&format!("bytes */{size}"))?);
        }
        Wanted::Whole | Wanted::NotModified => {}
    }
    let mut body = Body::empty();
    if matches!(wanted, Wanted::Whole | Wanted::Part { .. }) {
        let kind = HeaderValue::from_bytes(file.attachment.kind.as_bytes());
        headers.insert(
            CONTENT_TYPE,
            kind.unwrap_or(HeaderValue::from_static(UNTYPED)),
        );
        headers.insert(CONTENT_LENGTH, HeaderValue::from(to.saturating_sub(from)));
        let name = utf8_percent_encode(&file.attachment.file_name, PLAIN);
        let disposition = format!("attachment; filename*=UTF-8''{name}");
        headers.insert(CONTENT_DISPOSITION, value(&disposition)?);
        if is_active(&file.attachment.kind) {
            headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
        }
        let digest = format!("SHA-256={}", file.attachment.digest());
        headers.insert(HeaderName::from_static("digest"), value(&digest)?);
        body = read(file, from, to);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Whether a browser would run files of a media type, or show them as a document in which something
/// may run.
fn is_active(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let Some((class, format)) = essence.split_once('/') else {
        return false;
    };
    matches!(format, "html" | "xml" | "x-mixed-replace")
        || format.ends_with("+xml")
        || (matches!(class, "text" | "application")
            && ["javascript", "ecmascript"]
                .iter()
                .any(|language| format.trim_start_matches("x-").starts_with(language)))
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|error| ApiError::internal(&error))
}

/// Reads a file as fast as the client takes it. After a failure the connection is cut.
fn read(file: OpenFile, from: u64, to: u64) -> Body {
    let start = (file.download, from);
    Body::from_stream(stream::try_unfold(
        start,
        move |(mut download, at)| async move {
            let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(None);
            }
            let read = download.read_at(at, left.min(PIECE_BYTES)).await;
            let piece = read.inspect_err(|error| {
                tracing::warn!(%error, "a file could not be read to the end");
            })?;
            if piece.is_empty() {
                return Err(homecore_kernel::attachment::cut_short());
            }
            let next = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            Ok(Some((piece, (download, next))))
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_browsers_run_or_render_are_active() {
        for kind in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            " text/html ",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "application/xml",
            "application/rss+xml",
            "multipart/x-mixed-replace",
            "text/javascript",
            "text/javascript1.5",
            "text/x-javascript",
            "application/javascript",
            "application/ecmascript",
            "application/x-ecmascript",
        ] {
            assert!(is_active(kind), "{kind}");
        }
        for kind in [
            "image/png",
            "image/jpeg",
            "application/pdf",
            "application/json",
            "text/plain",
            "application/octet-stream",
            "html",
            "",
        ] {
            assert!(!is_active(kind), "{kind}");
        }
    }
}
