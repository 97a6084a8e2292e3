//! Answers arrive in pieces of any size, several on one connection.

use tokio::io::DuplexStream;

use super::*;

/// A connection whose other end answers each request with the next text, `piece` bytes at a time.
fn answering(texts: &[&str], piece: usize) -> Connection<DuplexStream> {
    let (here, mut there) = tokio::io::duplex(64);
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    tokio::spawn(async move {
        for text in texts {
            let mut asked = [0; 4];
            if there.read_exact(&mut asked).await.is_err() {
                return;
            }
            for bytes in text.as_bytes().chunks(piece) {
                there.write_all(bytes).await.unwrap();
                there.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    Connection::over(here)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       3;x=y\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n";
const COUNTED: &str = "HTTP/1.1 201 Created\r\nContent-Length:  2\r\nx-a: b\r\n\r\n{}";

#[tokio::test]
async fn answers_in_any_pieces() {
    for piece in [1, 2, 3, 7, 1000] {
        let mut connection = answering(&[CHUNKED, COUNTED, CHUNKED], piece);
        let answer = connection.ask(b"ask!").await.unwrap();
        assert_eq!(answer.expect(200).unwrap(), serde_json::json!([1, 2]));
        let answer = connection.ask(b"ask!").await.unwrap();
        assert_eq!((answer.status, answer.body), (201, b"{}".as_slice()));
        assert_eq!(answer.header("X-A"), Some("b"));
        assert!(answer.expect(200).is_err());
        let answer = connection.ask(b"ask!").await.unwrap();
        assert_eq!(answer.text(), "[1,2]");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    for (text, why) in [
        ("nonsense\r\n\r\n", "no HTTP"),
        ("HTTP/1.1 200 OK\r\nx: y\r\n\r\n", "cannot be told"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore",
            "nobody asked",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "chunk",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "closed"),
    ] {
        let mut connection = answering(&[text], 1000);
        let error = connection.ask(b"ask!").await.unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
}

#[test]
fn a_request_says_what_it_carries() {
    let host = SocketAddr::from(([127, 0, 0, 1], 80));
    let bytes = request("POST", "/users", host, Some("t"), Some("{}"));
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "POST /users HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAuthorization: t\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    );
}
