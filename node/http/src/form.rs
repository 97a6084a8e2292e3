//! Url-encoded forms, and the method override that pages without script use: a `POST` whose form
//! holds `_method`, `_auth` and `_json` (spec/pryv-api §1.6). [`crate::App`] turns such a request
//! into the one it stands for before it is routed, so handlers only know JSON. Other methods carry
//! forms too, but stand for themselves: there `_method` is a field as any.

use axum::body::Body;
use homecore_types::Secret;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request};
use serde_json::{Map, Value};

use crate::body;
use crate::context::Context;
use crate::credentials::FormToken;
use crate::error::ApiError;

/// Whether a request carries a form.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    body::media_type(headers).is_some_and(|kind| kind == "application/x-www-form-urlencoded")
}

/// In the extensions of a request that came as a form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WasForm;

/// Turns a form into the request that it stands for.
///
/// # Errors
/// When the body cannot be read, or `_json` or `_method` are none.
pub(crate) async fn unfold(
    context: &Context,
    request: Request<Body>,
) -> Result<Request<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let overrides = parts.method == Method::POST;
    let bytes = body::read_form(context, &parts, body).await?;
    let mut fields = Map::new();
    let mut json = None;
    for (name, value) in parse(&bytes) {
        match name.as_str() {
            "_auth" => {
                parts.extensions.insert(FormToken(Secret::new(value)));
            }
            "_method" if overrides => {
                parts.method = Method::from_bytes(value.to_ascii_uppercase().as_bytes())
                    .map_err(|_| ApiError::unreadable("The form's _method is no HTTP method"))?;
            }
            "_json" => json = Some(value),
            _ => {
                fields.insert(name, Value::from(value));
            }
        }
    }
    let bytes = match json {
        Some(text) => {
            serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|error| {
                ApiError::unreadable(format!("The form's _json is not JSON: {error}"))
            })?;
            text
        }
        None => Value::Object(fields).to_string(),
    };
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(CONTENT_ENCODING);
    parts.extensions.insert(WasForm);
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// Reads `a=b&c=d`: `+` is a blank, percent escapes are bytes, and bytes that are no UTF-8 are
/// replaced. Names that are empty are dropped.
#[must_use]
pub fn parse(raw: &[u8]) -> Vec<(String, String)> {
    let decode = |bytes: &[u8]| {
        if !bytes.iter().any(|b| matches!(b, b'+' | b'%')) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let blanks: Vec<u8> = bytes
            .iter()
            .map(|b| if *b == b'+' { b' ' } else { *b })
            .collect();
        String::from_utf8_lossy(&percent_encoding::percent_decode(&blanks).collect::<Vec<u8>>())
            .into_owned()
    };
    raw.split(|b| *b == b'&')
        .filter_map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            (!name.is_empty()).then_some((name, value))
        })
        .collect()
}
