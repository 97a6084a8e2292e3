//! An answer that is kept is the one that would be read.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::actor::Credential;
use crate::event::read;
use crate::ports::FieldChanges;
use crate::settings::Settings;
use crate::stream::schema::SchemaSource;
use crate::testing::{Home, NOW, TestClock, TestEntropy, kernel_with, new_account, owner};

struct House {
    kernel: Kernel,
    clock: Arc<TestClock>,
    me: Actor,
}

impl House {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (kernel, clock) = kernel_with(change);
        let token = kernel.create_account(&owner().id, new_account()).await;
        let me = authenticate(&kernel, token.unwrap().expose()).await;
        let house = Self { kernel, clock, me };
        for (id, parent) in [("health", None), ("heart", Some("health")), ("work", None)] {
            let stream = json!({ "id": id, "name": id, "parentId": parent });
            house.call(Method::StreamsCreate, stream).await.unwrap();
        }
        house
    }

    async fn call(&self, method: Method, params: Value) -> Result<Value, crate::Error> {
        let reply = self.kernel.call(&self.me, method, params).await?;
        Ok(crate::testing::json(reply.as_bytes()))
    }

    async fn event(&self, stream: &str, time: f64) -> String {
        self.try_event(stream, time).await.unwrap()
    }

    async fn try_event(&self, stream: &str, time: f64) -> Result<String, crate::Error> {
        let event = json!({ "streamIds": [stream], "type": "count/generic", "content": 1,
            "time": time });
        let made = self.call(Method::EventsCreate, event).await?;
        Ok(made["event"]["id"].as_str().unwrap().to_owned())
    }

    async fn shared(&self, name: &str, permissions: &Value) -> (String, Actor) {
        let access = json!({ "name": name, "type": "shared", "permissions": permissions });
        let made = self.call(Method::AccessesCreate, access).await.unwrap();
        let text = |key: &str| made["access"][key].as_str().unwrap().to_owned();
        let actor = authenticate(&self.kernel, &text("token")).await;
        (text("id"), actor)
    }

    async fn asked(&self, actor: &Actor, params: &Value) -> Value {
        let pages = self.kernel.events_get(actor, params.clone()).await.unwrap();
        crate::testing::json(pages.collect().await.unwrap().as_bytes())
    }

    /// What the store has, whatever is kept.
    async fn read(&self, actor: &Actor, params: &Value) -> Value {
        let (user, there, params) = (owner().id, actor.clone(), params.clone());
        let read = self.kernel.read(&user, move |view, context| {
            let mut trees = context.trees.for_reading(&there.owner.id);
            read::collect(view, context, &mut trees, &there, &params)
        });
        crate::testing::json(read.await.unwrap().unwrap().as_bytes())
    }

    fn is_known(&self, actor: &Actor, params: &Value) -> bool {
        let asked = self.kernel.asked(actor, Method::EventsGet, params);
        let known = asked.and_then(|asked| self.kernel.answers().events(&asked, self.kernel.now()));
        known.is_some()
    }

    async fn streams(&self, actor: &Actor, params: &Value) -> Value {
        let reply = self.kernel.streams_get(actor, params.clone()).await;
        crate::testing::json(reply.unwrap().as_bytes())
    }

    /// What the store has, whatever is kept.
    async fn read_streams(&self, actor: &Actor, params: &Value) -> Value {
        let (user, there, params) = (owner().id, actor.clone(), params.clone());
        let read = self.kernel.read(&user, move |view, context| {
            let mut trees = context.trees.for_reading(&there.owner.id);
            crate::stream::get::get(view, &mut trees, &there, &params)
        });
        crate::testing::json(read.await.unwrap().unwrap().as_bytes())
    }

    fn are_streams_known(&self, actor: &Actor, params: &Value) -> bool {
        let asked = self.kernel.asked(actor, Method::StreamsGet, params);
        let known = asked.and_then(|asked| self.kernel.answers().reply(&asked));
        known.is_some()
    }
}

async fn authenticate(kernel: &Kernel, token: &str) -> Actor {
    let credential = Credential::parse(token).unwrap();
    kernel.authenticate(&owner(), credential).await.unwrap()
}

fn everything() -> Value {
    json!([{ "streamId": "*", "level": "manage" }])
}

