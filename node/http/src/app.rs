//! The request path, from the outside in: CORS and `OPTIONS`, health, the number of requests at
//! once, the time one may take, host → path, forms, and then either a route at the root or, through
//! [`crate::owner`], a route below a user.
//!
//! It is one plain function rather than a stack of layers because the order is the contract
//! (spec/platform §13.3) and because the rewriting must come before routing. Tests call
//! [`App::handle`] and so test all of it, without a socket.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use homecore_types::ErrorId;
use http::header::{CONTENT_LENGTH, HOST, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Map;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Service;

use crate::body::Share;
use crate::capability::Capability;
use crate::context::{API_VERSION, ClientAddress, Context};
use crate::cors::Cors;
use crate::error::ApiError;
use crate::health::{self, Health};
use crate::openapi::document::{self, Document};
use crate::openapi::{Outline, Routes};
use crate::site::{Rewrite, first_segment, rewrite};
use crate::upload::time_allowed;
use crate::{form, owner};

/// The socket's other end. [`crate::Server`] puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Why capabilities do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppError {
    /// Two capabilities claim one first path segment.
    #[error("capability {second} claims /{segment}, which belongs to {first}")]
    RootTaken {
        /// The segment.
        segment: &'static str,
        /// Who has it.
        first: &'static str,
        /// Who wants it too.
        second: &'static str,
    },
}

/// All routes of a core, ready to be served.
#[derive(Clone, Debug)]
pub struct App {
    context: Arc<Context>,
    roots: Arc<BTreeSet<&'static str>>,
    root_routes: Router,
    user_routes: Router,
    health: Arc<dyn Health>,
    slots: Arc<Semaphore>,
}

impl App {
    /// Puts the capabilities together.
    ///
    /// # Errors
    /// When two claim the same first path segment.
    pub fn new(
        context: Arc<Context>,
        capabilities: &[Arc<dyn Capability>],
        health: Arc<dyn Health>,
    ) -> Result<Self, AppError> {
        let mut owners: Vec<(&'static str, &'static str)> = vec![(document::ROOT, "the router")];
        let (mut root_routes, mut user_routes) = (Routes::new(), Routes::new());
        let mut schemas = Map::new();
        for capability in capabilities {
            for segment in capability.roots() {
                if let Some((_, first)) = owners.iter().find(|(taken, _)| taken == segment) {
                    return Err(AppError::RootTaken {
                        segment,
                        first,
                        second: capability.name(),
                    });
                }
                owners.push((segment, capability.name()));
            }
            root_routes = root_routes.merge(capability.root_routes(&context));
            user_routes = user_routes.merge(capability.user_routes(&context));
            schemas.extend(capability.schemas());
        }
        let (root_routes, user_routes) = described(root_routes, user_routes, schemas);
        let closed = |router: Router| {
            router
                .fallback(|| async { ApiError::unknown_route() })
                .method_not_allowed_fallback(|| async { ApiError::unknown_route() })
        };
        Ok(Self {
            slots: Arc::new(Semaphore::new(context.limits.in_flight_max.max(1))),
            context,
            roots: Arc::new(owners.into_iter().map(|(segment, _)| segment).collect()),
            root_routes: closed(root_routes),
            user_routes: closed(user_routes),
            health,
        })
    }

