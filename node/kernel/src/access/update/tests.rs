//! Versions of accesses: who makes one, of what, and what remains of the former ones.

use std::time::Duration;

use homecore_types::Secret;
use serde_json::{Value, json};

use crate::Actor;
use crate::access::{AccessType, StoredAccess, token};
use crate::error::Error;
use crate::method::Method;
use crate::permission::Level;
use crate::testing::Home;

/// A user with an app, what the app created, and what the person created.
struct Family {
    home: Home,
    app: Value,
    child: Value,
    shared: Value,
}

fn on(stream: &str, level: &str) -> Value {
    json!([{ "streamId": stream, "level": level }])
}

fn family() -> Family {
    let mut home = Home::new();
    home.stream("health", None);
    home.stream("weight", Some("health"));
    let me = home.me();
    let app = json!({ "type": "app", "name": "app", "deviceName": "phone",
        "permissions": on("health", "contribute"), "clientData": { "x": 1 } });
    let app = home.create_access(&me, &app).unwrap();
    let through_app = home.through(&app);
    let child = json!({ "name": "child", "permissions": on("weight", "contribute") });
    let child = home.create_access(&through_app, &child).unwrap();
    let shared = json!({ "name": "Doctor", "permissions": on("health", "read") });
    let shared = home.create_access(&me, &shared).unwrap();
    Family {
        home,
        app,
        child,
        shared,
    }
}

fn id(access: &Value) -> &str {
    access["id"].as_str().unwrap()
}

fn refused(result: Result<Value, Error>) -> (&'static str, Value) {
    let error = result.unwrap_err();
    let data = error.data().cloned().unwrap_or(Value::Null);
    (error.id().wire(), data)
}

fn one(home: &Home, actor: &Actor, id: &str) -> Value {
    let params = json!({ "id": id, "includeHistory": true });
    home.read(actor, Method::AccessesGetOne, &params).unwrap()
}

#[test]
fn each_update_makes_a_version() {
    let Family {
        mut home, shared, ..
    } = family();
    let me = home.me();
    let base = id(&shared).to_owned();
    home.clock.advance(Duration::from_secs(1));
    let changes = json!({ "name": "The doctor", "permissions":
        [{ "streamId": "health", "level": "contribute", "name": "x", "defaultName": "Health" }] });
    let first = home.update_access(&me, &base, &changes).unwrap();
    assert_eq!(first["id"], format!("{base}:1"));
    assert_eq!(first["token"], shared["token"]);
    assert_eq!(first["name"], "The doctor");
    assert_eq!(first["permissions"], on("health", "contribute"));
    assert_eq!(first["created"], shared["created"]);
    assert_ne!(first["modified"], shared["modified"]);
    assert_ne!(first["integrity"], shared["integrity"]);

    let stale = json!({ "provided": base, "currentSerial": 1 });
    let again = home.update_access(&me, &base, &json!({ "name": "x" }));
    assert_eq!(refused(again), ("stale-resource", stale));
    let version = format!("{base}:2");
    let ahead = home.update_access(&me, &version, &json!({ "name": "x" }));
    let stale = json!({ "provided": version, "currentSerial": 1 });
    assert_eq!(refused(ahead), ("stale-resource", stale));
    let second = home
        .update_access(&me, &format!("{base}:1"), &json!({ "expireAfter": 60 }))
        .unwrap();
    assert_eq!(second["id"], format!("{base}:2"));
    assert!(second["expires"].is_number());

    let history = json!([shared, first]);
    let whole = json!({ "access": second, "history": history });
    assert_eq!(one(&home, &me, &base), whole);
    assert_eq!(one(&home, &me, &format!("{base}:2")), whole);
    let former = json!({ "access": first, "history": history, "current": format!("{base}:2") });
    assert_eq!(one(&home, &me, &format!("{base}:1")), former);
    let unknown = json!({ "id": format!("{base}:3") });
    assert!(home.read(&me, Method::AccessesGetOne, &unknown).is_err());

    // Whoever acts through it now is told apart from whoever did before.
    let through = home.through(&second);
    assert_eq!(through.access.id, base);
    assert_eq!(through.author(), format!("{base}:2"));
    let info = home
        .read(&through, Method::GetAccessInfo, &json!({}))
        .unwrap();
    assert_eq!(info["id"], base);
    let stale = home.delete_access(&me, &format!("{base}:1"));
    let data = json!({ "provided": format!("{base}:1"), "currentSerial": 2 });
    assert_eq!(refused(stale), ("stale-resource", data));
    let ahead = home.delete_access(&me, &format!("{base}:9"));
    let data = json!({ "provided": format!("{base}:9"), "currentSerial": 2 });
    assert_eq!(refused(ahead), ("stale-resource", data));
    // The bare id stands for the present version here.
    let deleted = home.delete_access(&me, &base).unwrap();
    assert_eq!(deleted["accessDeletion"], json!({ "id": base }));
}

