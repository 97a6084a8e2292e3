//! `/healthz`, `/livez`, `/readyz` and `/metrics`.
//!
//! They are answered before anything else, even when every slot is taken: an orchestrator must not
//! kill a core because it is busy. That the process lives is all that `/healthz` and `/livez` say;
//! a core that has no quorum is alive, and not ready.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use homecore_types::ErrorId;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use serde::Serialize;

use crate::context::{Context, plain_reply};
use crate::openapi::{Content, Operation, Verb};

/// Whether a core may take traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// It may.
    pub ready: bool,
    /// Why not; or what an operator should know although it may.
    pub reasons: Vec<String>,
}

/// What the binary tells about itself.
pub trait Health: Send + Sync + fmt::Debug + 'static {
    /// Whether traffic may come. Answers from memory.
    fn readiness(&self) -> Readiness;

    /// Metrics in the text format of Prometheus, besides those of HTTP; None hides `/metrics`.
    fn metrics(&self) -> Option<String>;
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

/// What can be asked.
#[derive(Clone, Copy, Debug)]
enum Probe {
    Alive,
    Ready,
    Metrics,
}

const PROBES: &[(&str, Probe)] = &[
    ("/healthz", Probe::Alive),
    ("/livez", Probe::Alive),
    ("/readyz", Probe::Ready),
    ("/metrics", Probe::Metrics),
];

/// What is answered here, for the document: without slot and time limit, and so without their refusals.
pub(crate) fn operations() -> impl Iterator<Item = Operation> {
    PROBES.iter().map(|(path, probe)| {
        let id = match *path {
            "/livez" => "health.live",
            "/readyz" => "health.ready",
            "/metrics" => "health.metrics",
            _ => "health.get",
        };
        match *probe {
            Probe::Alive => Operation::new(Verb::Get, path, id, "Whether the process lives")
                .answers(200, Content::Named("Status")),
            Probe::Ready => Operation::new(Verb::Get, path, id, "Whether the core takes traffic")
                .answers(200, Content::Named("Readiness"))
                .answers(503, Content::Named("Readiness")),
            Probe::Metrics => Operation::new(Verb::Get, path, id, "Metrics for Prometheus")
                .answers(200, Content::Text)
                .refuses(&[ErrorId::UnknownResource]),
        }
        .plain()
    })
}

/// The answer to a health request, if it is one.
pub(crate) fn answer(
    context: &Context,
    health: &dyn Health,
    request: &Request<Body>,
) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path();
    let (_, probe) = PROBES.iter().find(|(known, _)| *known == path)?;
    let reply = match probe {
        Probe::Alive => plain_reply(StatusCode::OK, &Alive { status: "ok" }),
        Probe::Ready => {
            let readiness = health.readiness();
            let status = if readiness.ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            plain_reply(status, &readiness)
        }
        Probe::Metrics => {
            let mut text = health.metrics()?;
            context.metrics.render(&mut text);
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            Ok(response)
        }
    };
    Some(reply.unwrap_or_else(|error| error.render(context)))
}
