//! Codes of second factors, by calls to the HTTP API of an operator's SMS provider.
//!
//! What a person gave (a telephone number) is put into the call as data: encoded in the URL, quoted in
//! JSON and forms, refused in a header that it would break. Where the call goes is the operator's
//! alone: no redirection is followed and no proxy of the environment asked. Only the status of the
//! answer counts.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use homecore_kernel::ports::{CodeProviderError, CodeSender};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::form_urlencoded;

use crate::config::{Endpoint, MfaMode};
use crate::telemetry::chain;

/// One call, from the connection to the answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Calls at once; more wait for no longer than one may take.
const AT_ONCE_MAX: usize = 32;

/// The provider.
#[derive(Debug)]
pub(crate) struct Provider {
    client: reqwest::Client,
    send: Endpoint,
    /// Where the provider makes the codes.
    check: Option<Endpoint>,
    places: Semaphore,
}

/// How a value is written where it is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoting {
    Plain,
    Form,
    Json,
}

fn failed(reason: impl Into<String>) -> CodeProviderError {
    CodeProviderError {
        reason: reason.into(),
    }
}

impl Provider {
    /// As the operator has it; none where no codes are sent.
    pub(crate) fn new(mode: &MfaMode) -> anyhow::Result<Option<Self>> {
        let (send, check) = match mode {
            MfaMode::Disabled => return Ok(None),
            MfaMode::ChallengeVerify { challenge, verify } => (challenge, Some(verify)),
            MfaMode::Single(single) => (single, None),
        };
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Some(Self {
            client,
            send: send.clone(),
            check: check.cloned(),
            places: Semaphore::new(AT_ONCE_MAX),
        }))
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        values: &Map<String, Value>,
    ) -> Result<(), CodeProviderError> {
        let place = tokio::time::timeout(DEADLINE, self.places.acquire()).await;
        let _place = place.map_err(|_elapsed| failed("too many calls wait"))?;
        let result = self.ask(endpoint, values).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "a call to the SMS provider failed");
        }
        result
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        values: &Map<String, Value>,
    ) -> Result<(), CodeProviderError> {
        let values = texts(values);
        let headers = headers(endpoint, &values)?;
        let url = fill(&endpoint.url, &values, Quoting::Form);
        let mut request = self.client.request(endpoint.method.clone(), url);
        if let Some(body) = &endpoint.body {
            request = request.body(fill(body.expose(), &values, quoting(&headers)));
        }
        // Its URL has the person's number, and perhaps a key.
        let answer = request.headers(headers).send().await;
        let answer = answer.map_err(|error| failed(chain(&error.without_url())))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(failed(format!("it answered {}", answer.status().as_u16())))
        }
    }
}

#[async_trait]
impl CodeSender for Provider {
    fn makes_codes(&self) -> bool {
        self.check.is_some()
    }

    async fn send(&self, values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        self.call(&self.send, values).await
    }

    async fn check(&self, values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        match &self.check {
            Some(check) => self.call(check, values).await,
            None => Err(failed("it does not check codes")),
        }
    }
}

/// The values that can stand in a text.
fn texts(values: &Map<String, Value>) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let all = values.iter();
    all.filter_map(|(key, value)| Some((key.as_str(), text(value)?)))
        .collect()
}

fn headers(
    endpoint: &Endpoint,
    values: &BTreeMap<&str, String>,
) -> Result<HeaderMap, CodeProviderError> {
    let mut headers = HeaderMap::new();
    for (name, template) in &endpoint.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|error| failed(error.to_string()))?;
        let value = HeaderValue::try_from(fill(template.expose(), values, Quoting::Plain));
        let mut value =
            value.map_err(|_form| failed(format!("a value does not fit into {name}")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    if endpoint.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

/// How values are written in a body of the type that the headers say.
fn quoting(headers: &HeaderMap) -> Quoting {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    match kind {
        Some(kind) if kind.contains("json") => Quoting::Json,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Quoting::Form,
        _ => Quoting::Plain,
    }
}

/// Puts values in the place of `{{ key }}`; of an unknown key nothing.
fn fill(template: &str, values: &BTreeMap<&str, String>, quoting: Quoting) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((key, after)) = after.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        if let Some(value) = values.get(key.trim()) {
            filled.push_str(&quoted(value, quoting));
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn quoted(value: &str, quoting: Quoting) -> String {
    match quoting {
        Quoting::Plain => value.to_owned(),
        // A space as %20, which a path takes, too.
        Quoting::Form => {
            let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            encoded.replace('+', "%20")
        }
        Quoting::Json => {
            let text = Value::from(value).to_string();
            let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            inner.unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