#[test]
fn an_update_is_in_force_at_once() {
    let Family {
        mut home, shared, ..
    } = family();
    let me = home.me();
    let token = Secret::new(shared["token"].as_str().unwrap());
    let level = |home: &Home| {
        home.look(|view| {
            let found = token::find(view, &home.context, &token).unwrap();
            let tree =
                crate::stream::tree::Tree::load(view, crate::stream::schema::Schema::usual())
                    .unwrap();
            found.access.rights().level(&tree, "weight")
        })
    };
    assert_eq!(level(&home), Some(Level::Read));
    let changes = json!({ "permissions": on("health", "none") });
    home.update_access(&me, id(&shared), &changes).unwrap();
    assert_eq!(level(&home), Some(Level::None));
}

#[test]
fn every_field_that_can_be_changed() {
    let Family { mut home, app, .. } = family();
    let me = home.me();
    let base = id(&app).to_owned();
    let mut version = base.clone();
    for (changes, field, value) in [
        (json!({ "deviceName": "pc" }), "deviceName", json!("pc")),
        (json!({ "deviceName": null }), "deviceName", json!(null)),
        (
            json!({ "clientData": { "y": 2 } }),
            "clientData",
            json!({ "y": 2 }),
        ),
        (json!({ "clientData": null }), "clientData", json!(null)),
        (json!({ "name": "other" }), "name", json!("other")),
        (json!({ "expires": null }), "expires", json!(null)),
        (json!({}), "name", json!("other")),
    ] {
        let changed = home.update_access(&me, &version, &changes).unwrap();
        assert_eq!(changed[field], value, "{changes}");
        id(&changed).clone_into(&mut version);
    }
    assert_eq!(version, format!("{base}:7"));
}

#[test]
fn the_form_is_checked() {
    let Family {
        mut home, shared, ..
    } = family();
    let me = home.me();
    for (changes, path) in [
        (json!({ "token": "x" }), "#/update"),
        (json!({ "type": "app" }), "#/update"),
        (json!({ "createdBy": "x" }), "#/update"),
        (json!({ "name": "" }), "#/update/name"),
        (json!({ "expires": 12 }), "#/update/expires"),
        (json!({ "expireAfter": -1 }), "#/update/expireAfter"),
        (json!({ "permissions": [{}] }), "#/update/permissions/0/"),
        (json!({ "clientData": 1 }), "#/update/clientData"),
        (json!({ "deviceName": "pc" }), "#/update/deviceName"),
        (json!([]), "#/update"),
    ] {
        let (error, data) = refused(home.update_access(&me, id(&shared), &changes));
        assert_eq!(error, "invalid-parameters-format", "{changes}");
        assert_eq!(data[0]["path"], path, "{changes}");
    }
    for (changes, error) in [
        (
            json!({ "permissions": on("a\nb", "read") }),
            "invalid-request-structure",
        ),
        (
            json!({ "permissions": on(":_system:nope", "read") }),
            "forbidden",
        ),
        (json!({ "clientData": { "dpop": {} } }), "forbidden"),
        (json!({ "name": "child" }), "item-already-exists"),
    ] {
        let result = home.update_access(&me, id(&shared), &changes);
        assert_eq!(refused(result).0, error, "{changes}");
    }
}

#[test]
fn who_may_update_what() {
    let Family {
        mut home,
        app,
        child,
        shared,
    } = family();
    let (me, by_app) = (home.me(), home.through(&app));
    let by_shared = home.through(&shared);
    let name = json!({ "name": "new name" });
    for (actor, target, error) in [
        (&me, "nosuchaccess", "unknown-resource"),
        (&me, "a:0", "unknown-resource"),
        (&me, &me.access.id, "forbidden"),
        (&by_app, id(&app), "forbidden"),
        (&by_app, id(&shared), "forbidden"),
        (&by_app, &me.access.id, "forbidden"),
        (&by_app, "nosuchaccess", "unknown-resource"),
        (&by_shared, id(&shared), "forbidden"),
        (&by_shared, id(&child), "forbidden"),
    ] {
        let result = home.update_access(actor, target, &name);
        assert_eq!(refused(result).0, error, "{target}");
    }
    let version = id(&home.update_access(&by_app, id(&child), &name).unwrap()).to_owned();
    let renamed = home
        .update_access(&me, &version, &json!({ "name": "again" }))
        .unwrap();
    assert_eq!(renamed["modifiedBy"], me.access.id.as_str());
    home.delete_access(&me, id(&shared)).unwrap();
    assert_eq!(
        refused(home.update_access(&me, id(&shared), &name)).0,
        "unknown-resource"
    );

    let grant = json!({ "type": "app", "name": "oauth:client", "permissions": [] });
    let grant = home.create_access(&me, &grant).unwrap();
    assert_eq!(
        refused(home.update_access(&me, id(&grant), &name)).0,
        "forbidden"
    );
    let same = json!({ "name": "oauth:client", "clientData": { "a": 1 } });
    home.update_access(&me, id(&grant), &same).unwrap();
}

