//! Cross-origin headers. They are on **every** response, errors included, or a browser hides the
//! error from the application (spec/pryv-api §1.5); so [`crate::App`] applies them last, outermost.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, ORIGIN, VARY,
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

    /// Sets the response's headers. An answer that may be kept says that it is for one origin: a cache
    /// would give it to a page of another, whose browser refuses it.
    pub fn apply(self, response: &mut HeaderMap) {
        if response.contains_key(CACHE_CONTROL) {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_kept_is_for_one_origin() {
        let mut request = HeaderMap::new();
        request.insert(ORIGIN, HeaderValue::from_static("https://app.example.com"));
        let mut response = HeaderMap::new();
        Cors::of(&request).apply(&mut response);
        assert!(!response.contains_key(VARY));
        response.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        response.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        Cors::of(&request).apply(&mut response);
        let vary: Vec<_> = response.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Accept-Encoding", "Origin"]);
        let echoed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap();
        assert_eq!(echoed, "https://app.example.com");
    }
}
