//! Account fields as events.

use homecore_types::{Email, Millis};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::event;
use crate::account;
use crate::integrity;
use crate::number::seconds;
use crate::stream::schema::{AccountStream, Schema};
use crate::testing::Home;

/// The event member by member, as any other event is written.
fn plain(account: &account::Account, stream: &AccountStream, now: Millis) -> Option<String> {
    let (field, kind) = stream.field.as_ref()?;
    let mut map = Map::new();
    for (name, value) in [
        ("id", Value::from(stream.id.as_str())),
        ("streamIds", json!([stream.id])),
        ("time", seconds(now)),
        ("type", Value::from(kind.as_str())),
        ("content", account.field(field)?),
        ("created", seconds(now)),
        ("createdBy", Value::from("system")),
        ("modified", seconds(now)),
        ("modifiedBy", Value::from("system")),
    ] {
        map.insert(name.to_owned(), value);
    }
    let integrity = integrity::of_event(&map);
    map.insert("integrity".to_owned(), Value::from(integrity));
    Some(Value::Object(map).to_string())
}

proptest! {
    #[test]
    fn prepared_events_are_what_any_event_is(
        now in 0_i64..9_000_000_000_000,
        language in "\\PC{0,5}",
        app in any::<String>(),
        referer in proptest::option::of(any::<String>()),
        mailbox in "[a-z\"]{1,8}",
        own in any::<String>(),
    ) {
        let declared = json!({ "systemStreams": { "account": [
            { "id": "own", "name": "Own", "type": "string/pryv" },
        ] } });
        let schema = Schema::parse(&declared).unwrap();
        let mut account = Home::new().look(|view| account::load(view).unwrap());
        account.language = language;
        account.app_id = app;
        account.referer = referer;
        account.declared.insert("own".to_owned(), own);
        if let Ok(email) = Email::parse(format!("{mailbox}@example.com").as_str()) {
            account.email = email;
        }
        for now in [now, now - now % 1_000].map(Millis) {
            for stream in schema.children_of(":_system:account").filter_map(|id| schema.get(id)) {
                let made = event(&account, stream, now);
                let made = made.map(|event| String::from_utf8(event.json.to_vec()).unwrap());
                prop_assert_eq!(made, plain(&account, stream, now), "{}", stream.id);
            }
        }
    }
}
