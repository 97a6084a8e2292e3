//! The methods of the kernel by their ids (spec/pryv-api §11), for batches, sockets and single
//! calls alike.

use homecore_store::{View, Writer};
use homecore_types::ErrorId;
use serde_json::Value;
use thiserror::Error;

use crate::access;
use crate::account;
use crate::actor::Actor;
use crate::attachment::edit;
use crate::attachment::token::ReadTokens;
use crate::error::{Error, Refusal};
use crate::event;
use crate::kernel::{Context, Kernel};
use crate::profile::{self, Which};
use crate::reply::Reply;
use crate::shared_secret;
use crate::stream;
use crate::stream::cache::Trees;
use crate::stream::store::Store;

/// How a parameter is to be read where all that comes is text (a query string).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryType {
    /// As it is.
    Text,
    /// As JavaScript's `Number()` reads it.
    Number,
    /// `true` or `false` in any case.
    Flag,
    /// A single text becomes an array of one.
    Texts,
    /// A text as it is (an id, or JSON text), or the array of a repeated parameter.
    Streams,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $writes:literal, [$($param:literal: $type:ident),*];)*) => {
        /// A method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method { $($(#[$doc])* $name,)* }

        impl Method {
            /// Every method.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The id on the wire.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Whether it may change data.
            #[must_use]
            pub const fn writes(self) -> bool {
                match self { $(Self::$name => $writes,)* }
            }

            /// How its query parameters are to be read; others are texts.
            #[must_use]
            pub const fn query_types(self) -> &'static [(&'static str, QueryType)] {
                match self { $(Self::$name => &[$(($param, QueryType::$type)),*],)* }
            }
        }
    };
}

methods! {
    /// What an access is told about itself.
    GetAccessInfo = "getAccessInfo", false, [];
    /// The streams that an access sees.
    StreamsGet = "streams.get", false, ["includeDeletionsSince": Number];
    /// Makes a stream.
    StreamsCreate = "streams.create", true, [];
    /// Changes a stream, or moves it.
    StreamsUpdate = "streams.update", true, [];
    /// Puts a stream into the trash, or deletes one that is there with all below it.
    StreamsDelete = "streams.delete", true, ["mergeEventsWithParent": Flag];
    /// The events that a query selects.
    EventsGet = "events.get", false, [
        "streams": Streams, "types": Texts, "fromTime": Number, "toTime": Number,
        "sortAscending": Flag, "skip": Number, "limit": Number, "running": Flag,
        "modifiedSince": Number, "includeDeletions": Flag
    ];
    /// One event.
    EventsGetOne = "events.getOne", false, ["includeHistory": Flag];
    /// Makes an event.
    EventsCreate = "events.create", true, [];
    /// Changes an event.
    EventsUpdate = "events.update", true, [];
    /// Puts an event into the trash, or deletes one that is there.
    EventsDelete = "events.delete", true, [];
    /// Takes a file from an event.
    EventsDeleteAttachment = "events.deleteAttachment", true, [];
    /// The accesses that an access manages.
    AccessesGet = "accesses.get", false, ["includeExpired": Flag, "includeDeletions": Flag];
    /// One access.
    AccessesGetOne = "accesses.getOne", false, ["includeHistory": Flag];
    /// Makes an access.
    AccessesCreate = "accesses.create", true, [];
    /// Changes an access.
    AccessesUpdate = "accesses.update", true, [];
    /// Deletes an access.
    AccessesDelete = "accesses.delete", true, [];
    /// Compares what an app asks for with what it has.
    AccessesCheckApp = "accesses.checkApp", false, [];
    /// The public profile, for every access.
    ProfileGetPublic = "profile.getPublic", false, [];
    /// A profile of the person's.
    ProfileGet = "profile.get", false, [];
    /// Changes a profile of the person's.
    ProfileUpdate = "profile.update", true, [];
    /// The profile of the app that calls.
    ProfileGetApp = "profile.getApp", false, [];
    /// Changes the profile of the app that calls.
    ProfileUpdateApp = "profile.updateApp", true, [];
    /// What the account shows.
    AccountGet = "account.get", false, [];
    /// Changes the account's fields.
    AccountUpdate = "account.update", true, [];
    /// Changes the password.
    AccountChangePassword = "account.changePassword", true, [];
    /// Gives the account another name.
    AccountChangeUsername = "account.changeUsername", true, [];
    /// How often the name was and may be changed.
    AccountUsernameChanges = "account.usernameChanges", false, [];
    /// Leaves a secret with the account.
    SharedSecretsCreate = "sharedSecrets.create", true, [];
    /// How it stands with a shared secret; writes down that its time is over.
    SharedSecretsGetOne = "sharedSecrets.getOne", true, [];
}

