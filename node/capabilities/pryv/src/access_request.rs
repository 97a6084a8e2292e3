//! Access requests: an app asks for access, a consent page answers, the app polls
//! (spec/pryv-api §10.3, spec/platform §3.7).
//!
//! The state lives on the platform, so any core can be polled. It goes from `NEED_SIGNIN` to one
//! final state, once; the same answer again is no error, another one is. Only named fields of a body
//! are kept: what a client sends never becomes state by itself.

use std::time::Duration;

use axum::Extension;
use axum::extract::{self, Path};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homecore_http::context::{ClientAddress, plain_reply};
use homecore_http::{ApiError, JsonBody, Rate, Unread};
use homecore_kernel::describe::{Field, Record, Type};
use homecore_kernel::permission::Level;
use homecore_kernel::ports::{AccessRequestError, AccessRequestState};
use homecore_types::{ErrorId, Secret};
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use url::Url;

use crate::settings::Settings;
use crate::state::State;

/// How often clients are told to poll.
const POLL_RATE_MS: u32 = 1000;
/// Characters of a poll key: 12 random bytes in base64url.
const KEY_CHARS: usize = 16;
/// Bytes of a request or of its answer, as JSON. The platform keeps every one of them on every core
/// for an hour, and anybody may open one; it takes 32 KiB, with the block about the service, which
/// does not count here.
const STATE_BYTES_MAX: usize = 24 * 1024;
/// What `encodeURIComponent` escapes.
pub(crate) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Fields shown while an answer is awaited, in the order of the wire. Those from `clientData`
/// on are for the consent page, which reads them.
const PENDING_FIELDS: &[&str] = &[
    "serviceInfo",
    "key",
    "requestingAppId",
    "requestedPermissions",
    "poll",
    "authUrl",
    "poll_rate_ms",
    "lang",
    "returnURL",
    "oauthState",
    "clientData",
    "deviceName",
    "expireAfter",
    "token",
    "referer",
];

/// What [`create`] takes.
pub(crate) const REQUEST: Record = Record::open(&[
    Field::new("requestingAppId", Type::SOME_TEXT).required(),
    Field::new("requestedPermissions", Type::Records(ENTRIES)).required(),
    Field::new("languageCode", Type::Json),
    Field::new("returnURL", Type::Json),
    Field::new("oauthState", Type::Json),
    Field::new("clientData", Type::Object).nullable(),
    Field::new("authUrl", Type::TEXT).nullable(),
    Field::new("deviceName", Type::Json),
    Field::new("expireAfter", Type::Json),
    Field::new("token", Type::TEXT).nullable(),
    Field::new("referer", Type::Json),
]);
/// See [`ensure_permission`].
const ENTRIES: &[&Record] = &[
    &Record::open(&[
        Field::new("streamId", Type::SOME_TEXT).required(),
        Field::new(
            "level",
            Type::Choice(&["none", "read", "create-only", "contribute", "manage"]),
        )
        .required(),
        Field::new("defaultName", Type::SOME_TEXT).nullable(),
        Field::new("name", Type::SOME_TEXT).nullable(),
    ]),
    &Record::open(&[
        Field::new("feature", Type::SOME_TEXT).required(),
        Field::new("setting", Type::Choice(&["forbidden", "allowed"])).required(),
    ]),
];
/// What [`resolve`] takes.
pub(crate) const ANSWER: Record = Record::open(&[
    Field::new(
        "status",
        Type::Choice(&["ACCEPTED", "REFUSED", "ERROR", "REDIRECTED"]),
    )
    .required(),
    Field::new("username", Type::TEXT).nullable(),
    Field::new("token", Type::TEXT).nullable(),
    Field::new("apiEndpoint", Type::TEXT).nullable(),
    Field::new("reasonId", Type::TEXT).nullable(),
    Field::new("message", Type::TEXT).nullable(),
    Field::new("redirectUrl", Type::TEXT).nullable(),
]);

