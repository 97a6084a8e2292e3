//! What a core does on its own: says where it is, renews its certificate, settles what a crash left,
//! and notices when its file differs from the platform.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use homecore_kernel::Kernel;
use homecore_proto::membership::membership_client::MembershipClient;
use homecore_proto::membership::{DescribeRequest, RenewRequest};
use homecore_raft::command::{Command, Rejection};
use homecore_raft::records::CoreState;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::adapters::event_types;
use crate::cluster::{Cluster, CommandError};
use crate::config::{Config, ServiceConfig, brought_section};
use crate::live::Live;
use crate::rpc::files::{self, DataDir};
use crate::rpc::pki;
use crate::rpc::server::says_removed;
use crate::tasks::Tasks;

/// Between attempts at something that the platform could not do yet.
const RETRY: Duration = Duration::from_millis(500);
/// So many failures of a core to announce itself are worth a warning: some ten seconds of them.
const ANNOUNCE_WARNING: u32 = 20;
/// How often another core is asked whether this one is still a member.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(3);
/// A removed core waits this long for the others to agree to do without it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a certificate's age is looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long entries of the audit log wait at most: what a killed core may forget of reads.
const AUDIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long uses of accesses wait to be written: what a killed core may forget of them.
const USES_INTERVAL: Duration = Duration::from_secs(60);
/// Between passes over all blobs, and over all previews.
const SWEEP_INTERVAL: Duration = Duration::from_secs(6 * 3_600);
/// How often left-overs of interrupted registrations are looked for.
const SETTLE_INTERVAL: Duration = Duration::from_secs(120);

/// Starts the tasks.
pub(super) fn spawn(
    tasks: &Tasks,
    config: &Config,
    cluster: &Arc<Cluster>,
    accounts: &Arc<Accounts>,
    data: &DataDir,
) {
    let stop = tasks.stop_signal();
    tasks.spawn("disk", Arc::clone(&cluster.disk).keep(stop.clone()));
    // These ask other cores, which may take long to answer.
    let until_stop = |name, task| tasks.spawn(name, until(tasks.stop_signal(), task));
    let announce: Task = Box::pin(announce(Arc::clone(cluster), stop.clone()));
    until_stop("announce", announce);
    let removal = notice_removal(Arc::clone(cluster), stop.clone());
    until_stop("removal", Box::pin(removal));
    until_stop(
        "settle",
        Box::pin(settle(Arc::clone(accounts), stop.clone())),
    );
    let renew = renew(Arc::clone(cluster), data.clone(), stop.clone());
    until_stop("renew", Box::pin(renew));
    tasks.spawn("drift", drift(Arc::clone(cluster), config.clone(), stop));
}

/// Starts what users' data needs from time to time.
pub(super) fn tend(tasks: &Tasks, kernel: &Kernel) {
    tend_blobs(tasks, kernel);
    sweep_previews(tasks, kernel);
    write_audit(tasks, kernel);
    write_uses(tasks, kernel);
}

/// Deletes what was attached and is no longer, at once and, for what a crash left, in a slow pass.
fn tend_blobs(tasks: &Tasks, kernel: &Kernel) {
    let (freeing, stop) = (kernel.clone(), tasks.stop_signal());
    tasks.spawn("free-blobs", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = freeing.blobs().suspected() => {
                    let freed = freeing.free_blobs().await;
                    tracing::debug!(freed, "blobs that nobody refers to were deleted");
                }
            }
        }
    });
    let (sweeping, stop) = (kernel.clone(), tasks.stop_signal());
    tasks.spawn("sweep-blobs", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                swept = sweeping.sweep_blobs() => {
                    if let Err(error) = swept {
                        tracing::warn!(%error, "a pass over all blobs was not finished");
                    }
                }
            }
            if !wait(&stop, SWEEP_INTERVAL).await {
                return;
            }
        }
    });
}

/// Deletes previews that nobody looks at any more, again and again.
fn sweep_previews(tasks: &Tasks, kernel: &Kernel) {
    let (kernel, stop) = (kernel.clone(), tasks.stop_signal());
    tasks.spawn("sweep-previews", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                swept = kernel.sweep_previews() => {
                    if let Err(error) = swept {
                        tracing::warn!(%error, "a pass over all previews was not finished");
                    }
                }
            }
            if !wait(&stop, SWEEP_INTERVAL).await {
                return;
            }
        }
    });
}

