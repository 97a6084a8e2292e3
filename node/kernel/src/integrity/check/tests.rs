//! Everything that the kernel writes passes; what was changed behind its back does not.

use homecore_store::{Base, Write};
use serde_json::json;

use super::*;
use crate::testing::{Home, kernel, new_account, owner};

const ID: &str = "ckfixture000000000000001";

fn one(home: &Home, id: &str) -> Document {
    home.look(|view| view.get(Kind::Event, id))
        .unwrap()
        .unwrap()
}

#[test]
fn events_pass_at_every_stage_of_their_life() {
    let mut home = Home::new();
    home.stream("weight", None);
    let me = home.person();
    let new = json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg", "content": 1e-7,
        "time": 1.5, "clientData": { "z": null, "a": [0.1, "\u{ad}"] } });
    home.create_event(&me, &new).unwrap();
    assert_eq!(verify(&one(&home, ID)), Ok(()));
    home.update_event(&me, ID, &json!({ "duration": null }))
        .unwrap();
    assert_eq!(verify(&one(&home, ID)), Ok(()));
    home.delete_event(&me, ID).unwrap();
    assert_eq!(verify(&one(&home, ID)), Ok(()));
    home.delete_event(&me, ID).unwrap();
    let tombstone = one(&home, ID);
    assert!(tombstone.deleted);
    assert_eq!(verify(&tombstone), Ok(()));
}

#[test]
fn what_was_changed_is_found() {
    let mut home = Home::new();
    home.stream("weight", None);
    let me = home.person();
    let new = json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg", "content": 1 });
    let made = home.create_event(&me, &new).unwrap();
    let changed = |body: String| Document {
        body: body.into(),
        ..one(&home, ID)
    };
    let mut event = made.as_object().unwrap().clone();
    event.insert("content".to_owned(), json!(2));
    let computed = of_event(&event);
    let text = Value::Object(event.clone()).to_string();
    assert_eq!(
        verify(&changed(text)),
        Err(Fault::Differs {
            stored: made["integrity"].as_str().unwrap().to_owned(),
            computed,
        })
    );
    event.shift_remove("integrity");
    let text = Value::Object(event).to_string();
    assert_eq!(verify(&changed(text)), Err(Fault::Missing));
    let unreadable = verify(&changed("[secret".to_owned())).unwrap_err();
    assert!(!unreadable.to_string().contains("secret"), "{unreadable}");
}

#[test]
fn former_versions_are_checked_too() {
    let mut home = Home::new();
    std::sync::Arc::make_mut(&mut home.context.settings).keep_history = true;
    home.stream("weight", None);
    let me = home.person();
    let new = json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg", "content": 0 });
    home.create_event(&me, &new).unwrap();
    for content in 1..20 {
        home.update_event(&me, ID, &json!({ "content": content }))
            .unwrap();
    }
    let page = home
        .look(|view| check_page(view, Kind::Event, None))
        .unwrap();
    let expected = Checked {
        events: 1,
        event_versions: 19,
        ..Checked::default()
    };
    assert_eq!(
        (page.checked, page.mismatches, page.next),
        (expected, vec![], None)
    );
    let former = Document {
        body: "{}".into(),
        ..one(&home, ID)
    };
    let mut page = Page::default();
    page.look_at(&former, true);
    assert!(page.mismatches[0].is_former);
    assert_eq!(page.mismatches[0].fault, Fault::Missing);
}

#[tokio::test]
async fn a_users_items_are_counted() {
    let (kernel, _) = kernel();
    let user = owner().id;
    kernel.create_account(&user, new_account()).await.unwrap();
    kernel
        .write(&user, |writer| {
            writer.attempt(|tx| {
                for n in 0..PAGE {
                    let wrong = json!({ "id": n, "integrity": "x" }).to_string();
                    let write = Write {
                        kind: Kind::Event,
                        id: format!("e{n}"),
                        base: Base::Absent,
                        body: wrong.into(),
                        deleted: n == 0,
                        entries: Vec::new(),
                        keep_previous: false,
                    };
                    tx.put(write).map(|_rev| ()).unwrap();
                }
                Ok::<(), StoreError>(())
            })
        })
        .await
        .unwrap()
        .unwrap();
    let mut found = Vec::new();
    let checked = check(kernel.users(), &user, &mut |mismatch| found.push(mismatch))
        .await
        .unwrap();
    let expected = Checked {
        events: 49,
        event_deletions: 1,
        event_versions: 0,
        accesses: 1,
    };
    assert_eq!(checked, expected);
    assert_eq!(found.len(), PAGE);
}
