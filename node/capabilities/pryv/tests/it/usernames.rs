//! Names that change, over HTTP: every route with every kind of token, and the former name.

use homecore_capability_pryv::AccountDeletion;
use serde_json::json;

use crate::support::{Core, ORIGIN, PASSWORD, Wanted, error, registration};

const CHANGE: &str = "/samplebeta1/account/change-username";
const CHANGES: &str = "/samplebeta1/account/username-changes";

#[tokio::test]
async fn every_route_with_every_kind_of_token() {
    let core = Core::new();
    let me = core.register("samplebeta1").await;
    let mut tokens = vec![];
    for kind in ["app", "shared"] {
        let asked = json!({ "type": kind, "name": kind,
            "permissions": [{ "streamId": "*", "level": "manage" }] });
        let made = core.post_as(&me, "/samplebeta1/accesses", &asked).await;
        let token = made.json()["access"]["token"].as_str().unwrap().to_owned();
        tokens.push((token, error(403, "forbidden")));
    }
    tokens.push(("nosuchtoken".to_owned(), error(403, "invalid-access-token")));
    tokens.push((String::new(), error(401, "invalid-access-token")));
    let body = json!({ "newUsername": "samplebeta1new" });
    for (token, expected) in &tokens {
        let answer = core.post_as(token, CHANGE, &body).await;
        assert_eq!(&answer.error(), expected, "change");
        let answer = core.get_as(token, CHANGES).await;
        assert_eq!(&answer.error(), expected, "changes");
    }
    let changes = core.get_as(&me, CHANGES).await;
    assert_eq!(changes.json()["usernameChangesRemaining"], 2);
    for (name, status, id) in [
        ("a", 400, "invalid-parameters-format"),
        ("samplebeta1", 400, "invalid-operation"),
        ("system", 400, "invalid-operation"),
        ("security", 400, "invalid-operation"),
        ("r-abcd2345", 400, "invalid-operation"),
    ] {
        let body = json!({ "newUsername": name });
        let answer = core.post_as(&me, CHANGE, &body).await;
        assert_eq!(answer.error(), error(status, id), "{name}");
    }
    core.register("samplebeta2").await;
    let body = json!({ "newUsername": "samplebeta2" });
    let taken = core.post_as(&me, CHANGE, &body).await;
    assert_eq!(taken.error(), error(409, "item-already-exists"));
    let data = taken.json()["error"]["data"].clone();
    assert_eq!(data, json!({ "username": "samplebeta2" }));
}

#[tokio::test]
async fn the_former_name_leads_to_the_account() {
    let core = Core::of(Wanted {
        deletion: AccountDeletion {
            by_admin: false,
            by_person: true,
        },
        ..Wanted::default()
    });
    let me = core.register("samplebeta1").await;
    let body = json!({ "newUsername": "samplebeta1new" });
    let changed = core.post_as(&me, CHANGE, &body).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["usernameChangesRemaining"], 1);
    assert_eq!(changed.json()["account"]["username"], "samplebeta1new");
    for name in ["samplebeta1", "samplebeta1new"] {
        let account = core.get_as(&me, &format!("/{name}/account")).await;
        assert_eq!(account.json()["account"]["username"], "samplebeta1new");
        let info = core.get_as(&me, &format!("/{name}/access-info")).await;
        assert_eq!(info.json()["user"]["username"], "samplebeta1new");
        let taken = core.get(&format!("/reg/{name}/check_username")).await;
        assert_eq!(taken.json()["reserved"], true);
        let mut again = registration(name);
        again["email"] = json!("other@example.com");
        let refused = core.post("/users", &again).await;
        assert_eq!(refused.error(), error(409, "item-already-exists"));
        for typed in ["samplebeta1", "samplebeta1new"] {
            let body = json!({ "username": typed, "password": PASSWORD, "appId": "sample-app" });
            let request = http::Request::post(format!("/{name}/auth/login"))
                .header("content-type", "application/json")
                .header("origin", ORIGIN);
            let answer = core.ask(request, body.to_string()).await;
            assert_eq!(answer.status, 200, "{name} {typed}: {}", answer.text);
            let endpoint = answer.json()["apiEndpoint"].as_str().unwrap().to_owned();
            assert!(endpoint.ends_with("/samplebeta1new/"), "{endpoint}");
        }
    }
    let gone = core
        .send_as(&me, "DELETE", "/users/samplebeta1", None)
        .await;
    assert_eq!(gone.json()["userDeletion"]["username"], "samplebeta1new");
    for name in ["samplebeta1", "samplebeta1new"] {
        let answer = core.get_as(&me, &format!("/{name}/account")).await;
        assert_eq!(answer.status, 404);
    }
}
