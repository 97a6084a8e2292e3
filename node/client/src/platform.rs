//! What any core answers for the whole cluster: service info, where a user lives, registration.
//! And the login, by which a [`UserClient`] comes about.

use std::fmt;

use homecore_types::{Secret, Username};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use crate::client::Client;
use crate::error::ClientError;
use crate::request::{Answer, Request};
use crate::user::UserClient;

/// The service info (spec/pryv-api §2.1).
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceInfo {
    /// Changes whenever anything here changes.
    pub serial: String,
    /// The platform's name.
    pub name: String,
    /// The API's address, with `{username}` in it.
    pub api: String,
    /// Where registration and look-ups are.
    pub register: String,
    /// Where access requests are made.
    pub access: String,
    /// The API's version.
    pub version: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A user to be.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewUser {
    /// The name, unique over the platform.
    pub username: Username,
    /// The password.
    pub password: Secret,
    /// The e-mail address, unique over the platform.
    pub email: String,
    /// The app that registers the user.
    pub app_id: String,
    /// Where to live: a key of the hostings; the platform chooses if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosting: Option<String>,
    /// An invitation, where the platform asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invitation_token: Option<String>,
    /// The preferred language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl NewUser {
    /// A user with what every platform asks for.
    #[must_use]
    pub fn new(
        username: &Username,
        password: Secret,
        email: impl Into<String>,
        app_id: impl Into<String>,
    ) -> Self {
        Self {
            username: username.clone(),
            password,
            email: email.into(),
            app_id: app_id.into(),
            hosting: None,
            invitation_token: None,
            language: None,
        }
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address is personal; logs keep the name alone.
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Cores {
    core: Core,
}

#[derive(Deserialize)]
struct Core {
    url: String,
}

#[derive(Deserialize)]
struct Server {
    server: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    api_endpoint: String,
}

impl Client {
    /// What the platform says about itself.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn service_info(&self) -> Result<ServiceInfo, ClientError> {
        self.send(&Request::new(Method::GET, "reg/service/info"))
            .await?
            .into_json()
    }

    /// The core on which a user lives; it is remembered. `None` if the platform knows no such user.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn discover(&self, username: &Username) -> Result<Option<Url>, ClientError> {
        let asked = Request::new(Method::GET, "reg/cores").query("username", username.as_str());
        let answer = self.send(&asked).await?;
        // An older register has no such look-up, and says so in the words that also mean "no such
        // user": a 404 is believed from the second look-up alone.
        let told = match answer.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                let path = format!("reg/{username}/server");
                let second = self
                    .send(&Request::new(Method::POST, path).json(&json!({}))?)
                    .await?;
                if second.status == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                second.into_json::<Server>()?.server
            }
            _ => answer.into_json::<Cores>()?.core.url,
        };
        let home = self.checked_home(core_of(&told, username))?;
        self.learn(username, home.as_str());
        Ok(Some(home))
    }

    /// Registers a user; the user's home is remembered.
    ///
    /// # Errors
    /// [`ErrorId::ItemAlreadyExists`](homecore_types::ErrorId::ItemAlreadyExists) with the clashing fields in `data` when the name or another
    /// unique field is taken; else see [`ClientError`].
    pub async fn register(&self, user: &NewUser) -> Result<UserClient, ClientError> {
        let answer = self
            .send(&Request::new(Method::POST, "reg/users").json(user)?)
            .await?;
        self.user_of(answer, &user.username)
    }

    /// Logs a user in.
    ///
    /// # Errors
    /// [`ErrorId::InvalidCredentials`](homecore_types::ErrorId::InvalidCredentials) when the password or the app is wrong; else see
    /// [`ClientError`].
    pub async fn login(
        &self,
        username: &Username,
        password: &Secret,
        app_id: &str,
    ) -> Result<UserClient, ClientError> {
        let body = json!({
            "username": username.as_str(), "password": password.expose(), "appId": app_id,
        });
        let request = Request::new(Method::POST, "auth/login")
            .user(username)
            .json(&body)?;
        let answer = self.send(&request).await?;
        self.user_of(answer, username)
    }

    /// Reads `apiEndpoint`, `scheme://{token}@{where}/`, and learns the home from it.
    fn user_of(&self, answer: Answer, username: &Username) -> Result<UserClient, ClientError> {
        let unexpected = answer.unexpected("its apiEndpoint is no address with a token".to_owned());
        let endpoint: Endpoint = answer.into_json()?;
        let Ok(mut url) = Url::parse(&endpoint.api_endpoint) else {
            return Err(unexpected);
        };
        let token = Secret::new(url.username());
        if token.expose().is_empty() || url.set_username("").is_err() {
            return Err(unexpected);
        }
        if url.path().ends_with(&format!("/{username}/")) {
            self.learn(username, core_of(url.as_str(), username));
        }
        Ok(self.user(username, token))
    }
}

/// The core in what a look-up told: the core itself or, on a platform of one core, the user's
/// address below it.
fn core_of<'a>(told: &'a str, username: &Username) -> &'a str {
    told.strip_suffix('/')
        .and_then(|told| told.strip_suffix(username.as_str()))
        .filter(|core| core.ends_with('/'))
        .unwrap_or(told)
}
