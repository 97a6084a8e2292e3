//! One core, put together: files, platform store, users' data, names, listeners; in the order in
//! which each needs the one before, and stopped in the reverse.

mod founding;
mod health;
mod lookafter;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use homecore_engine_blobfs::BlobFs;
use homecore_engine_sqlite::{SqliteEngine, SqliteJournal, SqliteOptions};
use homecore_http::{App, Health, Server};
use homecore_kernel::Kernel;
use homecore_kernel::ports::Registry;
use homecore_raft::{Handle, Options as PlatformOptions, Timings};
use homecore_store::blob::BlobOptions;
use homecore_store::{BlobStore, Room};
use homecore_types::{Clock, Entropy, SystemClock, SystemEntropy};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::adapters::codes::Provider;
use crate::adapters::directory::PlatformDirectory;
use crate::adapters::mail;
use crate::adapters::names::ZoneKeeper;
use crate::adapters::platform::PlatformAdapter;
use crate::adapters::syslog::{self, SyslogCounts};
use crate::capabilities;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::consensus::Consensus;
use crate::disk::Disk;
use crate::live;
use crate::original::{self, Accepted};
use crate::rpc;
use crate::rpc::enrolment::Enrolment;
use crate::rpc::files::{self, DataDir};
use crate::rpc::membership::Membership;
use crate::rpc::peers::Peers;
use crate::tasks::Tasks;

/// A core that serves.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: Tasks,
    cluster: Arc<Cluster>,
    users: homecore_store::Users,
    kernel: Kernel,
    http_stop: CancellationToken,
    http_ended: CancellationToken,
    socket: std::path::PathBuf,
    _consensus: Consensus,
    _lock: std::fs::File,
}

/// Starts a core; when this returns, its listeners are bound and answer. `accepted`: whether its data
/// directory may be a copy.
pub(crate) async fn start(config: Config, accepted: Accepted) -> anyhow::Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    raise_file_limit();
    let data = DataDir::open(&config.core.data)?;
    let lock = files::take_lock(&data)?;
    original::check(&data, accepted)?;
    let disk = Disk::open(&data, config.core.free_min_bytes);
    // Before anything else: a port in use must be known before files change.
    let rpc_listener = bind(config.cluster.listen, "cluster.listen").await?;
    let http_listeners = Box::pin(bind_all(&config.http.listen, "http.listen")).await?;
    let preview_listeners = Box::pin(bind_all(&config.previews.listen, "previews.listen")).await?;
    let who = founding::identify(&config, &data, &*clock, &*entropy)?;
    let tasks = Tasks::default();
    let founding = who.founding.clone();
    let consensus = Consensus::start()?;
    let cluster = open_platform(&config, &data, who, &disk, &clock, &entropy, &consensus).await?;
    if let Some(founding) = founding {
        cluster
            .platform
            .found(founding)
            .await
            .context("the cluster cannot be founded")?;
        founding::founded(&data)?;
    }
    founding::check(&data, &cluster)?;
    let (users, blobs) = open_users(&data, disk.room(), &clock).await?;
    let kernel = Kernel::new(
        users.clone(),
        blobs,
        Arc::clone(&clock),
        Arc::clone(&entropy),
        capabilities::kernel_settings(&config, &cluster),
    )
    .context("cannot start the threads that hash passwords")?;
    DataDir::open(&data.pending())?;
    let accounts = Arc::new(Accounts::new(
        kernel.clone(),
        Arc::clone(&cluster),
        &data,
        config.audit.on_user_delete,
    ));
    let registry: Arc<dyn Registry> = Arc::clone(&accounts) as Arc<dyn Registry>;
    kernel.connect(&registry);
    let told = connect_outside(&kernel, &tasks, &config, &cluster)?;
    serve_cores(
        &tasks,
        rpc_listener,
        &config,
        &cluster,
        &accounts,
        &consensus,
    )?;
    serve_operator(&tasks, &data, &cluster, &accounts)?;
    if config.dns.active {
        serve_names(&tasks, &config, &cluster)?;
    }
    let tended = kernel.clone();
    let health = Arc::new(health::CoreHealth::new(
        Arc::clone(&cluster),
        kernel.clone(),
        told,
    ));
    let apps = apps(&config, &cluster, kernel, health, &accounts)?;
    let (http_stop, http_ended) = serve_http(&tasks, apps, http_listeners, preview_listeners);
    lookafter::spawn(&tasks, &config, &cluster, &accounts, &data);
    lookafter::tend(&tasks, &tended);
    lookafter::keep_event_types(&tasks, &tended, live::service(&config, &cluster), &data);
    tracing::info!(
        core = %config.core.id,
        url = config.core.url,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let socket = data.admin_socket();
    Ok(Running {
        tasks,
        cluster,
        users,
        kernel: tended,
        http_stop,
        http_ended,
        socket,
        _consensus: consensus,
        _lock: lock,
    })
}