/// The parameters of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// As the method reads them.
    pub value: Value,
    /// As they stood in the query of a request, all texts, where they did: the audit log shows what
    /// was sent.
    pub sent: Option<Value>,
}

impl Params {
    /// What the audit log shows of them.
    #[must_use]
    pub fn shown(&self) -> &Value {
        self.sent.as_ref().unwrap_or(&self.value)
    }
}

impl From<Value> for Params {
    fn from(value: Value) -> Self {
        Self { value, sent: None }
    }
}

/// A method id that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Invalid method id \"{id}\"")]
pub struct UnknownMethod {
    /// As given.
    pub id: String,
}

impl Refusal for UnknownMethod {
    fn id(&self) -> ErrorId {
        ErrorId::InvalidMethod
    }
}

impl Method {
    /// Finds a method by its id.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.id() == id)
    }

    /// Whether a reply to this depends on the access, streams and the account only, so that it may be
    /// given again while those are the same. The streams of the log also tell of other accesses.
    pub(crate) fn may_be_kept(self, params: &Value) -> bool {
        let parent = params.get("parentId").and_then(Value::as_str);
        self == Self::StreamsGet && parent.is_none_or(|id| Store::of(id) != Store::Audit)
    }

    /// Whether a call looks at a few documents only, whatever the user has but streams.
    pub(crate) fn is_short(self, params: &Value) -> bool {
        match self {
            Self::GetAccessInfo | Self::ProfileGetPublic | Self::ProfileGet => true,
            Self::EventsGetOne => params.get("includeHistory").is_none(),
            Self::StreamsGet => params.get("includeDeletionsSince").is_none(),
            _ => false,
        }
    }
}

impl Kernel {
    /// `streams.get`.
    ///
    /// # Errors
    /// As spec/pryv-api §5.2.
    pub async fn streams_get(
        &self,
        actor: &Actor,
        params: impl Into<Params> + Send,
    ) -> Result<Reply, Error> {
        self.call(actor, Method::StreamsGet, params).await
    }

    /// `streams.create`: `{"stream": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §5.3.
    pub async fn streams_create(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::StreamsCreate, params).await
    }

    /// `events.getOne`: `{"event": …}`, the event or its deletion.
    ///
    /// # Errors
    /// As spec/pryv-api §4.5.
    pub async fn event_get_one(
        &self,
        actor: &Actor,
        params: impl Into<Params> + Send,
    ) -> Result<Reply, Error> {
        self.call(actor, Method::EventsGetOne, params).await
    }

    /// `events.create`: `{"event": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §4.7.
    pub async fn event_create(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::EventsCreate, params).await
    }
}

/// Calls a method that only reads.
pub(crate) fn read(
    view: &dyn View,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    method: Method,
    params: &Value,
) -> Result<Reply, Error> {
    match method {
        Method::GetAccessInfo => Ok(access::info::access_info(view, context, actor)?),
        Method::StreamsGet => Ok(stream::get::get(view, trees, actor, params)?),
        Method::EventsGet => Ok(event::read::collect(view, context, trees, actor, params)?),
        Method::EventsGetOne => Ok(event::read::get_one(view, context, trees, actor, params)?),
        Method::AccessesGet => Ok(access::get::get(view, context, actor, params)?),
        Method::AccessesGetOne => Ok(access::get::get_one(view, context, actor, params)?),
        Method::AccessesCheckApp => Ok(access::check_app::check_app(
            view, context, trees, actor, params,
        )?),
        Method::ProfileGetPublic => Ok(profile::get(view, actor, Which::Public)?),
        Method::ProfileGet => Ok(profile::get_named(view, actor, params)?),
        Method::ProfileGetApp => Ok(profile::get(view, actor, Which::App)?),
        Method::AccountUsernameChanges => account::name::changes(view, context, actor),
        Method::ProfileUpdate
        | Method::ProfileUpdateApp
        | Method::StreamsCreate
        | Method::StreamsUpdate
        | Method::StreamsDelete
        | Method::AccessesCreate
        | Method::AccessesUpdate
        | Method::AccessesDelete
        | Method::EventsCreate
        | Method::EventsUpdate
        | Method::EventsDelete
        | Method::EventsDeleteAttachment
        | Method::AccountGet
        | Method::AccountUpdate
        | Method::AccountChangePassword
        | Method::AccountChangeUsername
        | Method::SharedSecretsCreate
        | Method::SharedSecretsGetOne => Err(NotARead {
            method: method.id(),
        }
        .into()),
    }
}

