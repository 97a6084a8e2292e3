//! The asynchronous shell: brings each operation to the store's threads and its result back.
//!
//! Nothing is decided here. Parameters come in the flat form of batch calls (spec/pryv-api §11):
//! body, path and query merged, values of their JSON types; a facade that reads query strings
//! converts them first ([`Method::query_types`]).

use std::sync::Arc;

use homecore_store::{BlobStore, StoreError, Users, View, Writer};
use homecore_types::{Clock, Entropy, Secret, UserId};
use serde_json::Value;

use crate::access;
use crate::account::login::{LoggedIn, LoginParams};
use crate::account::{self, NewAccount};
use crate::actor::{Actor, Credential, Owner};
use crate::batch::{self, Calls};
use crate::error::Error;
use crate::event::pages::EventPages;
use crate::event::read;
use crate::method::{self, Method};
use crate::password::Hasher;
use crate::reply::Reply;
use crate::session;
use crate::settings::Settings;
use crate::stream::cache::TreeCache;

/// Everything that can be done with users' data on this core. Cloning is cheap and gives another
/// handle on the same.
#[derive(Clone, Debug)]
pub struct Kernel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    users: Users,
    blobs: BlobStore,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hasher: Hasher,
    settings: Settings,
    trees: Arc<TreeCache>,
}

/// What a method's logic needs beside the user's data. Goes along to the store's threads.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// What the operator decided.
    pub settings: Settings,
    /// The bytes of attached files.
    pub blobs: BlobStore,
    pub(crate) trees: Arc<TreeCache>,
}

/// How much a user stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of documents, tombstones included.
    pub db_documents_bytes: u64,
    /// Bytes of attached files.
    pub attached_files_bytes: u64,
}