/// What the kernel speaks to outside of the platform; the counts of lines for the system log.
fn connect_outside(
    kernel: &Kernel,
    tasks: &Tasks,
    config: &Config,
    cluster: &Arc<Cluster>,
) -> anyhow::Result<Arc<SyslogCounts>> {
    if let Some(mails) = mail::start(tasks, config, cluster)? {
        kernel.connect_mails(mails);
    }
    if let Some(provider) = Provider::new(&config.mfa.mode).context("[mfa]")? {
        kernel.connect_codes(Arc::new(provider));
    }
    let told = Arc::new(SyslogCounts::default());
    if let Some(log) = &config.audit.syslog {
        let host = config.core.id.as_str();
        kernel.connect_audit_listener(syslog::start(tasks, log, host, &told));
    }
    Ok(told)
}

/// Opens the platform store with this core's identity.
async fn open_platform(
    config: &Config,
    data: &DataDir,
    who: founding::Membership,
    disk: &Arc<Disk>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    consensus: &Consensus,
) -> anyhow::Result<Arc<Cluster>> {
    let peers = Peers::new(who.identity.clone());
    let started = Handle::start(PlatformOptions {
        dir: data.platform(),
        engine: config.cluster.engine,
        identity: who.member,
        timings: Timings::default(),
        dead_after: config.cluster.dead_after,
        snapshot_every: config.cluster.snapshot_every,
        clock: Arc::clone(clock),
        peers: Arc::new(peers.clone()),
        rpc: config.addresses().rpc,
    });
    let platform = consensus
        .handle()
        .spawn(started)
        .await?
        .context("the platform store cannot be opened")?;
    Ok(Arc::new(Cluster {
        platform,
        identity: who.identity,
        core: config.core.id.clone(),
        key: who.key,
        peers,
        first_members: who.first_members,
        addresses: config.addresses(),
        drained: AtomicBool::new(false),
        disk: Arc::clone(disk),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
    }))
}

/// What is served on which listener.
struct Apps {
    /// Every route of this core.
    all: App,
    /// Previews alone.
    previews: App,
}

fn apps(
    config: &Config,
    cluster: &Arc<Cluster>,
    kernel: Kernel,
    health: Arc<dyn Health>,
    accounts: &Arc<Accounts>,
) -> anyhow::Result<Apps> {
    let directory = Arc::new(PlatformDirectory::new(Arc::clone(cluster)));
    let context = Arc::new(capabilities::context(config, cluster, directory));
    let platform = Arc::new(PlatformAdapter::new(
        Arc::clone(cluster),
        Arc::clone(accounts),
    ));
    let list = capabilities::list(config, cluster, kernel, platform)?;
    Ok(Apps {
        previews: App::new(Arc::clone(&context), &[list.previews], Arc::clone(&health))?,
        all: App::new(context, &list.all, health)?,
    })
}

/// Answers requests; what stops that, and what tells that it has ended.
fn serve_http(
    tasks: &Tasks,
    apps: Apps,
    listeners: Vec<TcpListener>,
    of_previews: Vec<TcpListener>,
) -> (CancellationToken, CancellationToken) {
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let mut serving = vec![Server::new(apps.all).serve(listeners, stop.clone())];
    if !of_previews.is_empty() {
        serving.push(Server::new(apps.previews).serve(of_previews, stop.clone()));
    }
    let end = ended.clone();
    tasks.spawn("http-serve", async move {
        for served in join_all(serving).await {
            if let Err(error) = served {
                tracing::warn!(%error, "the HTTP listener ended");
            }
        }
        end.cancel();
    });
    (stop, ended)
}

/// Each open user takes a few files, each connection one: take what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn bind_all(addresses: &[SocketAddr], key: &str) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(*address, key).await?);
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: cannot listen on {address}; is something else using it?"))
}