/// `POST /reg/access`.
pub(crate) async fn create(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    body: Unread,
) -> Result<Response, ApiError> {
    state
        .limit(Rate::AccessRequest, client)
        .map_err(ApiError::plain)?;
    let body = body.json(&state.context).await?;
    let open = async {
        let (key, payload) = new_request(&state, body)?;
        let reply = plain_reply(
            StatusCode::CREATED,
            &json!({
                "status": "NEED_SIGNIN",
                "key": payload.get("key"),
                "authUrl": payload.get("authUrl"),
                "poll": payload.get("poll"),
                "poll_rate_ms": POLL_RATE_MS,
            }),
        )?;
        let payload = bounded(payload)?;
        let pending = AccessRequestState {
            status: "NEED_SIGNIN".to_owned(),
            payload,
        };
        state
            .platform
            .open_access_request(&key, pending)
            .await
            .map_err(refused)?;
        Ok(reply)
    };
    open.await.map_err(ApiError::plain)
}

/// `GET /reg/access/{key}`.
pub(crate) async fn poll(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let poll = async {
        state.limit(Rate::AccessPoll, client)?;
        let key = parse_key(key)?;
        let found = state.platform.access_request(&key).await.map_err(refused)?;
        show(&found)
    };
    poll.await.map_err(ApiError::plain)
}

/// `POST /reg/access/{key}`: the answer of the consent page.
pub(crate) async fn resolve(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(key): Path<String>,
    body: Unread,
) -> Result<Response, ApiError> {
    state
        .limit(Rate::AccessPoll, client)
        .map_err(ApiError::plain)?;
    let body = body.json(&state.context).await?;
    let resolve = async {
        let key = parse_key(key)?;
        let answer = parse_answer(&body.into_object()?)?;
        match state
            .platform
            .resolve_access_request(&key, answer.clone())
            .await
        {
            Ok(()) => show(&answer),
            Err(AccessRequestError::AlreadyResolved) => {
                let present = state.platform.access_request(&key).await.map_err(refused)?;
                if present == answer {
                    show(&present)
                } else {
                    Err(refused(AccessRequestError::AlreadyResolved))
                }
            }
            Err(error) => Err(refused(error)),
        }
    };
    resolve.await.map_err(ApiError::plain)
}

fn new_request(state: &State, body: JsonBody) -> Result<(Secret, Map<String, Value>), ApiError> {
    let body = match body.value {
        Value::Object(body) => body,
        // What is needed is then missing.
        _ => Map::new(),
    };
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name)),
    };
    let app = text("requestingAppId")?
        .filter(|app| !app.is_empty())
        .ok_or_else(|| invalid("requestingAppId"))?;
    let permissions = body
        .get("requestedPermissions")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| invalid("requestedPermissions"))?;
    for (index, permission) in permissions.iter().enumerate() {
        ensure_permission(permission)
            .map_err(|field| invalid(&format!("requestedPermissions[{index}]{field}")))?;
    }
    let lang = match scalar(&body, "languageCode")? {
        Value::Null => json!("en"),
        lang => lang,
    };
    let return_url = body.get("returnURL").cloned().unwrap_or_default();
    if !matches!(return_url, Value::Null | Value::Bool(_) | Value::String(_)) {
        return Err(invalid("returnURL"));
    }
    let oauth_state = scalar(&body, "oauthState")?;
    let expire_after = span(scalar(&body, "expireAfter")?).ok_or_else(|| invalid("expireAfter"))?;
    let client_data = body.get("clientData").cloned().unwrap_or_default();
    if !matches!(client_data, Value::Null | Value::Object(_)) {
        return Err(invalid("clientData"));
    }

    let settings = state.settings();
    let own = state.own_url();
    let key = new_key(state);
    let poll = format!("{own}reg/access/{key}");
    let consent = consent_page(&settings, text("authUrl")?.as_deref())?;
    let auth_url = consent.map(|base| {
        let service_info = format!("{}service/info", settings.addressing.register());
        let rate = POLL_RATE_MS.to_string();
        let (lang, oauth_state) = (plain_text(&lang), plain_text(&oauth_state));
        let mut query = vec![
            ("lang", lang.as_deref().unwrap_or_default()),
            ("key", &key),
            ("requestingAppId", &app),
            ("poll", &poll),
            ("poll_rate_ms", &rate),
            ("serviceInfo", &service_info),
        ];
        query.extend(return_url.as_str().map(|url| ("returnURL", url)));
        query.extend(oauth_state.as_deref().map(|state| ("oauthState", state)));
        with_query(&base, &query)
    });
    let payload = json!({
        "serviceInfo": settings.service_block(&own),
        "key": key,
        "requestingAppId": app,
        "requestedPermissions": permissions,
        "poll": poll,
        "authUrl": auth_url,
        "poll_rate_ms": POLL_RATE_MS,
        "lang": lang,
        "returnURL": return_url,
        "oauthState": oauth_state,
    });
    let Value::Object(mut payload) = payload else {
        return Err(ApiError::unexpected("an access request is no object"));
    };
    // Told only where there is something to tell: consent pages hand the first on to
    // `accesses.create`, which takes no null; the original keeps the others to itself.
    let more = [
        ("clientData", client_data),
        ("deviceName", scalar(&body, "deviceName")?),
        ("expireAfter", expire_after),
        ("token", text("token")?.map_or(Value::Null, Value::from)),
        ("referer", scalar(&body, "referer")?),
    ];
    let more = more.into_iter().filter(|(_, value)| !value.is_null());
    payload.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok((Secret::new(key), payload))
}

