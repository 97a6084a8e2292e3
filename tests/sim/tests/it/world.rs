//! The simulated machines and the cores on them: started, killed, cut off from power, joined, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_dns::SharedZone;
use homecore_raft::command::{Command, Founding, Response};
use homecore_raft::engine::EngineKind;
use homecore_raft::records::{CoreAddresses, CoreState, PlatformConfig, SealedSecrets};
use homecore_raft::{Handle, Identity, Options, Timings};
use homecore_types::{Clock as _, ClusterId, CoreId, NodeId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, Folders};
use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::invariants;
use crate::invariants::votes::Votes;
use crate::net::{End, Host, Net};
use crate::oracle::Oracle;
use crate::registration::Registrar;
use crate::service::{self, SimPeers};
use crate::tally::Fault;
use crate::trace::Trace;
use crate::twice::Again;
use crate::zone;

/// A voter that is silent for longer may be replaced.
const DEAD_AFTER: Duration = Duration::from_secs(8);
/// How often a core settles what crashes left.
const SETTLE_EVERY: Duration = Duration::from_secs(2);

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) bug: Option<Bug>,
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    pub(crate) chance: Chance,
    pub(crate) oracle: Mutex<Oracle>,
    pub(crate) book: Mutex<invariants::Book>,
    /// Cores that somebody asked to remove.
    pub(crate) removed: Mutex<BTreeSet<CoreId>>,
    /// Held while a fault of several steps goes on, so that none comes between.
    pub(crate) scene: tokio::sync::Mutex<()>,
    pub(crate) votes: Votes,
    machines: Mutex<BTreeMap<Host, Machine>>,
    cluster: ClusterId,
    snapshot_every: u64,
    timings: Timings,
    began: Instant,
    root: PathBuf,
    /// What was found to be wrong, first.
    pub(crate) wrong: Mutex<Option<String>>,
    /// Stops everything that goes on by itself.
    pub(crate) over: CancellationToken,
}

/// A machine, which outlives its core's processes.
#[derive(Clone, Debug)]
struct Machine {
    core: CoreId,
    disk: Disk,
    clock: SimClock,
    folders: Folders,
    created: Arc<Notify>,
    identity: Identity,
    /// Who was a member when it joined.
    first_members: Vec<NodeId>,
    running: Option<Running>,
    /// Its core is being started or stopped.
    busy: bool,
    retired: bool,
}

/// One life of a core.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) host: Host,
    pub(crate) life: u64,
    pub(crate) core: CoreId,
    pub(crate) platform: Handle,
    pub(crate) zone: Arc<SharedZone>,
    pub(crate) registrar: Registrar,
    pub(crate) clock: SimClock,
    pub(crate) folders: Folders,
    pub(crate) stop: CancellationToken,
}

pub(crate) fn core_id(host: Host) -> CoreId {
    CoreId::parse(format!("core-{host}")).unwrap()
}

pub(crate) fn addresses(host: Host) -> CoreAddresses {
    CoreAddresses {
        rpc: service::address(host),
        url: format!("https://core-{host}.sim/"),
        ipv4: vec![Ipv4Addr::new(10, 0, 0, u8::try_from(host).unwrap())],
        ..CoreAddresses::default()
    }
}

