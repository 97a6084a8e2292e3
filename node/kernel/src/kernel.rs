//! The asynchronous shell: brings each operation to the store's threads and its result back.
//!
//! Nothing is decided here. Parameters come in the flat form of batch calls (spec/pryv-api §11):
//! body, path and query merged, values of their JSON types; a facade that reads query strings
//! converts them first ([`Method::query_types`]).

use std::sync::{Arc, OnceLock, Weak};

use homecore_store::{BlobStore, StoreError, Users, View, Writer};
use homecore_types::{Clock, Entropy, Millis, Secret, UserId};
use serde_json::Value;

use crate::access;
use crate::access::cache::{AccessCache, Known};
use crate::access::tracking::Tracker;
use crate::account;
use crate::actor::{Actor, Credential, Owner};
use crate::answers::{self, Answers};
use crate::audit::AuditListener;
use crate::audit::entry::Draft;
use crate::audit::page;
use crate::audit::pending::Pending;
use crate::batch::{self, Calls};
use crate::error::Error;
use crate::event::types::{Catalogue, EventTypes};
use crate::method::{self, Method, Params};
use crate::mfa::sessions::MfaSessions;
use crate::password::Hasher;
use crate::ports::{CallLimits, CodeSender, Mails, Registry, ReservedNames};
use crate::preview::workshop::Workshop;
use crate::reply::Reply;
use crate::session;
use crate::settings::Settings;
use crate::stream::cache::TreeCache;
use crate::stream::schema::Schema;

/// Streams of a user that are looked at in a moment.
const FEW_STREAMS: usize = 500;
/// The method id of a logout.
const LOGOUT: &str = "auth.logout";

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
    settings: Arc<Settings>,
    trees: Arc<TreeCache>,
    tracker: Arc<Tracker>,
    accesses: AccessCache,
    answers: Answers,
    pending: Pending,
    listener: OnceLock<Arc<dyn AuditListener>>,
    types: EventTypes,
    registry: OnceLock<Weak<dyn Registry>>,
    call_limits: OnceLock<Arc<dyn CallLimits>>,
    mails: OnceLock<Arc<dyn Mails>>,
    previews: Arc<Workshop>,
    reserved_names: OnceLock<Arc<dyn ReservedNames>>,
    usages: account::usage::UsageCache,
    looks: account::shell::Looks,
    codes: OnceLock<Arc<dyn CodeSender>>,
    mfa_sessions: MfaSessions,
}

