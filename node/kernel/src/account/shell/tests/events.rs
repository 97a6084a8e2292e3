//! Declared fields and their events: by which declaration they are judged, and that it is one rule for both.

use homecore_types::Millis;

use super::super::Looks;
use super::*;

#[tokio::test]
async fn what_is_refused_is_judged_once_more_by_the_present_declaration() {
    let declared = |version, of: Value| {
        let declared = json!({ "systemStreams": { "account": of } });
        Arc::new(Schema::parse(&declared).unwrap().of_version(version))
    };
    let stream = |pattern: &str| json!([{ "id": "plan", "name": "Plan", "type": "string/pryv", "regexValidation": pattern }]);
    let present = || declared(2, stream("^b$"));
    let new = json!({ "streamIds": [":system:plan"], "type": "string/pryv", "content": "b" });
    let set = |content: &str| json!({ "id": ":system:plan", "update": { "content": content } });
    let field = |name: &str, value: &str| json!({ "update": { name: value } });
    for former in [json!([]), stream("^a$")] {
        for (method, good, bad) in [
            (
                Method::AccountUpdate,
                field("plan", "b"),
                field("plan", "c"),
            ),
            (
                Method::AccountUpdate,
                field("plan", "b"),
                field("nothing", "b"),
            ),
            (Method::EventsCreate, new.clone(), set("b")),
            (Method::EventsUpdate, set("b"), set("c")),
        ] {
            let known: Declaration = Arc::new(Mutex::new(declared(1, former.clone())));
            let of_core = Arc::clone(&known);
            let source = SchemaSource::new(move || Arc::clone(&of_core.lock().unwrap()));
            let it = fixture_with(|settings| settings.account_schema = source).await;
            assert!(it.call(method, good.clone()).await.is_err(), "as before");
            *it.platform.newer.lock().unwrap() = Some((known, present()));
            it.clock.advance(Duration::from_millis(250));
            it.call(method, good).await.unwrap();
            assert!(it.call(method, bad).await.is_err(), "{former}");
            assert_eq!(it.account().await["plan"], "b");
        }
    }
}

#[tokio::test]
async fn the_content_of_a_new_event_is_judged_as_that_of_a_changed_one() {
    let declared = json!({ "systemStreams": { "account": [
        { "id": "phone", "name": "Phone", "type": "string/pryv" },
    ] } });
    let it = fixture_with(|settings| settings.account_schema = source(&declared)).await;
    for (stream, kind) in [
        (":system:phone", "string/pryv"),
        (":system:phone", "count/steps"),
        (":_system:language", "language/iso-639-1"),
        (":system:email", "email/string"),
    ] {
        for content in [
            json!(5),
            json!(1.5),
            json!("text"),
            json!("de"),
            json!("longer"),
            json!("new@example.com"),
            json!(true),
            json!(null),
            json!({}),
        ] {
            let shown = |result: Result<Value, Error>| {
                let result = result.map(|reply| reply["event"]["content"].clone());
                result.map_err(|error| error.id())
            };
            let new = json!({ "streamIds": [stream], "type": kind, "content": content });
            let new = shown(it.call(Method::EventsCreate, new).await);
            let set = json!({ "id": stream, "update": { "content": content } });
            let set = shown(it.call(Method::EventsUpdate, set).await);
            assert_eq!(new, set, "{stream} {kind} {content}");
        }
    }
    let number = json!({ "streamIds": [":system:phone"], "type": "string/pryv", "content": 5 });
    it.call(Method::EventsCreate, number).await.unwrap();
    assert_eq!(it.account().await["phone"], "5");
}

#[test]
fn refusals_do_not_ask_the_platform_each_time() {
    let looks = Looks::default();
    let asked: Vec<bool> = [0, 0, 249, 250, 400, 100, 120, 350]
        .into_iter()
        .map(|now| looks.may_look(Millis(now)))
        .collect();
    let [first, again, soon, later, between, back, still, last] = asked[..] else {
        panic!("{asked:?}");
    };
    assert!(first && later && back && last);
    assert!(!again && !soon && !between && !still);
}