impl Kernel {
    /// A kernel over a core's users and their blobs. Starts the threads that hash passwords.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(
        users: Users,
        blobs: BlobStore,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let hasher = Hasher::start(Arc::clone(&entropy))?;
        let trees = Arc::new(TreeCache::default());
        Ok(Self {
            inner: Arc::new(Inner {
                users,
                blobs,
                clock,
                entropy,
                hasher,
                settings,
                trees,
            }),
        })
    }

    /// The users' data, for what is not a method (listing, removing, the change feed).
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.inner.users
    }

    /// The bytes of attached files.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.inner.blobs
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Makes an account with its first personal access, opens a session on it, and returns its
    /// token. The unique fields were reserved before, by the platform.
    ///
    /// # Errors
    /// If the user exists, if too many passwords are being hashed, or of the store.
    pub async fn create_account(&self, user: &UserId, new: NewAccount) -> Result<Secret, Error> {
        let hash = self.inner.hasher.hash(new.password.clone()).await?;
        let context = self.context();
        let created = self
            .inner
            .users
            .create(user, move |writer| {
                writer.attempt(|tx| account::create(tx, &context, &new, hash))
            })
            .await?;
        Ok(created?)
    }

    /// `auth.login`: checks who it is and opens a session, or finds the app's present one.
    /// `origin` is that of the request, empty without one.
    ///
    /// # Errors
    /// In the order of spec/pryv-api §2.3.
    pub async fn login(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
    ) -> Result<LoggedIn, Error> {
        let params = LoginParams::parse(params)?;
        params.check(owner, &self.inner.settings.trusted_apps, origin)?;
        let account = self
            .read(&owner.id, |view, _| account::load(view))
            .await??;
        account::login::verify(&self.inner.hasher, &account, params.password.clone()).await?;
        let context = self.context();
        self.write(&owner.id, move |writer| {
            writer.attempt(|tx| account::login::open(tx, &context, &params.app_id))
        })
        .await?
        .map_err(Error::from)
    }

    /// `auth.logout`: ends the session of a personal access; nothing happens for others.
    ///
    /// # Errors
    /// Of the store.
    pub async fn logout(&self, actor: &Actor) -> Result<(), Error> {
        if !actor.is_personal() {
            return Ok(());
        }
        let access_id = actor.access.id.clone();
        self.write(&actor.owner.id, move |writer| {
            writer.attempt(|tx| session::end(tx, &access_id))
        })
        .await?
        .map_err(Error::from)
    }

    /// Whether a password is this account's: for changing it, deleting the account, and the like.
    ///
    /// # Errors
    /// If too many passwords are being hashed, or of the store.
    pub async fn verify_password(&self, user: &UserId, password: Secret) -> Result<bool, Error> {
        let account = self.read(user, |view, _| account::load(view)).await??;
        let hash = account.password_hash.clone();
        Ok(self.inner.hasher.verify(password, Some(hash)).await?)
    }

    /// Finds the access of a token and checks that it is in force (spec/pryv-api §1.3). A personal
    /// session slides, written down at most every [`session::touch_interval`].
    ///
    /// # Errors
    /// `invalid-access-token` or `forbidden`, as that table says; or of the store.
    pub async fn authenticate(&self, owner: &Owner, given: Credential) -> Result<Actor, Error> {
        let token = given.token;
        let found = self
            .read(&owner.id, move |view, context| {
                access::token::find(view, context, &token)
            })
            .await??;
        if found.touch {
            let (context, access_id) = (self.context(), found.access.id.clone());
            self.write(&owner.id, move |writer| {
                writer.attempt(|tx| session::touch(tx, &context, &access_id))
            })
            .await??;
        }
        Ok(Actor {
            owner: owner.clone(),
            access: Arc::new(found.access),
            caller: given.caller,
        })
    }

    /// `getAccessInfo`.
    ///
    /// # Errors
    /// None of its own.
    pub fn access_info(&self, actor: &Actor) -> Reply {
        access::info::access_info(actor)
    }

    /// `streams.get`.
    ///
    /// # Errors
    /// As spec/pryv-api §5.2.
    pub async fn streams_get(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::StreamsGet, params).await
    }

    /// `streams.create`: `{"stream": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §5.3.
    pub async fn streams_create(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::StreamsCreate, params).await
    }

    /// `events.get`: checks everything that can be refused, then returns the answer as pages. The
    /// first page has been read already when this returns.
    ///
    /// # Errors
    /// As spec/pryv-api §4.3, §4.4.
    pub async fn events_get(&self, actor: &Actor, params: Value) -> Result<EventPages, Error> {
        let query = read::EventsGet::parse(&params)?;
        let actor_there = actor.clone();
        let (first, reading) = self
            .read(&actor.owner.id, move |view, context| {
                let mut trees = context.trees.for_reading(&actor_there.owner.id);
                let mut reading = read::open(view, context, &mut trees, &actor_there, query)?;
                let first = reading.next(view)?;
                Ok::<_, read::ReadError>((first, reading))
            })
            .await??;
        Ok(EventPages::new(
            self.clone(),
            actor.owner.id.clone(),
            first,
            reading,
        ))
    }

    /// `events.getOne`: `{"event": …}`, the event or its deletion.
    ///
    /// # Errors
    /// As spec/pryv-api §4.5.
    pub async fn event_get_one(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::EventsGetOne, params).await
    }

    /// `events.create`: `{"event": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §4.7.
    pub async fn event_create(&self, actor: &Actor, params: Value) -> Result<Reply, Error> {
        self.call(actor, Method::EventsCreate, params).await
    }

    /// Any one method of the registry, its result as it is on the wire, without `meta`. Events are
    /// collected (spec/pryv-api §1.9).
    ///
    /// # Errors
    /// As the method's own.
    pub async fn call(&self, actor: &Actor, method: Method, params: Value) -> Result<Reply, Error> {
        if method == Method::EventsGet {
            return self.events_get(actor, params).await?.collect().await;
        }
        let actor_there = actor.clone();
        if method.writes() {
            let context = self.context();
            return self
                .write(&actor.owner.id, move |writer| {
                    let mut trees = context.trees.for_writing(writer.user());
                    method::write(writer, &context, &mut trees, &actor_there, method, &params)
                })
                .await?;
        }
        self.read(&actor.owner.id, move |view, context| {
            let mut trees = context.trees.for_reading(&actor_there.owner.id);
            method::read(view, context, &mut trees, &actor_there, method, &params)
        })
        .await?
    }

    /// `callBatch`: every call in order, each with its own result or error. Calls with a method id
    /// that is not the kernel's are left to the facade: their result is none.
    ///
    /// # Errors
    /// If the batch as a whole is malformed, or the store fails.
    pub async fn call_batch(
        &self,
        actor: &Actor,
        calls: Value,
    ) -> Result<Vec<batch::Outcome>, Error> {
        let calls = Calls::parse(calls)?;
        batch::run(self, actor, calls).await
    }

    /// How much a user stores: adds up every document, in short steps.
    ///
    /// # Errors
    /// Of the store.
    pub async fn usage(&self, user: &UserId) -> Result<Usage, Error> {
        account::usage::measure(self, user).await
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            clock: Arc::clone(&self.inner.clock),
            entropy: Arc::clone(&self.inner.entropy),
            settings: self.inner.settings.clone(),
            blobs: self.inner.blobs.clone(),
            trees: Arc::clone(&self.inner.trees),
        }
    }

    pub(crate) async fn read<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&dyn View, &Context) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let context = self.context();
        self.inner
            .users
            .read(user, move |view| work(view, &context))
            .await
    }

    pub(crate) async fn write<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&mut Writer<'_>) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.inner.users.write(user, work).await
    }
}

impl Context {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> homecore_types::Millis {
        self.clock.now()
    }
}