/// As patient as by default, or slower: then a run has fewer messages.
fn timings(heartbeat_ms: u64) -> Timings {
    let heartbeat = Duration::from_millis(heartbeat_ms);
    Timings {
        heartbeat,
        election_min: heartbeat * 3,
        election_max: heartbeat * 11 / 2,
    }
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, root: PathBuf, verbose: bool) -> Arc<Self> {
        let chance = Chance::new(seed);
        let trace = Trace::new(verbose);
        Arc::new(Self {
            seed,
            bug,
            net: Net::new(chance.fork(), trace.clone()),
            trace,
            oracle: Mutex::default(),
            book: Mutex::default(),
            removed: Mutex::default(),
            scene: tokio::sync::Mutex::default(),
            votes: Votes::new(),
            machines: Mutex::default(),
            cluster: ClusterId::parse("c".repeat(24)).unwrap(),
            snapshot_every: *chance.pick(&[6, 12, 25, 50, 120]).unwrap(),
            timings: timings(*chance.pick(&[100, 250, 400, 400]).unwrap()),
            chance,
            began: Instant::now(),
            root,
            wrong: Mutex::default(),
            over: CancellationToken::new(),
        })
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<Host, Machine>> {
        self.machines.lock().unwrap()
    }

    /// Notes that something is wrong, and ends the run.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.is_none() {
            self.trace.event(format_args!("WRONG {what}"));
            *wrong = Some(what);
        }
        self.over.cancel();
    }

    pub(crate) fn running(&self) -> Vec<Running> {
        self.machines()
            .values()
            .filter_map(|machine| machine.running.clone())
            .collect()
    }

    pub(crate) fn running_on(&self, host: Host) -> Option<Running> {
        self.machines().get(&host)?.running.clone()
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        let machines = self.machines();
        let present = machines.iter().filter(|(_, machine)| !machine.retired);
        present.map(|(host, _)| *host).collect()
    }

    /// A number for a machine that there was never.
    pub(crate) fn new_host(&self) -> Host {
        self.machines().keys().max().map_or(1, |last| last + 1)
    }

    pub(crate) fn is_down(&self, host: Host) -> bool {
        self.machines()
            .get(&host)
            .is_some_and(|machine| !machine.retired && machine.running.is_none())
    }

    pub(crate) fn disk(&self, host: Host) -> Option<Disk> {
        self.machines()
            .get(&host)
            .map(|machine| machine.disk.clone())
    }

    pub(crate) fn clock(&self, host: Host) -> Option<SimClock> {
        self.machines()
            .get(&host)
            .map(|machine| machine.clock.clone())
    }

    pub(crate) fn node(&self, host: Host) -> Option<NodeId> {
        self.machines()
            .get(&host)
            .map(|machine| machine.identity.node)
    }

    /// What tells of a vote on a machine, and of an account made on it.
    pub(crate) fn moments(&self, host: Host) -> Option<(Arc<Notify>, Arc<Notify>)> {
        let machines = self.machines();
        let machine = machines.get(&host)?;
        Some((
            Arc::clone(&machine.disk.voted),
            Arc::clone(&machine.created),
        ))
    }

    /// Whether a machine's core is still a voter, as far as the best informed knows: then nobody may take it
    /// away.
    pub(crate) fn votes_still(&self, host: Host) -> bool {
        let running = self.running();
        let known = running.iter().map(|core| core.platform.status());
        let latest = known.max_by_key(|status| (status.term, status.applied));
        let node = self.node(host);
        latest.is_none_or(|status| node.is_some_and(|node| status.voters.contains(&node)))
    }

    /// Stops cores for good that were removed, as they do when the others tell them.
    pub(crate) fn retire_removed(&self) {
        let removed: Vec<Host> = {
            let running = self.running();
            let gone = |core: &Running| {
                running.iter().any(|other| {
                    let directory = other.platform.directory();
                    let record = directory.core_or_removed(core.core.as_str());
                    record.is_some_and(|record| record.state == CoreState::Removed)
                })
            };
            running
                .iter()
                .filter(|core| gone(core))
                .map(|core| core.host)
                .collect()
        };
        for host in removed.into_iter().filter(|host| !self.votes_still(*host)) {
            self.retire(host);
        }
    }

    fn put(&self, host: Host, node: NodeId, first_members: Vec<NodeId>) {
        let core = core_id(host);
        let root = self.root.join(core.as_str());
        let disk = Disk::new(
            host,
            root,
            self.chance.fork(),
            self.bug,
            (self.trace.clone(), self.votes.clone()),
        )
        .unwrap();
        let identity = Identity {
            cluster: self.cluster.clone(),
            node,
            core: core.clone(),
        };
        let machine = Machine {
            core,
            disk,
            clock: SimClock::new(self.began, self.bug == Some(Bug::StoppedClock)),
            folders: Folders::default(),
            created: Arc::default(),
            identity,
            first_members,
            running: None,
            busy: false,
            retired: false,
        };
        self.machines().insert(host, machine);
    }

    /// The first core.
    pub(crate) async fn found(self: &Arc<Self>) {
        let node = NodeId(1);
        self.put(1, node, Vec::new());
        self.start(1).await;
        let Some(running) = self.running_on(1) else {
            return self.fail("the first core did not start");
        };
        let founding = Founding {
            cluster: self.cluster.clone(),
            core: core_id(1),
            node,
            addresses: addresses(1),
            config: PlatformConfig {
                version: 1,
                domain: Some("sim.test".to_owned()),
                sections: BTreeMap::new(),
                fields_version: 0,
            },
            ca_certificate: vec![1],
            secrets: SealedSecrets { envelope: vec![1] },
            at: running.clock.now(),
        };
        if let Err(error) = running.platform.found(founding).await {
            self.fail(format!("the cluster was not founded: {error}"));
        }
    }

    /// Lets a core join, through one that runs. Whether it was admitted.
    pub(crate) async fn join(self: &Arc<Self>, host: Host, through: &Running) -> bool {
        let token = format!("{host:064x}");
        let at = through.clock.now();
        let put = Command::PutJoinToken {
            id: token.clone(),
            core: core_id(host),
            at,
            expires: at + Duration::from_secs(3600),
        };
        let admit = Command::AdmitCore {
            token,
            core: core_id(host),
            key: format!("{host:064x}"),
            addresses: addresses(host),
            at,
        };
        if !matches!(through.platform.write(put).await, Ok(Response::Done)) {
            return false;
        }
        let Ok(Response::Admitted { node }) = through.platform.write(admit).await else {
            return false;
        };
        self.trace
            .event(format_args!("core-{host} joins as {node}"));
        let cores = through.platform.directory();
        let first_members = cores.cores().map(|core| core.node).collect();
        self.put(host, node, first_members);
        self.start(host).await;
        true
    }

    /// Starts a machine's core.
    pub(crate) fn start(self: &Arc<Self>, host: Host) -> BoxFuture<'static, ()> {
        Box::pin(Arc::clone(self).start_now(host))
    }

    async fn start_now(self: Arc<Self>, host: Host) {
        let Some(machine) = self.startable(host) else {
            return;
        };
        let life = self.net.boot(host);
        let node = machine.identity.node;
        let peers = SimPeers {
            net: self.net.clone(),
            host,
            life,
            node,
        };
        let options = Options {
            dir: machine.disk.dir(),
            engine: EngineKind::Memory,
            identity: machine.identity,
            timings: self.timings,
            dead_after: DEAD_AFTER,
            snapshot_every: self.snapshot_every,
            clock: Arc::new(machine.clock.clone()),
            peers: Arc::new(peers.clone()),
            rpc: addresses(host).rpc,
        };
        let started = Handle::start_on(Arc::new(machine.disk), options).await;
        self.set_busy(host, false);
        let platform = match started {
            Ok(platform) => platform,
            Err(error) => {
                let mut why = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(next) = cause {
                    why = format!("{why}: {next}");
                    cause = next.source();
                }
                return self.fail(format!("{} does not start: {why}", machine.core));
            }
        };
        let stop = CancellationToken::new();
        let accounts = Accounts {
            platform: platform.clone(),
            core: machine.core.clone(),
            clock: machine.clock.clone(),
            folders: machine.folders.clone(),
            chance: self.chance.fork(),
            trace: self.trace.clone(),
            bug: self.bug,
            created: machine.created,
            stop: stop.clone(),
        };
        let running = Running {
            host,
            life,
            core: machine.core,
            zone: zone::first(&platform),
            platform: platform.clone(),
            registrar: Registrar {
                platform,
                accounts,
                peers,
            },
            clock: machine.clock,
            folders: machine.folders,
            stop,
        };
        self.trace.event(format_args!("core-{host} starts"));
        if let Some(machine) = self.machines().get_mut(&host) {
            machine.running = Some(running.clone());
        }
        self.serve(running, node, machine.first_members);
    }

    fn set_busy(&self, host: Host, busy: bool) {
        if let Some(machine) = self.machines().get_mut(&host) {
            machine.busy = busy;
        }
    }

    /// A machine whose core may be started now.
    fn startable(&self, host: Host) -> Option<Machine> {
        let mut machines = self.machines();
        let machine = machines.get_mut(&host)?;
        let may = machine.running.is_none() && !machine.busy && !machine.retired;
        may.then(|| {
            machine.busy = true;
            machine.clone()
        })
    }

    /// Everything that goes on in a core by itself.
    fn serve(self: Arc<Self>, running: Running, node: NodeId, first_members: Vec<NodeId>) {
        let (platform, stop) = (running.platform.clone(), running.stop.clone());
        let accounts = running.registrar.accounts.clone();
        service::serve(
            &platform,
            accounts.clone(),
            first_members,
            self.net.listen(running.host, node),
            Again {
                net: self.net.clone(),
                stop: stop.clone(),
            },
        );
        let zone = Arc::clone(&running.zone);
        self.spawn(&stop, zone::keep(platform, zone, stop.clone()));
        self.spawn(&stop, settle(accounts));
        self.spawn(&stop, announce(running.clone(), node));
        let observed = invariants::observe(Arc::clone(&self), running.clone());
        self.spawn(&stop, observed);
        self.spawn(&stop, Arc::clone(&self).supervise(running));
    }

    /// Runs a task until a core's life ends.
    fn spawn(&self, stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, over) = (stop.clone(), self.over.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = over.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Ends a core's life, as its machine does.
    pub(crate) fn end(&self, host: Host, end: End) {
        let Some((running, disk)) = self.take(host) else {
            return;
        };
        running.stop.cancel();
        self.net.end(host, end);
        let lost = disk.end(end).unwrap();
        self.trace.fault(match end {
            End::Killed => Fault::Killed,
            End::Dark => Fault::PowerCut,
        });
        if lost > 0 {
            self.trace.fault(Fault::CommitsLost);
        }
        self.trace
            .event(format_args!("core-{host} {end:?}, {lost} commits lost"));
        // What is left of it reaches neither network nor disk.
        tokio::spawn(async move {
            drop(timeout(Duration::from_secs(60), running.platform.abandon()).await);
        });
    }

    /// Stops a core cleanly.
    pub(crate) async fn stop(&self, host: Host) {
        let Some((running, disk)) = self.take(host) else {
            return;
        };
        self.trace.event(format_args!("core-{host} is stopped"));
        self.trace.fault(Fault::Stopped);
        // Until it has stopped it is not started again.
        self.set_busy(host, true);
        running.platform.shutdown().await;
        running.stop.cancel();
        self.net.end(host, End::Killed);
        disk.end(End::Killed).unwrap();
        self.set_busy(host, false);
        self.trace.event(format_args!("core-{host} has stopped"));
    }

    /// A core that was removed is not started again.
    pub(crate) fn retire(&self, host: Host) {
        self.end(host, End::Killed);
        if let Some(machine) = self.machines().get_mut(&host) {
            machine.retired = true;
        }
    }

    fn take(&self, host: Host) -> Option<(Running, Disk)> {
        let mut machines = self.machines();
        let machine = machines.get_mut(&host)?;
        Some((machine.running.take()?, machine.disk.clone()))
    }

    /// A core that can take no part any more ends its process, and is started again.
    async fn supervise(self: Arc<Self>, running: Running) {
        let mut fatal = running.platform.fatal();
        let Ok(reason) = fatal.wait_for(Option::is_some).await.map(|why| why.clone()) else {
            return;
        };
        self.trace.event(format_args!(
            "{} gives up: {}",
            running.core,
            reason.unwrap_or_default()
        ));
        let host = running.host;
        let this = Arc::clone(&self);
        tokio::spawn(async move {
            this.end(host, End::Killed);
            sleep(Duration::from_secs(2)).await;
            this.start(host).await;
        });
        std::future::pending::<()>().await;
    }
}

async fn settle(accounts: Accounts) {
    loop {
        drop(accounts.settle().await);
        sleep(SETTLE_EVERY).await;
    }
}

/// Says that the core serves, once it knows itself.
async fn announce(running: Running, node: NodeId) {
    loop {
        let knows = running.platform.directory().core(&running.core).is_some();
        if knows {
            let announce = Command::AnnounceCore {
                core: running.core.clone(),
                node,
                addresses: addresses(running.host),
                at: running.clock.now(),
            };
            if let Ok(Response::Done) = running.platform.write(announce).await {
                return;
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}
