//! The peer of requests: an axum server that does nothing but answer, with the bytes that a core
//! gave for the same requests. A process of its own, as the core is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use homecore_harness::{Ports, Process, fatal, wait_until};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::wire::{Answer, Connection};

/// What the servers of HTTP set themselves, for each answer anew.
const OF_THE_SERVER: [&str; 4] = ["date", "content-length", "transfer-encoding", "connection"];

/// What is answered to one path with its query.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Path and query, and what is answered.
pub(crate) type Replies = BTreeMap<String, Reply>;

impl Reply {
    /// What a core answered.
    pub(crate) fn of(answer: &Answer<'_>) -> Self {
        let headers = answer.head.split("\r\n").skip(1).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let kept = !OF_THE_SERVER.contains(&name.as_str());
            kept.then(|| (name, value.trim().to_owned()))
        });
        Self {
            status: answer.status,
            headers: headers.collect(),
            body: answer.text(),
        }
    }
}

type Ready = (StatusCode, HeaderMap, Bytes);

/// `homecore-bench bare`.
///
/// # Errors
/// When the replies cannot be read or the address is taken.
pub(crate) async fn serve(listen: SocketAddr, replies: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(replies)
        .with_context(|| format!("cannot read {}", replies.display()))?;
    let replies: Replies = serde_json::from_str(&text)?;
    let ready = replies
        .into_iter()
        .map(|(path, reply)| Ok((path, ready(reply)?)))
        .collect::<anyhow::Result<BTreeMap<String, Ready>>>()?;
    let app = Router::new().fallback(answer).with_state(Arc::new(ready));
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    Ok(axum::serve(listener, app).await?)
}

fn ready(reply: Reply) -> anyhow::Result<Ready> {
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_str(&value)?,
        );
    }
    Ok((
        StatusCode::from_u16(reply.status)?,
        headers,
        Bytes::from(reply.body),
    ))
}

async fn answer(State(ready): State<Arc<BTreeMap<String, Ready>>>, uri: Uri) -> Ready {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    ready.get(path).cloned().unwrap_or_else(|| {
        let nothing = Bytes::from_static(b"this bare server knows no such path");
        (StatusCode::NOT_FOUND, HeaderMap::new(), nothing)
    })
}

/// A bare server that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Process,
    address: SocketAddr,
    _ports: Ports,
}

impl Bare {
    /// Starts one, with its files in `directory`, and waits until it can be reached.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(directory: &Path, replies: &Replies) -> anyhow::Result<Self> {
        let ports = Ports::lease(1)?;
        let address = ports.address(0)?;
        let path = directory.join("bare.json");
        std::fs::write(&path, serde_json::to_string(replies)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["bare", "--listen", &address.to_string(), "--replies"])
            .arg(&path);
        let mut process = Process::start("bare", command, directory)?;
        wait_until(
            Duration::from_secs(20),
            "the bare server listens",
            async || {
                if let Some(status) = process.exited()? {
                    return Err(fatal(format!("it ended: {status}: {}", process.log_tail())));
                }
                Connection::open(address).await.map(Some)
            },
        )
        .await?;
        Ok(Self {
            process,
            address,
            _ports: ports,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process, which is its group too.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}