#[tokio::test]
async fn what_is_asked_again_is_not_read_again_until_something_changes() {
    let house = House::new().await;
    let (_, app) = house.shared("app", &everything()).await;
    let id = house.event("heart", 5.0).await;
    let query = json!({ "limit": 20 });
    for actor in [&house.me, &app] {
        assert!(!house.is_known(actor, &query));
        let first = house.asked(actor, &query).await;
        assert!(house.is_known(actor, &query));
        assert_eq!(house.asked(actor, &query).await, first);
        assert_eq!(first, house.read(actor, &query).await);
    }
    // What a call leaves in the log is no change of what is shown.
    house.kernel.flush_audit().await;
    assert!(house.is_known(&app, &query));

    // Account fields have the time of each request.
    house.clock.advance(Duration::from_secs(60));
    assert!(house.is_known(&house.me, &query));
    let later = house.asked(&house.me, &query).await;
    assert_eq!(later["events"][0]["time"], json!(NOW.as_seconds() + 60.0));
    assert_eq!(later, house.read(&house.me, &query).await);

    for (method, params) in [
        (
            Method::EventsUpdate,
            json!({ "id": id, "update": { "content": 2 } }),
        ),
        (
            Method::StreamsUpdate,
            json!({ "id": "heart", "update": { "trashed": true } }),
        ),
        (Method::EventsDelete, json!({ "id": id })),
    ] {
        house.asked(&house.me, &query).await;
        assert!(house.is_known(&house.me, &query), "{method:?}");
        house.call(method, params).await.unwrap();
        assert!(!house.is_known(&house.me, &query), "{method:?}");
        let after = house.asked(&house.me, &query).await;
        assert_eq!(after, house.read(&house.me, &query).await, "{method:?}");
    }
}

#[tokio::test]
async fn a_change_of_the_account_is_shown() {
    let house = House::new().await;
    let query = json!({ "streams": [":_system:language"] });
    let before = house.asked(&house.me, &query).await;
    assert_eq!(before["events"][0]["content"], "en");
    assert!(house.is_known(&house.me, &query));
    let changes = FieldChanges {
        language: Some("de".to_owned()),
        ..FieldChanges::default()
    };
    let changed = house.kernel.adopt_fields(&owner().id, changes).await;
    changed.unwrap();
    let after = house.asked(&house.me, &query).await;
    assert_eq!(after["events"][0]["content"], "de");
}

#[tokio::test]
async fn what_the_platform_declares_anew_is_shown() {
    let declared = Arc::new(Mutex::new(Schema::usual()));
    let asked = Arc::clone(&declared);
    let source = SchemaSource::new(move || Arc::clone(&asked.lock().unwrap()));
    let house = House::with(|settings| settings.account_schema = source).await;
    let nothing = json!({});
    let shows = |streams: &Value| streams.to_string().contains(":system:own");
    for _ in 0..2 {
        assert!(!shows(&house.streams(&house.me, &nothing).await));
        house.asked(&house.me, &nothing).await;
    }
    assert!(house.are_streams_known(&house.me, &nothing));
    assert!(house.is_known(&house.me, &nothing));
    let own = json!({ "systemStreams": { "account": [
        { "id": "own", "name": "Own", "type": "string/pryv" },
    ] } });
    *declared.lock().unwrap() = Arc::new(Schema::parse(&own).unwrap());
    assert!(!house.is_known(&house.me, &nothing));
    for _ in 0..2 {
        assert!(shows(&house.streams(&house.me, &nothing).await));
    }
    assert!(house.are_streams_known(&house.me, &nothing));
}

