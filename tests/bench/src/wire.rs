//! HTTP/1.1 on one kept connection, as little of it as a load needs: a request is bytes that were
//! made before, an answer is its status and its body. A general client would spend as much
//! processor time as the core that it measures, on the same processors.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The bytes of a request.
pub(crate) fn request(
    method: &str,
    path: &str,
    host: SocketAddr,
    token: Option<&str>,
    body: Option<&str>,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    if let Some(token) = token {
        text.push_str(&format!("Authorization: {token}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    } else {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// An answer, until the next is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    /// The status.
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: &'a str,
    /// The body.
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The body as JSON, if the status is this one.
    ///
    /// # Errors
    /// When the status is another, or the body is no JSON.
    pub(crate) fn expect(&self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "answered {} and not {status}: {}",
            self.status,
            self.text()
        );
        serde_json::from_slice(self.body).context("an answer that is no JSON")
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// A header, by its name in any case.
    #[cfg(test)]
    fn header(&self, name: &str) -> Option<&str> {
        find_header(self.head, name)
    }
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
    /// The body of a chunked answer.
    joined: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            received: Vec::with_capacity(4096),
            joined: Vec::new(),
        }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is no HTTP. It is of no more use then.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.received.clear();
        self.joined.clear();
        self.stream.write_all(request).await?;
        let body_at = self.find(b"\r\n\r\n", 0).await? + 4;
        let (status, framing) = read_head(self.text(0, body_at)?)?;
        let end = match framing {
            Framing::Length(length) => {
                self.need(body_at.saturating_add(length)).await?;
                body_at + length
            }
            Framing::Chunked => self.join_chunks(body_at).await?,
        };
        ensure!(
            self.received.len() == end,
            "an answer is followed by {} bytes that nobody asked for",
            self.received.len() - end
        );
        let body = match framing {
            Framing::Length(_) => self.received.get(body_at..end).unwrap_or_default(),
            Framing::Chunked => &self.joined,
        };
        Ok(Answer {
            status,
            head: self.text(0, body_at)?,
            body,
        })
    }

    /// Collects the chunks that begin at `at`; where the answer ends.
    async fn join_chunks(&mut self, mut at: usize) -> anyhow::Result<usize> {
        loop {
            let line_end = self.find(b"\r\n", at).await?;
            let line = self.text(at, line_end)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .with_context(|| format!("a chunk of the size {line:?}"))?;
            let from = line_end + 2;
            let end = from.saturating_add(size);
            self.need(end.saturating_add(2)).await?;
            if size == 0 {
                // No trailers: nobody here sends them, and `ask` would notice.
                return Ok(end + 2);
            }
            let Self {
                received, joined, ..
            } = self;
            joined.extend_from_slice(received.get(from..end).unwrap_or_default());
            at = end + 2;
        }
    }

    /// Where `wanted` begins, from `from` on; reads on until it is there.
    async fn find(&mut self, wanted: &[u8], from: usize) -> anyhow::Result<usize> {
        let mut searched = from;
        loop {
            let rest = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = rest.windows(wanted.len()).position(|bytes| bytes == wanted) {
                return Ok(searched + at);
            }
            // Its beginning may be the end of what is there.
            searched = self
                .received
                .len()
                .saturating_sub(wanted.len() - 1)
                .max(from);
            self.need(self.received.len() + 1).await?;
        }
    }

    /// Reads until so many bytes of the answer are there.
    async fn need(&mut self, bytes: usize) -> anyhow::Result<()> {
        ensure!(
            bytes <= ANSWER_BYTES_MAX,
            "an answer of more than {ANSWER_BYTES_MAX} bytes"
        );
        while self.received.len() < bytes {
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the connection was closed before the answer");
        }
        Ok(())
    }

    fn text(&self, from: usize, to: usize) -> anyhow::Result<&str> {
        let bytes = self.received.get(from..to).unwrap_or_default();
        std::str::from_utf8(bytes).context("an answer that is no text where it should be")
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
}

fn read_head(head: &str) -> anyhow::Result<(u16, Framing)> {
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("an answer that is no HTTP: {head}"))?;
    if let Some(length) = find_header(head, "content-length") {
        return Ok((status, Framing::Length(length.parse()?)));
    }
    if find_header(head, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        return Ok((status, Framing::Chunked));
    }
    bail!("an answer whose end cannot be told: {head}")
}

fn find_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests;
