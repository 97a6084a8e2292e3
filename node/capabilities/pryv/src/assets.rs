//! What an app shows of the service: icon, style and sign-in button.
//!
//! Service information names `www/assets/index.json` where the configuration names nothing else, and
//! the SDK's sign-in button does not come up without it.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use homecore_http::ApiError;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// Name, media type and bytes of each.
const FILES: &[(&str, &str, &[u8])] = &[
    (
        "index.json",
        "application/json",
        include_bytes!("../assets/index.json"),
    ),
    (
        "favicon.ico",
        "image/x-icon",
        include_bytes!("../assets/favicon.ico"),
    ),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/style.css"),
    ),
    (
        "button-sign-in.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/button-sign-in.css"),
    ),
    (
        "button-sign-in.html",
        "text/html; charset=utf-8",
        include_bytes!("../assets/button-sign-in.html"),
    ),
    (
        "button-sign-in.json",
        "application/json",
        include_bytes!("../assets/button-sign-in.json"),
    ),
];
/// An upgrade shows within the hour.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `GET /www/assets/{file}`.
pub(crate) async fn get(Path(file): Path<String>) -> Result<Response, ApiError> {
    one(&file)
}

/// `GET /favicon.ico`, where browsers look by themselves.
pub(crate) async fn favicon() -> Result<Response, ApiError> {
    one("favicon.ico")
}

fn one(file: &str) -> Result<Response, ApiError> {
    let found = FILES.iter().find(|(name, _, _)| *name == file);
    let (_, media_type, bytes) = found.ok_or_else(ApiError::unknown_route)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, CACHE),
    ];
    Ok((headers, *bytes).into_response())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn everything_that_the_index_names_is_there() {
        fn names(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::String(name) => found.push(name.clone()),
                Value::Object(map) => map.values().for_each(|value| names(value, found)),
                other => panic!("{other}"),
            }
        }
        let (_, _, index) = FILES.iter().find(|file| file.0 == "index.json").unwrap();
        let mut named = vec!["index.json".to_owned()];
        names(&serde_json::from_slice(index).unwrap(), &mut named);
        named.sort();
        let mut held: Vec<&str> = FILES.iter().map(|(name, _, _)| *name).collect();
        held.sort_unstable();
        assert_eq!(named, held);
    }
}
