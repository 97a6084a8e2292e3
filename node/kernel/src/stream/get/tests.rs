//! What each kind of access is shown of the tree.

use serde_json::json;

use super::*;
use crate::Method;
use crate::permission::Permission;
use crate::testing::Home;

/// Ids with their children, as `a(b,c)`.
fn shape(streams: &Value) -> String {
    let one = |stream: &Value| {
        let children = shape(&stream["children"]);
        let id = stream["id"].as_str().unwrap();
        if children.is_empty() {
            id.to_owned()
        } else {
            format!("{id}({children})")
        }
    };
    streams
        .as_array()
        .unwrap()
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(",")
}

fn list(home: &Home, actor: &Actor, params: &Value) -> Result<String, ErrorId> {
    let answer = home
        .read(actor, Method::StreamsGet, params)
        .map_err(|error| error.id())?;
    Ok(shape(&answer["streams"]))
}

fn planted() -> Home {
    let mut home = Home::new();
    for (id, parent) in [
        ("a", None),
        ("b", Some("a")),
        ("c", Some("b")),
        ("d", Some("a")),
        ("e", None),
    ] {
        home.stream(id, parent);
    }
    let me = home.person();
    home.create_stream(
        &me,
        &json!({ "id": "t", "name": "t", "parentId": "e", "trashed": true }),
    )
    .unwrap();
    home
}

#[test]
fn the_log_is_listed_by_access_and_by_method() {
    let mut home = Home::new();
    let me = home.me();
    let app = json!({ "type": "app", "name": "app", "permissions": [] });
    let made = home.create_access(&me, &app).unwrap();
    let app = home.through(&made);
    let children = |actor: &Actor, id: &str| list(&home, actor, &json!({ "parentId": id }));
    let accesses = children(&me, ":_audit:accesses").unwrap();
    let accesses: Vec<&str> = accesses.split(',').collect();
    for id in [me.access.id.as_str(), app.access.id.as_str(), "invalid"] {
        let own = format!(":_audit:access-{id}");
        assert!(accesses.contains(&own.as_str()), "{own} in {accesses:?}");
    }
    let actions = children(&me, ":_audit:actions").unwrap();
    let actions: Vec<&str> = actions.split(',').collect();
    for id in ["events.get", "auth.login"] {
        let own = format!(":_audit:action-{id}");
        assert!(actions.contains(&own.as_str()), "{own} in {actions:?}");
    }
    for id in [":_audit:accesses", ":_audit:actions"] {
        assert_eq!(children(&app, id), Err(ErrorId::Forbidden));
    }
}

const ACCOUNT: &str = ":_system:account(:_system:language,:_system:storageUsed(\
                       :_system:dbDocuments,:_system:attachedFiles),:system:email)";

#[test]
fn a_fresh_account_looks_as_recorded() {
    let home = Home::new();
    let answer = home
        .read(&home.person(), Method::StreamsGet, &json!({}))
        .unwrap();
    assert_eq!(
        shape(&answer["streams"]),
        format!(":_audit:,:_emails:,{ACCOUNT}")
    );
    let audit = &answer["streams"][0];
    assert_eq!(audit["childrenHidden"], true);
    assert_eq!(audit["createdBy"], "system");
    assert_eq!(
        answer["streams"][2]["children"][0]["parentId"],
        ":_system:account"
    );
}

#[test]
fn the_person_sees_everything() {
    let home = planted();
    let me = home.person();
    let roots = format!(":_audit:,:_emails:,a(b(c),d),e,{ACCOUNT}");
    assert_eq!(list(&home, &me, &json!({})), Ok(roots.clone()));
    let all = format!(":_audit:,:_emails:,a(b(c),d),e(t),{ACCOUNT}");
    assert_eq!(list(&home, &me, &json!({ "state": "all" })), Ok(all));
    for (params, expected) in [
        (json!({ "parentId": "a" }), Ok("b(c),d")),
        (json!({ "id": "b" }), Ok("b(c)")),
        (json!({ "parentId": "c" }), Ok("")),
        (
            json!({ "parentId": ":_audit:" }),
            Ok(":_audit:accesses,:_audit:actions"),
        ),
        (json!({ "id": ":_audit:accesses" }), Ok(":_audit:accesses")),
        (
            json!({ "parentId": "nope" }),
            Err(ErrorId::UnknownReferencedResource),
        ),
        (
            json!({ "id": "nope" }),
            Err(ErrorId::UnknownReferencedResource),
        ),
        (
            json!({ "id": "t" }),
            Err(ErrorId::UnknownReferencedResource),
        ),
        (json!({ "id": "t", "state": "all" }), Ok("t")),
        (
            json!({ "id": "a", "parentId": "a" }),
            Err(ErrorId::InvalidRequestStructure),
        ),
        (
            json!({ "id": "*", "parentId": "a" }),
            Err(ErrorId::InvalidRequestStructure),
        ),
        (json!({ "id": "", "parentId": "a" }), Ok("b(c),d")),
        (json!({ "id": "b", "parentId": "" }), Ok("b(c)")),
        (json!({ "id": "", "parentId": "" }), Ok(&*roots)),
        (json!({ "id": "*" }), Ok(&*roots)),
        (
            json!({ "state": "trashed" }),
            Err(ErrorId::InvalidParametersFormat),
        ),
        (
            json!({ "includeDeletionsSince": "x" }),
            Err(ErrorId::InvalidParametersFormat),
        ),
    ] {
        assert_eq!(
            list(&home, &me, &params),
            expected.map(str::to_owned),
            "{params}"
        );
    }
    let with = home
        .read(
            &me,
            Method::StreamsGet,
            &json!({ "id": "c", "includeDeletionsSince": 0 }),
        )
        .unwrap();
    assert_eq!(with["streamDeletions"], json!([]));
    assert_eq!(with["streams"][0]["parentId"], "b");
}

