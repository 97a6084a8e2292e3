//! A cluster of fake cores, each a listener of its own. Users have one home; other cores answer
//! 421. What a core should answer otherwise, a test says with [`Cluster::answer_first`].

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fake that fails the test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use homecore_client::Client;
use homecore_types::Username;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a core was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) core: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) body: String,
}

type First = Box<dyn Fn(&Asked) -> Option<(u16, Value)> + Send>;

#[derive(Default)]
struct Shared {
    urls: Vec<String>,
    homes: BTreeMap<String, usize>,
    asked: Vec<Asked>,
    first: Option<First>,
}

pub(crate) struct Cluster {
    shared: Arc<Mutex<Shared>>,
    servers: Vec<JoinHandle<()>>,
}

impl Cluster {
    pub(crate) async fn start(cores: usize) -> Self {
        let mut cluster = Self {
            shared: Arc::default(),
            servers: Vec::new(),
        };
        for core in 0..cores {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            cluster.shared().urls.push(url);
            let shared = Arc::clone(&cluster.shared);
            let app = Router::new().fallback(serve).with_state((core, shared));
            cluster.servers.push(tokio::spawn(async move {
                axum::serve(listener, app).await.unwrap();
            }));
        }
        cluster
    }

    pub(crate) fn client(&self, core: usize) -> Client {
        Client::new(self.url(core)).unwrap()
    }

    pub(crate) fn url(&self, core: usize) -> String {
        self.shared().urls[core].clone()
    }

    pub(crate) fn house(&self, user: &Username, core: usize) {
        self.shared().homes.insert(user.to_string(), core);
    }

    /// Asks a test first; where it has no answer, the core gives its own.
    pub(crate) fn answer_first(
        &self,
        first: impl Fn(&Asked) -> Option<(u16, Value)> + Send + 'static,
    ) {
        self.shared().first = Some(Box::new(first));
    }

    /// The cores asked since the last time, in order.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared().asked)
    }

    pub(crate) fn take_cores(&self) -> Vec<usize> {
        self.take_asked()
            .into_iter()
            .map(|asked| asked.core)
            .collect()
    }

    /// Closes a core's listener; connections to it are refused from here on.
    pub(crate) async fn stop(&mut self, core: usize) {
        let server = &mut self.servers[core];
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

pub(crate) fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) fn wrong_core(url: impl Into<Value>) -> (u16, Value) {
    let error = json!({"id": "wrong-core", "message": "lives elsewhere", "coreUrl": url.into()});
    (421, json!({ "error": error }))
}

pub(crate) fn refused(status: u16, id: &str) -> (u16, Value) {
    (status, json!({"error": {"id": id, "message": "no"}}))
}

async fn serve(
    State((core, shared)): State<(usize, Arc<Mutex<Shared>>)>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let asked = Asked {
        core,
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        authorization: header("authorization"),
        origin: header("origin"),
        body: String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap(),
    };
    let mut shared = shared.lock().unwrap();
    shared.asked.push(asked.clone());
    let first = shared.first.as_ref().and_then(|first| first(&asked));
    let (status, body) = first.unwrap_or_else(|| answer(&mut shared, &asked));
    // One request a connection, so that a stopped core refuses the next one.
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("connection", "close")], axum::Json(body)).into_response()
}

fn answer(shared: &mut Shared, asked: &Asked) -> (u16, Value) {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let (first, rest) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((path, ""));
    if first == "reg" {
        return register(shared, asked, rest, query);
    }
    let Some(home) = shared.homes.get(first).copied() else {
        return refused(404, "unknown-resource");
    };
    if home != asked.core {
        return wrong_core(shared.urls[home].as_str());
    }
    if rest == "auth/login" {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        if body["password"] != "right" {
            return refused(401, "invalid-credentials");
        }
        return (200, endpoint(shared, first, home));
    }
    let echo = json!({"core": home, "method": asked.method, "path": rest, "query": query, "body": asked.body});
    (200, echo)
}

fn register(shared: &mut Shared, asked: &Asked, rest: &str, query: &str) -> (u16, Value) {
    if rest == "users" {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let name = body["username"].as_str().unwrap().to_owned();
        if shared.homes.contains_key(&name) {
            let data = json!({"username": name, "email": body["email"]});
            let error = json!({"id": "item-already-exists", "message": "taken", "data": data});
            return (409, json!({ "error": error }));
        }
        // Never where it was asked: the client has to learn the home.
        let home = (asked.core + 1) % shared.urls.len();
        shared.homes.insert(name.clone(), home);
        return (201, endpoint(shared, &name, home));
    }
    let name = query
        .strip_prefix("username=")
        .or_else(|| rest.strip_suffix("/server"));
    match name.and_then(|name| shared.homes.get(name)) {
        Some(home) if rest == "cores" => (200, json!({"core": {"url": shared.urls[*home]}})),
        Some(home) => (
            200,
            json!({"server": shared.urls[*home].trim_end_matches('/'), "alias": name}),
        ),
        None => refused(404, "unknown-resource"),
    }
}

fn endpoint(shared: &Shared, user: &str, home: usize) -> Value {
    let url = shared.urls[home].replace("//", "//tok-1@");
    json!({"username": user, "token": "tok-1", "apiEndpoint": format!("{url}{user}/")})
}
