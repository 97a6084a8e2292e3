//! A small capability, a directory with one user of each kind, and a client without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use axum::{Extension, Json, extract};
use homecore_http::body::{JsonBody, KnownCaller};
use homecore_http::context::ClientAddress;
use homecore_http::credentials::FormToken;
use homecore_http::multipart::Event;
use homecore_http::openapi::{Operation, Routes, Verb};
use homecore_http::owner::Owner;
use homecore_http::site::FixedSite;
use homecore_http::upload::Form;
use homecore_http::{
    ApiError, App, Capability, Context, Health, Limits, Query, RateLimits, Readiness, SiteFacts,
    Unread,
};
use homecore_kernel::ports::{Directory, Home, Unavailable};
use homecore_types::{ErrorId, SystemClock, UserId, Username};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub(crate) const ALICE: &str = "alice";
pub(crate) const ALICE_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const ELSEWHERE: &str = "https://core-b.test/";

/// `alice` lives here, `bobby` elsewhere, `carol` is only known to the leader, and `doubt` cannot
/// be told.
#[derive(Debug)]
pub(crate) struct Names;

#[async_trait::async_trait]
impl Directory for Names {
    fn find(&self, username: &str) -> Option<Home> {
        match username {
            "alice" | "old-alice" => Some(here()),
            "bobby" => Some(Home::Elsewhere {
                username: Username::parse("bobby").unwrap(),
                core_url: ELSEWHERE.to_owned(),
            }),
            _ => None,
        }
    }

    async fn find_current(&self, username: &str) -> Result<Option<Home>, Unavailable> {
        match username {
            "carol" => Ok(Some(here())),
            "doubt" => Err(Unavailable {
                reason: "no quorum".to_owned(),
                retry_after: Duration::from_millis(1_500),
            }),
            _ => Ok(None),
        }
    }
}

fn here() -> Home {
    Home::Here {
        user: UserId::parse(ALICE_ID).unwrap(),
        username: Username::parse(ALICE).unwrap(),
    }
}

#[derive(Debug)]
pub(crate) struct Ready(pub(crate) Readiness);

impl Health for Ready {
    fn readiness(&self) -> Readiness {
        self.0.clone()
    }

    fn metrics(&self) -> Option<String> {
        Some("homecore_up 1\n".to_owned())
    }
}

/// Routes that show what reached them.
#[derive(Debug)]
pub(crate) struct Echo {
    /// Handlers of `/wait` go on when they get a permit.
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Capability for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn roots(&self) -> &'static [&'static str] {
        &["", "reg", "wait", "panic"]
    }

    fn root_routes(&self, context: &Arc<Context>) -> Routes {
        let (gate, hold) = (Arc::clone(&self.gate), Arc::clone(&self.gate));
        Routes::new()
            .route(op(Verb::Get, "/"), || async {
                Json(json!({ "route": "/" }))
            })
            .merge(echoes("/reg/echo"))
            .merge(echoes("/reg/{name}/echo"))
            .route(op(Verb::Get, "/reg/plain"), || async { plain() })
            .route(op(Verb::Get, "/panic"), panics)
            .route(
                op(Verb::Post, "/reg/hold"),
                move |body: JsonBody| async move {
                    let items = body.value.as_array().map_or(0, Vec::len);
                    drop(body);
                    hold.acquire().await.unwrap().forget();
                    items.to_string()
                },
            )
            .route(op(Verb::Post, "/reg/form"), read_form)
            .route(op(Verb::Get, "/wait"), move || async move {
                gate.acquire().await.unwrap().forget();
                "done"
            })
            .with_state(Arc::clone(context))
    }

    fn user_routes(&self, context: &Arc<Context>) -> Routes {
        Routes::new()
            .merge(echoes("/"))
            .route(op(Verb::Get, "/events"), echo)
            .route(op(Verb::Post, "/events"), echo)
            .route(op(Verb::Post, "/events/{id}"), echo)
            .with_state(Arc::clone(context))
    }
}

