//! `POST /{username}` and `POST /{username}/`: many calls in one request (spec/pryv-api §1.9).
//!
//! The kernel runs its own methods; the few that are not the kernel's are run here afterwards, each
//! result in its place.

use std::pin::Pin;

use axum::extract;
use axum::response::Response;
use homecore_http::context::json_response;
use homecore_http::stream::ListWriter;
use homecore_http::{ApiError, JsonBody};
use homecore_kernel::batch::Outcome;
use homecore_kernel::method::UnknownMethod;
use homecore_kernel::{Actor, Error};
use http::StatusCode;
use serde_json::{Value, json};

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
    let text = writer
        .finish(&state.context)
        .map_err(|error| ApiError::internal(&error))?;
    Ok(json_response(StatusCode::OK, text))
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
        let outcomes = state.kernel.call_batch(actor, calls).await?;
        let mut results = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let result = match outcome {
                Outcome::Done(reply) => {
                    String::from_utf8(reply.as_bytes().to_vec()).map_err(|e| ApiError::internal(&e))
                }
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