/// Writes what waits of the audit log, again and again. The last entries are written when the core
/// stops, after the last request.
fn write_audit(tasks: &Tasks, kernel: &Kernel) {
    let (kernel, stop) = (kernel.clone(), tasks.stop_signal());
    tasks.spawn("audit", async move {
        while wait(&stop, AUDIT_INTERVAL).await {
            kernel.flush_audit().await;
        }
    });
}

/// Writes down how accesses were used, again and again. The last uses are written when the core stops.
fn write_uses(tasks: &Tasks, kernel: &Kernel) {
    let (kernel, stop) = (kernel.clone(), tasks.stop_signal());
    tasks.spawn("uses", async move {
        while wait(&stop, USES_INTERVAL).await {
            kernel.write_uses().await;
        }
    });
}

/// Reads the operator's catalogue of event types and keeps up with it.
pub(super) fn keep_event_types(
    tasks: &Tasks,
    kernel: &Kernel,
    service: Live<ServiceConfig>,
    data: &DataDir,
) {
    let (kernel, cache) = (kernel.clone(), data.event_types());
    let keep = event_types::keep(kernel, service, cache, tasks.stop_signal());
    tasks.spawn("event-types", keep);
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a task until the core stops, wherever it is then: the next start takes it up, as after a crash.
async fn until(stop: CancellationToken, task: Task) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

/// Waits; false when the core stops meanwhile.
async fn wait(stop: &CancellationToken, span: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(span) => true,
    }
}

