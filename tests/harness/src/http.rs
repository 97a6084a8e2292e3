//! Plain HTTP, for tests that look at the wire: nothing is followed, retried or interpreted.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that follows nothing.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// A client with a pool of connections of its own.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .context("cannot set up an HTTP client")?;
        Ok(Self { client })
    }

    /// Asks, with an optional token or admin key in `Authorization` and an optional JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, url: &str, token: Option<&str>) -> anyhow::Result<Reply> {
        self.request(Method::GET, url, token, None).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(
        &self,
        url: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Reply> {
        self.request(Method::POST, url, token, Some(body)).await
    }

    /// A request to be filled in by hand; send it with [`send`](Self::send).
    pub fn build(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request that was filled in by hand.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Reply> {
        let answer = request.send().await.context("no answer")?;
        let (url, status) = (answer.url().to_string(), answer.status());
        let headers = answer.headers().clone();
        let body = answer
            .bytes()
            .await
            .with_context(|| format!("{url} broke off"))?
            .to_vec();
        Ok(Reply {
            url,
            status,
            headers,
            body,
        })
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What was asked.
    pub url: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} answered {}: {}", self.url, self.status, self.text()))
    }

    /// The body as JSON, if the status is this one.
    ///
    /// # Errors
    /// When the status is another, or the body is no JSON.
    pub fn expect(&self, status: u16) -> anyhow::Result<Value> {
        if self.status != status {
            bail!(
                "{} answered {} and not {status}: {}",
                self.url,
                self.status,
                self.text()
            );
        }
        self.json()
    }
}