#[tokio::test]
async fn streams_are_told_again_until_they_change() {
    let house = House::new().await;
    let (_, app) = house
        .shared("app", &json!([{ "streamId": "health", "level": "read" }]))
        .await;
    let nothing = json!({});
    for actor in [&house.me, &app] {
        let first = house.streams(actor, &nothing).await;
        assert!(house.are_streams_known(actor, &nothing));
        assert_eq!(house.streams(actor, &nothing).await, first);
    }
    let names = |streams: &Value| streams["streams"].to_string().matches("heart").count();
    assert!(names(&house.streams(&app, &nothing).await) > 0);
    house
        .call(Method::StreamsDelete, json!({ "id": "heart" }))
        .await
        .unwrap();
    assert!(!house.are_streams_known(&app, &nothing));
    assert_eq!(names(&house.streams(&app, &nothing).await), 0);
    // A refusal is no answer, and what the log's streams are depends on more.
    for params in [
        json!({ "id": "nowhere" }),
        json!({ "parentId": ":_audit:accesses" }),
    ] {
        drop(house.kernel.streams_get(&house.me, params.clone()).await);
        assert!(!house.are_streams_known(&house.me, &params), "{params}");
    }
    // The log has each call, read or not.
    let log = json!({ "streams": [":_audit:action-streams.get"], "limit": 100 });
    let entries = house.asked(&house.me, &log).await;
    assert_eq!(entries["events"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn nothing_is_kept_of_a_user_who_is_removed() {
    let house = House::new().await;
    house.event("heart", 5.0).await;
    house.asked(&house.me, &json!({})).await;
    house.asked(&house.me, &json!({ "limit": 3 })).await;
    house
        .kernel
        .answers()
        .forget(&UserId::generate(&TestEntropy::default()));
    assert_eq!(house.kernel.answers().kept().recent.len(), 2);
    house.kernel.remove_account(&owner().id).await.unwrap();
    let kept = house.kernel.answers().kept();
    assert_eq!(
        (kept.recent.len(), kept.former.len(), kept.recent_bytes),
        (0, 0, 0)
    );
}

/// The permissions that an answer was read with are not those that the access has later.
#[tokio::test]
async fn an_access_that_may_read_less_is_shown_less() {
    let house = House::new().await;
    house.event("heart", 5.0).await;
    house.event("work", 6.0).await;
    let (id, before) = house.shared("app", &everything()).await;
    let query = json!({});
    assert_eq!(
        house.asked(&before, &query).await["events"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let less = json!([{ "streamId": "work", "level": "read" }]);
    let update = json!({ "id": id, "update": { "permissions": less } });
    house.call(Method::AccessesUpdate, update).await.unwrap();
    let token = before.access.stored.token.clone();
    let after = authenticate(&house.kernel, &token).await;
    let shown = house.asked(&after, &query).await;
    assert_eq!(shown["events"].as_array().unwrap().len(), 1);
    // Who began before may end as it began, and leaves nothing to others.
    assert_eq!(
        house.asked(&before, &query).await["events"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(house.asked(&after, &query).await, shown);
}

#[tokio::test]
async fn what_depends_on_when_it_is_asked_is_not_kept() {
    let house = House::new().await;
    house.event("heart", 5.0).await;
    let long = "x".repeat(QUERY_BYTES_MAX);
    for query in [
        json!({ "fromTime": 1.0 }),
        json!({ "toTime": 10.0 }),
        json!({ "running": true }),
        json!({ "modifiedSince": 1.0 }),
        json!({ "streams": [":_audit:"] }),
        json!({ "auth": "secret" }),
        json!({ "types": [format!("note/{long}")] }),
    ] {
        house.asked(&house.me, &query).await;
        assert!(!house.is_known(&house.me, &query), "{query}");
    }
    // Nor what is more than a short answer.
    for n in 0..130 {
        house.event("heart", f64::from(n)).await;
    }
    let query = json!({ "limit": 200 });
    assert_eq!(
        house.asked(&house.me, &query).await,
        house.read(&house.me, &query).await
    );
    assert!(!house.is_known(&house.me, &query));
}

/// Who has seen a change, or was told of it, sees it from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sees_what_was_before_what_somebody_saw() {
    let house = Arc::new(House::new().await);
    let (seen, stop) = (
        Arc::new(AtomicI64::new(-1)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (house, seen, stop) = (Arc::clone(&house), Arc::clone(&seen), Arc::clone(&stop));
        readers.spawn(async move {
            let query = json!({ "streams": ["work"], "limit": 1 });
            while !stop.load(Ordering::Relaxed) {
                let least = seen.load(Ordering::SeqCst);
                let answer = house.asked(&house.me, &query).await;
                let latest = answer["events"][0]["content"].as_i64().unwrap_or(-1);
                assert!(latest >= least, "{latest} after {least}");
                seen.fetch_max(latest, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    for n in 0..400 {
        let event = json!({ "streamIds": ["work"], "type": "count/generic", "content": n,
            "time": n });
        house.call(Method::EventsCreate, event).await.unwrap();
        seen.fetch_max(n, Ordering::SeqCst);
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = readers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn memory_has_a_bound() {
    let house = House::new().await;
    let mut kept = Kept::default();
    let question = |n: usize| Question {
        access: 0,
        method: Method::EventsGet,
        query: n.to_string().into_bytes(),
    };
    let state = |stamp| State {
        stamp,
        schema: Schema::usual(),
    };
    let answer = |stamp| {
        Arc::new(Answer {
            user: owner().id,
            state: state(stamp),
            known: Known::Events(KnownEvents::sized(60 * 1024)),
            _access: Arc::downgrade(&house.me.access),
        })
    };
    let sum = |answers: &HashMap<Question, Arc<Answer>>| -> usize {
        let answers = answers.iter();
        answers
            .map(|(question, answer)| bytes(question, answer))
            .sum()
    };
    for n in 0..1_000 {
        drop(kept.insert(question(n), answer(1)));
        // One that is asked for again and again stays.
        assert!(kept.find(&question(0), &state(1)).0.is_some(), "{n}");
        // The same question has one answer.
        drop(kept.insert(question(n), answer(1)));
        assert_eq!(sum(&kept.recent), kept.recent_bytes);
        let held = kept.recent_bytes + sum(&kept.former);
        assert!(held <= ANSWERS_BYTES_MAX, "{n}");
    }
    assert!(kept.recent_bytes + sum(&kept.former) > ANSWERS_BYTES_MAX / 4);
    assert!(kept.find(&question(1), &state(1)).0.is_none());
    // What is void goes when it is found, wherever it is.
    for known in [
        kept.recent.keys().next().cloned(),
        kept.former.keys().next().cloned(),
    ] {
        let (known, before) = (known.unwrap(), kept.recent.len() + kept.former.len());
        assert!(kept.find(&known, &state(2)).0.is_none());
        assert_eq!(kept.recent.len() + kept.former.len(), before - 1);
    }
    assert_eq!(sum(&kept.recent), kept.recent_bytes);
    // Nor does an answer hold the access that asked.
    assert_eq!(
        Arc::strong_count(&house.me.access),
        2,
        "the actor's and the cache's"
    );
}

#[test]
fn a_long_question_is_not_written_down() {
    let access = Home::new().me().access;
    let of = |length: usize| {
        let text = "x".repeat(length);
        Question::of(&access, Method::EventsGet, &json!({ "streams": [text] }))
    };
    assert_eq!(
        of(QUERY_BYTES_MAX - 16).unwrap().query.len(),
        QUERY_BYTES_MAX
    );
    assert!(of(QUERY_BYTES_MAX - 15).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Create { stream: usize, hours: i32 },
    Update { event: usize, hours: i32 },
    Delete { event: usize },
    Trash { stream: usize, trashed: bool },
    Pass { minutes: i64 },
}

const STREAMS: [&str; 3] = ["health", "heart", "work"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..STREAMS.len(), -3..3_i32).prop_map(|(stream, hours)| Step::Create { stream, hours }),
        2 => (0..8_usize, -3..3_i32).prop_map(|(event, hours)| Step::Update { event, hours }),
        1 => (0..8_usize).prop_map(|event| Step::Delete { event }),
        1 => (0..STREAMS.len(), any::<bool>())
            .prop_map(|(stream, trashed)| Step::Trash { stream, trashed }),
        3 => (-90..180_i64).prop_map(|minutes| Step::Pass { minutes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens in between, also to the clock, what is answered is what would be read.
    #[test]
    fn what_is_kept_is_what_would_be_read(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let some = json!([{ "streamId": "health", "level": "read" },
                { "streamId": ":_system:language", "level": "read" }]);
            let (_, app) = house.shared("app", &everything()).await;
            let (_, other) = house.shared("other", &some).await;
            let mut events = Vec::new();
            for step in steps {
                let at = |hours: i32| NOW.as_seconds() + f64::from(hours) * 3_600.0;
                match step {
                    Step::Create { stream, hours } => {
                        // Its stream may be in the trash.
                        events.extend(house.try_event(STREAMS[stream], at(hours)).await);
                    }
                    Step::Update { event, hours } => {
                        if let Some(id) = events.get(event) {
                            let update = json!({ "id": id, "update": { "time": at(hours) } });
                            // It may be deleted.
                            drop(house.call(Method::EventsUpdate, update).await);
                        }
                    }
                    Step::Delete { event } => {
                        if let Some(id) = events.get(event) {
                            drop(house.call(Method::EventsDelete, json!({ "id": id })).await);
                        }
                    }
                    Step::Trash { stream, trashed } => {
                        let update = json!({ "id": STREAMS[stream],
                            "update": { "trashed": trashed } });
                        house.call(Method::StreamsUpdate, update).await.unwrap();
                    }
                    Step::Pass { minutes } => house.clock.step(minutes * 60_000),
                }
                for query in [json!({}), json!({ "state": "all" })] {
                    for actor in [&house.me, &app, &other] {
                        let streams = house.streams(actor, &query).await;
                        assert_eq!(streams, house.streams(actor, &query).await);
                        assert_eq!(streams, house.read_streams(actor, &query).await);
                    }
                }
                for query in [
                    json!({}),
                    json!({ "limit": 2 }),
                    json!({ "limit": 2, "skip": 1, "sortAscending": true }),
                    json!({ "streams": ["heart"], "state": "all" }),
                    json!({ "content": [{ "path": "$", "eq": 1 }], "limit": 5 }),
                ] {
                    for actor in [&house.me, &app, &other] {
                        let answers = (house.asked(actor, &query).await,
                            house.asked(actor, &query).await);
                        let read = house.read(actor, &query).await;
                        assert_eq!(answers.0, read, "{query}");
                        assert_eq!(answers.1, read, "{query}");
                    }
                }
            }
        });
    }
}
