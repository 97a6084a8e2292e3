//! [`Client`]: sends requests, follows one 421, remembers homes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use homecore_types::Username;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use url::Url;

use crate::error::{ClientError, shown};
use crate::homes::Homes;
use crate::request::{Answer, Request};
use crate::user::UserClient;

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    core: String,
    timeout: Duration,
    connect_timeout: Duration,
    homes_max: usize,
    answer_bytes_max: usize,
    origin: Option<String>,
}

impl ClientBuilder {
    /// How long one attempt may take, 30 seconds if not said. A request makes at most three.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take, 5 seconds if not said.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many users' homes are remembered, 10 000 if not said.
    #[must_use]
    pub fn homes_max(mut self, max: usize) -> Self {
        self.homes_max = max;
        self
    }

    /// How long an answer may be, 256 MiB if not said.
    #[must_use]
    pub fn answer_bytes_max(mut self, max: usize) -> Self {
        self.answer_bytes_max = max;
        self
    }

    /// What to send as `Origin`, for platforms that trust an app by where it comes from
    /// (spec/pryv-api §2.2).
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// The client.
    ///
    /// # Errors
    /// When the core's address is none, or the HTTP client cannot be set up.
    pub fn build(self) -> Result<Client, ClientError> {
        let core = core_url(&self.core)?;
        let http = reqwest::Client::builder()
            .timeout(self.timeout)
            .connect_timeout(self.connect_timeout)
            // The API redirects nobody; a redirect would carry a body to who knows where.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Setup)?;
        let homes = Mutex::new(Homes::new(self.homes_max));
        Ok(Client {
            inner: Arc::new(Inner {
                core,
                http,
                homes,
                settings: self,
            }),
        })
    }
}

/// A client of one cluster, by one of its cores. Cheap to clone; clones share what they remember.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Url,
    http: reqwest::Client,
    homes: Mutex<Homes>,
    settings: ClientBuilder,
}

impl Client {
    /// A client that asks the core at this address, with the usual settings.
    ///
    /// # Errors
    /// When the text is no address of a core, or the HTTP client cannot be set up.
    pub fn new(core: impl Into<String>) -> Result<Self, ClientError> {
        Self::builder(core).build()
    }

    /// A client that asks the core at this address, with other settings.
    #[must_use]
    pub fn builder(core: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            core: core.into(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            homes_max: 10_000,
            answer_bytes_max: 256 * 1024 * 1024,
            origin: None,
        }
    }

    /// The core that is asked when nothing better is known.
    #[must_use]
    pub fn core(&self) -> &Url {
        &self.inner.core
    }

    /// Acts for a user with a token that is already there.
    #[must_use]
    pub fn user(&self, username: &Username, token: homecore_types::Secret) -> UserClient {
        UserClient::new(self.clone(), username.clone(), token)
    }

    /// Sends a request and hands back the answer, whatever its status. A request about a user goes
    /// to the user's home: the remembered one, or the one that a 421 names. No request follows two.
    ///
    /// # Errors
    /// When there is no answer, or the home that a core names may not be asked.
    pub async fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        let Some(user) = &request.user else {
            return self.send_to(&self.inner.core, request).await;
        };
        let remembered = self.homes().find(user);
        if let Some(home) = remembered {
            match self.send_to(&home, request).await {
                Ok(answer) if answer.wrong_core().is_none() => return Ok(answer),
                Ok(_) => self.homes().forget(user, &home),
                Err(error) => {
                    if matches!(error, ClientError::Transport { .. }) {
                        self.homes().forget(user, &home);
                    }
                    if !error.may_be_sent_elsewhere() {
                        return Err(error);
                    }
                }
            }
        }
        let answer = self.send_to(&self.inner.core, request).await?;
        let Some(named) = answer.wrong_core() else {
            return Ok(answer);
        };
        let home = self.checked_home(&named)?;
        let followed = self.send_to(&home, request).await?;
        if followed.wrong_core().is_none() {
            self.homes().remember(user, home);
        }
        Ok(followed)
    }

    /// Remembers a home that the cluster told, unless it may not be asked.
    pub(crate) fn learn(&self, user: &Username, home: &str) {
        if let Ok(home) = self.checked_home(home) {
            self.homes().remember(user, home);
        }
    }

    /// A home as a core named it. What came over https stays on https.
    pub(crate) fn checked_home(&self, named: &str) -> Result<Url, ClientError> {
        let home = core_url(named)?;
        if self.inner.core.scheme() == "https" && home.scheme() != "https" {
            return Err(ClientError::InsecureHome {
                core: shown(&self.inner.core),
                home: shown(&home),
            });
        }
        Ok(home)
    }

    async fn send_to(&self, core: &Url, request: &Request) -> Result<Answer, ClientError> {
        let method = request.method.clone();
        let url = request.url_at(core)?;
        let mut outgoing = self.inner.http.request(method.clone(), url.clone());
        outgoing = outgoing.headers(request.headers.clone());
        if let Some(origin) = &self.inner.settings.origin {
            outgoing = outgoing.header(reqwest::header::ORIGIN, origin);
        }
        if let Some(token) = &request.token {
            outgoing = match HeaderValue::from_str(token.expose()) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    outgoing.header(AUTHORIZATION, value)
                }
                // Makes `send` fail with the builder's error, which does not show the value.
                Err(_) => outgoing.header(AUTHORIZATION, token.expose()),
            };
        }
        if let Some(body) = &request.body {
            outgoing = outgoing.body(body.clone());
        }
        let failed = |source: reqwest::Error| ClientError::Transport {
            method: method.clone(),
            url: shown(&url),
            source: source.without_url(),
        };
        let mut incoming = outgoing.send().await.map_err(failed)?;
        let (status, headers) = (incoming.status(), incoming.headers().clone());
        let max = self.inner.settings.answer_bytes_max;
        let mut body = BytesMut::new();
        while let Some(chunk) = incoming.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > max {
                return Err(ClientError::AnswerTooLong {
                    url: shown(&url),
                    max,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            method,
            url,
            status,
            headers,
            body: Bytes::from(body),
        })
    }

    fn homes(&self) -> MutexGuard<'_, Homes> {
        // A panic inside the map's few lines leaves at worst a home too few in it.
        self.inner
            .homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a core's address; it ends in a slash.
fn core_url(text: &str) -> Result<Url, ClientError> {
    let wrong = || ClientError::CoreUrl {
        text: text.to_owned(),
    };
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain {
        return Err(wrong());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}
