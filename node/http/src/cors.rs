//! Cross-origin headers. They are on **every** response, errors included, or a browser hides the
//! error from the application (spec/pryv-api §1.5); so [`crate::App`] applies them last, outermost.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a request says about its origin.
#[derive(Clone, Debug)]
pub struct Cors {
    origin: HeaderValue,
    methods: HeaderValue,
    headers: HeaderValue,
}

impl Cors {
    /// Reads a request's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let echo = |name: HeaderName, default: &'static str| {
            headers
                .get(name)
                .cloned()
                .unwrap_or_else(|| HeaderValue::from_static(default))
        };
        Self {
            origin: echo(ORIGIN, "*"),
            methods: echo(
                ACCESS_CONTROL_REQUEST_METHOD,
                "POST, GET, PUT, DELETE, OPTIONS",
            ),
            headers: echo(
                ACCESS_CONTROL_REQUEST_HEADERS,
                "Authorization, Content-Type",
            ),
        }
    }

    /// Sets the response's headers.
    pub fn apply(self, response: &mut HeaderMap) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods);
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers);
        response.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("API-Version"),
        );
        response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("31536000"));
        response.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
}
