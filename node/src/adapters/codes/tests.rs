//! Calls as a provider on this machine receives them.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap as Headers, StatusCode, Uri};
use serde_json::json;
use std::sync::Arc;

use super::*;
use homecore_types::Secret;

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(String, String, String)>>);

async fn answer(
    State(heard): State<Arc<Heard>>,
    uri: Uri,
    headers: Headers,
    body: Bytes,
) -> StatusCode {
    let key = headers.get("x-key").map(|v| v.to_str().unwrap().to_owned());
    let body = String::from_utf8(body.to_vec()).unwrap();
    let call = (uri.to_string(), key.unwrap_or_default(), body);
    heard.0.lock().unwrap().push(call);
    match uri.path() {
        "/refused" => StatusCode::BAD_REQUEST,
        "/moved" => StatusCode::FOUND,
        _ => StatusCode::OK,
    }
}

async fn provider() -> (String, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let app = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&heard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, heard)
}

fn endpoint(url: String, headers: &[(&str, &str)], body: Option<&str>) -> Endpoint {
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new(*value));
    Endpoint {
        method: reqwest::Method::POST,
        url,
        headers: headers.iter().map(header).collect(),
        body: body.map(Secret::new),
    }
}

fn values(phone: &str) -> Map<String, Value> {
    let values = json!({ "phone": phone, "n": 5, "code": "1234", "list": [1] });
    values.as_object().unwrap().clone()
}

#[tokio::test]
async fn values_are_data_wherever_they_stand() {
    let (base, heard) = provider().await;
    let send = endpoint(
        format!("{base}/to/{{{{ phone }}}}?n={{{{n}}}}&x={{{{ unknown }}}}"),
        &[("x-key", "k {{ code }}")],
        Some("{\"to\":\"{{ phone }}\",\"text\":\"{{ code }}\"}"),
    );
    let provider = Provider::new(&MfaMode::Single(send)).unwrap().unwrap();
    assert!(!provider.makes_codes());
    let odd = "+41/../?a=b&c\"} #é";
    provider.send(&values(odd)).await.unwrap();
    let (url, key, body) = heard.0.lock().unwrap().pop().unwrap();
    assert_eq!(
        url,
        "/to/%2B41%2F..%2F%3Fa%3Db%26c%22%7D%20%23%C3%A9?n=5&x="
    );
    assert_eq!(key, "k 1234");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({ "to": odd, "text": "1234" }));
    assert!(provider.check(&values("1")).await.is_err());
}

#[tokio::test]
async fn forms_are_encoded_and_headers_not_broken() {
    let (base, heard) = provider().await;
    let form = "application/x-www-form-urlencoded";
    let challenge = endpoint(
        format!("{base}/form"),
        &[("content-type", form)],
        Some("to={{ phone }}&text=x"),
    );
    let verify = endpoint(format!("{base}/check"), &[("x-key", "{{ phone }}")], None);
    let mode = MfaMode::ChallengeVerify { challenge, verify };
    let provider = Provider::new(&mode).unwrap().unwrap();
    assert!(provider.makes_codes());
    provider.send(&values("1&text=y")).await.unwrap();
    let (_, _, body) = heard.0.lock().unwrap().pop().unwrap();
    assert_eq!(body, "to=1%26text%3Dy&text=x");
    provider.check(&values("12")).await.unwrap();
    let broken = provider.check(&values("1\r\nx-other: 2")).await;
    assert!(broken.unwrap_err().reason.contains("x-key"));
    assert_eq!(heard.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn only_success_is_success_and_errors_hold_no_values() {
    let (base, heard) = provider().await;
    for (url, calls) in [
        (format!("{base}/refused?to={{{{ phone }}}}"), 1),
        // Not followed.
        (format!("{base}/moved?to={{{{ phone }}}}"), 1),
        ("http://127.0.0.1:1/{{ phone }}".to_owned(), 0),
    ] {
        let mode = MfaMode::Single(endpoint(url.clone(), &[], None));
        let provider = Provider::new(&mode).unwrap().unwrap();
        let error = provider.send(&values("5550100")).await.unwrap_err();
        assert!(!error.reason.contains("5550100"), "{error}");
        assert_eq!(
            std::mem::take(&mut *heard.0.lock().unwrap()).len(),
            calls,
            "{url}"
        );
    }
    assert!(Provider::new(&MfaMode::Disabled).unwrap().is_none());
}
