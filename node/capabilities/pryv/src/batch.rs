//! `POST /{username}` and `POST /{username}/`: many calls in one request (spec/pryv-api §1.9).
//!
//! The kernel runs its own methods; the few that are not the kernel's are run here afterwards, each
//! result in its place.

use std::pin::Pin;

use axum::extract;
use axum::response::Response;
use homecore_http::stream::ListWriter;
use homecore_http::{ApiError, JsonBody};
use homecore_kernel::batch::Outcome;
use homecore_kernel::method::UnknownMethod;
use homecore_kernel::{Actor, Error, Method, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use crate::accesses;
use crate::caller::Caller;
use crate::state::State;

/// How deep a batch may hold batches.
const DEPTH_MAX: usize = 2;

/// The batch call.
pub(crate) async fn call_batch(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let mut writer = ListWriter::default();
    writer.list("results");
    for result in run(&state, &actor, body.value, 1).await? {
        writer.text(result.as_bytes());
    }
    state
        .context
        .reply_text(StatusCode::OK, &writer.finish_plain())
}

type Results = Result<Vec<String>, ApiError>;

/// The results of calls as JSON texts.
fn run<'a>(
    state: &'a State,
    actor: &'a Actor,
    calls: Value,
    depth: usize,
) -> Pin<Box<dyn Future<Output = Results> + Send + 'a>> {
    Box::pin(async move {
        let methods = methods(&calls);
        let outcomes = state.kernel.call_batch(actor, calls).await?;
        let mut results = Vec::with_capacity(outcomes.len());
        for (outcome, method) in outcomes.into_iter().zip(methods) {
            let result = match outcome {
                Outcome::Done(reply) => finish(state, actor, method, reply),
                Outcome::Refused(error) => Err(error.into()),
                Outcome::Foreign { method, params } => {
                    foreign(state, actor, method, params, depth).await
                }
            };
            results
                .push(result.unwrap_or_else(|error| json!({ "error": error.body() }).to_string()));
        }
        Ok(results)
    })
}

/// The kernel's methods that are called, each in its place.
fn methods(calls: &Value) -> Vec<Option<Method>> {
    let of = |call: &Value| Method::parse(call.get("method")?.as_str()?);
    calls
        .as_array()
        .map_or_else(Vec::new, |calls| calls.iter().map(of).collect())
}

/// A result of the kernel as it is on the wire.
fn finish(
    state: &State,
    actor: &Actor,
    method: Option<Method>,
    reply: Reply,
) -> Result<String, ApiError> {
    let reply = match method {
        Some(method) => accesses::with_endpoints(state, actor, method, reply)?,
        None => reply,
    };
    String::from_utf8(reply.as_bytes().to_vec()).map_err(|error| ApiError::internal(&error))
}

/// A method that is not the kernel's.
async fn foreign(
    state: &State,
    actor: &Actor,
    method: String,
    params: Value,
    depth: usize,
) -> Result<String, ApiError> {
    match method.as_str() {
        "service.info" => {
            Ok(Value::Object(state.settings().service_info(&state.own_url())).to_string())
        }
        "auth.logout" => {
            state.kernel.logout(actor).await?;
            Ok("{}".to_owned())
        }
        "callBatch" if depth < DEPTH_MAX => {
            let results = run(state, actor, params, depth + 1).await?;
            Ok(format!("{{\"results\":[{}]}}", results.join(",")))
        }
        "callBatch" => Err(ApiError::unreadable("Batches are nested too deeply")),
        _ => Err(Error::from(UnknownMethod { id: method }).into()),
    }
}
