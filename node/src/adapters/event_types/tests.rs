//! What is fetched, kept and refused.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers one request with these bytes.
async fn published(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/flat.json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let mut request = [0; 1_024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        // One that had enough hangs up.
        stream.write_all(&answer).await.ok();
    });
    url
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// Where nothing is kept yet.
fn cache(name: &str) -> PathBuf {
    let name = format!("homecore-types-{name}-{}.json", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::remove_file(&path).ok();
    path
}

#[tokio::test]
async fn what_is_published_is_used_and_kept() {
    let cache = cache("used");
    let types = EventTypes::shipped().unwrap();
    let url = published(answer("200 OK", br#"{"types":{"my/own":{"type":"null"}}}"#)).await;
    assert_eq!(look(&types, &url, &cache).await.unwrap(), 353);
    let next = EventTypes::shipped().unwrap();
    from_cache(&next, &cache).await.unwrap();
    assert_eq!(next.current().len(), 353);
    let local = Url::from_file_path(&cache).unwrap();
    let third = EventTypes::shipped().unwrap();
    let known = look(&third, local.as_str(), &cache).await;
    assert_eq!(known.unwrap(), 353);
    std::fs::remove_file(&cache).unwrap();
}

#[tokio::test]
async fn what_is_bad_is_neither_used_nor_kept() {
    let cache = cache("refused");
    let types = EventTypes::shipped().unwrap();
    from_cache(&types, &cache).await.unwrap();
    let large = vec![b' '; limits::EVENT_TYPES_BYTES_MAX + 1];
    for bad in [
        answer("404 Not Found", br#"{"types":{}}"#),
        answer("200 OK", b"<html>"),
        answer("200 OK", br#"{"types":{"a/b":{"type":"figure"}}}"#),
        answer("200 OK", &large),
        Vec::new(),
    ] {
        let url = published(bad).await;
        assert!(look(&types, &url, &cache).await.is_err());
    }
    for bad in ["no url", "ftp://example.com/", "file:///no/such/file"] {
        assert!(look(&types, bad, &cache).await.is_err(), "{bad}");
    }
    assert!(!cache.try_exists().unwrap());
    std::fs::write(&cache, "{").unwrap();
    assert!(from_cache(&types, &cache).await.is_err());
    assert_eq!(types.current().len(), 352);
    std::fs::remove_file(&cache).unwrap();
}
