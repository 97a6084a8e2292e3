//! What the tests of this crate stand on: one user on the memory engine, a clock that is set by
//! hand, and chance that repeats itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use homecore_store::blob::BlobOptions;
use homecore_store::memory::{MemoryBlobs, MemoryEngine, MemoryJournal};
use homecore_store::users::Options;
use homecore_store::{
    BlobStore, Engine, Position, StoreError, Transaction, UserDatabase, Users, View,
};
use homecore_types::{Clock, Email, Entropy, Millis, Secret, UserId, Username};
use serde_json::Value;

use crate::access::{Access, AccessType, StoredAccess};
use crate::account::{self, NewAccount};
use crate::actor::{Actor, Owner};
use crate::attachment::token::ReadTokenKey;
use crate::event::types::EventTypes;
use crate::kernel::{Context, Kernel};
use crate::permission::Permission;
use crate::settings::Settings;
use crate::stream::cache::TreeCache;
use crate::trust::{TrustedApps, TrustedAppsSource};

/// The time at which tests begin.
pub(crate) const NOW: Millis = Millis(1_795_369_711_439);

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW.0)))
    }

    pub(crate) fn advance(&self, span: std::time::Duration) {
        self.step(i64::try_from(span.as_millis()).unwrap());
    }

    /// Milliseconds; a clock may be set back, too.
    pub(crate) fn step(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

/// Chance from a counter (`SplitMix64`).
#[derive(Debug, Default)]
pub(crate) struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            let n = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
            let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = u8::try_from((z ^ (z >> 31)) & 0xFF).unwrap();
        }
    }
}

/// One user's data, worked on without threads.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) context: Context,
    pub(crate) owner: Owner,
    database: Mutex<Box<dyn UserDatabase>>,
    position: u64,
}

impl Home {
    /// A user with an account and nothing else.
    pub(crate) fn new() -> Self {
        let mut home = Self::empty();
        let context = home.context.clone();
        home.attempt(|tx| account::create(tx, &context, &new_account(), "hash".to_owned()))
            .unwrap();
        home
    }

    /// A user of whom nothing is written yet.
    pub(crate) fn empty() -> Self {
        let clock = TestClock::new();
        let owner = owner();
        let database = MemoryEngine::new().create(&owner.id, Position(0)).unwrap();
        let context = Context {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(TestEntropy::default()),
            settings: Arc::new(settings()),
            blobs: blobs(&(Arc::clone(&clock) as Arc<dyn Clock>)),
            trees: Arc::new(TreeCache::default()),
            tracker: Arc::default(),
            types: EventTypes::shipped().unwrap().current(),
        };
        Self {
            clock,
            context,
            owner,
            database: Mutex::new(database),
            position: 0,
        }
    }

