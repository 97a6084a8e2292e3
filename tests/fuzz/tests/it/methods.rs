//! Parameters of the API's methods, as JSON, against a user with some data: refused with an error of the
//! API, or done; never a failure of the core's own.

use std::sync::Arc;

use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_kernel::account::NewAccount;
use homecore_kernel::attachment::token::ReadTokenKey;
use homecore_kernel::trust::{TrustedApps, TrustedAppsSource};
use homecore_kernel::{Actor, Credential, Kernel, Method, Owner, Settings};
use homecore_store::blob::BlobOptions;
use homecore_store::memory::{MemoryBlobs, MemoryEngine, MemoryJournal};
use homecore_store::users::Options;
use homecore_store::{BlobStore, Users};
use homecore_types::{Clock, Email, ErrorId, Secret, SystemClock, SystemEntropy, UserId, Username};
use serde_json::{Value, json};

use crate::{Allocated, MEGABYTE};

/// Methods that need more than a user: a platform, mails, or the time to hash a password.
const LEFT_OUT: [&str; 4] = ["auth.", "account.", "mfa.", "sharedSecrets."];

struct Home {
    runtime: tokio::runtime::Runtime,
    kernel: Kernel,
    actor: Actor,
}

fn home() -> Home {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options {
        writers: 1,
        readers: 1,
        ..Options::default()
    };
    let users = Users::start(
        Arc::new(MemoryEngine::new()),
        Arc::new(MemoryJournal::new()),
        Arc::clone(&clock),
        options,
    )
    .unwrap();
    let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
    let settings = Settings {
        read_token_key: ReadTokenKey::fixed(Secret::new("files-secret")),
        trusted_apps: TrustedAppsSource::fixed(
            TrustedApps::parse("*@https://*.example.com*").unwrap(),
        ),
        ..Settings::default()
    };
    let kernel = Kernel::new(
        users,
        BlobStore::new(blobs, &BlobOptions::default()),
        clock,
        Arc::new(SystemEntropy),
        settings,
    )
    .unwrap();
    let owner = Owner {
        id: UserId::parse("u23456789012345678901234").unwrap(),
        username: Username::parse("alice").unwrap(),
        alias: None,
    };
    let new = NewAccount {
        username: owner.username.clone(),
        password: Secret::new("a-password-1").into(),
        email: Email::parse("alice@example.com").unwrap(),
        language: "en".to_owned(),
        app: "app".to_owned(),
        invitation: None,
        referer: None,
        declared: [].into(),
    };
    let actor = runtime.block_on(async {
        let token = kernel.create_account(&owner.id, new).await.unwrap();
        let credential = Credential::parse(token.expose()).unwrap();
        kernel.authenticate(&owner, credential).await.unwrap()
    });
    let home = Home {
        runtime,
        kernel,
        actor,
    };
    for (method, parameters) in [
        ("streams.create", json!({ "id": "a", "name": "A" })),
        (
            "streams.create",
            json!({ "id": "b", "name": "B", "parentId": "a" }),
        ),
        (
            "events.create",
            json!({ "id": "cevent00000000000000001a", "streamIds": ["b"], "type": "note/txt", "content": "x" }),
        ),
    ] {
        let method = Method::parse(method).unwrap();
        let made = home
            .runtime
            .block_on(home.kernel.call(&home.actor, method, parameters));
        made.unwrap_or_else(|error| panic!("{method:?}: {error:?} {:?}", error.data()));
    }
    home
}

impl Home {
    fn call(&self, text: &[u8]) -> Verdict {
        let Ok(Value::Object(call)) = serde_json::from_slice(text) else {
            return Ok("no call".into());
        };
        let id = call
            .get("method")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(method) = Method::parse(id) else {
            return Ok("no method".into());
        };
        if LEFT_OUT.iter().any(|prefix| id.starts_with(prefix)) {
            return Ok("left out".into());
        }
        let parameters = call.get("params").cloned().unwrap_or_default();
        let answered = self.runtime.block_on(async {
            if id == "events.get" {
                let mut pages = self.kernel.events_get(&self.actor, parameters).await?;
                let mut parts = 0;
                while pages.next().await?.is_some() {
                    parts += 1;
                    assert!(parts < 1_000, "it does not end");
                }
                return Ok(());
            }
            self.kernel
                .call(&self.actor, method, parameters)
                .await
                .map(drop)
        });
        match answered {
            Ok(()) => Ok(format!("{id}: done").into()),
            Err(error) if error.id() == ErrorId::UnexpectedError => Err(format!("{id}: {error:?}")),
            Err(error) => Ok(format!("{id}: {}", error.id().wire()).into()),
        }
    }
}