/// What a method's logic needs beside the user's data. Goes along to the store's threads.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// What the operator decided.
    pub settings: Arc<Settings>,
    /// The bytes of attached files.
    pub blobs: BlobStore,
    pub(crate) trees: Arc<TreeCache>,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) types: Arc<Catalogue>,
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
        let trees = Arc::new(TreeCache::new(settings.account_schema.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                users,
                blobs,
                clock,
                entropy,
                hasher,
                settings: Arc::new(settings),
                trees,
                tracker: Arc::default(),
                accesses: AccessCache::default(),
                answers: Answers::default(),
                pending: Pending::default(),
                listener: OnceLock::new(),
                types: EventTypes::shipped().map_err(std::io::Error::other)?,
                registry: OnceLock::new(),
                call_limits: OnceLock::new(),
                mails: OnceLock::new(),
                previews: Arc::default(),
                reserved_names: OnceLock::new(),
                usages: account::usage::UsageCache::default(),
                looks: account::shell::Looks::default(),
                codes: OnceLock::new(),
                mfa_sessions: MfaSessions::default(),
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

    /// The catalogue of event types, for whoever brings a newer one.
    #[must_use]
    pub fn event_types(&self) -> &EventTypes {
        &self.inner.types
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// `auth.logout`: ends the session of a personal access; nothing happens for others.
    ///
    /// # Errors
    /// Of the store.
    pub async fn logout(&self, actor: &Actor) -> Result<(), Error> {
        let draft = Draft::of(actor, LOGOUT, self.now());
        if !actor.is_personal() {
            self.note(&actor.owner.id, draft).await;
            self.used(actor, LOGOUT);
            return Ok(());
        }
        let access_id = actor.access.id.clone();
        let covered = self.inner.settings.audit.covers(LOGOUT);
        let (context, told) = (self.context(), draft.clone());
        self.write(&actor.owner.id, move |writer| {
            writer.attempt(|tx| {
                session::end(tx, &access_id)?;
                if covered {
                    page::append(tx, &context, &[draft.finish()])?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?
        .map_err(Error::from)?;
        self.tell(&actor.owner.id, LOGOUT, || told);
        self.used(actor, LOGOUT);
        Ok(())
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
        let max_age = self.inner.settings.session_max_age;
        let (caller, source) = (given.caller, given.source);
        let actor = |access| Actor {
            owner: owner.clone(),
            access,
            caller,
            source,
        };
        // Taken before anything is read: a commit in between makes what was read void.
        let stamp = self.inner.users.stamp_of_credentials(&owner.id);
        let accesses = &self.inner.accesses;
        if let Some(access) = accesses.find(&owner.id, &token, stamp, self.now(), max_age) {
            return Ok(actor(access));
        }
        let looked_up = token.clone();
        let found = self
            .read_short(&owner.id, move |view, context| {
                access::token::find(view, context, &looked_up)
            })
            .await??;
        let access = Arc::new(found.access);
        let known = Known {
            access: Arc::clone(&access),
            session: found.session,
        };
        accesses.keep(&owner.id, &token, stamp, known);
        if found.touch {
            let (context, access_id) = (self.context(), access.id.clone());
            self.write(&owner.id, move |writer| {
                writer.attempt(|tx| session::touch(tx, &context, &access_id))
            })
            .await??;
        }
        Ok(actor(access))
    }

    /// Any one method of the registry, its result as it is on the wire, without `meta`. Events are
    /// collected (spec/pryv-api §1.9).
    ///
    /// # Errors
    /// As the method's own.
    pub async fn call(
        &self,
        actor: &Actor,
        method: Method,
        params: impl Into<Params> + Send,
    ) -> Result<Reply, Error> {
        let params = params.into();
        if method == Method::EventsGet {
            return self.events_get(actor, params).await?.collect().await;
        }
        let shown = params.sent;
        let params = params.value;
        if method == Method::StreamsDelete {
            return self.stream_delete(actor, &params).await?.collect().await;
        }
        if account::shell::is_alone(method, &params) {
            let reply = self.call_alone(actor, method, params).await?;
            self.used(actor, method.id());
            return Ok(reply);
        }
        let draft = Draft::of(actor, method.id(), self.now());
        if method.writes() {
            let reply = self.call_writing(actor, method, params, draft).await?;
            self.used(actor, method.id());
            return Ok(reply);
        }
        let draft = draft.asking(shown.as_ref().unwrap_or(&params));
        let asked = method.may_be_kept(&params);
        let asked = asked.then(|| self.asked(actor, method, &params)).flatten();
        if let Some(reply) = asked.as_ref().and_then(|asked| self.answers().reply(asked)) {
            // It shows no item of which a version would be noted.
            self.note(&actor.owner.id, draft).await;
            self.used(actor, method.id());
            return Ok(reply);
        }
        let actor_there = actor.clone();
        let short = method.is_short(&params) && self.has_few_streams(&actor.owner.id);
        let read = move |view: &dyn View, context: &Context| {
            let mut trees = context.trees.for_reading(&actor_there.owner.id);
            method::read(view, context, &mut trees, &actor_there, method, &params)
        };
        let result = if short {
            self.read_short(&actor.owner.id, read).await?
        } else {
            self.read(&actor.owner.id, read).await?
        };
        self.note(&actor.owner.id, draft.ended(&result)).await;
        let reply = result?;
        if let Some(asked) = asked {
            let known = answers::Known::Reply(reply.clone());
            self.answers().keep(asked, actor, known);
        }
        self.used(actor, method.id());
        Ok(reply)
    }

    /// A method that may write: its entry in the audit log is in the same commit.
    pub(crate) async fn call_writing(
        &self,
        actor: &Actor,
        method: Method,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let (context, actor_there) = (self.context(), actor.clone());
        let (result, tree) = self
            .write_noted(&actor.owner.id, draft, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let result =
                    method::write(writer, &context, &mut trees, &actor_there, method, &params);
                (result, trees.into_versioned())
            })
            .await?;
        self.inner.trees.keep_committed(&actor.owner.id, tree);
        result
    }

    /// Whether the user's streams are known and so few that a look at all of them is short.
    pub(crate) fn has_few_streams(&self, user: &UserId) -> bool {
        let known = self.inner.trees.known_len(user);
        known.is_some_and(|streams| streams <= FEW_STREAMS)
    }

    /// Notes that a call was refused, and hands the error on.
    pub(crate) async fn refused(&self, actor: &Actor, draft: Draft, error: Error) -> Error {
        self.note(&actor.owner.id, draft.refused(&error)).await;
        error
    }

    /// The entry of a call that begins now.
    pub(crate) fn draft(&self, actor: &Actor, method: Method) -> Draft {
        Draft::of(actor, method.id(), self.now())
    }

    /// Runs a writing call and puts its entry into the audit log, in the commit of what it wrote.
    /// What comes beside the result is handed back.
    pub(crate) async fn write_noted<T: Send + 'static>(
        &self,
        user: &UserId,
        draft: Draft,
        call: impl FnOnce(&mut Writer<'_>) -> (Result<Reply, Error>, T) + Send + 'static,
    ) -> Result<(Result<Reply, Error>, T), Error> {
        let context = self.context();
        let in_commit = draft.clone();
        let covered = self.inner.settings.audit.covers(draft.action());
        let (result, beside) = self
            .write(user, move |writer| {
                let (result, beside) = call(writer);
                let result = match result {
                    Ok(reply) if covered => {
                        let entry = in_commit.wrote(&reply).finish();
                        writer
                            .attempt(|tx| page::append(tx, &context, &[entry]))
                            .map(|()| reply)
                            .map_err(Error::from)
                    }
                    result => result,
                };
                (result, beside)
            })
            .await?;
        match &result {
            Ok(reply) => self.tell(user, draft.action(), || draft.clone().wrote(reply)),
            Err(error) => self.note(user, draft.refused(error)).await,
        }
        Ok((result, beside))
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
        let draft = Draft::of(actor, "callBatch", self.now());
        let outcomes = match Calls::parse(calls) {
            Ok(calls) => batch::run(self, actor, calls).await,
            Err(error) => Err(error.into()),
        };
        let draft = match &outcomes {
            Ok(_) => draft,
            Err(error) => draft.refused(error),
        };
        self.note(&actor.owner.id, draft).await;
        outcomes
    }

    /// How much a user stores; see [`account::usage`].
    ///
    /// # Errors
    /// Of the store.
    pub async fn usage(&self, user: &UserId) -> Result<Usage, Error> {
        account::usage::measured(self, user).await
    }

    pub(crate) fn now(&self) -> Millis {
        self.inner.clock.now()
    }

    /// The streams that accounts have.
    #[must_use]
    pub fn schema(&self) -> Arc<Schema> {
        self.inner.settings.account_schema.get()
    }

    pub(crate) fn trees(&self) -> &TreeCache {
        &self.inner.trees
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.inner.answers
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.inner.tracker
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }

    pub(crate) fn registry(&self) -> Option<Weak<dyn Registry>> {
        self.inner.registry.get().cloned()
    }

    pub(crate) fn set_registry(&self, registry: Weak<dyn Registry>) {
        if self.inner.registry.set(registry).is_err() {
            tracing::error!("the kernel has its registry already");
        }
    }

    /// Limits how often calls do some things. The first one stays.
    pub fn limit_calls(&self, limits: Arc<dyn CallLimits>) {
        let _: &Arc<dyn CallLimits> = self.inner.call_limits.get_or_init(|| limits);
    }

    pub(crate) fn call_limits(&self) -> Option<&dyn CallLimits> {
        self.inner.call_limits.get().map(Arc::as_ref)
    }

    /// Through what people are written to. The first one stays; without one nobody is.
    pub fn connect_mails(&self, mails: Arc<dyn Mails>) {
        let _: &Arc<dyn Mails> = self.inner.mails.get_or_init(|| mails);
    }

    /// Through what people are written to, if there is anything.
    #[must_use]
    pub fn mails(&self) -> Option<&dyn Mails> {
        self.inner.mails.get().map(Arc::as_ref)
    }

    pub(crate) fn looks(&self) -> &account::shell::Looks {
        &self.inner.looks
    }

    pub(crate) fn usages(&self) -> &account::usage::UsageCache {
        &self.inner.usages
    }

    pub(crate) fn previews(&self) -> &Arc<Workshop> {
        &self.inner.previews
    }

    /// Says which names nobody can take. The first who says it stays.
    pub fn reserve_names(&self, names: Arc<dyn ReservedNames>) {
        let _: &Arc<dyn ReservedNames> = self.inner.reserved_names.get_or_init(|| names);
    }

    pub(crate) fn reserved_names(&self) -> Option<&dyn ReservedNames> {
        self.inner.reserved_names.get().map(Arc::as_ref)
    }

    /// Through what codes are sent that a log-in asks for. The first one stays; without one no log-in
    /// asks for any.
    pub fn connect_codes(&self, codes: Arc<dyn CodeSender>) {
        let _: &Arc<dyn CodeSender> = self.inner.codes.get_or_init(|| codes);
    }

    pub(crate) fn codes(&self) -> Option<&dyn CodeSender> {
        self.inner.codes.get().map(Arc::as_ref)
    }

    pub(crate) fn mfa_sessions(&self) -> &MfaSessions {
        &self.inner.mfa_sessions
    }

    pub(crate) fn listener_cell(&self) -> &OnceLock<Arc<dyn AuditListener>> {
        &self.inner.listener
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.inner.pending
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            clock: Arc::clone(&self.inner.clock),
            entropy: Arc::clone(&self.inner.entropy),
            settings: Arc::clone(&self.inner.settings),
            blobs: self.inner.blobs.clone(),
            trees: Arc::clone(&self.inner.trees),
            tracker: Arc::clone(&self.inner.tracker),
            types: self.inner.types.current(),
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

    /// As [`Self::read`], for work that looks at a few hundred documents at most.
    pub(crate) async fn read_short<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&dyn View, &Context) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let context = self.context();
        self.inner
            .users
            .read_short(user, move |view| work(view, &context))
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
    pub fn now(&self) -> Millis {
        self.clock.now()
    }
}