#[test]
fn an_update_gives_no_more_than_the_app_has() {
    let Family {
        mut home,
        app,
        child,
        ..
    } = family();
    let (me, by_app) = (home.me(), home.through(&app));
    for actor in [&by_app, &me] {
        let more = json!({ "permissions": on("weight", "manage") });
        let (error, data) = refused(home.update_access(actor, id(&child), &more));
        assert_eq!(error, "invalid-operation");
        assert_eq!(data, json!({ "managingAccessId": id(&app) }));
    }
    let app_version = home
        .update_access(&me, id(&app), &json!({ "expireAfter": 100 }))
        .unwrap();
    let later = json!({ "expireAfter": 200 });
    let (error, data) = refused(home.update_access(&me, id(&child), &later));
    assert_eq!(error, "invalid-operation");
    assert!(data["parentExpires"].is_number() && data["requestedExpires"].is_number());
    let sooner = home
        .update_access(&me, id(&child), &json!({ "expireAfter": 50 }))
        .unwrap();

    // Narrowing the app must not leave the child with more.
    let ending = json!({ "expireAfter": 10 });
    let (error, data) = refused(home.update_access(&me, id(&app_version), &ending));
    assert_eq!(error, "invalid-operation");
    assert_eq!(data, json!({ "offendingChildren": [id(&sooner)] }));
    for narrowed in [
        on("health", "read"),
        on("other", "manage"),
        json!([{ "streamId": "health", "level": "contribute" },
            { "streamId": "weight", "level": "read" }]),
        json!([{ "streamId": "health", "level": "contribute" },
            { "feature": "secretSharing", "setting": "forbidden" }]),
    ] {
        let narrowed = json!({ "permissions": narrowed });
        let (error, data) = refused(home.update_access(&me, id(&app_version), &narrowed));
        assert_eq!(error, "invalid-operation", "{narrowed}");
        assert_eq!(data["offendingChildren"], json!([id(&sooner)]));
    }
    // The name alone is not held up by that, and a child that expired holds nothing up.
    let renamed = home
        .update_access(&me, id(&app_version), &json!({ "name": "renamed" }))
        .unwrap();
    home.clock.advance(Duration::from_secs(50));
    let narrowed = json!({ "permissions": on("health", "read") });
    home.update_access(&me, id(&renamed), &narrowed).unwrap();
    // It comes back with no more than the app has by then.
    let revived = json!({ "expires": null });
    let (error, data) = refused(home.update_access(&me, id(&sooner), &revived));
    assert_eq!(error, "invalid-operation");
    assert_eq!(data, json!({ "managingAccessId": id(&app) }));
}

/// What was added to what is given passes when it is looked at again.
#[test]
fn what_is_carried_over_holds_nothing_up() {
    let mut home = Home::new();
    home.stream("s0", None);
    home.stream("s00", Some("s0"));
    let me = home.me();
    let both = json!([{ "streamId": "s0", "level": "contribute" },
        { "streamId": "s00", "level": "create-only" }]);
    let app = json!({ "type": "app", "name": "app", "permissions": both });
    let app = home.create_access(&me, &app).unwrap();
    let by_app = home.through(&app);
    let asked = json!({ "name": "child", "permissions": on("s0", "contribute") });
    let child = home.create_access(&by_app, &asked).unwrap();
    assert_eq!(child["permissions"], both);
    // One of a former build is denied the stream.
    let denied = json!([{ "streamId": "s0", "level": "contribute" },
        { "streamId": "s00", "level": "none" }]);
    let mut child = id(&child).to_owned();
    for changes in [
        json!({ "expireAfter": 3600 }),
        json!({ "permissions": both }),
        json!({ "permissions": denied }),
        json!({ "permissions": denied, "expireAfter": 1800 }),
    ] {
        let updated = home.update_access(&by_app, &child, &changes).unwrap();
        if let Some(wanted) = changes.get("permissions") {
            assert_eq!(updated["permissions"], *wanted);
        }
        id(&updated).clone_into(&mut child);
    }
    let mut app = id(&app).to_owned();
    for changes in [
        json!({ "expireAfter": 7200 }),
        json!({ "permissions": both }),
        json!({ "permissions": on("s0", "contribute") }),
    ] {
        let updated = home.update_access(&me, &app, &changes).unwrap();
        id(&updated).clone_into(&mut app);
    }
}

