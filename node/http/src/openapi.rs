//! Routes together with their descriptions, and the `OpenAPI` document that is written from these.
//!
//! A handler is only reached through [`Routes`], and [`Routes::route`] takes no handler without an
//! [`Operation`]: what is routed is in the document, and what is in the document is routed. Methods of
//! the kernel are described there ([`homecore_kernel::describe`]), where tests hold the descriptions
//! against the parsers; what else a route takes and answers is said where the route is declared, and
//! `tests/contract` sends generated requests to every operation and accepts no undocumented answer.

pub(crate) mod document;
mod schema;

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, Route, on};
use bytes::Bytes;
use homecore_kernel::Method;
use homecore_kernel::describe::{ALWAYS_REFUSED, Answer, Field, Member, Record, Type};
use homecore_types::ErrorId;
use serde_json::{Map, Value};
use tower::{Layer, Service};

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `GET`, and `HEAD` with it.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// As the document has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

impl TryFrom<&http::Method> for Verb {
    type Error = ();

    fn try_from(method: &http::Method) -> Result<Self, ()> {
        match *method {
            http::Method::GET | http::Method::HEAD => Ok(Self::Get),
            http::Method::POST => Ok(Self::Post),
            http::Method::PUT => Ok(Self::Put),
            http::Method::DELETE => Ok(Self::Delete),
            _ => Err(()),
        }
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody.
    Nobody,
    /// A caller with a token, in the header or in the query.
    Token,
    /// A caller with a token in the header, or with the read token of a file.
    File,
    /// An administrator with the key. Without it the route does not exist.
    Admin,
    /// An administrator with the key. Without it the answer is a refusal.
    KnownAdmin,
    /// An administrator with the key, or a caller with a token, as the operator lets them.
    AdminOrToken,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// Nothing that is looked at.
    Nothing,
    /// A JSON object.
    Record(&'static Record),
    /// JSON of a named schema.
    Schema(&'static str),
    /// A JSON object, or a form with files and one part that is the object.
    RecordOrFiles(&'static Record),
    /// A form with files.
    Files,
}

/// What is answered when nothing went wrong, and what is no error although it looks like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JSON object of a named schema; `meta` is added where the route has it.
    Named(&'static str),
    /// A JSON object with these members; `meta` is added where the route has it.
    Members(Vec<Member>),
    /// The same, or text, as the client prefers.
    MembersOrText(Vec<Member>),
    /// Text.
    Text,
    /// The bytes of a file, of the type it has.
    File,
    /// No body.
    Nothing,
}

impl Content {
    /// A JSON object with these members.
    #[must_use]
    pub fn members<const N: usize>(members: [Member; N]) -> Self {
        Self::Members(members.into())
    }
}

impl From<Answer> for Content {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Members(members) => Self::Members(members.into()),
            Answer::Schema(name) => Self::Named(name),
        }
    }
}

/// What is known of a route besides its code.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    /// The id of the method behind it, or its own.
    pub(crate) method: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) auth: Auth,
    pub(crate) in_path: Vec<Field>,
    pub(crate) in_query: Vec<Field>,
    pub(crate) body: Body,
    pub(crate) replies: Vec<(u16, Content)>,
    pub(crate) refuses: BTreeSet<ErrorId>,
    pub(crate) has_meta: bool,
}

impl Operation {
    /// An operation with an id of its own, at a path as the router writes it.
    #[must_use]
    pub fn new(verb: Verb, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        // What the request path itself may answer, before any handler: see [`crate::App`].
        let refuses = [
            ErrorId::InvalidRequestStructure,
            ErrorId::MissingHeader,
            ErrorId::ApiUnavailable,
        ];
        Self {
            verb,
            path,
            id,
            method: id,
            summary,
            auth: Auth::Nobody,
            in_path: parameters_of(path)
                .map(|name| Field::new(name, Type::SOME_TEXT).required())
                .collect(),
            in_query: Vec::new(),
            body: Body::Nothing,
            replies: Vec::new(),
            refuses: refuses.into(),
            has_meta: true,
        }
    }

    /// A method of the kernel for callers with a token. Of its parameters, those in the path are
    /// there; `update` is the body; the others stand in the query of a `GET` or `DELETE` and in the
    /// body of what has one.
    #[must_use]
    pub fn of(verb: Verb, path: &'static str, method: Method) -> Self {
        let description = method.description();
        let mut operation = Self::new(verb, path, method.id(), description.summary)
            .auth(Auth::Token)
            .refuses(ALWAYS_REFUSED)
            .refuses(description.refuses)
            .answers(200, description.answers.into());
        let takes = description.takes;
        let update = takes.field("update").map(|field| field.of);
        operation.body = match (verb, update) {
            (Verb::Get | Verb::Delete, _) => Body::Nothing,
            (_, Some(Type::Record(record))) => Body::Record(record),
            (_, Some(_)) => Body::Schema("Changes"),
            (_, None) => Body::Record(takes),
        };
        if matches!(verb, Verb::Get | Verb::Delete) {
            let in_path = |field: &&Field| operation.in_path.iter().any(|p| p.name == field.name);
            let in_query = takes.fields.iter().filter(|field| !in_path(field));
            operation.in_query = in_query.copied().collect();
        }
        operation
    }

    /// Of this method, whatever its id.
    #[must_use]
    pub fn acts_as(mut self, method: Method) -> Self {
        self.method = method.id();
        self
    }

