//! Every rule of profiles.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::access::Access;
use crate::testing::{Home, json as read_json};

fn read(reply: Result<Reply, ProfileError>) -> Value {
    read_json(reply.unwrap().as_bytes())["profile"].take()
}

fn seen(home: &Home, actor: &Actor, which: Which) -> Value {
    read(home.look(|view| get(view, actor, which)))
}

fn update(
    home: &mut Home,
    actor: &Actor,
    id: &str,
    changes: &Value,
) -> Result<Reply, ProfileError> {
    let params = json!({ "id": id, "update": changes });
    home.attempt(|tx| update_named(tx, actor, &params))
}

fn update_of_app(home: &mut Home, actor: &Actor, changes: &Value) -> Result<Reply, ProfileError> {
    let params = json!({ "update": changes });
    home.attempt(|tx| update_app(tx, actor, &params))
}

/// The same access under the name of another app.
fn named_app(actor: &Actor, name: &str) -> Actor {
    let mut stored = actor.access.stored.clone();
    stored.name = name.to_owned();
    Actor {
        access: Arc::new(Access::new(actor.access.id.clone(), stored)),
        ..actor.clone()
    }
}

#[test]
fn changes_are_merged_by_key() {
    let mut home = Home::new();
    let me = home.person();
    assert_eq!(seen(&home, &me, Which::Public), json!({}));
    let first = json!({ "city": "Lausanne", "n": 1, "deep": { "a": 1, "b": 2 } });
    assert_eq!(read(update(&mut home, &me, "public", &first)), first);
    let changes = json!({ "n": null, "deep": { "b": null }, "never": null });
    let expected = json!({ "city": "Lausanne", "deep": { "b": null } });
    assert_eq!(read(update(&mut home, &me, "public", &changes)), expected);
    assert_eq!(seen(&home, &me, Which::Public), expected);
    assert_eq!(read(update(&mut home, &me, "public", &json!({}))), expected);
    assert_eq!(seen(&home, &me, Which::Private), json!({}));
}

#[test]
fn who_may_read_and_write() {
    let mut home = Home::new();
    let (me, app, shared) = (home.person(), home.app(Vec::new()), home.shared(Vec::new()));
    update(&mut home, &me, "public", &json!({ "city": "Lausanne" })).unwrap();
    update(&mut home, &me, "private", &json!({ "secret": 1 })).unwrap();
    for actor in [&me, &app, &shared] {
        let public = seen(&home, actor, Which::Public);
        assert_eq!(public, json!({ "city": "Lausanne" }));
    }
    for actor in [&app, &shared] {
        for id in ["public", "private"] {
            let params = json!({ "id": id });
            let read = home.look(|view| get_named(view, actor, &params));
            assert_eq!(read.unwrap_err().id(), ErrorId::Forbidden, "{id}");
            let changed = update(&mut home, actor, id, &json!({ "x": 1 }));
            assert_eq!(changed.unwrap_err().id(), ErrorId::Forbidden, "{id}");
        }
    }
    for actor in [&me, &shared] {
        let read = home.look(|view| get(view, actor, Which::App));
        assert_eq!(read.unwrap_err().id(), ErrorId::InvalidOperation);
        let changed = update_of_app(&mut home, actor, &json!({ "x": 1 }));
        assert_eq!(changed.unwrap_err().id(), ErrorId::InvalidOperation);
    }
    let private = home.look(|view| get_named(view, &me, &json!({ "id": "private" })));
    assert_eq!(read(private), json!({ "secret": 1 }));
}

#[test]
fn each_app_has_its_own() {
    let mut home = Home::new();
    let me = home.person();
    let app = home.app(Vec::new());
    let long = "n".repeat(100_000);
    let names = [
        "one",
        "public",
        "private",
        "two",
        &long,
        &format!("{long}x"),
    ];
    for name in names {
        let app = named_app(&app, name);
        assert_eq!(seen(&home, &app, Which::App), json!({}), "{name:.20}");
        let changes = json!({ "name": name });
        let set = read(update_of_app(&mut home, &app, &changes));
        assert_eq!(set, changes, "{name:.20}");
    }
    for name in names {
        let app = named_app(&app, name);
        let expected = json!({ "name": name });
        assert_eq!(seen(&home, &app, Which::App), expected, "{name:.20}");
    }
    assert_eq!(seen(&home, &me, Which::Public), json!({}));
    assert_eq!(seen(&home, &me, Which::Private), json!({}));
}

#[test]
fn the_form_and_the_size_are_checked() {
    let mut home = Home::new();
    let (me, app) = (home.person(), home.app(Vec::new()));
    for (params, codes) in [
        (json!({}), vec!["OBJECT_MISSING_REQUIRED_PROPERTY"; 2]),
        (json!({ "id": "app", "update": {} }), vec!["ENUM_MISMATCH"]),
        (
            json!({ "id": "public", "update": [] }),
            vec!["INVALID_TYPE"],
        ),
        (json!({ "id": 1, "update": null }), vec!["INVALID_TYPE"; 2]),
    ] {
        let refused = home.attempt(|tx| update_named(tx, &me, &params));
        let Err(ProfileError::Parameters(invalid)) = refused else {
            panic!("{refused:?}")
        };
        let found: Vec<&str> = invalid.0.iter().map(|violation| &*violation.code).collect();
        assert_eq!(found, codes, "{params}");
    }
    let changed = update_of_app(&mut home, &app, &json!("x"));
    assert_eq!(changed.unwrap_err().id(), ErrorId::InvalidParametersFormat);
    let large = "x".repeat(limits::PROFILE_BYTES_MAX);
    for changes in [json!({ "a": large.as_str() }), json!({ large.as_str(): 1 })] {
        let changed = update(&mut home, &me, "public", &changes);
        assert_eq!(changed.unwrap_err().id(), ErrorId::InvalidOperation);
    }
    assert_eq!(seen(&home, &me, Which::Public), json!({}));
}
