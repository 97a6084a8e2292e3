//! What is kept is what would be read anew.

use homecore_store::Base;
use serde_json::json;

use super::*;
use crate::Method;
use crate::actor::{Actor, Credential};
use crate::permission::Parents;
use crate::testing::{Home, kernel, new_account, owner};

fn emails(home: &Home) -> Vec<String> {
    let events = home
        .read(&home.person(), Method::EventsGet, &json!({}))
        .unwrap();
    let events = events["events"].as_array().unwrap().iter();
    let of_type = events.filter(|event| event["type"] == "email/string");
    of_type
        .map(|event| event["content"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_changed_account_shows_at_once() {
    let mut home = Home::new();
    home.stream("a", None);
    let before = emails(&home);
    assert_eq!(before, emails(&home), "from what was kept");
    let mut account = home.look(|view| account::load(view).unwrap());
    account.email = homecore_types::Email::parse("new@example.com").unwrap();
    home.attempt(|tx| account::store(tx, &account, Base::Any))
        .unwrap();
    assert_eq!(emails(&home), ["new@example.com"]);
}

#[test]
fn a_write_hands_back_the_tree_that_it_saw() {
    let mut home = Home::new();
    home.stream("a", None);
    let cache = TreeCache::default();
    assert_eq!(cache.known_len(&home.owner.id), None);
    let mut trees = cache.for_writing(&home.owner.id);
    let seen = home.look(|view| trees.current(view)).unwrap();
    cache.keep_committed(&home.owner.id, trees.into_versioned());
    assert_eq!(cache.known_len(&home.owner.id), Some(seen.len()));

    // One that saw an older state does not replace it.
    let older = cache.for_writing(&home.owner.id);
    home.stream("b", None);
    let mut reading = cache.for_reading(&home.owner.id);
    let now = home.look(|view| reading.current(view)).unwrap();
    assert!(now.contains("b"));
    cache.keep_committed(&home.owner.id, older.into_versioned());
    let mut again = cache.for_reading(&home.owner.id);
    assert!(home.look(|view| again.current(view)).unwrap().contains("b"));
    assert_eq!(cache.known_len(&home.owner.id), Some(now.len()));
}

#[test]
fn what_events_show_of_the_account_stays_with_its_state() {
    let home = Home::new();
    let cache = TreeCache::default();
    let read = |cache: &TreeCache| {
        let mut trees = cache.for_reading(&home.owner.id);
        home.look(|view| trees.account(view)).unwrap()
    };
    let first = read(&cache);
    assert!(Arc::ptr_eq(&first, &read(&cache)));
    let account = home.look(|view| account::load(view).unwrap());
    assert_eq!(first.event_indexes, account.event_indexes);
}

#[test]
fn a_tree_of_another_declaration_is_replaced_where_nothing_else_changed() {
    let home = Home::new();
    let declared: Arc<Mutex<Arc<Schema>>> = Arc::new(Mutex::new(Schema::usual()));
    let asked = Arc::clone(&declared);
    let cache = TreeCache::new(SchemaSource::new(move || {
        Arc::clone(&asked.lock().unwrap())
    }));
    let read = |with_account: bool| {
        let mut trees = cache.for_reading(&home.owner.id);
        home.look(|view| {
            if with_account {
                trees.account(view).unwrap();
            }
            trees.current(view).unwrap()
        })
    };
    let other = json!({ "systemStreams": { "account": [
        { "id": "own", "name": "Own", "type": "string/pryv" },
    ] } });
    for with_account in [true, false] {
        let former = read(true);
        let late = cache.for_writing(&home.owner.id);
        *declared.lock().unwrap() = Arc::new(Schema::parse(&other).unwrap());
        let present = read(with_account);
        assert!(!Arc::ptr_eq(&former, &present));
        assert!(Arc::ptr_eq(&present, &read(with_account)), "kept");
        // A write that began before does not bring the former one back.
        cache.keep_committed(&home.owner.id, late.into_versioned());
        assert!(Arc::ptr_eq(&present, &read(with_account)), "still kept");
    }
}

#[tokio::test]
async fn nothing_of_a_former_user_of_the_same_id_is_shown() {
    let (kernel, _) = kernel();
    let owner = owner();
    let sign_up = async || {
        let token = kernel.create_account(&owner.id, new_account()).await;
        let credential = Credential::parse(token.unwrap().expose()).unwrap();
        kernel.authenticate(&owner, credential).await.unwrap()
    };
    let streams = async |me: &Actor| {
        let reply = kernel.streams_get(me, json!({})).await.unwrap();
        String::from_utf8(reply.as_bytes().to_vec()).unwrap()
    };
    let former = sign_up().await;
    let old = json!({ "id": "old", "name": "old" });
    kernel.streams_create(&former, old).await.unwrap();
    assert!(streams(&former).await.contains("\"old\""));
    let late = kernel.trees().for_writing(&owner.id).into_versioned();
    assert!(late.is_some());
    kernel.remove_account(&owner.id).await.unwrap();
    kernel.trees().keep_committed(&owner.id, late);
    let me = sign_up().await;
    for id in ["one", "two", "three", "four"] {
        let new = json!({ "id": id, "name": id });
        kernel.streams_create(&me, new).await.unwrap();
        assert!(!streams(&me).await.contains("\"old\""), "{id}");
    }
}
