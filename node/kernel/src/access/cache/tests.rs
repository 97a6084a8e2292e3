//! What is kept of accesses never outlives what it was read from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use homecore_types::ErrorId;
use serde_json::{Value, json};

use super::*;
use crate::actor::{Actor, Credential};
use crate::kernel::Kernel;
use crate::method::Method;
use crate::testing::{Home, NOW, TestClock, kernel, new_account, owner};

const HOUR: Duration = Duration::from_secs(3_600);

async fn person() -> (Kernel, Arc<TestClock>, Actor, Secret) {
    let (kernel, clock) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let me = authenticate(&kernel, token.expose()).await.unwrap();
    (kernel, clock, me, token)
}

async fn authenticate(kernel: &Kernel, token: &str) -> Result<Actor, ErrorId> {
    let credential = Credential::parse(token).unwrap();
    let found = kernel.authenticate(&owner(), credential).await;
    found.map_err(|error| error.id())
}

async fn create(kernel: &Kernel, me: &Actor, more: &Value) -> (String, String) {
    let mut params = json!({ "name": "one", "type": "shared",
        "permissions": [{ "streamId": "*", "level": "read" }] });
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    let made = kernel.call(me, Method::AccessesCreate, params).await;
    let made = serde_json::from_slice::<Value>(made.unwrap().as_bytes()).unwrap();
    let text = |key: &str| made["access"][key].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_access_that_was_deleted_opens_nothing_from_when_that_is_told() {
    let (kernel, _clock, me, _) = person().await;
    for _ in 0..50 {
        let (id, token) = create(&kernel, &me, &json!({})).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (kernel, token, stop) = (kernel.clone(), token.clone(), Arc::clone(&stop));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let refused = authenticate(&kernel, &token).await.err();
                    assert!(refused.is_none_or(|id| id == ErrorId::InvalidAccessToken));
                    // So that a failure elsewhere ends this, too.
                    tokio::task::yield_now().await;
                }
            });
        }
        assert!(authenticate(&kernel, &token).await.is_ok());
        kernel
            .call(&me, Method::AccessesDelete, json!({ "id": id }))
            .await
            .unwrap();
        for _ in 0..3 {
            let refused = authenticate(&kernel, &token).await;
            assert_eq!(refused.unwrap_err(), ErrorId::InvalidAccessToken);
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn a_change_and_the_end_of_a_session_are_seen_at_once() {
    let (kernel, _clock, me, token) = person().await;
    let (id, shared) = create(&kernel, &me, &json!({})).await;
    let before = authenticate(&kernel, &shared).await.unwrap();
    let update = json!({ "id": id, "update": { "name": "two" } });
    kernel
        .call(&me, Method::AccessesUpdate, update)
        .await
        .unwrap();
    let after = authenticate(&kernel, &shared).await.unwrap();
    assert_eq!(
        (
            before.access.stored.name.as_str(),
            after.access.stored.name.as_str()
        ),
        ("one", "two")
    );
    kernel.logout(&me).await.unwrap();
    let refused = authenticate(&kernel, token.expose()).await;
    assert_eq!(refused.unwrap_err(), ErrorId::InvalidAccessToken);
}

#[tokio::test]
async fn time_passes_for_what_is_kept_too() {
    let (kernel, clock, me, token) = person().await;
    let (_, short) = create(&kernel, &me, &json!({ "expireAfter": 60 })).await;
    assert!(authenticate(&kernel, &short).await.is_ok());
    assert!(authenticate(&kernel, &short).await.is_ok());
    clock.advance(Duration::from_secs(61));
    let refused = authenticate(&kernel, &short).await;
    assert_eq!(refused.unwrap_err(), ErrorId::Forbidden);
    // A session that is used lives on; one that is not ends, though nothing was written meanwhile.
    let max_age = kernel.settings().session_max_age;
    for _ in 0..3 {
        clock.advance(max_age / 2);
        assert!(authenticate(&kernel, token.expose()).await.is_ok());
    }
    clock.advance(max_age);
    let refused = authenticate(&kernel, token.expose()).await;
    assert_eq!(refused.unwrap_err(), ErrorId::InvalidAccessToken);
}

#[test]
fn only_what_was_read_as_of_the_present_stamp_is_found() {
    let access = Home::new().person().access;
    let (cache, token) = (AccessCache::default(), Secret::new("a-token"));
    let session = Some(Session {
        opened: NOW,
        used: NOW,
    });
    let known = Known { access, session };
    let find = |user: &UserId, token: &str, stamp| {
        cache
            .find(user, &Secret::new(token), stamp, NOW, 24 * HOUR)
            .is_some()
    };
    assert!(!find(&owner().id, "a-token", 1));
    cache.keep(&owner().id, &token, 1, known);
    assert!(find(&owner().id, "a-token", 1));
    assert!(!find(&owner().id, "a-token", 2));
    assert!(!find(&owner().id, "b-token", 1));
    let other = UserId::parse("u99999999999999999999999").unwrap();
    assert!(!find(&other, "a-token", 1));
}
