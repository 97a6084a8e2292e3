//! A request that can be sent to more than one core, and the answer as it came.

use bytes::Bytes;
use homecore_types::{Secret, Username};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::error::{ClientError, WireError, shown};

/// What to ask. Without a user the path is relative to the core, with one to `{core}/{username}/`.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) user: Option<Username>,
    path: String,
    query: Vec<(String, String)>,
    pub(crate) token: Option<Secret>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Request {
    /// A request for `path`, which begins without a slash.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            user: None,
            path: path.into(),
            query: Vec::new(),
            token: None,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// About this user: sent to the user's home.
    #[must_use]
    pub fn user(mut self, user: &Username) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// With this token, or admin key, in `Authorization`.
    #[must_use]
    pub fn token(mut self, token: &Secret) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// With a parameter in the query.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With a JSON body.
    ///
    /// # Errors
    /// When the body cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(ClientError::Body)?;
        Ok(self.bytes(HeaderValue::from_static("application/json"), bytes))
    }

    /// With a body of any kind.
    #[must_use]
    pub fn bytes(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers
            .insert(reqwest::header::CONTENT_TYPE, content_type);
        self.body = Some(body.into());
        self
    }

    /// The request's address at a core.
    pub(crate) fn url_at(&self, core: &Url) -> Result<Url, ClientError> {
        let wrong = || ClientError::Path {
            path: self.path.clone(),
        };
        let mut root = core.as_str().to_owned();
        if let Some(user) = &self.user {
            root.push_str(user.as_str());
            root.push('/');
        }
        let mut url = Url::parse(&format!("{root}{}", self.path)).map_err(|_| wrong())?;
        // `..` would address another user, or the platform, with this user's token.
        if !url.as_str().starts_with(&root) || url.fragment().is_some() {
            return Err(wrong());
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Where the answer came from: tells which core it was.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The body as JSON, whatever the status.
    ///
    /// # Errors
    /// When it is no JSON of this form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(error.to_string()))
    }

    /// The body of a success, as JSON.
    ///
    /// # Errors
    /// When the core refused, or the body is no JSON of this form.
    pub fn into_json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if self.status.is_success() {
            return self.json();
        }
        let status = self.status.as_u16();
        match WireError::read(&self.body, Some(status)) {
            Some(error) => Err(ClientError::Wire {
                method: self.method,
                url: shown(&self.url),
                error: Box::new(error),
            }),
            None => Err(self.unexpected("no error object".to_owned())),
        }
    }

    /// What a `wrong-core` answer names as the user's home.
    pub(crate) fn wrong_core(&self) -> Option<String> {
        if self.status != StatusCode::MISDIRECTED_REQUEST {
            return None;
        }
        let error = WireError::read(&self.body, Some(self.status.as_u16()))?;
        error
            .core_url
            .filter(|_| error.id == homecore_types::ErrorId::WrongCore.wire())
    }

    /// One member of a success's JSON object.
    pub(crate) fn into_member(self, name: &str) -> Result<Value, ClientError> {
        let (method, url, status) = (self.method.clone(), shown(&self.url), self.status);
        let mut body: Value = self.into_json()?;
        match body.get_mut(name) {
            Some(member) => Ok(member.take()),
            None => Err(ClientError::UnexpectedAnswer {
                method,
                url,
                status,
                what: format!("it has no {name:?}"),
            }),
        }
    }

    pub(crate) fn unexpected(&self, what: String) -> ClientError {
        ClientError::UnexpectedAnswer {
            method: self.method.clone(),
            url: shown(&self.url),
            status: self.status,
            what,
        }
    }
}