/// Tells the platform where this core is, once it differs from what the platform knows, and that it takes
/// new users again after it was drained and stopped; and notices being removed.
async fn announce(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut applied = cluster.platform.watch_applied();
    let mut failures = 0_u32;
    loop {
        let record = cluster.own_record();
        let known = record.as_ref().is_some_and(|core| {
            core.state == CoreState::Serving && core.addresses == cluster.addresses
        });
        let drained = cluster.drained.load(Ordering::Relaxed);
        let command = if !known {
            Some(Command::AnnounceCore {
                core: cluster.core.clone(),
                node: cluster.identity.node(),
                addresses: cluster.addresses.clone(),
                at: cluster.clock.now(),
            })
        } else if record.is_some_and(|core| !core.available) && !drained {
            Some(Command::SetCoreAvailable {
                core: cluster.core.clone(),
                available: true,
            })
        } else {
            None
        };
        if let Some(command) = command.filter(|_| cluster.directory().cluster().is_some()) {
            let name = if known {
                "SetCoreAvailable"
            } else {
                "AnnounceCore"
            };
            match cluster.done(command, name).await {
                Ok(()) => tracing::info!(core = %cluster.core, "announced to the platform"),
                Err(CommandError::Rejected(Rejection::UnknownCore { .. })) => {
                    leave(&cluster, &stop).await;
                    return;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let error = crate::telemetry::chain(&error);
                    // An election is no news; that nobody learns where this core is, is.
                    if failures.is_multiple_of(ANNOUNCE_WARNING) {
                        tracing::warn!(%error, failures, "the platform cannot be told where this core is; trying on");
                    } else {
                        tracing::debug!(%error, "not announced yet");
                    }
                    if !wait(&stop, RETRY).await {
                        return;
                    }
                    continue;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks the other cores in turn whether this one is still a member: a core that was removed gets no
/// more of the log, so it may not learn it from there.
async fn notice_removal(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut turn = 0;
    while wait(&stop, REMOVAL_INTERVAL).await {
        let directory = cluster.directory();
        let others: Vec<_> = directory
            .cores()
            .filter(|core| core.id != cluster.core)
            .collect();
        turn += 1;
        let Some(other) = others.get(turn % others.len().max(1)) else {
            continue;
        };
        let Ok(channel) = cluster.peers.open(other.node, &other.addresses.rpc) else {
            continue;
        };
        let mut client = MembershipClient::new(channel);
        let asked = client.describe(DescribeRequest {});
        if let Ok(Err(status)) = tokio::time::timeout(Duration::from_secs(2), asked).await
            && says_removed(&status)
        {
            tracing::info!(by = %other.id, "another core says that this one was removed");
            leave(&cluster, &stop).await;
            return;
        }
    }
}

/// Stops this core, which was removed, as soon as the others have agreed to do without its vote:
/// before that they may need it to agree.
async fn leave(cluster: &Cluster, stop: &CancellationToken) {
    tracing::warn!(core = %cluster.core, "this core was removed from the platform; it will stop");
    let node = cluster.identity.node();
    let gone =
        async { while cluster.platform.in_consensus(node) && wait(stop, RETRY / 5).await {} };
    if tokio::time::timeout(LEAVE_TIMEOUT, gone).await.is_err() {
        tracing::warn!("the others did not say so in time");
    }
    tracing::error!(core = %cluster.core, "this core was removed from the platform; it stops");
    stop.cancel();
}

async fn settle(accounts: Arc<Accounts>, stop: CancellationToken) {
    loop {
        let pause = match accounts.settle().await {
            Ok(true) => SETTLE_INTERVAL,
            // What was late may arrive at any moment.
            Ok(false) => RETRY,
            Err(unavailable) => unavailable.retry_after,
        };
        tokio::select! {
            going_on = wait(&stop, pause) => if !going_on {
                return;
            },
            () = accounts.left() => {}
        }
    }
}

/// Renews this core's certificate when two thirds of its life are over.
async fn renew(cluster: Arc<Cluster>, data: DataDir, stop: CancellationToken) {
    loop {
        let pause = match renew_if_due(&cluster, &data).await {
            Ok(false) => CERTIFICATE_INTERVAL,
            Ok(true) => {
                tracing::info!(core = %cluster.core, "this core's certificate was renewed");
                CERTIFICATE_INTERVAL
            }
            Err(error) => {
                tracing::warn!(error = %crate::telemetry::chain(error.as_ref()), "this core's certificate could not be renewed; trying again");
                Duration::from_secs(60)
            }
        };
        if !wait(&stop, pause).await {
            return;
        }
    }
}

async fn renew_if_due(cluster: &Cluster, data: &DataDir) -> anyhow::Result<bool> {
    let Some(leaf) = cluster.identity.leaf() else {
        return Ok(false);
    };
    let left = pki::expiry(&leaf)?.since(cluster.clock.now());
    if left > pki::CERTIFICATE_LIFE / 3 {
        return Ok(false);
    }
    let request = cluster.identity.signing_request()?;
    let chain: Vec<CertificateDer<'static>> = match cluster.sign(&request, cluster.identity.node())
    {
        Ok(chain) => chain,
        // Any member can sign; this one may lack the secrets for a moment.
        Err(error) => match ask_for_certificate(cluster, request).await? {
            Some(chain) => chain,
            None => return Err(error.into()),
        },
    };
    let blocks: Vec<Vec<u8>> = chain.iter().map(|c| c.to_vec()).collect();
    // Used first: what cannot be used must not be what the next start finds.
    cluster.identity.replace(chain)?;
    files::write(&data.node_certificate(), &files::join_blocks(&blocks))?;
    Ok(true)
}

async fn ask_for_certificate(
    cluster: &Cluster,
    request: Vec<u8>,
) -> anyhow::Result<Option<Vec<CertificateDer<'static>>>> {
    for core in cluster
        .directory()
        .cores()
        .filter(|core| core.id != cluster.core)
    {
        let Ok(channel) = cluster.peers.open(core.node, &core.addresses.rpc) else {
            continue;
        };
        let renew = RenewRequest {
            signing_request: request.clone().into(),
        };
        let mut client = MembershipClient::new(channel);
        let asked = client.renew_certificate(renew);
        if let Ok(Ok(reply)) = tokio::time::timeout(Duration::from_secs(5), asked).await {
            let chain = reply.into_inner().certificate_chain;
            return Ok(Some(
                chain
                    .into_iter()
                    .map(|c| CertificateDer::from(c.to_vec()))
                    .collect(),
            ));
        }
    }
    Ok(None)
}

/// Logs where the file says something else than the platform, which wins.
async fn drift(cluster: Arc<Cluster>, config: Config, stop: CancellationToken) {
    let mut applied = cluster.platform.watch_applied();
    loop {
        if let Some(platform) = cluster.directory().config() {
            if config.dns.domain.is_some() && platform.domain != config.dns.domain {
                tracing::warn!(
                    key = "dns.domain",
                    platform = platform.domain,
                    file = config.dns.domain,
                    "[platform-drift] the file differs from the platform, which wins"
                );
            }
            for (key, value) in &config.platform {
                let there = platform.sections.get(key);
                match (there, brought_section(key, there, value)) {
                    // What the file does not say, such as a later version's keys, is no difference.
                    (_, Ok(None)) => {}
                    (Some(_), Err(error)) => tracing::warn!(
                        key,
                        %error,
                        "[platform-drift] this release cannot read what the platform says"
                    ),
                    (Some(_), Ok(Some(_))) => tracing::warn!(
                        key,
                        "[platform-drift] the file differs from the platform, which wins; homecore apply-config brings it there"
                    ),
                    (None, _) => tracing::warn!(
                        key,
                        "[platform-drift] only the file says this, not the platform; homecore apply-config brings it there"
                    ),
                }
            }
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}
