//! Who may delete which access, and what goes with it.

use std::time::Duration;

use homecore_types::Secret;
use serde_json::{Value, json};

use crate::Actor;
use crate::access::token::{self, TokenError};
use crate::method::Method;
use crate::session;
use crate::testing::Home;

fn create(home: &mut Home, actor: &Actor, name: &str, extra: &Value) -> Value {
    let on = json!([{ "streamId": "health", "level": "manage" }]);
    let mut asked = json!({ "name": name, "permissions": on });
    for (name, value) in extra.as_object().unwrap() {
        asked[name] = value.clone();
    }
    home.create_access(actor, &asked).unwrap()
}

fn id(access: &Value) -> &str {
    access["id"].as_str().unwrap()
}

fn refused(home: &mut Home, actor: &Actor, access: &str) -> &'static str {
    home.delete_access(actor, access).unwrap_err().id().wire()
}

fn opens(home: &Home, access: &Value) -> Result<(), TokenError> {
    let token = Secret::new(access["token"].as_str().unwrap());
    home.look(|view| token::find(view, &home.context, &token))
        .map(|_| ())
}

#[test]
fn an_app_goes_with_what_it_created() {
    let mut home = Home::new();
    let me = home.me();
    let app = create(&mut home, &me, "app", &json!({ "type": "app" }));
    let through = home.through(&app);
    let child = create(&mut home, &through, "child", &json!({}));
    let expired = create(&mut home, &through, "expired", &json!({ "expireAfter": 1 }));
    let other = create(&mut home, &me, "other", &json!({}));
    home.clock.advance(Duration::from_secs(1));
    for access in [&app, &child, &other] {
        opens(&home, access).unwrap();
    }
    let deleted = home.delete_access(&me, id(&app)).unwrap();
    let wanted = json!({ "accessDeletion": { "id": id(&app) },
        "relatedDeletions": [{ "id": id(&child) }] });
    assert_eq!(deleted, wanted);
    for access in [&app, &child, &expired] {
        assert!(matches!(opens(&home, access), Err(TokenError::Unknown)));
    }
    opens(&home, &other).unwrap();
    assert_eq!(refused(&mut home, &me, id(&app)), "unknown-resource");

    let lonely = create(&mut home, &me, "lonely", &json!({ "type": "app" }));
    let deleted = home.delete_access(&me, id(&lonely)).unwrap();
    assert_eq!(deleted, json!({ "accessDeletion": { "id": id(&lonely) } }));
}

#[test]
fn only_expired_children_leave_an_empty_list() {
    let mut home = Home::new();
    let me = home.me();
    let app = create(&mut home, &me, "app", &json!({ "type": "app" }));
    let through = home.through(&app);
    create(&mut home, &through, "child", &json!({ "expireAfter": 0 }));
    let deleted = home.delete_access(&me, id(&app)).unwrap();
    assert_eq!(deleted["relatedDeletions"], json!([]));
}

#[test]
fn who_may_delete_what() {
    let mut home = Home::new();
    let me = home.me();
    let app = create(&mut home, &me, "app", &json!({ "type": "app" }));
    let through_app = home.through(&app);
    let child = create(&mut home, &through_app, "child", &json!({}));
    let shared = create(&mut home, &me, "shared", &json!({}));
    let through_shared = home.through(&shared);
    let kept = json!({ "permissions": [{ "streamId": "health", "level": "read" },
        { "feature": "selfRevoke", "setting": "forbidden" }] });
    let kept = create(&mut home, &me, "kept", &kept);
    let through_kept = home.through(&kept);

    for (actor, others) in [
        (&through_app, [id(&shared), &me.access.id]),
        (&through_shared, [id(&app), id(&child)]),
    ] {
        for other in others {
            assert_eq!(refused(&mut home, actor, other), "forbidden", "{other}");
        }
        assert_eq!(
            refused(&mut home, actor, "nosuchaccess"),
            "unknown-resource"
        );
    }
    assert_eq!(refused(&mut home, &through_kept, id(&kept)), "forbidden");
    assert_eq!(refused(&mut home, &me, "nosuchaccess"), "unknown-resource");
    assert_eq!(
        refused(&mut home, &me, &format!("{}:1", id(&app))),
        "stale-resource"
    );

    home.delete_access(&through_app, id(&child)).unwrap();
    assert_eq!(
        refused(&mut home, &through_app, id(&child)),
        "unknown-resource"
    );
    home.delete_access(&through_shared, id(&shared)).unwrap();
    home.delete_access(&me, id(&kept)).unwrap();
    home.delete_access(&through_app, id(&app)).unwrap();
    let left = home.read(&me, Method::AccessesGet, &json!({})).unwrap();
    assert_eq!(left["accesses"].as_array().unwrap().len(), 1);
}

#[test]
fn a_personal_access_goes_with_its_session() {
    let mut home = Home::new();
    let me = home.me();
    let app = create(&mut home, &me, "app", &json!({ "type": "app" }));
    let token = me.access.stored.token.clone();
    home.delete_access(&me, &me.access.id).unwrap();
    assert!(matches!(
        opens(&home, &json!({ "token": token })),
        Err(TokenError::Unknown)
    ));
    let session = home
        .look(|view| session::load(view, &me.access.id))
        .unwrap();
    assert_eq!(session, None);
    // What it created stays.
    opens(&home, &app).unwrap();
}
