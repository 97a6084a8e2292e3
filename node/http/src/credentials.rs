//! Where a request carries its token (spec/pryv-api §1.3). This only reads; whether the token is
//! good is for the kernel to say.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use homecore_types::{ErrorId, Secret};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::ApiError;
use crate::query::Query;

/// Longest caller id that is recorded.
const CALLER_CHARS_MAX: usize = 200;

/// A token as presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The token.
    pub token: Secret,
    /// Who uses it, as they say; recorded beside the access in tracking fields.
    pub caller: Option<String>,
    /// Whether it stood in the address, where attachments refuse it.
    pub in_query: bool,
}

/// The `_auth` field of a form, put into the request by [`crate::form`].
#[derive(Clone, Debug)]
pub struct FormToken(pub Secret);

impl Credentials {
    /// Reads the token of a request: `Authorization` (raw, `Bearer`, `Basic`), then `?auth=`, then the
    /// form's `_auth`. None when there is none. In each, a caller id may follow the token.
    ///
    /// # Errors
    /// 403 `invalid-access-token` for a `Basic` header that holds no token.
    pub fn read(
        headers: &HeaderMap,
        query: &Query,
        form: Option<&FormToken>,
    ) -> Result<Option<Self>, ApiError> {
        if let Some(header) = headers.get(AUTHORIZATION) {
            let text = decode(header.as_bytes());
            let text = text.trim();
            if !text.is_empty() {
                return Self::from_header(text).map(Some);
            }
        }
        if let Some(found) = query.first("auth").and_then(Self::from_text) {
            return Ok(Some(Self {
                in_query: true,
                ..found
            }));
        }
        Ok(form.and_then(|form| Self::from_text(form.0.expose())))
    }

    fn from_header(text: &str) -> Result<Self, ApiError> {
        let (scheme, rest) = match text.split_once(' ') {
            Some((scheme, rest)) => (scheme, rest.trim()),
            None => (text, ""),
        };
        if scheme.eq_ignore_ascii_case("bearer")
            && let Some(found) = Self::from_text(rest)
        {
            return Ok(found);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = STANDARD
                .decode(rest)
                .or_else(|_| STANDARD_NO_PAD.decode(rest))
                .map_err(|_| wrong("the Basic header is not base64"))?;
            let decoded = decode(&decoded);
            let user = decoded.split(':').next().unwrap_or_default();
            return Self::from_text(user).ok_or_else(|| wrong("the Basic header holds no token"));
        }
        Self::from_text(text).ok_or_else(|| wrong("the header holds no token"))
    }

    /// A token, and who uses it if a blank and more follow.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let (token, caller) = text.split_once(' ').unwrap_or((text, ""));
        let caller: String = caller.trim().chars().take(CALLER_CHARS_MAX).collect();
        (!token.is_empty()).then(|| Self {
            token: Secret::new(token),
            caller: Some(caller).filter(|caller| !caller.is_empty()),
            in_query: false,
        })
    }
}

/// What was sent as bytes: some clients write names of callers in UTF-8, others one byte a character.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

fn wrong(why: &str) -> ApiError {
    ApiError::new(
        ErrorId::InvalidAccessToken,
        format!("The access token cannot be read: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(
        header: Option<&str>,
        query: &str,
        form: Option<&str>,
    ) -> Result<Option<Credentials>, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(
                AUTHORIZATION,
                HeaderValue::from_bytes(header.as_bytes()).unwrap(),
            );
        }
        let form = form.map(|token| FormToken(Secret::new(token)));
        Credentials::read(&headers, &Query::parse(Some(query)), form.as_ref())
    }

    #[test]
    fn every_form_is_understood() {
        for (header, query, form, token, caller) in [
            (Some("tok"), "", None, Some("tok"), None),
            (Some("tok my app"), "", None, Some("tok"), Some("my app")),
            (Some("tok  my app "), "", None, Some("tok"), Some("my app")),
            (Some("tok Zoé"), "", None, Some("tok"), Some("Zoé")),
            (
                Some("Bearer tok my app"),
                "",
                None,
                Some("tok"),
                Some("my app"),
            ),
            (Some("Bearer tok 予"), "", None, Some("tok"), Some("予")),
            (Some("Bearer"), "", None, Some("Bearer"), None),
            // "tok my app:pass", and "tok Zo\u{e9}:" in Latin-1
            (
                Some("Basic dG9rIG15IGFwcDpwYXNz"),
                "",
                None,
                Some("tok"),
                Some("my app"),
            ),
            (
                Some("Basic dG9rIFpv6To="),
                "",
                None,
                Some("tok"),
                Some("Zoé"),
            ),
            (None, "auth=tok%20my+app", None, Some("tok"), Some("my app")),
            (
                None,
                "auth=%20",
                Some("form my app"),
                Some("form"),
                Some("my app"),
            ),
            (Some("Bearer tok"), "", None, Some("tok"), None),
            (Some("bearer tok"), "", None, Some("tok"), None),
            (Some("Basic dG9rOg=="), "", None, Some("tok"), None),
            (Some("Basic dG9rOg"), "", None, Some("tok"), None),
            (Some("Basic dG9r"), "", None, Some("tok"), None),
            (Some("Basic dG9rOnBhc3M="), "", None, Some("tok"), None),
            (Some("tok"), "auth=other", None, Some("tok"), None),
            (Some(" "), "auth=other", None, Some("other"), None),
            (None, "auth=a&auth=b", None, Some("a"), None),
            (None, "auth[]=a&auth[]=b", Some("form"), Some("a"), None),
            (None, "auth=", Some("form"), Some("form"), None),
            (None, "", Some("form"), Some("form"), None),
            (None, "", None, None, None),
        ] {
            let read = read(header, query, form).unwrap();
            let shown = (header, query, form);
            assert_eq!(read.as_ref().map(|c| c.token.expose()), token, "{shown:?}");
            assert_eq!(read.and_then(|c| c.caller).as_deref(), caller, "{shown:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_latin_1() {
        let mut headers = HeaderMap::new();
        let header = HeaderValue::from_bytes(b"tok Zo\xe9").unwrap();
        headers.insert(AUTHORIZATION, header);
        let read = Credentials::read(&headers, &Query::default(), None).unwrap();
        assert_eq!(read.unwrap().caller.as_deref(), Some("Zoé"));
    }

    #[test]
    fn only_the_address_is_marked() {
        assert!(read(None, "auth=a", None).unwrap().unwrap().in_query);
        assert!(!read(Some("a"), "", None).unwrap().unwrap().in_query);
        assert!(!read(None, "", Some("a")).unwrap().unwrap().in_query);
    }

    #[test]
    fn a_basic_header_without_token_is_refused_and_never_shown() {
        for header in [
            "Basic",
            "Basic Og==",
            "Basic OnBhc3M=",
            "Basic !!!",
            "Basic IDo=",
        ] {
            let error = read(Some(header), "", None).unwrap_err();
            assert_eq!(
                (error.id.wire(), error.status()),
                ("invalid-access-token", 403),
                "{header}"
            );
        }
    }
}
