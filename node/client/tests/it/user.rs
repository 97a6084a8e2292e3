//! Acting for a user: batches and the few helpers.

use homecore_client::{Call, ClientError};
use homecore_types::{ErrorId, Secret};
use serde_json::{Value, json};

use crate::fake::{Cluster, user};

#[tokio::test]
async fn a_batch_gives_one_result_for_each_call() {
    let cluster = Cluster::start(2).await;
    cluster.house(&user("alice"), 1);
    let alice = cluster.client(0).user(&user("alice"), Secret::new("tok"));
    cluster.answer_first(|asked| {
        if asked.core != 1 {
            return None;
        }
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("POST", "/alice/")
        );
        assert_eq!(
            asked.body,
            r#"[{"method":"a.b","params":{"x":1}},{"method":"c","params":[]}]"#
        );
        let error = json!({"id": "unknown-referenced-resource", "message": "m", "data": {"k": 1}});
        Some((
            200,
            json!({"results": [{"stream": {}}, {"error": error}], "meta": {}}),
        ))
    });
    let calls = [Call::new("a.b", json!({"x": 1})), Call::new("c", json!([]))];
    let results = alice.api(&calls).await.unwrap();
    assert_eq!(results[0], Ok(json!({"stream": {}})));
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.known_id(), Some(ErrorId::UnknownReferencedResource));
    assert_eq!(
        (error.status, error.data.clone()),
        (None, Some(json!({"k": 1})))
    );
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_an_error() {
    let cluster = Cluster::start(1).await;
    let alice = cluster.client(0).user(&user("alice"), Secret::new("tok"));
    let too_many = vec![Call::new("a", Value::Null); 10_001];
    assert!(matches!(
        alice.api(&too_many).await,
        Err(ClientError::TooManyCalls { .. })
    ));
    for body in [
        json!({"results": []}),
        json!({"results": {}}),
        json!({}),
        json!({"results": [{"error": 7}]}),
    ] {
        cluster.answer_first(move |_| Some((200, body.clone())));
        let error = alice.api(&[Call::new("a", Value::Null)]).await.unwrap_err();
        assert!(
            matches!(error, ClientError::UnexpectedAnswer { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn helpers_ask_what_their_names_say() {
    let cluster = Cluster::start(1).await;
    let alice = cluster.client(0).user(&user("alice"), Secret::new("tok"));
    cluster.answer_first(|asked| {
        assert_eq!(asked.authorization.as_deref(), Some("tok"));
        let what = format!("{} {} {}", asked.method, asked.path, asked.body);
        Some((
            200,
            json!({"events": what, "event": what, "streams": what, "stream": what, "all": what}),
        ))
    });
    assert_eq!(
        alice
            .events(&[("streams", "a"), ("streams", "b c"), ("limit", "3")])
            .await
            .unwrap(),
        "GET /alice/events?streams=a&streams=b+c&limit=3 "
    );
    assert_eq!(
        alice.create_event(&json!({"a": 1})).await.unwrap(),
        r#"POST /alice/events {"a":1}"#
    );
    assert_eq!(alice.streams().await.unwrap(), "GET /alice/streams ");
    assert_eq!(
        alice.create_stream(&json!([])).await.unwrap(),
        "POST /alice/streams []"
    );
    assert_eq!(
        alice.access_info().await.unwrap()["all"],
        "GET /alice/access-info "
    );
    assert_eq!(
        alice.put("x/y", &json!(1)).await.unwrap()["all"],
        "PUT /alice/x/y 1"
    );
    assert_eq!(alice.delete("x").await.unwrap()["all"], "DELETE /alice/x ");
    assert_eq!(
        alice.post("x", &json!(2)).await.unwrap()["all"],
        "POST /alice/x 2"
    );
}
