//! The peer of the platform store: etcd, three nodes with its defaults, each put on the disks of two
//! before it is answered. Used where it is installed, never downloaded.
//!
//! It is spoken to over gRPC, as its own clients do. Two calls of `etcdserverpb` (etcd's
//! `rpc.proto`) are all that is needed; their messages are written down here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Ports, Process, fatal, wait_until};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::load::{Measured, Window};

const PLACES: [&str; 2] = ["/usr/bin/etcd", "/usr/local/bin/etcd"];
const NODES: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(30);
/// One put, at most.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// One put after the leader's death: a follower loses what it forwarded to the dead one, so what is not
/// answered soon is asked anew.
const RETRY_TIMEOUT: Duration = Duration::from_millis(150);
/// As homecore's leader does.
const HEARTBEAT_MS: u64 = 100;
/// etcd takes this to twice this; homecore stands for election 300 to 550 ms after the lease of the
/// dead leader, which is 550 ms: 850 to 1,100 ms after its last sign of life.
const ELECTION_MS: u64 = 850;

/// Where it is, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// A connection to one node.
#[derive(Clone, Debug)]
struct Client(Channel);

impl Client {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(Self(endpoint.tcp_nodelay(true).connect_lazy()))
    }

    async fn call<Q, A>(&self, path: &'static str, question: Q) -> anyhow::Result<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(Request::new(question), path, codec).await?;
        Ok(answer.into_inner())
    }

    async fn put(&self, key: String, bytes: usize) -> anyhow::Result<()> {
        let put = PutRequest {
            key: key.into_bytes(),
            value: vec![b'x'; bytes],
        };
        let answer: PutResponse = self.call("/etcdserverpb.KV/Put", put).await?;
        ensure!(answer.header.is_some(), "an empty answer to a put");
        Ok(())
    }

    async fn leads(&self) -> anyhow::Result<bool> {
        let path = "/etcdserverpb.Maintenance/Status";
        let status: StatusResponse = self.call(path, StatusRequest {}).await?;
        let member = status.header.map_or(0, |header| header.member);
        Ok(member != 0 && member == status.leader)
    }
}

/// A cluster of three that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    program: PathBuf,
    directory: PathBuf,
    nodes: BTreeMap<u16, Process>,
    ports: Ports,
}

impl Etcd {
    /// Starts one and waits until it takes puts.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        let mut etcd = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            nodes: BTreeMap::new(),
            ports: Ports::lease(2 * NODES)?,
        };
        for node in 0..NODES {
            let process = etcd.spawn(node)?;
            etcd.nodes.insert(node, process);
        }
        etcd.wait_ready().await?;
        Ok(etcd)
    }

    fn spawn(&self, node: u16) -> anyhow::Result<Process> {
        let client = format!("http://{}", self.ports.address(node)?);
        let mut members = Vec::new();
        for other in 0..NODES {
            members.push(format!(
                "e{other}=http://{}",
                self.ports.address(NODES + other)?
            ));
        }
        let peer = format!("http://{}", self.ports.address(NODES + node)?);
        let mut command = Command::new(&self.program);
        command
            .arg("--name")
            .arg(format!("e{node}"))
            .arg("--data-dir")
            .arg(self.directory.join(format!("e{node}")))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &members.join(",")])
            .args(["--initial-cluster-state", "new"])
            .arg(format!("--heartbeat-interval={HEARTBEAT_MS}"))
            .arg(format!("--election-timeout={ELECTION_MS}"))
            .args(["--log-level", "error"]);
        Process::start(&format!("etcd-{node}"), command, &self.directory)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        for node in 0..NODES {
            let client = Client::open(self.ports.address(node)?)?;
            let process = self.nodes.get_mut(&node);
            let process = process.context("a node that was not started")?;
            wait_until(PATIENCE, "etcd takes a put", async || {
                if let Some(status) = process.exited()? {
                    return Err(fatal(format!("it ended: {status}: {}", process.log_tail())));
                }
                timeout(PUT_TIMEOUT, client.put("ready".to_owned(), 1)).await??;
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Its process groups.
    pub(crate) fn groups(&self) -> Vec<u32> {
        self.nodes.values().map(Process::id).collect()
    }

    /// Puts of so many bytes by so many clients, spread over the nodes, each the next when the last
    /// was acknowledged.
    ///
    /// # Errors
    /// When a client ends.
    pub(crate) async fn puts(
        &self,
        clients: u16,
        bytes: usize,
        time: Duration,
    ) -> anyhow::Result<Measured> {
        let window = Window::ahead(time);
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let client = Client::open(self.ports.address(number % NODES)?)?;
            tasks.spawn(async move {
                let mut measured = Measured::empty()?;
                let mut count = 0_u64;
                let mut now = Instant::now();
                while now < window.until {
                    count += 1;
                    let put = client.put(format!("c{number:03}x{count:07}"), bytes);
                    let done = timeout(PUT_TIMEOUT, put).await;
                    let asked = now;
                    now = Instant::now();
                    match done {
                        Ok(Ok(())) if window.holds(now) => measured.answered(now - asked),
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => measured.failed(|| format!("{error:#}")),
                        Err(_elapsed) => measured.failed(|| "no answer in time".to_owned()),
                    }
                }
                anyhow::Ok(measured)
            });
        }
        let watched = tokio::spawn(window.processor(self.groups()));
        let mut all = Measured::empty()?;
        while let Some(ended) = tasks.join_next().await {
            all.add(ended.context("a client ended")??)?;
        }
        all.time = window.time();
        all.processor = watched.await.context("the watch over etcd ended")?;
        Ok(all)
    }

    /// Kills the leader: how long until one of the others acknowledges a put. Starts it again.
    ///
    /// # Errors
    /// When nobody leads, or nobody takes over.
    pub(crate) async fn fail_over(&mut self, pause: Duration) -> anyhow::Result<Duration> {
        let mut leader = None;
        wait_until(PATIENCE, "an etcd leads", async || {
            for node in 0..NODES {
                if Client::open(self.ports.address(node)?)?.leads().await? {
                    leader = Some(node);
                }
            }
            Ok(leader)
        })
        .await?;
        let leader = leader.context("nobody leads")?;
        let survivors: Vec<u16> = (0..NODES).filter(|node| *node != leader).collect();
        let mut clients = Vec::new();
        for survivor in survivors {
            let client = Client::open(self.ports.address(survivor)?)?;
            // The connection is there when it counts.
            client.put("open".to_owned(), 1).await?;
            clients.push(client);
        }
        let killed = Instant::now();
        // Dropping a process kills it.
        drop(self.nodes.remove(&leader));
        let again = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for client in clients {
            let again = Arc::clone(&again);
            tasks.spawn(async move {
                loop {
                    let key = format!("after{}", again.fetch_add(1, Ordering::Relaxed));
                    if let Ok(Ok(())) = timeout(RETRY_TIMEOUT, client.put(key, 300)).await {
                        return Instant::now();
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
        let first = timeout(PATIENCE, tasks.join_next())
            .await
            .context("no put was acknowledged in time")?
            .context("nobody asked")?
            .context("a client ended")?;
        tasks.shutdown().await;
        let process = self.spawn(leader)?;
        self.nodes.insert(leader, process);
        self.wait_ready().await?;
        Ok(first - killed)
    }
}
