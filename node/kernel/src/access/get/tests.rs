//! Which accesses whom is told of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Actor;
use crate::method::Method;
use crate::testing::Home;

/// A user with an app that created `child`, and a shared access of the person.
fn family() -> (Home, Value, Value, Value) {
    let mut home = Home::new();
    let on = json!([{ "streamId": "health", "level": "manage" }]);
    let me = home.me();
    let app = json!({ "type": "app", "name": "app", "permissions": on });
    let app = home.create_access(&me, &app).unwrap();
    let through_app = home.through(&app);
    let child = json!({ "name": "child", "permissions": on, "expireAfter": 10 });
    let child = home.create_access(&through_app, &child).unwrap();
    let shared = json!({ "name": "Doctor", "permissions": on });
    let shared = home.create_access(&me, &shared).unwrap();
    (home, app, child, shared)
}

fn list(home: &Home, actor: &Actor, params: &Value) -> Value {
    home.read(actor, Method::AccessesGet, params).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn a_person_sees_all_and_an_app_what_it_created() {
    let (mut home, app, child, shared) = family();
    let me = home.me();
    let all = list(&home, &me, &json!({}));
    assert_eq!(
        names(&all["accesses"]),
        ["Doctor", "app", "child", "sample-app"]
    );
    assert_eq!(all["accesses"][0], shared);
    assert_eq!(all.get("accessDeletions"), None);
    let app = home.through(&app);
    assert_eq!(list(&home, &app, &json!({}))["accesses"], json!([child]));

    home.clock.advance(Duration::from_secs(10));
    assert_eq!(list(&home, &app, &json!({}))["accesses"], json!([]));
    let expired = list(&home, &app, &json!({ "includeExpired": true }));
    assert_eq!(expired["accesses"], json!([child]));

    home.delete_access(&me, child["id"].as_str().unwrap())
        .unwrap();
    home.delete_access(&me, shared["id"].as_str().unwrap())
        .unwrap();
    let with = json!({ "includeDeletions": true, "includeExpired": true });
    let seen = list(&home, &me, &with);
    assert_eq!(names(&seen["accesses"]), ["app", "sample-app"]);
    let mut deletions = names(&seen["accessDeletions"]);
    deletions.sort_unstable();
    assert_eq!(deletions, ["Doctor", "child"]);
    let seen = list(&home, &app, &with);
    assert_eq!(names(&seen["accessDeletions"]), ["child"]);
    let deletion = &seen["accessDeletions"][0];
    assert_eq!(deletion["token"], child["token"]);
    assert!(deletion["deleted"].is_number());
    let without = list(&home, &app, &json!({ "includeDeletions": false }));
    assert_eq!(without, json!({ "accesses": [] }));
}

#[test]
fn one_access_is_told_to_whom_it_concerns() {
    let (home, app, child, shared) = family();
    let id = |access: &Value| access["id"].clone();
    let one = |actor: &Actor, id: &Value| {
        home.read(actor, Method::AccessesGetOne, &json!({ "id": id }))
            .map_err(|error| error.id().wire())
    };
    let me = home.me();
    for access in [&app, &child, &shared] {
        assert_eq!(one(&me, &id(access)), Ok(json!({ "access": access })));
    }
    let through_app = home.through(&app);
    assert_eq!(one(&through_app, &id(&app)), Ok(json!({ "access": app })));
    assert_eq!(
        one(&through_app, &id(&child)),
        Ok(json!({ "access": child }))
    );
    for hidden in [
        id(&shared),
        json!(me.access.id),
        json!("nosuchaccess"),
        json!("a:0"),
    ] {
        assert_eq!(
            one(&through_app, &hidden),
            Err("unknown-resource"),
            "{hidden}"
        );
    }
    let version = json!(format!("{}:1", app["id"].as_str().unwrap()));
    assert_eq!(one(&me, &version), Err("unknown-resource"));
    let through_shared = home.through(&shared);
    assert_eq!(one(&through_shared, &id(&shared)), Err("forbidden"));
    let listed = home.read(&through_shared, Method::AccessesGet, &json!({ "x": 1 }));
    assert_eq!(listed.unwrap_err().id().wire(), "forbidden");
    let history = json!({ "id": id(&app), "includeHistory": true });
    let history = home.read(&me, Method::AccessesGetOne, &history).unwrap();
    assert_eq!(history, json!({ "access": app, "history": [] }));
}