    /// The shared context.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// How many more requests would be taken now.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub async fn handle(&self, request: Request) -> Response {
        let started = Instant::now();
        let cors = Cors::of(request.headers());
        let method = request.method().clone();
        let mut response = if method == Method::OPTIONS {
            Response::new(Body::empty())
        } else if let Some(answer) = health::answer(&self.context, &*self.health, &request) {
            answer
        } else {
            let response = self.bounded(request).await;
            self.log(&method, &response, started.elapsed());
            self.rendered(response)
        };
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static("api-version"),
            HeaderValue::from_static(API_VERSION),
        );
        // What is sent is what its type says, for old browsers too.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        cors.apply(headers);
        response
    }

    /// Paths stay out of the log: they may hold poll keys, names and tokens.
    fn log(&self, method: &Method, response: &Response, elapsed: Duration) {
        self.context.metrics.answered(response.status(), elapsed);
        let error_id = response
            .extensions()
            .get::<ApiError>()
            .map(|error| error.id.wire());
        let elapsed_ms = elapsed.as_millis();
        tracing::debug!(%method, status = response.status().as_u16(), error_id, elapsed_ms, "answered");
    }

    /// Gives an error its final form; headers that the route had set stay, but for the length of the
    /// body that is replaced.
    fn rendered(&self, mut response: Response) -> Response {
        let Some(error) = response.extensions_mut().remove::<ApiError>() else {
            return response;
        };
        let mut rendered = error.render(&self.context);
        for (name, value) in response.headers() {
            if name != CONTENT_LENGTH && !rendered.headers().contains_key(name) {
                rendered.headers_mut().insert(name.clone(), value.clone());
            }
        }
        rendered
    }

    /// A slot, a time limit, and a fence around panics.
    async fn bounded(&self, request: Request) -> Response {
        let metrics = &self.context.metrics;
        let again = |message: &str| {
            ApiError::new(ErrorId::ApiUnavailable, message).retry_after(Duration::from_secs(1))
        };
        let Ok(_slot) = self.slots.try_acquire() else {
            metrics.overloaded.fetch_add(1, Ordering::Relaxed);
            return again("This core has too many requests at once").into_response();
        };
        let allowed = time_allowed(&self.context.limits, request.headers());
        let answer = AssertUnwindSafe(self.dispatch(request)).catch_unwind();
        match tokio::time::timeout(allowed, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => error.into_response(),
            Ok(Err(_panic)) => {
                metrics.panicked.fetch_add(1, Ordering::Relaxed);
                ApiError::unexpected("a handler panicked").into_response()
            }
            Err(_elapsed) => {
                metrics.timed_out.fetch_add(1, Ordering::Relaxed);
                again("The request took too long; whether it took effect is not known")
                    .into_response()
            }
        }
    }

    async fn dispatch(&self, mut request: Request) -> Result<Response, ApiError> {
        let path = self.served_path(&request)?;
        let address = self.client_address(&request);
        request.extensions_mut().insert(address);
        let asked = OriginalUri(request.uri().clone());
        request.extensions_mut().insert(asked);
        // Kept here, so that it is given back with the answer and not when a handler drops its body.
        let share = Share::default();
        request.extensions_mut().insert(share.clone());

        let first = first_segment(&path);
        let at_root = self.roots.contains(first);
        if at_root {
            if request.uri().path() != path {
                set_path(&mut request, &path)?;
            }
        } else {
            let name = percent_encoding::percent_decode_str(first).decode_utf8_lossy();
            let user = owner::resolve(&*self.context.directory, &name).await?;
            request.extensions_mut().insert(Arc::new(user));
            let rest = path.get(first.len() + 1..).unwrap_or_default();
            set_path(&mut request, if rest.is_empty() { "/" } else { rest })?;
        }
        if form::is_form(request.headers()) {
            request = form::unfold(&self.context, request).await?;
        }
        let mut routes = if at_root {
            self.root_routes.clone()
        } else {
            self.user_routes.clone()
        };
        let answer = routes.call(request).await;
        drop(share);
        match answer {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// The path that is served: host rewritten, slashes single, none at the end.
    fn served_path(&self, request: &Request) -> Result<String, ApiError> {
        let path = request.uri().path();
        if percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .is_err()
        {
            return Err(ApiError::unreadable("The path is not UTF-8"));
        }
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => {
                let mut hosts = request.headers().get_all(HOST).iter();
                let host = hosts.next();
                // RFC 9112 §3.2. Which one decides must not depend on who reads it.
                if hosts.next().is_some() {
                    return Err(invalid_host());
                }
                host.and_then(|value| value.to_str().ok())
            }
        };
        let rewritten = match rewrite(&self.context.site.facts(), host, path) {
            Rewrite::Keep => None,
            Rewrite::To(path) => Some(path),
            Rewrite::MissingHost => return Err(invalid_host()),
        };
        let mut clean = String::with_capacity(path.len() + 1);
        for segment in rewritten
            .as_deref()
            .unwrap_or(path)
            .split('/')
            .filter(|s| !s.is_empty())
        {
            clean.push('/');
            clean.push_str(segment);
        }
        Ok(if clean.is_empty() {
            "/".to_owned()
        } else {
            clean
        })
    }

    /// The address of the client: the socket's other end, or what the proxies in front say.
    fn client_address(&self, request: &Request) -> ClientAddress {
        let hops = self.context.limits.forwarded_hops;
        let forwarded = || -> Option<IpAddr> {
            let hop = hops.checked_sub(1)?;
            let texts: Vec<&str> = request
                .headers()
                .get_all("x-forwarded-for")
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .collect();
            texts.iter().rev().nth(hop)?.trim().parse().ok()
        };
        forwarded()
            .or_else(|| request.extensions().get::<Peer>().map(|peer| peer.0.ip()))
            .map(ClientAddress)
            .unwrap_or_default()
    }
}

/// All routes, and one more that shows what they are.
fn described(
    root: Routes,
    user: Routes,
    schemas: Map<String, serde_json::Value>,
) -> (Router, Router) {
    let (root, at_root) = root.into_parts();
    let (user, below_user) = user.into_parts();
    let document = Document::of(Outline {
        root: at_root,
        user: below_user,
        schemas,
    });
    let show = Routes::new().route(document::own_operation(), move |headers: HeaderMap| {
        std::future::ready(document.answer(&headers))
    });
    (root.merge(show.into_parts().0), user)
}

/// Replaces the path of a request and keeps its query.
fn set_path(request: &mut Request, path: &str) -> Result<(), ApiError> {
    let text = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(
        PathAndQuery::try_from(text)
            .map_err(|_| ApiError::unreadable("The path cannot be read"))?,
    );
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|_| ApiError::unreadable("The path cannot be read"))?;
    Ok(())
}

fn invalid_host() -> ApiError {
    ApiError::new(ErrorId::MissingHeader, "Missing or invalid header: Host")
        .with_data(serde_json::json!({ "header": "Host" }))
}
