//! Streams changed and deleted (spec/pryv-api §5.4, §5.5). A deletion is told of while it goes on.

use std::sync::Arc;

use axum::extract::{self, Path};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use homecore_http::stream::{Cut, ListWriter, streamed};
use homecore_http::{ApiError, Context, JsonBody, Query};
use homecore_kernel::{Method, StreamDeleted, StreamDeletion};
use http::StatusCode;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::items::{given, params};
use crate::state::State;

/// `PUT /{username}/streams/{id}`: the body is the changes.
pub(crate) async fn update(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "id": id, "update": given(body) });
    let method = Method::StreamsUpdate;
    let reply = state.kernel.call(&actor, method, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `DELETE /{username}/streams/{id}`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let mut params = params(&query, Method::StreamsDelete);
    params.insert("id".to_owned(), Value::from(id));
    let params = Value::Object(params);
    match state.kernel.stream_delete(&actor, &params).await? {
        StreamDeleted::Trashed(reply) => state.context.reply_text(StatusCode::OK, reply.as_bytes()),
        StreamDeleted::ForGood(deletion) => {
            Ok(streamed(write(Arc::clone(&state.context), deletion)))
        }
    }
}

/// Goes on with a deletion as fast as the client takes what is told of it.
fn write(
    context: Arc<Context>,
    deletion: Box<StreamDeletion>,
) -> impl Stream<Item = Result<Bytes, Cut>> + Send + 'static {
    let mut writer = ListWriter::default();
    writer.list("updatedEvents");
    stream::try_unfold(Some((deletion, writer)), move |going| {
        let context = Arc::clone(&context);
        async move {
            let Some((mut deletion, mut writer)) = going else {
                return Ok(None);
            };
            loop {
                let changes = deletion.next().await.map_err(|error| {
                    tracing::warn!(%error, "a stream could not be deleted to the end");
                    Cut(error.to_string())
                })?;
                let Some(changes) = changes else {
                    writer.member("streamDeletion", deletion.deletion().as_bytes());
                    let end = writer.finish(&context);
                    let end = end.map_err(|error| Cut(error.to_string()))?;
                    return Ok(Some((end, None)));
                };
                for change in changes {
                    writer.text(&change.to_json());
                }
                if let Some(piece) = writer.piece() {
                    return Ok(Some((piece, Some((deletion, writer)))));
                }
            }
        }
    })
}