/// The route's path is its id: of the document, tests only look at the list.
fn op(verb: Verb, path: &'static str) -> Operation {
    Operation::new(verb, path, path, "For tests")
}

fn echoes(path: &'static str) -> Routes<Arc<Context>> {
    [Verb::Get, Verb::Post, Verb::Put, Verb::Delete]
        .into_iter()
        .fold(Routes::new(), |routes, verb| {
            routes.route(op(verb, path), echo)
        })
}

/// Says how much of a form was no text, and the text.
async fn read_form(
    extract::State(context): extract::State<Arc<Context>>,
    body: Unread,
) -> Result<Json<Value>, ApiError> {
    let mut form = Form::of(&context, body.into_request())?;
    let (mut bytes, mut is_file) = (0, false);
    while let Some(event) = form.next().await? {
        match event {
            Event::Begin(head) => is_file = head.file_name.is_some(),
            Event::Data(data) if is_file => bytes += data.len(),
            Event::Data(data) => form.keep_text(&data)?,
            Event::End => {}
        }
    }
    Ok(Json(
        json!({ "bytes": bytes, "text": form.into_json().await? }),
    ))
}

fn plain() -> ApiError {
    ApiError::new(ErrorId::InvalidParameters, "plain").plain()
}

async fn panics() -> StatusCode {
    panic!("a bug")
}

async fn echo(
    owner: Option<Owner>,
    Extension(client): Extension<ClientAddress>,
    form: Option<Extension<FormToken>>,
    query: Query,
    request: extract::Request,
) -> Result<Response, ApiError> {
    let context_free = json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": Value::Object(query.coerce(&[])),
        "client": client.0.to_string(),
        "form": form.map(|form| form.0.0.expose().to_owned()),
        "user": owner.map(|owner| json!([owner.0.user, owner.0.username])),
    });
    let (mut parts, body) = request.into_parts();
    let context = test_context(&parts.extensions);
    if parts.headers.contains_key("x-known") {
        parts.extensions.insert(KnownCaller);
    }
    let body = homecore_http::body::read_json(&context, &parts, body).await?;
    let mut shown = context_free;
    shown["body"] = body.value;
    context.reply(StatusCode::OK, &shown)
}

/// The context of the app under test, put there by [`Client`].
fn test_context(extensions: &http::Extensions) -> Arc<Context> {
    Arc::clone(extensions.get::<Arc<Context>>().unwrap())
}

/// An app and a way to ask it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) app: App,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn error(&self) -> (u16, String) {
        let id = self.json()["error"]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (self.status, id)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) fn facts(domain: Option<&str>) -> SiteFacts {
    SiteFacts {
        domain: domain.map(str::to_owned),
        core: "core-a".to_owned(),
        cores: ["core-a", "core-b"].map(str::to_owned).into(),
        static_labels: ["sandbox".to_owned()].into(),
        serial: "2019061301".to_owned(),
    }
}

impl Client {
    pub(crate) fn new(domain: Option<&str>, limits: Limits) -> Self {
        Self::with(
            domain,
            limits,
            Echo::default(),
            Readiness {
                ready: true,
                reasons: vec![],
            },
        )
    }

    pub(crate) fn with(domain: Option<&str>, limits: Limits, echo: Echo, ready: Readiness) -> Self {
        let clock = Arc::new(SystemClock);
        let context = Arc::new(Context::new(
            Arc::new(FixedSite(Arc::new(facts(domain)))),
            Arc::new(Names),
            clock.clone(),
            limits,
            RateLimits::disabled(clock),
        ));
        let app = App::new(context, &[Arc::new(echo)], Arc::new(Ready(ready))).unwrap();
        Self { app }
    }

    pub(crate) async fn ask(
        &self,
        request: http::request::Builder,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request: Request<Body> = request.body(body.into()).unwrap();
        request
            .extensions_mut()
            .insert(Arc::clone(self.app.context()));
        let response = self.app.handle(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path), Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        self.ask(Request::post(path).header("content-type", kind), body)
            .await
    }
}