/// What takes the place of a value.
fn atom(chance: &mut Chance) -> Value {
    match chance.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(f64::MAX),
        5 => json!([]),
        6 => json!({}),
        7 => json!("x".repeat(1 << chance.below(18))),
        8 => json!((0..chance.below(3_000)).collect::<Vec<_>>()),
        9 => json!({ "a": { "": null, "$x": [], "a.b": "\u{0}" } }),
        10 => (0..chance.below(100)).fold(json!(1), |inner, _| json!([inner])),
        _ => json!(chance.text(&[
            "",
            "*",
            "#*",
            "a",
            "b",
            "c",
            "!",
            "a!",
            "\u{0}",
            "\u{feff}é\u{202e}",
            ":_system:account",
            ":audit:accesses",
            "note/txt",
            "a/b",
            "..",
            "null",
            "cevent00000000000000001a",
            "1e3",
            "__proto__",
            "'; DROP",
            "%00",
        ])),
    }
}

/// Changes one value somewhere inside.
pub(crate) fn change(value: &mut Value, chance: &mut Chance) {
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if length == 0 || chance.one_in(6) {
        *value = atom(chance);
        return;
    }
    let at = chance.below(length);
    match value {
        Value::Array(items) => match chance.below(8) {
            0 => drop(items.remove(at)),
            1 => items.push(items[at].clone()),
            _ => change(&mut items[at], chance),
        },
        Value::Object(members) => {
            let name = members.keys().nth(at).cloned().unwrap_or_default();
            match chance.below(10) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(
                    chance.text(&["id", "trashed", "auth", "x", "time", "parentId"]),
                    atom(chance),
                )),
                _ => change(&mut members[&name], chance),
            }
        }
        _ => {}
    }
}

fn made(seeds: &[Value], chance: &mut Chance) -> Vec<u8> {
    let mut call = chance.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..=chance.below(3) {
        change(&mut call["params"], chance);
    }
    call.to_string().into_bytes()
}

#[test]
fn parameters_of_methods() {
    let home = home();
    let calls = [
        json!({ "method": "events.get", "params": { "streams": [{ "any": ["a"], "not": ["b"] }], "limit": 5, "types": ["note/*"] } }),
        json!({ "method": "events.get", "params": { "streams": ["*"], "content": [{ "path": "$", "prefix": "x" }], "state": "all" } }),
        json!({ "method": "events.get", "params": { "modifiedSince": 0, "includeDeletions": true, "fromTime": -1e300, "toTime": 1e300 } }),
        json!({ "method": "events.getOne", "params": { "id": "cevent00000000000000001a", "includeHistory": true } }),
        json!({ "method": "events.create", "params": { "streamIds": ["b", "a"], "type": "mass/kg", "content": 5.5, "time": 1.5, "duration": 3, "description": "d", "clientData": { "x": [1] } } }),
        json!({ "method": "events.update", "params": { "id": "cevent00000000000000001a", "update": { "content": "y", "clientData": { "x": null }, "time": 3 } } }),
        json!({ "method": "events.delete", "params": { "id": "nobody" } }),
        json!({ "method": "streams.get", "params": { "parentId": "a", "state": "all", "includeDeletionsSince": 1 } }),
        json!({ "method": "streams.create", "params": { "id": "c", "name": "C", "parentId": "b", "clientData": {} } }),
        json!({ "method": "streams.update", "params": { "id": "b", "update": { "name": "BB", "parentId": null } } }),
        json!({ "method": "streams.delete", "params": { "id": "nobody", "mergeEventsWithParent": true } }),
        json!({ "method": "accesses.create", "params": { "name": "n", "type": "shared", "permissions": [{ "streamId": "a", "level": "read" }, { "feature": "selfRevoke", "setting": "forbidden" }], "expireAfter": 10 } }),
        json!({ "method": "accesses.checkApp", "params": { "requestingAppId": "x", "requestedPermissions": [{ "streamId": "z", "level": "manage", "defaultName": "Z" }] } }),
        json!({ "method": "accesses.get", "params": { "includeExpired": true, "includeDeletions": true } }),
        json!({ "method": "profile.update", "params": { "id": "private", "update": { "a": { "b": null } } } }),
        json!({ "method": "getAccessInfo", "params": {} }),
    ];
    let seeds = calls
        .iter()
        .map(|call| call.to_string().into_bytes())
        .collect();
    let words = [
        "null",
        "1e999",
        "-1",
        "1e308",
        "\"\"",
        "[]",
        "{}",
        "[",
        "{\"a\":",
        "\"*\"",
        "\"#*\"",
        "\"!\"",
        "\"a\",",
        "\"b\"",
        "true",
        "\"id\":\"a\",",
        "\"parentId\":\"b\"",
        "\"update\":{",
        "\\u0000",
        "\\ud800",
        "\u{feff}",
        ":_system:account",
        ":audit:",
        "\"streamIds\":[\"a\"],",
        "\"trashed\":true,",
        "18446744073709551616",
    ];
    let campaign = Campaign::new("methods", seeds)
        .words(&words)
        .made_by(|chance| made(&calls, chance))
        .bytes_max(256 * 1024)
        .memory_max(&Allocated, 64 * MEGABYTE);
    let report = campaign.run(|text| home.call(text));
    for end in [
        "events.get: done",
        "events.create: done",
        "streams.create: done",
        "accesses.create: ",
    ] {
        assert!(report.ended(end) > 0, "never came to {end:?}: {report}");
    }
}