/// A field that is handed on to the consent page and that nobody here depends on: the original takes
/// anything, here it may be what fits into a URL.
fn scalar(body: &Map<String, Value>, name: &str) -> Result<Value, ApiError> {
    match body.get(name) {
        Some(Value::Array(_) | Value::Object(_)) => Err(invalid(name)),
        Some(value) => Ok(value.clone()),
        None => Ok(Value::Null),
    }
}

/// A scalar as it stands in a URL.
fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A number of seconds, also one that is written as a text; null is none. `accesses.create`, for
/// which it is meant, takes a number only.
fn span(value: Value) -> Option<Value> {
    let number = match value {
        Value::Null => return Some(Value::Null),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.parse::<u64>().ok().map(Value::from);
            whole.or_else(|| Some(Value::from(text.parse::<f64>().ok()?)))?
        }
        number => number,
    };
    number
        .as_f64()
        .is_some_and(|seconds| seconds >= 0.0)
        .then_some(number)
}

/// One entry of what is asked for (spec/pryv-api §3.3): what it names wrongly, if anything. Whether
/// the streams exist is seen when the user agrees.
fn ensure_permission(permission: &Value) -> Result<(), &'static str> {
    let entry = permission.as_object().ok_or("")?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let is_name = |name: &str| {
        matches!(entry.get(name), None | Some(Value::Null))
            || text(name).is_some_and(|text| !text.is_empty())
    };
    if entry.contains_key("feature") {
        if text("feature").is_none_or(str::is_empty) {
            return Err(".feature");
        }
        return match text("setting") {
            Some("forbidden" | "allowed") => Ok(()),
            _ => Err(".setting"),
        };
    }
    if text("streamId").is_none_or(str::is_empty) {
        return Err(".streamId");
    }
    if text("level").and_then(Level::parse).is_none() {
        return Err(".level");
    }
    for (name, shown) in [("defaultName", ".defaultName"), ("name", ".name")] {
        if !is_name(name) {
            return Err(shown);
        }
    }
    Ok(())
}

fn new_key(state: &State) -> String {
    let mut bytes = [0_u8; KEY_CHARS / 4 * 3];
    state.entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Only what can be a key is asked for: other key spaces are not reached through a path.
fn parse_key(text: String) -> Result<Secret, ApiError> {
    let fits = text.len() == KEY_CHARS
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if fits {
        Ok(Secret::new(text))
    } else {
        Err(refused(AccessRequestError::Unknown))
    }
}

/// The page that asks the user: the platform's, or the one of the request if it is trusted.
fn consent_page(settings: &Settings, asked: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(asked) = asked else {
        return Ok(settings.default_auth_url.clone());
    };
    let trusted = Url::parse(asked).is_ok_and(|url| {
        settings
            .trusted_auth_urls
            .iter()
            .filter_map(|entry| Url::parse(entry).ok())
            .any(|entry| extends(&url, &entry))
    });
    if trusted {
        Ok(Some(asked.to_owned()))
    } else {
        Err(invalid("authUrl"))
    }
}

/// Whether `url` is `base` or lies below it by whole path segments.
fn extends(url: &Url, base: &Url) -> bool {
    let below = base.path().trim_end_matches('/');
    matches!(url.scheme(), "http" | "https")
        && url.scheme() == base.scheme()
        && url.host() == base.host()
        && url.port_or_known_default() == base.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
        && url
            .path()
            .strip_prefix(below)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn with_query(base: &str, query: &[(&str, &str)]) -> String {
    // The fragment would swallow the query.
    let (base, fragment) = match base.split_once('#') {
        Some((base, fragment)) => (base, Some(fragment)),
        None => (base, None),
    };
    let mut url = base.to_owned();
    let mut joint = if base.contains('?') { '&' } else { '?' };
    for (name, value) in query {
        url.push(joint);
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, COMPONENT));
        joint = '&';
    }
    if let Some(fragment) = fragment {
        url.push('#');
        url.push_str(fragment);
    }
    url
}

