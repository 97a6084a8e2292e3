//! Where a request carries its token (spec/pryv-api §1.3). This only reads; whether the token is
//! good is for the kernel to say.

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
    /// Reads the token of a request: `Authorization` (raw with caller id, `Bearer`, `Basic`), then
    /// `?auth=`, then the form's `_auth`. None when there is none.
    ///
    /// # Errors
    /// 403 `invalid-access-token` for a `Basic` header that holds no token.
    pub fn read(
        headers: &HeaderMap,
        query: &Query,
        form: Option<&FormToken>,
    ) -> Result<Option<Self>, ApiError> {
        if let Some(header) = headers.get(AUTHORIZATION) {
            let text = header
                .to_str()
                .map_err(|_| wrong("the header is not plain ASCII"))?
                .trim();
            if !text.is_empty() {
                return Self::from_header(text).map(Some);
            }
        }
        if let Some(token) = query.first("auth").filter(|token| !token.is_empty()) {
            return Ok(Some(Self {
                token: Secret::new(token),
                caller: None,
                in_query: true,
            }));
        }
        Ok(form.map(|form| Self {
            token: form.0.clone(),
            caller: None,
            in_query: false,
        }))
    }

    fn from_header(text: &str) -> Result<Self, ApiError> {
        let (first, rest) = match text.split_once(' ') {
            Some((first, rest)) => (first, rest.trim()),
            None => (text, ""),
        };
        let plain = |token: &str, caller: Option<String>| Self {
            token: Secret::new(token),
            caller,
            in_query: false,
        };
        if first.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Ok(plain(rest, None));
        }
        if first.eq_ignore_ascii_case("basic") {
            let decoded = STANDARD
                .decode(rest)
                .or_else(|_| STANDARD_NO_PAD.decode(rest))
                .map_err(|_| wrong("the Basic header is not base64"))?;
            let decoded =
                String::from_utf8(decoded).map_err(|_| wrong("the Basic header is not UTF-8"))?;
            let token = decoded
                .split_once(':')
                .map_or(decoded.as_str(), |(user, _)| user);
            if token.is_empty() {
                return Err(wrong("the Basic header holds no token"));
            }
            return Ok(plain(token, None));
        }
        let caller: String = rest.chars().take(CALLER_CHARS_MAX).collect();
        Ok(plain(
            first,
            Some(caller).filter(|caller| !caller.is_empty()),
        ))
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
    use super::*;

    fn read(
        header: Option<&str>,
        query: &str,
        form: Option<&str>,
    ) -> Result<Option<Credentials>, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        let form = form.map(|token| FormToken(Secret::new(token)));
        Credentials::read(&headers, &Query::parse(Some(query)), form.as_ref())
    }

    #[test]
    fn every_form_is_understood() {
        for (header, query, form, token, caller) in [
            (Some("tok"), "", None, Some("tok"), None),
            (Some("tok my app"), "", None, Some("tok"), Some("my app")),
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
            "Basic /w==",
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
