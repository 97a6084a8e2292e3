//! [`UserClient`]: acts for one user with one token, always at the user's home.

use homecore_types::limits::BATCH_CALLS_MAX;
use homecore_types::{Secret, Username};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::{ClientError, WireError};
use crate::request::{Answer, Request};

/// One call of a batch.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// The method's id, like `events.create`.
    pub method: String,
    /// Its parameters, flat.
    pub params: Value,
}

impl Call {
    /// A call.
    #[must_use]
    pub fn new(method: impl Into<String>, params: Value) -> Self {
        Self {
            method: method.into(),
            params,
        }
    }
}

/// A client for one user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UserClient {
    client: Client,
    username: Username,
    token: Secret,
}

impl UserClient {
    pub(crate) fn new(client: Client, username: Username, token: Secret) -> Self {
        Self {
            client,
            username,
            token,
        }
    }

    /// The user.
    #[must_use]
    pub fn username(&self) -> &Username {
        &self.username
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The client below.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A request below the user's address, with the token.
    #[must_use]
    pub fn request(&self, method: Method, path: impl Into<String>) -> Request {
        Request::new(method, path)
            .user(&self.username)
            .token(&self.token)
    }

    /// Sends a request and hands back the answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        self.client.send(request).await
    }

    /// Asks for the JSON at a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send(&self.request(Method::GET, path))
            .await?
            .into_json()
    }

    /// Posts JSON to a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ClientError> {
        self.send(&self.request(Method::POST, path).json(body)?)
            .await?
            .into_json()
    }

    /// Puts JSON to a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<Value, ClientError> {
        self.send(&self.request(Method::PUT, path).json(body)?)
            .await?
            .into_json()
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.send(&self.request(Method::DELETE, path))
            .await?
            .into_json()
    }

    /// A batch: one result for each call, in their order. A failing call does not stop the next.
    ///
    /// # Errors
    /// When the batch as a whole fails; see [`ClientError`].
    pub async fn api(&self, calls: &[Call]) -> Result<Vec<Result<Value, WireError>>, ClientError> {
        if calls.len() > BATCH_CALLS_MAX {
            return Err(ClientError::TooManyCalls {
                count: calls.len(),
                max: BATCH_CALLS_MAX,
            });
        }
        let answer = self
            .send(&self.request(Method::POST, "").json(&calls)?)
            .await?;
        let unexpected = |what: String| answer.unexpected(what);
        let results = match answer.clone().into_member("results")? {
            Value::Array(results) if results.len() == calls.len() => results,
            Value::Array(results) => {
                let (got, sent) = (results.len(), calls.len());
                return Err(unexpected(format!("{got} results for {sent} calls")));
            }
            _ => return Err(unexpected("its results are no list".to_owned())),
        };
        results
            .into_iter()
            .map(
                |mut result| match result.get_mut("error").map(Value::take) {
                    None => Ok(Ok(result)),
                    Some(error) => WireError::from_value(error)
                        .map(Err)
                        .map_err(|error| unexpected(format!("an error in it is none: {error}"))),
                },
            )
            .collect()
    }

    /// What the token may do, and whose it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn access_info(&self) -> Result<Value, ClientError> {
        self.get("access-info").await
    }

    /// The user's streams, as a tree.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn streams(&self) -> Result<Value, ClientError> {
        self.send(&self.request(Method::GET, "streams"))
            .await?
            .into_member("streams")
    }

    /// Creates a stream.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_stream(&self, stream: &Value) -> Result<Value, ClientError> {
        self.send(&self.request(Method::POST, "streams").json(stream)?)
            .await?
            .into_member("stream")
    }

    /// The events that fit the parameters (spec/pryv-api §4.3); a list is a repeated parameter.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, params: &[(&str, &str)]) -> Result<Value, ClientError> {
        let request = params
            .iter()
            .fold(self.request(Method::GET, "events"), |request, param| {
                request.query(param.0, param.1)
            });
        self.send(&request).await?.into_member("events")
    }

    /// Creates an event.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_event(&self, event: &Value) -> Result<Value, ClientError> {
        self.send(&self.request(Method::POST, "events").json(event)?)
            .await?
            .into_member("event")
    }
}