    /// By which verb and path it is reached, and the id of the method that is behind it.
    #[must_use]
    pub const fn reached(&self) -> (Verb, &'static str, &'static str) {
        (self.verb, self.path, self.method)
    }

    /// Under another id: where one method has several routes.
    #[must_use]
    pub fn id(mut self, id: &'static str) -> Self {
        self.id = id;
        self
    }

    /// Without a parameter of the method, which the route sets itself.
    #[must_use]
    pub fn fixes(mut self, name: &str) -> Self {
        self.in_query.retain(|field| field.name != name);
        self
    }

    /// For these callers.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        let refuses: &[ErrorId] = match auth {
            Auth::Nobody => &[],
            Auth::Token | Auth::File => ALWAYS_REFUSED,
            Auth::Admin => &[ErrorId::UnknownResource],
            Auth::KnownAdmin => &[ErrorId::Forbidden],
            Auth::AdminOrToken => &[
                ErrorId::UnknownResource,
                ErrorId::MissingAccessToken,
                ErrorId::InvalidAccessToken,
                ErrorId::Forbidden,
            ],
        };
        self.refuses(refuses)
    }

    /// With these query parameters.
    #[must_use]
    pub fn query(mut self, fields: &[Field]) -> Self {
        self.in_query.extend_from_slice(fields);
        self
    }

    /// With this body.
    #[must_use]
    pub fn takes(mut self, body: Body) -> Self {
        self.body = body;
        match body {
            Body::Files | Body::RecordOrFiles(_) => self.refuses(&[ErrorId::PayloadTooLarge]),
            Body::Nothing | Body::Record(_) | Body::Schema(_) => self,
        }
    }

    /// With one more answer; of two with one status the later counts.
    #[must_use]
    pub fn answers(mut self, status: u16, content: Content) -> Self {
        self.replies.retain(|(present, _)| *present != status);
        self.replies.push((status, content));
        self
    }

    /// With this answer in the place of 200.
    #[must_use]
    pub fn creates(mut self) -> Self {
        for (status, _) in &mut self.replies {
            if *status == 200 {
                *status = 201;
            }
        }
        self
    }

    /// With one more answer of 200, of these members.
    #[must_use]
    pub fn says<const N: usize>(self, members: [Member; N]) -> Self {
        self.answers(200, Content::members(members))
    }

    /// With further refusals.
    #[must_use]
    pub fn refuses(mut self, ids: &[ErrorId]) -> Self {
        self.refuses.extend(ids);
        self
    }

    /// Without `meta` (spec/platform §3.0).
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.has_meta = false;
        self
    }
}

/// The names in braces of a path.
fn parameters_of(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.trim_start_matches('*'))
    })
}

/// What describes a route.
#[diagnostic::on_unimplemented(
    message = "a route is declared with its description, and `{Self}` is none",
    label = "no description",
    note = "write `.route(Operation::of(Verb::Post, \"/path\", Method::Name), handler)` for a method of \
            the kernel, or `Operation::new(Verb::Get, \"/path\", \"an.id\", \"what it does\")` with what \
            it takes, answers and refuses; then `HOMECORE_GOLDEN_UPDATE=1 cargo nextest run -p \
            homecore-capability-pryv openapi` writes the list of routes"
)]
pub trait Described {
    /// The description.
    fn described(self) -> Operation;
}

impl Described for Operation {
    fn described(self) -> Operation {
        self
    }
}

/// Handlers with their descriptions. There is no other way to add a handler to an [`crate::App`].
///
/// ```
/// # use homecore_http::openapi::{Operation, Routes, Verb};
/// let routes: Routes = Routes::new().route(
///     Operation::new(Verb::Get, "/reg/time", "time.get", "What time it is"),
///     || async { "late" },
/// );
/// ```
#[derive(Debug)]
pub struct Routes<S = ()> {
    router: Router<S>,
    operations: Vec<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            operations: Vec::new(),
        }
    }

    /// Adds a route.
    ///
    /// # Panics
    /// When there is a handler for this verb and path already, at start.
    #[must_use]
    pub fn route<H, T>(mut self, what: impl Described, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let operation = what.described();
        let filter = operation.verb.filter();
        self.router = self.router.route(operation.path, on(filter, handler));
        self.operations.push(operation);
        self
    }

    /// Adds the routes of another.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    /// Puts all routes that there are now behind a layer.
    #[must_use]
    pub fn route_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.route_layer(layer);
        self
    }

    /// Gives the handlers their state.
    #[must_use]
    pub fn with_state<S2>(self, state: S) -> Routes<S2> {
        Routes {
            router: self.router.with_state(state),
            operations: self.operations,
        }
    }

    /// The descriptions.
    #[must_use]
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    pub(crate) fn into_parts(self) -> (Router<S>, Vec<Operation>) {
        (self.router, self.operations)
    }
}

/// What a capability describes, for the document without a core.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Routes at the root.
    pub root: Vec<Operation>,
    /// Routes below a user.
    pub user: Vec<Operation>,
    /// See [`crate::Capability::schemas`].
    pub schemas: Map<String, Value>,
}

/// The document that a core with these capabilities serves.
#[must_use]
pub fn document(outlines: impl IntoIterator<Item = Outline>) -> Bytes {
    let mut all = Outline::default();
    for outline in outlines {
        all.root.extend(outline.root);
        all.user.extend(outline.user);
        all.schemas.extend(outline.schemas);
    }
    document::text(all)
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
