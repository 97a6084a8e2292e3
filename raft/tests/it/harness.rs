//! A cluster: cores that found, join, stop, crash and come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use homecore_raft::command::{Command, Founding, ReserveUser, Response};
use homecore_raft::engine::EngineKind;
use homecore_raft::records::{CoreAddresses, PlatformConfig, SealedSecrets};
use homecore_raft::{
    Handle, Identity, Options, PlatformService, RaftService, Role, StartError, Timings,
};
use homecore_types::{
    Clock as _, ClusterId, CoreId, Millis, NodeId, SystemClock, UserId, Username,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::wires::{Plain, Wire, Wires, name_caller};

/// Longest wait for anything: generous, for a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How the cores of a test are started.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) engine: EngineKind,
    pub(crate) snapshot_every: u64,
    pub(crate) dead_after: Duration,
    pub(crate) timings: Timings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine: EngineKind::Sled,
            snapshot_every: Options::SNAPSHOT_EVERY,
            dead_after: Options::DEAD_AFTER,
            timings: Timings::default(),
        }
    }
}

/// A core that runs. Its server has a runtime of its own: ending that cuts every connection, as the
/// end of a process would.
struct Running {
    handle: Handle,
    server: Runtime,
}

/// A core and its folder.
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) dir: TempDir,
    address: SocketAddr,
    running: Option<Running>,
}

impl Node {
    pub(crate) fn handle(&self) -> &Handle {
        &self.running.as_ref().expect("the core runs").handle
    }
}

impl Drop for Cluster {
    /// A runtime must not be dropped where it would wait; and a test may end in a panic.
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            if let Some(running) = node.running.take() {
                running.server.shutdown_background();
            }
        }
    }
}

/// Cores by name, `core-0` the founder.
pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    id: ClusterId,
    pub(crate) nodes: BTreeMap<String, Node>,
    tokens: Mutex<u64>,
    wires: Arc<Wires>,
}

async fn free_address() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn addresses(address: SocketAddr) -> CoreAddresses {
    CoreAddresses {
        rpc: address.to_string(),
        url: format!("http://{address}/"),
        ..CoreAddresses::default()
    }
}

fn options(settings: Settings, wires: &Arc<Wires>, identity: &Identity, dir: &Path) -> Options {
    Options {
        dir: dir.to_path_buf(),
        engine: settings.engine,
        identity: identity.clone(),
        timings: settings.timings,
        dead_after: settings.dead_after,
        snapshot_every: settings.snapshot_every,
        clock: Arc::new(SystemClock),
        peers: Arc::new(Plain::new(identity.node, wires)),
        // The directory has it.
        rpc: String::new(),
    }
}

async fn run(
    settings: Settings,
    wires: &Arc<Wires>,
    identity: &Identity,
    dir: &Path,
    listener: TcpListener,
) -> Result<Running, StartError> {
    let handle = Handle::start(options(settings, wires, identity, dir)).await?;
    let router = Server::builder()
        .add_service(InterceptedService::new(
            RaftService::server(handle.clone()),
            name_caller,
        ))
        .add_service(PlatformService::server(handle.clone()));
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = listener.into_std().unwrap();
    let (wires, connected) = (Arc::clone(wires), handle.clone());
    server.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let incoming = TcpIncoming::from(listener)
            .with_nodelay(Some(true))
            .map(move |accepted| {
                accepted.map(|stream| Wire::accepted(stream, &wires, connected.presence()))
            });
        router.serve_with_incoming(incoming).await.unwrap();
    });
    Ok(Running { handle, server })
}

impl Cluster {
    /// Founds a cluster of one core.
    pub(crate) async fn found(settings: Settings) -> Self {
        let id = ClusterId::parse("c".repeat(24)).unwrap();
        let wires = Arc::<Wires>::default();
        let (listener, address) = free_address().await;
        let dir = tempfile::tempdir().unwrap();
        let core = CoreId::parse("core-0").unwrap();
        let identity = Identity {
            cluster: id.clone(),
            node: NodeId(1),
            core: core.clone(),
        };
        let running = run(settings, &wires, &identity, dir.path(), listener)
            .await
            .unwrap();
        let founding = Founding {
            cluster: id.clone(),
            core,
            node: NodeId(1),
            addresses: addresses(address),
            config: PlatformConfig {
                version: 1,
                domain: None,
                sections: BTreeMap::new(),
                fields_version: 0,
            },
            ca_certificate: vec![1, 2, 3],
            secrets: SealedSecrets {
                envelope: vec![4, 5, 6],
            },
            at: SystemClock.now(),
        };
        running.handle.found(founding.clone()).await.unwrap();
        // A founding that was cut off is repeated.
        running.handle.found(founding).await.unwrap();
        let node = Node {
            identity,
            dir,
            address,
            running: Some(running),
        };
        let nodes = BTreeMap::from([("core-0".to_owned(), node)]);
        Self {
            settings,
            id,
            nodes,
            tokens: Mutex::new(0),
            wires,
        }
    }

