//! Streams and events (spec/pryv-api §4, §5). The kernel checks every parameter; here they are only
//! brought into the flat form in which it takes them, and events are streamed as they are read.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{self, Path};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use homecore_http::stream::{Cut, ListWriter, streamed, whole};
use homecore_http::{ApiError, Context, JsonBody, Kind, Query, Unread};
use homecore_kernel::method::{Params, QueryType};
use homecore_kernel::{Error as KernelError, EventPages, EventsPart, Method};
use http::StatusCode;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::attachments;
use crate::caller::Caller;
use crate::state::State;

/// How long the first piece of an answer is waited for before the answer begins without it.
const FIRST_PIECE_MAX: Duration = Duration::from_secs(2);

/// `GET /{username}/streams`.
pub(crate) async fn streams_get(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    query: Query,
) -> Result<Response, ApiError> {
    let params = asked(&query, Method::StreamsGet, None);
    let reply = state.kernel.streams_get(&actor, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/streams`.
pub(crate) async fn streams_create(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let reply = state.kernel.streams_create(&actor, given(body)).await?;
    state
        .context
        .reply_text(StatusCode::CREATED, reply.as_bytes())
}

/// `GET /{username}/events`.
pub(crate) async fn events_get(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    query: Query,
) -> Result<Response, ApiError> {
    if query.names().any(|name| name.starts_with("streams[")) {
        return Err(ApiError::unreadable(
            "Parameter \"streams\" must be ids or JSON text; nested brackets are not read",
        ));
    }
    let params = asked(&query, Method::EventsGet, None);
    let pages = state.kernel.events_get(&actor, params).await?;
    write_events(Arc::clone(&state.context), pages).await
}

/// `GET /{username}/events/{id}`.
pub(crate) async fn events_get_one(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let params = asked(&query, Method::EventsGetOne, Some(id));
    let reply = state.kernel.event_get_one(&actor, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/events`.
pub(crate) async fn events_create(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: Unread,
) -> Result<Response, ApiError> {
    if body.is_multipart() {
        return attachments::create(&state, &actor, body).await;
    }
    let body = body.json(&state.context).await?;
    let reply = state.kernel.event_create(&actor, given(body)).await?;
    state
        .context
        .reply_text(StatusCode::CREATED, reply.as_bytes())
}

/// `PUT /{username}/events/{id}`: the body is the changes.
pub(crate) async fn events_update(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "id": id, "update": given(body) });
    let method = Method::EventsUpdate;
    let reply = state.kernel.call(&actor, method, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `DELETE /{username}/events/{id}`.
pub(crate) async fn events_delete(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let params = json!({ "id": id });
    let method = Method::EventsDelete;
    let reply = state.kernel.call(&actor, method, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// A body as the kernel takes it: nothing is an empty object, anything else it judges itself.
pub(crate) fn given(body: JsonBody) -> Value {
    match body.value {
        Value::Null => Value::Object(Map::new()),
        value => value,
    }
}

/// The parameters of a query string and of the path, as a method takes them and as they were sent.
pub(crate) fn asked(query: &Query, method: Method, id: Option<String>) -> Params {
    let (mut value, mut sent) = (params(query, method), query.sent());
    if let Some(id) = id {
        sent.insert("id".to_owned(), Value::from(id.as_str()));
        value.insert("id".to_owned(), Value::from(id));
    }
    Params {
        value: Value::Object(value),
        sent: Some(Value::Object(sent)),
    }
}

/// The parameters of a query string, of the types that a method takes.
pub(crate) fn params(query: &Query, method: Method) -> Map<String, Value> {
    let kinds: Vec<(&str, Kind)> = method
        .query_types()
        .iter()
        .map(|(name, kind)| {
            let kind = match kind {
                QueryType::Text => Kind::Text,
                QueryType::Number => Kind::Number,
                QueryType::Flag => Kind::Boolean,
                QueryType::Texts => Kind::Texts,
                QueryType::Streams => Kind::TextOrTexts,
            };
            (*name, kind)
        })
        .collect();
    query.coerce(&kinds)
}

/// An answer of events that is being written, a piece at a time. Nothing is read ahead of what the
/// client takes.
struct Writing {
    context: Arc<Context>,
    pages: EventPages,
    writer: ListWriter,
    in_deletions: bool,
}

/// Why an answer was not written to its end.
#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Read(#[from] KernelError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Read(error) => error.into(),
            WriteError::Json(error) => Self::internal(&error),
        }
    }
}

/// A piece of an answer.
enum Piece {
    /// More follow.
    Some(Bytes, Box<Writing>),
    /// It is the last one.
    Last(Bytes),
}

impl Writing {
    fn new(context: Arc<Context>, pages: EventPages) -> Self {
        let mut writer = ListWriter::default();
        writer.list("events");
        Self {
            context,
            pages,
            writer,
            in_deletions: false,
        }
    }

    async fn next(mut self) -> Result<Piece, WriteError> {
        loop {
            let items = match self.pages.next().await? {
                Some(EventsPart::Events(items)) => items,
                Some(EventsPart::Deletions(items)) => {
                    self.begin_deletions();
                    items
                }
                None => {
                    if self.pages.has_deletions() {
                        self.begin_deletions();
                    }
                    return Ok(match self.writer.piece() {
                        Some(piece) => Piece::Some(piece, Box::new(self)),
                        None => Piece::Last(self.writer.finish(&self.context)?),
                    });
                }
            };
            for item in items {
                self.writer.text(&item.json);
            }
            if let Some(piece) = self.writer.piece() {
                return Ok(Piece::Some(piece, Box::new(self)));
            }
        }
    }

    fn begin_deletions(&mut self) {
        if !self.in_deletions {
            self.in_deletions = true;
            self.writer.list("eventDeletions");
        }
    }
}

/// Answers with events: at once if they are one piece, piece by piece otherwise. Where little is found
/// among much, the answer begins before its first piece is there: reading on has no end in time, unlike
/// making a response.
async fn write_events(context: Arc<Context>, pages: EventPages) -> Result<Response, ApiError> {
    let mut first = Box::pin(Writing::new(context, pages).next());
    match tokio::time::timeout(FIRST_PIECE_MAX, &mut first).await {
        Ok(piece) => match piece? {
            Piece::Last(answer) => Ok(whole(answer)),
            piece @ Piece::Some(..) => Ok(streamed(pieces(Box::pin(ready(Ok(piece)))))),
        },
        Err(_elapsed) => Ok(streamed(pieces(first))),
    }
}

/// The piece that is being read.
type Reading = Pin<Box<dyn Future<Output = Result<Piece, WriteError>> + Send>>;

fn pieces(first: Reading) -> impl Stream<Item = Result<Bytes, Cut>> + Send + 'static {
    stream::try_unfold(Some(first), async |reading| {
        let Some(reading) = reading else {
            return Ok(None);
        };
        let piece = reading.await.map_err(|error| {
            tracing::warn!(%error, "events could not be read to the end");
            Cut(error.to_string())
        })?;
        Ok(Some(match piece {
            Piece::Some(bytes, writing) => (bytes, Some(Box::pin(writing.next()) as Reading)),
            Piece::Last(bytes) => (bytes, None),
        }))
    })
}