#[test]
fn others_see_what_they_were_given() {
    use Level::{CreateOnly, Manage, None as Nothing, Read};
    let home = planted();
    for (grants, expected) in [
        (vec![("a", Read)], "a(b(c),d)"),
        (vec![("a", Read), ("b", Nothing)], "a(d)"),
        (vec![("a", Read), ("b", Nothing), ("c", Read)], "a(d),c"),
        (vec![("b", CreateOnly)], "b(c)"),
        (vec![("a", Read), ("c", Manage)], "a(b(c),d)"),
        (vec![("*", Read)], ":_emails:,a(b(c),d),e"),
        (
            vec![("*", Read), ("a", Nothing), ("b", Read)],
            ":_emails:,e,b(c)",
        ),
        (vec![("*", Nothing), ("e", Read)], "e"),
        (vec![("nope", Read)], ""),
        (vec![(":_system:language", Read)], ":_system:language"),
        (vec![], ""),
    ] {
        let permissions = grants
            .iter()
            .map(|(id, level)| Permission::stream(*id, *level))
            .collect();
        let app = home.app(permissions);
        let own_audit = ":_audit:access-caccess00000000000000001";
        let expected: Vec<&str> = [expected, own_audit]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        assert_eq!(
            list(&home, &app, &json!({})),
            Ok(expected.join(",")),
            "{grants:?}"
        );
    }
}

#[test]
fn what_lies_below_a_stream_in_the_trash_is_hidden_with_it_unless_it_is_named() {
    let mut home = planted();
    let me = home.person();
    let own_audit = ":_audit:access-caccess00000000000000001";
    let app = |entries: &[(&str, Level)]| {
        let entry = |(id, level): &(&str, Level)| Permission::stream(*id, *level);
        home.app(entries.iter().map(entry).collect())
    };
    let (none, read) = (Level::None, Level::Read);
    let all = app(&[("*", read)]);
    let above = app(&[("a", read)]);
    let below = app(&[("a", none), ("c", read)]);
    let both = app(&[("a", read), ("b", read), ("c", read)]);
    let under = |trees: &str| Ok(format!("{trees}{own_audit}"));
    assert_eq!(list(&home, &both, &json!({})), under("a(b(c),d),"));
    home.delete_stream(&me, "a", None).unwrap();
    for (actor, shown, with_trashed) in [
        (&all, ":_emails:,e,", ":_emails:,a(b(c),d),e(t),"),
        (&above, "", "a(b(c),d),"),
        (&below, "c,", "c,"),
        (&both, "b(c),", "a(b(c),d),"),
    ] {
        assert_eq!(list(&home, actor, &json!({})), under(shown));
        let everything = json!({ "state": "all" });
        assert_eq!(list(&home, actor, &everything), under(with_trashed));
    }
    let named = |params: Value| list(&home, &above, &params);
    assert_eq!(named(json!({ "id": "b" })), Ok("b(c)".to_owned()));
    assert_eq!(named(json!({ "parentId": "b" })), Ok("c".to_owned()));
    assert!(named(json!({ "parentId": "a" })).is_err());
}

#[test]
fn deletions_are_those_of_the_store_that_is_named() {
    let mut home = planted();
    let me = home.person();
    for _ in 0..2 {
        home.delete_stream(&me, "d", None).unwrap();
    }
    for (named, some) in [
        (json!({}), true),
        (json!({ "id": "*" }), true),
        (json!({ "parentId": "a" }), true),
        (json!({ "parentId": ":_system:account" }), false),
        (json!({ "id": ":_system:language" }), false),
        (json!({ "id": ":_audit:accesses" }), false),
        (json!({ "parentId": ":_emails:" }), false),
    ] {
        let mut params = named.clone();
        params["includeDeletionsSince"] = json!(0);
        let answer = home.read(&me, Method::StreamsGet, &params).unwrap();
        let deletions = answer["streamDeletions"].as_array().unwrap();
        assert_eq!(!deletions.is_empty(), some, "{named}");
    }
}

#[test]
fn what_is_hidden_stays_hidden() {
    let home = planted();
    let app = home.app(vec![Permission::stream("b", Level::Read)]);
    let seen = home.read(&app, Method::StreamsGet, &json!({})).unwrap();
    assert_eq!(
        seen["streams"][0]["parentId"],
        Value::Null,
        "its parent is not visible"
    );
    for params in [
        json!({ "id": "a" }),
        json!({ "parentId": "a" }),
        json!({ "id": "nope" }),
    ] {
        assert_eq!(
            list(&home, &app, &params),
            Err(ErrorId::Forbidden),
            "{params}"
        );
    }
    assert_eq!(
        list(&home, &app, &json!({ "parentId": "b" })),
        Ok("c".to_owned())
    );
    let all = home.app(vec![Permission::stream("*", Level::Read)]);
    assert_eq!(
        list(&home, &all, &json!({ "id": "nope" })),
        Err(ErrorId::UnknownReferencedResource)
    );
}

#[test]
fn deletions_are_collected_up_to_a_bound() {
    let mut home = planted();
    let me = home.person();
    for id in ["c", "b", "d"] {
        for _ in 0..2 {
            home.delete_stream(&me, id, None).unwrap();
        }
    }
    let collect = |since, most| home.look(|view| deletions(view, since, most));
    assert_eq!(collect(0.0, 3).unwrap().len(), 3);
    let refused = collect(0.0, 2).unwrap_err();
    assert_eq!(refused.id(), ErrorId::TooManyResults);
    assert_eq!(collect(4e9, 0).unwrap().len(), 0, "none is wanted");
}
