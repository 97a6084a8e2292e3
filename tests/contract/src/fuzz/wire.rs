//! HTTP by hand: what is sent are these bytes, however wrong, and each request has a connection of its
//! own.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest body that is printed in a line.
const INLINE_BYTES_MAX: usize = 4 * 1024;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The verb.
    pub verb: String,
    /// Path and query as they are sent.
    pub target: String,
    /// Headers but for `Host`, `Content-Length` and `Connection`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the form of the request itself is wrong, so that the server may refuse it before it is
    /// an answer of the API.
    pub is_malformed: bool,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Not in time.
    #[error("no answer within {PATIENCE:?}")]
    Hang,
    /// The connection could not be opened, or broke.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// What came is no HTTP.
    #[error("the answer cannot be read: {0}")]
    Unreadable(&'static str),
}

impl Asked {
    /// Adds a header.
    pub fn header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.verb, self.target);
        let length = self.body.len().to_string();
        let host = host.to_string();
        let own = [("Host", host.as_str()), ("Connection", "close")];
        let length = [("Content-Length", length.as_str())];
        let is_read = matches!(self.verb.as_str(), "GET" | "HEAD");
        let has_body = !self.body.is_empty() || !is_read;
        let length = length.iter().filter(|_| has_body);
        for (name, value) in own.iter().chain(length) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// A line for a shell that sends the same. A large body is written to a file in `dir`.
    #[must_use]
    pub fn to_curl(&self, host: SocketAddr, dir: &Path) -> String {
        let verb = match self.verb.as_str() {
            "HEAD" => "--head".to_owned(),
            verb => format!("-X {}", quoted(verb.as_bytes())),
        };
        let mut line = format!("curl -sS -i --path-as-is -g {verb}");
        for (name, value) in &self.headers {
            let header = if value.is_empty() {
                format!("{name};")
            } else {
                format!("{name}: {value}")
            };
            line.push_str(&format!(" -H {}", quoted(header.as_bytes())));
        }
        if !self.body.is_empty() {
            if !self.headers.iter().any(|(name, _)| name == "Content-Type") {
                line.push_str(" -H 'Content-Type:'");
            }
            let is_text = !self.body.contains(&0);
            if self.body.len() <= INLINE_BYTES_MAX && is_text && self.body.first() != Some(&b'@') {
                line.push_str(&format!(" --data-binary {}", quoted(&self.body)));
            } else {
                let sum = self.body.iter().fold(7_u64, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                });
                let path = dir.join(format!("fuzz-body-{sum:016x}"));
                let shown = match std::fs::write(&path, &self.body) {
                    Ok(()) => path.display().to_string(),
                    Err(error) => format!("(not written: {error})"),
                };
                line.push_str(&format!(" --data-binary '@{shown}'"));
            }
        }
        line.push_str(&format!(
            " {}",
            quoted(format!("http://{host}{}", self.target).as_bytes())
        ));
        line
    }
}

/// A word for bash.
fn quoted(bytes: &[u8]) -> String {
    let plain = |b: &u8| (b.is_ascii_graphic() || *b == b' ') && !matches!(b, b'\'' | b'\\');
    if bytes.iter().all(plain) {
        return format!("'{}'", String::from_utf8_lossy(bytes));
    }
    let mut word = String::from("$'");
    for byte in bytes {
        if plain(byte) {
            word.push(char::from(*byte));
        } else if write!(word, "\\x{byte:02x}").is_err() {
            // Writing to a text does not fail.
            break;
        }
    }
    word.push('\'');
    word
}

/// Sends a request and reads the answer.
///
/// # Errors
/// See [`Failure`].
pub async fn send(host: SocketAddr, asked: &Asked) -> Result<Answer, Failure> {
    match timeout(PATIENCE, exchange(host, asked)).await {
        Ok(received) => parse(&received?, asked.verb == "HEAD"),
        Err(_elapsed) => Err(Failure::Hang),
    }
}

async fn exchange(host: SocketAddr, asked: &Asked) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::Connection(error.to_string());
    let mut stream = TcpStream::connect(host).await.map_err(failed)?;
    let (mut reader, mut writer) = stream.split();
    let bytes = asked.to_bytes(host);
    let mut received = Vec::new();
    // A server may answer and close before it has read all: that is no failure if it answered.
    let write = async {
        let written = writer.write_all(&bytes).await;
        written.err()
    };
    let read = async { reader.read_to_end(&mut received).await.err() };
    let (wrote, read) = tokio::join!(write, read);
    match read.or(wrote) {
        Some(error) if received.is_empty() => Err(failed(error)),
        _ => Ok(received),
    }
}

fn parse(received: &[u8], is_head: bool) -> Result<Answer, Failure> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or(Failure::Unreadable("its head does not end"))?;
    let (head, rest) = received.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status.split(' ').nth(1).and_then(|text| text.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.ok_or(Failure::Unreadable("it has no status"))?,
        headers,
        body: body.to_vec(),
    };
    if is_head {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = dechunked(body).ok_or(Failure::Unreadable("it is cut off"))?;
    } else if let Some(length) = answer.header("content-length")
        && answer.status != 304
        && length.parse() != Ok(body.len())
    {
        return Err(Failure::Unreadable("its length is another one"));
    }
    Ok(answer)
}

/// The body of chunks; none if the last is missing.
fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let (size, after) = rest.split_at(end);
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?.trim(), 16).ok()?;
        let after = after.get(2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size.checked_add(2)?..)?;
    }
}

impl Answer {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let text =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let answer = parse(text, false).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"abc".as_slice())
        );
        let cut = parse(text.get(..text.len() - 6).unwrap(), false);
        assert_eq!(cut.unwrap_err(), Failure::Unreadable("it is cut off"));
        let short = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", false);
        assert!(short.is_err());
    }

    #[test]
    fn a_line_says_all() {
        let mut asked = Asked {
            verb: "POST".to_owned(),
            target: "/a?b=%zz".to_owned(),
            body: b"{\"it's\":\n1}".to_vec(),
            ..Asked::default()
        };
        asked.header("Authorization", "tok");
        let line = asked.to_curl("127.0.0.1:80".parse().unwrap(), Path::new("/nowhere"));
        assert_eq!(
            line,
            "curl -sS -i --path-as-is -g -X 'POST' -H 'Authorization: tok' -H 'Content-Type:' \
             --data-binary $'{\"it\\x27s\":\\x0a1}' 'http://127.0.0.1:80/a?b=%zz'"
        );
    }
}