/// Streams are deleted and moved under accesses, which stay what they are.
#[test]
fn what_became_of_streams_holds_nothing_up() {
    let mut home = Home::new();
    for (id, parent) in [
        ("a", None),
        ("hidden", Some("a")),
        ("x", Some("a")),
        ("y", Some("a")),
    ] {
        home.stream(id, parent);
    }
    let me = home.me();
    let permissions = json!([{ "streamId": "a", "level": "manage" },
        { "streamId": "hidden", "level": "none" }]);
    let app = json!({ "type": "app", "name": "app", "permissions": permissions });
    let app = home.create_access(&me, &app).unwrap();
    let by_app = home.through(&app);
    let held = json!([{ "streamId": "x", "level": "read" }, { "streamId": "y", "level": "read" }]);
    let asked = json!({ "name": "child", "permissions": held });
    let child = home.create_access(&by_app, &asked).unwrap();
    for _ in 0..2 {
        home.delete_stream(&me, "x", Some(false)).unwrap();
    }
    home.update_stream(&me, "y", &json!({ "parentId": "hidden" }))
        .unwrap();

    let mut child = id(&child).to_owned();
    let more = json!([held[0], held[1], { "streamId": "a", "level": "read" }]);
    for changes in [
        json!({ "name": "renamed" }),
        json!({ "expireAfter": 3600 }),
        json!({ "permissions": held }),
        json!({ "permissions": more }),
    ] {
        let updated = home.update_access(&by_app, &child, &changes).unwrap();
        id(&updated).clone_into(&mut child);
    }
    let mut app = id(&app).to_owned();
    let wider = json!([permissions[0], permissions[1], { "streamId": "z", "level": "read" }]);
    for changes in [
        json!({ "name": "renamed" }),
        json!({ "expireAfter": 7200 }),
        json!({ "permissions": wider }),
    ] {
        let updated = home.update_access(&me, &app, &changes).unwrap();
        id(&updated).clone_into(&mut app);
    }
    // What is new is looked at, and so is what is taken away.
    let new = json!([held[0], { "streamId": "y", "level": "contribute" }]);
    let (error, data) =
        refused(home.update_access(&by_app, &child, &json!({ "permissions": new })));
    assert_eq!(error, "invalid-operation");
    assert_eq!(data, json!({ "managingAccessId": by_app.access.id }));
    let narrowed = json!({ "permissions": on("z", "read") });
    let (error, data) = refused(home.update_access(&me, &app, &narrowed));
    assert_eq!(error, "invalid-operation");
    assert_eq!(data, json!({ "offendingChildren": [child] }));
}

#[test]
fn what_the_server_put_into_client_data_stays() {
    let Family { mut home, app, .. } = family();
    let base = id(&app).to_owned();
    home.attempt(|tx| {
        let mut access = super::super::load(tx.view(), &base)?.unwrap();
        let bound = json!({ "x": 1, "dpop": { "jkt": "key" } });
        access.client_data = bound.as_object().cloned();
        super::put(tx, &base, &access, super::Former::Replaced)
    })
    .unwrap();
    let cleared = home
        .update_access(&home.me(), &base, &json!({ "clientData": null }))
        .unwrap();
    assert_eq!(cleared["clientData"], json!({ "dpop": { "jkt": "key" } }));
}

/// Accesses as they were stored before there were versions.
#[test]
fn what_was_stored_before_is_read() {
    let old = json!({ "token": "t", "type": "personal", "name": "app", "created": 1,
        "createdBy": "system", "modified": 2, "modifiedBy": "system" });
    let read: StoredAccess = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(
        (read.kind, read.serial, read.deleted),
        (AccessType::Personal, 0, None)
    );
    assert_eq!(serde_json::to_value(&read).unwrap(), old);
}

/// The hash of an updated access, as the original server made it.
#[test]
fn hashes_of_versions_are_those_of_the_original() {
    let access = json!({ "token": "o4gwwe81sbmsyed73jwdq5jp", "type": "shared",
        "name": "For the doctor",
        "permissions": [{ "level": "contribute", "streamId": "health" }],
        "created": 1_795_369_714_572_i64, "createdBy": "l9s03gh5ccg32b270bzjauhl",
        "modified": 1_795_369_715_570_i64, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
        "serial": 1 });
    let access: StoredAccess = serde_json::from_value(access).unwrap();
    let wire = access.to_wire("lkxr2horznvess87bs9u2fyk");
    assert_eq!(wire["id"], "lkxr2horznvess87bs9u2fyk:1");
    assert_eq!(
        wire["integrity"],
        "ACCESS:0:sha256-nUYyPIWM+z51e/E1vELo2ybeU5cAotQ5wfFRV8TXE0o="
    );
}