    /// Founds a cluster and lets cores join until there are `size`.
    pub(crate) async fn of(size: usize, settings: Settings) -> Self {
        let mut cluster = Self::found(settings).await;
        for number in 1..size {
            cluster.join(&format!("core-{number}"), "core-0").await;
        }
        cluster.settle().await;
        cluster
    }

    pub(crate) fn handle(&self, name: &str) -> &Handle {
        self.nodes[name].handle()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (&String, &Handle)> {
        self.nodes
            .iter()
            .filter_map(|(name, node)| Some((name, &node.running.as_ref()?.handle)))
    }

    /// Lets a new core join, through another.
    pub(crate) async fn join(&mut self, name: &str, through: &str) -> NodeId {
        let number = {
            let mut tokens = self.tokens.lock().unwrap();
            *tokens += 1;
            *tokens
        };
        let token = format!("{number:064x}");
        let core = CoreId::parse(name).unwrap();
        let (listener, address) = free_address().await;
        let at = SystemClock.now();
        let via = self.handle(through);
        let expires = at + Duration::from_secs(3600);
        let put = Command::PutJoinToken {
            id: token.clone(),
            core: core.clone(),
            at,
            expires,
        };
        assert_eq!(via.write(put).await.unwrap(), Response::Done);
        let admit = Command::AdmitCore {
            token,
            core: core.clone(),
            key: format!("{number:064x}"),
            addresses: addresses(address),
            at,
        };
        let Response::Admitted { node } = via.write(admit).await.unwrap() else {
            panic!("{name} was not admitted")
        };
        let identity = Identity {
            cluster: self.id.clone(),
            node,
            core: core.clone(),
        };
        let dir = tempfile::tempdir().unwrap();
        let running = run(self.settings, &self.wires, &identity, dir.path(), listener)
            .await
            .unwrap();
        let handle = running.handle.clone();
        let joined = Node {
            identity,
            dir,
            address,
            running: Some(running),
        };
        assert!(self.nodes.insert(name.to_owned(), joined).is_none());
        // Knowing itself, it has caught up with its own admission; then it says that it serves.
        eventually("a joined core knows itself", async || {
            handle.directory().core(&core).is_some()
        })
        .await;
        let announce = Command::AnnounceCore {
            core,
            node,
            addresses: addresses(address),
            at: SystemClock.now(),
        };
        assert_eq!(handle.write(announce).await.unwrap(), Response::Done);
        node
    }

    /// Waits until the voters are as many as the running cores allow, no change is under way, and
    /// everyone has applied everything.
    pub(crate) async fn settle(&self) {
        let size = self.running().count();
        let voters = if size < 3 {
            1
        } else if size < 5 {
            3
        } else {
            5
        };
        self.settle_with(voters).await;
    }

    pub(crate) async fn settle_with(&self, voters: usize) {
        eventually(&format!("{voters} voters"), async || {
            let all: Vec<_> = self.running().map(|(_, handle)| handle.status()).collect();
            let last = all.iter().map(|status| status.last_log).max();
            let leads = |status: &&homecore_raft::Status| status.role == Role::Leader;
            all.iter().filter(leads).count() == 1
                && all.iter().all(|status| {
                    status.voters.len() == voters
                        && !status.changing
                        && status.leader.is_some()
                        && Some(status.applied) == last
                })
        })
        .await;
    }

    /// The name of the core that leads.
    pub(crate) async fn leader(&self) -> String {
        let mut leader = None;
        eventually("somebody leads", async || {
            leader = self
                .running()
                .find(|(_, handle)| handle.status().role == Role::Leader)
                .map(|(name, _)| name.clone());
            leader.is_some()
        })
        .await;
        leader.unwrap()
    }

    /// Running cores that do not lead.
    pub(crate) async fn followers(&self) -> Vec<String> {
        let leader = self.leader().await;
        self.running()
            .map(|(name, _)| name.clone())
            .filter(|name| *name != leader)
            .collect()
    }

    /// Takes a core off the network and stops it, cleanly or as a crash would.
    pub(crate) async fn stop(&mut self, name: &str, clean: bool) {
        let running = self.nodes.get_mut(name).unwrap().running.take().unwrap();
        if clean {
            running.handle.shutdown().await;
            running.server.shutdown_background();
        } else {
            running.server.shutdown_background();
            running.handle.abandon().await;
        }
    }

    /// Starts a stopped core again, at its address.
    pub(crate) async fn start(&mut self, name: &str) -> Result<(), StartError> {
        let settings = self.settings;
        let node = self.nodes.get_mut(name).unwrap();
        // The old server's socket closes a moment after its runtime was told to end.
        let mut listener = None;
        eventually("the address is free", async || {
            listener = TcpListener::bind(node.address).await.ok();
            listener.is_some()
        })
        .await;
        let listener = listener.unwrap();
        node.running = Some(
            run(
                settings,
                &self.wires,
                &node.identity,
                node.dir.path(),
                listener,
            )
            .await?,
        );
        Ok(())
    }

    /// Removes a core for good, through another, and stops it.
    pub(crate) async fn remove(&mut self, name: &str, through: &str) {
        let remove = Command::RemoveCore {
            core: CoreId::parse(name).unwrap(),
            abandon_users: true,
            at: SystemClock.now(),
        };
        assert_eq!(
            self.handle(through).write(remove).await.unwrap(),
            Response::Done
        );
    }

    /// Every running core holds the same state.
    pub(crate) async fn assert_equal(&self) {
        let mut hashes = BTreeMap::new();
        for (name, handle) in self.running() {
            let applied = handle.status().applied;
            hashes.insert(name.clone(), (applied, handle.state_hash().await.unwrap()));
        }
        let first = hashes.values().next().unwrap();
        assert!(hashes.values().all(|hash| hash == first), "{hashes:?}");
    }
}

/// A user id from a number.
pub(crate) fn user_id(number: u64) -> UserId {
    UserId::parse(format!("u{number:023}")).unwrap()
}

/// A reservation of a name, as a core makes it.
pub(crate) fn reserve(number: u64, name: &str) -> Command {
    let at = SystemClock.now();
    Command::ReserveUser(ReserveUser {
        reservation: format!("r{number:023}"),
        user: user_id(number),
        username: Username::parse(name).unwrap(),
        unique: BTreeMap::from([("email".to_owned(), format!("{name}@example.com"))]),
        indexed: BTreeMap::new(),
        hosting: None,
        invitation: None,
        live: Vec::new(),
        at,
        deadline: at + Duration::from_secs(600),
        unreached: Vec::new(),
        fields_version: None,
    })
}

/// A small write whose effect the directory shows.
pub(crate) fn dns(label: &str, text: &str) -> Command {
    let record = homecore_raft::records::DnsRecord {
        txt: vec![text.to_owned()],
        ..homecore_raft::records::DnsRecord::default()
    };
    Command::PutDnsRecord {
        label: label.to_owned(),
        record,
    }
}

/// What the directory says of a label.
pub(crate) fn text_of(handle: &Handle, label: &str) -> Option<String> {
    handle
        .directory()
        .dns_record(label)
        .and_then(|record| record.txt.first().cloned())
}

/// Keeps the type of times used.
pub(crate) fn now() -> Millis {
    SystemClock.now()
}

/// Starts a store in a folder, without a server.
pub(crate) async fn start_in(identity: &Identity, dir: &Path) -> Result<Handle, StartError> {
    Handle::start(options(Settings::default(), &Arc::default(), identity, dir)).await
}

impl Cluster {
    /// Drops the only core without stopping it first.
    pub(crate) fn drop_handles(mut self) -> (Identity, TempDir) {
        let (_, node) = self.nodes.pop_first().unwrap();
        let Node {
            identity,
            dir,
            running,
            ..
        } = node;
        let Running { handle, server } = running.unwrap();
        server.shutdown_background();
        drop(handle);
        (identity, dir)
    }

    /// Starts a stopped core at another address.
    pub(crate) async fn start_elsewhere(&mut self, name: &str) {
        let (listener, address) = free_address().await;
        let settings = self.settings;
        let node = self.nodes.get_mut(name).unwrap();
        node.address = address;
        node.running = Some(
            run(
                settings,
                &self.wires,
                &node.identity,
                node.dir.path(),
                listener,
            )
            .await
            .unwrap(),
        );
    }

    /// Cuts a core off from all others.
    pub(crate) fn isolate(&self, name: &str) {
        let nodes: Vec<NodeId> = self.nodes.values().map(|node| node.identity.node).collect();
        self.wires.isolate(self.nodes[name].identity.node, &nodes);
    }

    /// Mends the network.
    pub(crate) fn mend(&self) {
        self.wires.mend();
    }

    /// What a core says of its address.
    pub(crate) fn announcement(&self, name: &str) -> Command {
        let node = &self.nodes[name];
        Command::AnnounceCore {
            core: node.identity.core.clone(),
            node: node.identity.node,
            addresses: addresses(node.address),
            at: now(),
        }
    }
}