    /// One attempt, committed if it succeeds.
    pub(crate) fn attempt<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let database = self.database.get_mut().unwrap();
        let mut tx = Transaction::new(&**database, &self.owner.id, self.clock.now())?;
        let done = work(&mut tx)?;
        if let Some(commit) = tx.into_commit() {
            self.position += 1;
            database.begin()?;
            database.apply(&commit)?;
            database.commit(Position(self.position))?;
        }
        Ok(done)
    }

    /// A look at the present state.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&dyn View) -> T) -> T {
        read(&**self.database.lock().unwrap())
    }

    /// Makes a stream as the person.
    pub(crate) fn stream(&mut self, id: &str, parent: Option<&str>) {
        let params = serde_json::json!({ "id": id, "name": id, "parentId": parent });
        self.create_stream(&self.person(), &params).unwrap();
    }

    /// `streams.create`.
    pub(crate) fn create_stream(
        &mut self,
        actor: &Actor,
        params: &Value,
    ) -> Result<Value, crate::Error> {
        use crate::stream::create;
        let new = create::NewStream::parse(params)?;
        let context = self.context.clone();
        let mut trees = context.trees.for_writing(&self.owner.id);
        let reply = self.attempt(|tx| create::create(tx, &context, &mut trees, actor, new))?;
        Ok(json(reply.as_bytes()))
    }

    /// `events.create`.
    pub(crate) fn create_event(
        &mut self,
        actor: &Actor,
        params: &Value,
    ) -> Result<Value, crate::Error> {
        use crate::event::create;
        let new = create::NewEvent::parse(params)?;
        let context = self.context.clone();
        let mut trees = context.trees.for_writing(&self.owner.id);
        let event = self.attempt(|tx| create::create(tx, &context, &mut trees, actor, &new))?;
        Ok(json(&event.json))
    }

    /// `events.update`.
    pub(crate) fn update_event(
        &mut self,
        actor: &Actor,
        id: &str,
        changes: &Value,
    ) -> Result<Value, crate::Error> {
        use crate::event::update;
        let params = serde_json::json!({ "id": id, "update": changes });
        let context = self.context.clone();
        let lenient = context.settings.ignore_protected_fields;
        let asked = update::EventChanges::parse(&params, lenient)?;
        let mut trees = context.trees.for_writing(&self.owner.id);
        let event = self.attempt(|tx| update::update(tx, &context, &mut trees, actor, &asked))?;
        Ok(json(&event.json))
    }

    /// `events.delete`.
    pub(crate) fn delete_event(&mut self, actor: &Actor, id: &str) -> Result<Value, crate::Error> {
        use crate::event::delete;
        let context = self.context.clone();
        let mut trees = context.trees.for_writing(&self.owner.id);
        let deleted = self.attempt(|tx| delete::delete(tx, &context, &mut trees, actor, id))?;
        let tokens = crate::attachment::token::ReadTokens::of(&self.context, &actor.access);
        Ok(json(deleted.into_reply(&tokens).as_bytes()))
    }

    /// `streams.update`.
    pub(crate) fn update_stream(
        &mut self,
        actor: &Actor,
        id: &str,
        changes: &Value,
    ) -> Result<Value, crate::Error> {
        use crate::stream::update;
        let params = serde_json::json!({ "id": id, "update": changes });
        let context = self.context.clone();
        let lenient = context.settings.ignore_protected_fields;
        let asked = update::StreamChanges::parse(&params, lenient)?;
        let mut trees = context.trees.for_writing(&self.owner.id);
        let reply = self.attempt(|tx| update::update(tx, &mut trees, actor, &asked))?;
        Ok(json(reply.as_bytes()))
    }

    /// `streams.delete`, in as many steps as it takes.
    pub(crate) fn delete_stream(
        &mut self,
        actor: &Actor,
        id: &str,
        merge: Option<bool>,
    ) -> Result<Value, crate::Error> {
        use crate::stream::delete::{self, DeleteStream, Step};
        let params = serde_json::json!({ "id": id, "mergeEventsWithParent": merge });
        let asked = DeleteStream::parse(&params)?;
        let context = self.context.clone();
        let (mut all, mut first) = (Vec::new(), true);
        loop {
            let mut trees = context.trees.for_writing(&self.owner.id);
            let step =
                self.attempt(|tx| delete::step(tx, &context, &mut trees, actor, &asked, first))?;
            first = false;
            match step {
                Step::Trashed(reply) => return Ok(json(reply.as_bytes())),
                Step::Going(changes) => all.extend(changes),
                Step::Gone(changes) => {
                    all.extend(changes);
                    return Ok(json(delete::reply_of(&all, id).as_bytes()));
                }
            }
        }
    }

    /// `accesses.create`.
    pub(crate) fn create_access(
        &mut self,
        actor: &Actor,
        params: &Value,
    ) -> Result<Value, crate::Error> {
        use crate::access::create;
        let context = self.context.clone();
        let mut trees = context.trees.for_writing(&self.owner.id);
        let drawn = crate::access::alias::is_asked(params)
            .then(|| Username::random_alias(self.context.entropy.as_ref()));
        let drawn = drawn.as_ref();
        let reply =
            self.attempt(|tx| create::create(tx, &context, &mut trees, actor, params, drawn))?;
        Ok(json(reply.as_bytes())["access"].take())
    }

    /// `accesses.update`.
    pub(crate) fn update_access(
        &mut self,
        actor: &Actor,
        id: &str,
        changes: &Value,
    ) -> Result<Value, crate::Error> {
        let context = self.context.clone();
        let mut trees = context.trees.for_writing(&self.owner.id);
        let params = serde_json::json!({ "id": id, "update": changes });
        let update = crate::access::update::update;
        let reply = self.attempt(|tx| update(tx, &context, &mut trees, actor, &params))?;
        Ok(json(reply.as_bytes())["access"].take())
    }

    /// `accesses.delete`.
    pub(crate) fn delete_access(&mut self, actor: &Actor, id: &str) -> Result<Value, crate::Error> {
        use crate::access::alias::Aliases;
        use crate::access::delete;
        let reply = self.attempt(|tx| delete::delete(tx, actor, id, Aliases::Freed))?;
        Ok(json(reply.as_bytes()))
    }

    /// The person, through the access that was made with the account.
    pub(crate) fn me(&self) -> Actor {
        use crate::access::lookup;
        let find = |view: &dyn View| lookup::named(view, AccessType::Personal, "sample-app", None);
        let (id, stored) = self.look(find).unwrap().unwrap();
        self.actor_of(Access::new(id, stored))
    }

    /// A caller with a stored access, given as it was answered.
    pub(crate) fn through(&self, access: &Value) -> Actor {
        let id = crate::access::id::author_base(access["id"].as_str().unwrap());
        let stored = self.look(|view| crate::access::load(view, id));
        self.actor_of(Access::new(id, stored.unwrap().unwrap()))
    }

    fn actor_of(&self, access: Access) -> Actor {
        Actor {
            owner: self.owner.clone(),
            access: Arc::new(access),
            caller: None,
            source: crate::audit::Source::default(),
        }
    }

    /// A method that reads.
    pub(crate) fn read(
        &self,
        actor: &Actor,
        method: crate::Method,
        params: &Value,
    ) -> Result<Value, crate::Error> {
        let mut trees = self.context.trees.for_reading(&self.owner.id);
        let reply = self.look(|view| {
            crate::method::read(view, &self.context, &mut trees, actor, method, params)
        })?;
        Ok(json(reply.as_bytes()))
    }

    /// The person.
    pub(crate) fn person(&self) -> Actor {
        self.actor(AccessType::Personal, Vec::new())
    }

    /// An app with permissions.
    pub(crate) fn app(&self, permissions: Vec<Permission>) -> Actor {
        self.actor(AccessType::App, permissions)
    }

    /// A shared access with permissions.
    pub(crate) fn shared(&self, permissions: Vec<Permission>) -> Actor {
        self.actor(AccessType::Shared, permissions)
    }

    fn actor(&self, kind: AccessType, permissions: Vec<Permission>) -> Actor {
        let access = StoredAccess {
            token: "token".to_owned(),
            kind,
            name: "test-app".to_owned(),
            device_name: None,
            permissions: (kind != AccessType::Personal).then_some(permissions),
            expires: None,
            client_data: None,
            created: NOW,
            created_by: "system".to_owned(),
            modified: NOW,
            modified_by: "system".to_owned(),
            alias: None,
            serial: 0,
            deleted: None,
        };
        self.actor_of(Access::new("caccess00000000000000001", access))
    }
}