/// Calls any method inside a write request: changes are an attempt of their own, and reads see what
/// was written before them.
pub(crate) fn write(
    writer: &mut Writer<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    method: Method,
    params: &Value,
) -> Result<Reply, Error> {
    match method {
        Method::StreamsCreate => {
            let new = stream::create::NewStream::parse(params)?;
            let created =
                writer.attempt(|tx| stream::create::create(tx, context, trees, actor, new))?;
            Ok(created)
        }
        Method::StreamsUpdate => {
            let lenient = context.settings.ignore_protected_fields;
            let changes = stream::update::StreamChanges::parse(params, lenient)?;
            let changed =
                writer.attempt(|tx| stream::update::update(tx, trees, actor, &changes))?;
            Ok(changed)
        }
        // In one step. Who can go on step by step does (`Kernel::stream_delete`).
        Method::StreamsDelete => {
            let asked = stream::delete::DeleteStream::parse(params)?;
            let reply =
                writer.attempt(|tx| stream::delete::at_once(tx, context, trees, actor, &asked))?;
            Ok(reply)
        }
        Method::EventsCreate => {
            let new = event::create::NewEvent::parse(params)?;
            let created =
                writer.attempt(|tx| event::create::create(tx, context, trees, actor, &new))?;
            Ok(Reply::of("event", &created.json))
        }
        Method::EventsUpdate => {
            let lenient = context.settings.ignore_protected_fields;
            let changes = event::update::EventChanges::parse(params, lenient)?;
            let changed =
                writer.attempt(|tx| event::update::update(tx, context, trees, actor, &changes))?;
            let tokens = ReadTokens::of(context, &actor.access);
            Ok(Reply::of("event", &tokens.shown_alone(changed.json)))
        }
        Method::EventsDelete => {
            let id = event::delete::parse(params)?;
            let deleted =
                writer.attempt(|tx| event::delete::delete(tx, context, trees, actor, &id))?;
            Ok(deleted.into_reply(&ReadTokens::of(context, &actor.access)))
        }

        Method::EventsDeleteAttachment => {
            let params = edit::DeleteAttachment::parse(params)?;
            let left = writer.attempt(|tx| edit::remove(tx, context, trees, actor, &params))?;
            let tokens = ReadTokens::of(context, &actor.access);
            Ok(Reply::of("event", &tokens.shown_alone(left.json)))
        }
        Method::AccessesCreate => {
            let created =
                writer.attempt(|tx| access::create::create(tx, context, trees, actor, params, None))?;
            Ok(created)
        }
        Method::AccessesUpdate => {
            let updated =
                writer.attempt(|tx| access::update::update(tx, context, trees, actor, params))?;
            Ok(updated)
        }
        Method::AccessesDelete => {
            let id = access::delete::parse(params)?;
            let held = access::alias::Aliases::Held;
            let deleted = writer.attempt(|tx| access::delete::delete(tx, actor, &id, held))?;
            Ok(deleted)
        }
        Method::ProfileUpdate => Ok(writer.attempt(|tx| profile::update_named(tx, actor, params))?),
        Method::ProfileUpdateApp => {
            Ok(writer.attempt(|tx| profile::update_app(tx, actor, params))?)
        }
        Method::SharedSecretsCreate => Ok(writer
            .attempt(|tx| shared_secret::create(tx, context, trees, actor, params))?),
        Method::SharedSecretsGetOne => {
            Ok(writer.attempt(|tx| shared_secret::get_one(tx, context, actor, params))?)
        }
        Method::GetAccessInfo
        | Method::StreamsGet
        | Method::EventsGet
        | Method::EventsGetOne
        | Method::AccessesGet
        | Method::AccessesGetOne
        | Method::AccessesCheckApp
        | Method::ProfileGetPublic
        | Method::ProfileGet
        | Method::ProfileGetApp
        // Those of the account never come here: see `account::shell::is_alone`.
        | Method::AccountGet
        | Method::AccountUpdate
        | Method::AccountUsernameChanges
        | Method::AccountChangePassword
        | Method::AccountChangeUsername => read(writer.view(), context, trees, actor, method, params),
    }
}

/// A defect of the kernel: [`Method::writes`] and the dispatch disagree.
#[derive(Debug, Error)]
#[error("method {method} was called as one that only reads")]
struct NotARead {
    method: &'static str,
}

impl Refusal for NotARead {
    fn id(&self) -> ErrorId {
        ErrorId::UnexpectedError
    }
}