/// Opens the users' data of a core, brought up to its journal. The lock is held.
pub(crate) async fn open_users(
    data: &DataDir,
    room: &Arc<Room>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(homecore_store::Users, BlobStore)> {
    let (root, journal, clock) = (data.root().to_owned(), data.journal(), Arc::clone(clock));
    let room = Arc::clone(room);
    tokio::task::spawn_blocking(move || {
        let engine = Arc::new(SqliteEngine::open(&root, SqliteOptions::default())?);
        // Beside the users' folders and on their file system; the engine holds the lock of both.
        let folders = Arc::clone(&engine);
        let blobs = BlobFs::open(&engine.staging(), move |user| folders.folder(user))?;
        let journal = Arc::new(SqliteJournal::open(&journal)?);
        let users = homecore_store::Users::start(
            engine,
            journal,
            clock,
            homecore_store::users::Options {
                room: Arc::clone(&room),
                ..homecore_store::users::Options::default()
            },
        )?;
        let options = BlobOptions {
            room,
            ..BlobOptions::default()
        };
        let blobs = BlobStore::new(Arc::new(blobs), &options);
        Ok::<_, homecore_store::StoreError>((users, blobs))
    })
    .await?
    .context("users' data cannot be opened")
}

fn serve_cores(
    tasks: &Tasks,
    listener: TcpListener,
    config: &Config,
    cluster: &Arc<Cluster>,
    accounts: &Arc<Accounts>,
    consensus: &Consensus,
) -> anyhow::Result<()> {
    let platform_config = serde_json::json!({
        "domain": config.dns.domain, "sections": config.platform,
    });
    let services = rpc::server::Services {
        cluster: Arc::clone(cluster),
        enrolment: Enrolment::new(
            Arc::clone(cluster),
            config.cluster.join_secret.clone(),
            platform_config.to_string(),
        ),
        membership: Membership::new(Arc::clone(cluster)),
        users: rpc::users::Users::new(Arc::clone(accounts), tokio::runtime::Handle::current()),
    };
    let _here = consensus.handle().enter();
    Ok(rpc::server::spawn(
        tasks,
        listener,
        services,
        tasks.stop_signal(),
    )?)
}

fn serve_operator(
    tasks: &Tasks,
    data: &DataDir,
    cluster: &Arc<Cluster>,
    accounts: &Arc<Accounts>,
) -> anyhow::Result<()> {
    let path = data.admin_socket();
    // The lock is ours, so a socket that is there belongs to a process that is gone.
    files::remove(&path)?;
    let socket = UnixListener::bind(&path).with_context(|| {
        format!(
            "cannot listen on {} (a path of at most 107 bytes)",
            path.display()
        )
    })?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    rpc::admin::spawn(tasks, socket, Arc::clone(cluster), Arc::clone(accounts));
    Ok(())
}

fn serve_names(tasks: &Tasks, config: &Config, cluster: &Arc<Cluster>) -> anyhow::Result<()> {
    let Some(domain) = config.dns.domain.clone() else {
        bail!("dns.domain is needed where dns.active is true");
    };
    let keeper = ZoneKeeper::new(Arc::clone(cluster), config.dns.clone(), domain)?;
    let options = homecore_dns::Options {
        udp: config.dns.listen.clone(),
        tcp: config.dns.listen.clone(),
        rate_limit: (config.dns.rrl_per_second > 0).then(|| homecore_dns::RateLimit {
            per_second: config.dns.rrl_per_second,
            ..homecore_dns::RateLimit::default()
        }),
        ..homecore_dns::Options::default()
    };
    let server = homecore_dns::Server::bind(&options, keeper.zone())?;
    let stop = tasks.stop_signal();
    tasks.spawn("zone", keeper.run(stop.clone()));
    tasks.spawn("dns-serve", async move {
        if let Err(error) = server.serve(stop.clone()).await {
            tracing::error!(%error, "the DNS server failed; this core stops");
            stop.cancel();
        }
    });
    Ok(())
}

/// Completes with the reason when the platform store cannot go on.
async fn fatal(cluster: &Cluster) -> String {
    let mut fatal = cluster.platform.fatal();
    loop {
        if let Some(reason) = fatal.borrow_and_update().clone() {
            return reason;
        }
        if fatal.changed().await.is_err() {
            return "it ended".to_owned();
        }
    }
}

impl Running {
    /// Returns when the core is told to stop, or cannot go on.
    pub(crate) async fn wait_for_end(&self, told: impl Future<Output = ()>) -> anyhow::Result<()> {
        let stop = self.tasks.stop_signal();
        tokio::select! {
            () = told => Ok(()),
            () = stop.cancelled() => bail!("a part of this core failed; the log says which"),
            reason = fatal(&self.cluster) => bail!("the platform store failed: {reason}"),
        }
    }

    /// Stops cleanly: requests end, leadership is handed over, everything is on disk.
    pub(crate) async fn stop(self, deadline: Duration) {
        tracing::info!(core = %self.cluster.core, "stopping");
        self.http_stop.cancel();
        let stopping = async {
            if self.cluster.platform.hand_over().await {
                tracing::debug!("leadership was handed over");
            }
            // Requests that are under way still need the store.
            self.http_ended.cancelled().await;
            self.kernel.flush_audit().await;
            self.kernel.write_uses().await;
            self.users.shutdown().await;
            self.cluster.platform.close().await;
        };
        if tokio::time::timeout(deadline, stopping).await.is_err() {
            tracing::warn!("a clean stop took too long; the next start recovers");
        }
        let late = self.tasks.finish(Duration::from_secs(5)).await;
        if !late.is_empty() {
            tracing::warn!(tasks = late.join(", "), "some tasks did not end in time");
        }
        if let Err(error) = files::remove(&self.socket) {
            tracing::debug!(%error, "the socket stays");
        }
        tracing::info!(core = %self.cluster.core, "stopped");
    }
}