/// A kernel over the memory engine with real threads.
pub(crate) fn kernel() -> (Kernel, Arc<TestClock>) {
    kernel_with(|_| {})
}

/// The same with other settings.
pub(crate) fn kernel_with(change: impl FnOnce(&mut Settings)) -> (Kernel, Arc<TestClock>) {
    let mut settings = settings();
    change(&mut settings);
    let clock = TestClock::new();
    let users = Users::start(
        Arc::new(MemoryEngine::new()),
        Arc::new(MemoryJournal::new()),
        Arc::clone(&clock) as Arc<dyn Clock>,
        Options {
            writers: 1,
            readers: 2,
            ..Options::default()
        },
    )
    .unwrap();
    let kernel = Kernel::new(
        users,
        blobs(&(Arc::clone(&clock) as Arc<dyn Clock>)),
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(TestEntropy::default()),
        settings,
    )
    .unwrap();
    (kernel, clock)
}

pub(crate) fn owner() -> Owner {
    Owner {
        id: UserId::parse("u23456789012345678901234").unwrap(),
        username: Username::parse("samplebeta1").unwrap(),
        alias: None,
    }
}

pub(crate) fn new_account() -> NewAccount {
    NewAccount {
        username: owner().username,
        password: Secret::new("sample-pass-1").into(),
        email: Email::parse("samplebeta1@example.com").unwrap(),
        language: "en".to_owned(),
        app: "sample-app".to_owned(),
        invitation: Some("enjoy".to_owned()),
        referer: Some("samples".to_owned()),
        declared: BTreeMap::new(),
    }
}

/// Blobs in memory.
fn blobs(clock: &Arc<dyn Clock>) -> BlobStore {
    let engine = Arc::new(MemoryBlobs::new(Arc::clone(clock)));
    BlobStore::new(engine, &BlobOptions::default())
}

fn settings() -> Settings {
    Settings {
        read_token_key: ReadTokenKey::fixed(Secret::new("files-secret")),
        trusted_apps: TrustedAppsSource::fixed(
            TrustedApps::parse("*@https://*.backloop.dev*").unwrap(),
        ),
        ..Settings::default()
    }
}

/// Reads an answer.
pub(crate) fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}
