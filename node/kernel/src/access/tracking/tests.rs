//! Uses are counted at once and written later, each of them once.

use serde_json::json;

use crate::access::AccessType;
use crate::actor::Credential;
use crate::method::Method;
use crate::testing::{json as read_json, kernel, new_account, owner};

use super::*;

async fn person() -> (Kernel, Actor, std::sync::Arc<crate::testing::TestClock>) {
    let (kernel, clock) = kernel();
    let token = kernel.create_account(&owner().id, new_account()).await;
    let actor = kernel
        .authenticate(
            &owner(),
            Credential::parse(token.unwrap().expose()).unwrap(),
        )
        .await
        .unwrap();
    (kernel, actor, clock)
}

async fn info(kernel: &Kernel, actor: &Actor) -> Value {
    read_json(kernel.access_info(actor).await.unwrap().as_bytes())
}

async fn stored(kernel: &Kernel, access: &str) -> Option<Uses> {
    let access = access.to_owned();
    let read = move |view: &dyn View, _: &Context| {
        view.get(Kind::AccessUses, &access)
            .unwrap()
            .map(|document| (decode(&document.body, &access).unwrap(), document.rev))
    };
    kernel
        .read(&owner().id, read)
        .await
        .unwrap()
        .map(|(uses, _)| uses)
}

#[tokio::test]
async fn uses_are_counted_and_written_together() {
    let (kernel, me, clock) = person().await;
    let first = info(&kernel, &me).await;
    assert_eq!((first.get("lastUsed"), first.get("calls")), (None, None));
    let began = kernel.context().now();
    kernel
        .call(&me, Method::StreamsGet, json!({}))
        .await
        .unwrap();
    kernel.events_get(&me, json!({})).await.unwrap();
    assert!(
        kernel
            .call(&me, Method::EventsGetOne, json!({ "id": "x" }))
            .await
            .is_err()
    );
    let calls = json!([
        { "method": "streams.create", "params": { "name": "a" } },
        { "method": "streams.create", "params": { "name": "a" } },
        { "method": "events.get", "params": {} },
        { "method": "streams.get", "params": {} }
    ]);
    kernel.call_batch(&me, calls).await.unwrap();
    let expected =
        json!({ "events:get": 2, "getAccessInfo": 1, "streams:create": 1, "streams:get": 2 });
    assert_eq!(stored(&kernel, &me.access.id).await, None);
    let second = info(&kernel, &me).await;
    assert_eq!(second["calls"], expected);
    assert_eq!(second["lastUsed"], seconds(began));

    kernel.write_uses().await;
    let written = stored(&kernel, &me.access.id).await.unwrap();
    assert_eq!(written.calls["getAccessInfo"], 2);
    clock.advance(std::time::Duration::from_secs(5));
    let third = info(&kernel, &me).await;
    assert_eq!(third["calls"]["getAccessInfo"], 2);
    assert_eq!(third["lastUsed"], seconds(began));
    kernel.write_uses().await;
    kernel.write_uses().await;
    let fourth = info(&kernel, &me).await;
    assert_eq!(fourth["calls"]["getAccessInfo"], 3);
    assert_eq!(fourth["lastUsed"], seconds(kernel.context().now()));
    let listed = kernel
        .call(&me, Method::AccessesGet, json!({}))
        .await
        .unwrap();
    let listed = read_json(listed.as_bytes());
    assert_eq!(listed["accesses"][0]["lastUsed"], fourth["lastUsed"]);
    assert_eq!(listed["accesses"][0].get("calls"), None);
    // Being used is no change of the access.
    assert_eq!(
        listed["accesses"][0]["modified"],
        listed["accesses"][0]["created"]
    );
}

#[tokio::test]
async fn a_deleted_access_leaves_no_uses() {
    let (kernel, me, _) = person().await;
    let app = json!({ "type": "app", "name": "app", "permissions": [] });
    let app = kernel.call(&me, Method::AccessesCreate, app).await.unwrap();
    let app = read_json(app.as_bytes())["access"].take();
    let id = app["id"].as_str().unwrap().to_owned();
    let token = Credential::parse(app["token"].as_str().unwrap()).unwrap();
    let through = kernel.authenticate(&owner(), token).await.unwrap();
    assert_eq!(through.access.stored.kind, AccessType::App);
    info(&kernel, &through).await;
    kernel
        .call(&me, Method::AccessesDelete, json!({ "id": id }))
        .await
        .unwrap();
    kernel.write_uses().await;
    assert_eq!(stored(&kernel, &id).await, None);
    assert_eq!(kernel.tracker().users().0, Vec::new());
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let tracker = Tracker::default();
    let user = owner().id;
    for n in 0..=ACCESSES_MAX {
        tracker.count(&user, &n.to_string(), "events.get", Millis(1));
    }
    tracker.count(&user, "0", "events.get", Millis(2));
    assert_eq!(tracker.of(&user, &ACCESSES_MAX.to_string()), None);
    assert_eq!(tracker.of(&user, "0").unwrap().calls["events.get"], 2);
    assert_eq!(tracker.users(), (vec![user.clone()], 1));
    loop {
        let some = tracker.some_of(&user);
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= WRITE_ACCESSES_MAX);
        tracker.written(&user, &some);
    }
    assert_eq!(tracker.users(), (Vec::new(), 0));
    tracker.count(&user, "new", "events.get", Millis(3));
    // What was used while it was written waits on.
    let some = tracker.some_of(&user);
    tracker.count(&user, "new", "events.get", Millis(4));
    tracker.written(&user, &some);
    let left = tracker.of(&user, "new").unwrap();
    assert_eq!((left.last_used, left.calls["events.get"]), (Millis(4), 1));
}

#[test]
fn the_wire_has_a_colon_for_the_dot() {
    let wire = json!({ "events:get": 2, "getAccessInfo": 1, "a:b.c": 3 });
    let mut uses = Uses::from_wire(Millis(1), wire.as_object());
    assert_eq!(uses.calls_to_json(), wire);
    uses.count("events.get", Millis(2));
    assert_eq!(uses.calls_to_json()["events:get"], 3);
}