/// The named fields of an answer, by its status.
fn parse_answer(body: &Map<String, Value>) -> Result<AccessRequestState, ApiError> {
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(invalid(name)),
    };
    let needed = |name: &str| {
        text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(name))
    };
    let status = needed("status")?;
    let mut payload = Map::new();
    let mut keep = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            payload.insert(name.to_owned(), Value::from(value));
        }
    };
    match status {
        "ACCEPTED" => {
            keep("username", Some(needed("username")?));
            keep("token", Some(needed("token")?));
            keep("apiEndpoint", text("apiEndpoint")?);
        }
        "REFUSED" | "ERROR" => {
            keep("reasonId", text("reasonId")?);
            keep("message", text("message")?);
        }
        "REDIRECTED" => {
            let url = needed("redirectUrl")?;
            let web = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !web {
                return Err(invalid("redirectUrl"));
            }
            keep("poll", Some(url));
            keep("redirectUrl", Some(url));
        }
        _ => return Err(invalid("status")),
    }
    Ok(AccessRequestState {
        status: status.to_owned(),
        payload: bounded(payload)?,
    })
}

/// The platform is small; so is each state. The block about the service is the operator's and does
/// not count.
fn bounded(payload: Map<String, Value>) -> Result<Value, ApiError> {
    let service = payload.get("serviceInfo").map(ToString::to_string);
    let payload = Value::Object(payload);
    let bytes = payload.to_string().len() - service.map_or(0, |text| text.len());
    if bytes > STATE_BYTES_MAX {
        return Err(ApiError::new(
            ErrorId::InvalidParameters,
            format!("The access request is larger than {STATE_BYTES_MAX} bytes"),
        ));
    }
    Ok(payload)
}

/// A state as the poll shows it, with the HTTP status that goes with it.
fn show(state: &AccessRequestState) -> Result<Response, ApiError> {
    let (code, fields): (_, &[&str]) = match state.status.as_str() {
        "NEED_SIGNIN" => (StatusCode::CREATED, PENDING_FIELDS),
        "ACCEPTED" => (StatusCode::OK, &["username", "token", "apiEndpoint"]),
        "REFUSED" | "ERROR" => (StatusCode::FORBIDDEN, &["reasonId", "message"]),
        "REDIRECTED" => (StatusCode::MOVED_PERMANENTLY, &["poll", "redirectUrl"]),
        _ => {
            return Err(ApiError::unexpected(
                "an access request has an unknown status",
            ));
        }
    };
    let mut body = Map::from_iter([("status".to_owned(), json!(state.status))]);
    for name in fields {
        if let Some(value) = state.payload.get(*name) {
            body.insert((*name).to_owned(), value.clone());
        }
    }
    plain_reply(code, &body)
}

fn invalid(name: &str) -> ApiError {
    ApiError::new(
        ErrorId::InvalidParameters,
        format!("Missing or invalid {name}"),
    )
}

fn refused(error: AccessRequestError) -> ApiError {
    match error {
        AccessRequestError::Unknown => {
            ApiError::new(ErrorId::UnknownAccessKey, "Unknown or expired access key")
        }
        AccessRequestError::AlreadyResolved => ApiError::new(
            ErrorId::InvalidOperation,
            "The access request has been answered already; a new one must be opened",
        ),
        AccessRequestError::TooMuch(why) => {
            ApiError::new(ErrorId::ApiUnavailable, why).retry_after(Duration::from_secs(60))
        }
        AccessRequestError::Unavailable(unavailable) => unavailable.into(),
    }
}
