//! Starting, founding and stopping a store.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::{Command, Founding, Rejection, Response};
use crate::directory::{self, View};
use crate::ground::{self, Ground, System};
use crate::handle::{
    FoundError, Handle, Inner, Options, StartError, outage, read, semaphore, succession,
};
use crate::identity;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::membership::reconciler;
use crate::network::Links;
use crate::network::client::Network;
use crate::state_machine::worker::Worker;
use crate::state_machine::{Raft, StateMachine};
use crate::types::{Member, Metrics};

/// How long a clean stop waits for each part.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps a second process off the folder.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    fn take(dir: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Folder {
            path: dir.to_path_buf(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(StartError::InUse {
                path: dir.to_path_buf(),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// What was opened on disk.
struct Opened {
    lock: DirLock,
    log: LogStore,
    machine: Machine,
    view: View,
}

fn open(ground: &Arc<dyn Ground>, options: &Options) -> Result<Opened, StartError> {
    let lock = DirLock::take(&options.dir)?;
    identity::store(&options.dir, &options.identity)?;
    let log = LogStore::open(ground, &options.dir, &options.identity)?;
    let view = directory::view();
    let machine = Machine::open(&options.dir, options.engine, Arc::clone(&view))?;
    Ok(Opened {
        lock,
        log,
        machine,
        view,
    })
}

impl Handle {
    /// Opens the store of a core and recovers what it held. It takes part in consensus from then on,
    /// but a core that was never a member waits until the leader speaks to it, or until it is told
    /// to [found](Self::found) a cluster.
    ///
    /// # Errors
    /// When the folder cannot be used, or this core must not take part under its id any more.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_on(Arc::new(System), options).await
    }

    /// As [`Handle::start`], on another ground than the machine's own.
    ///
    /// # Errors
    /// See [`Handle::start`].
    pub async fn start_on(ground: Arc<dyn Ground>, options: Options) -> Result<Self, StartError> {
        let config = Arc::new(options.config()?);
        let (at_work, below) = (options.clone(), Arc::clone(&ground));
        let opened = ground::blocking(&*ground, move || open(&below, &at_work))
            .await
            .map_err(|error| StartError::Thread(error.into()))??;
        let Opened {
            lock,
            log,
            machine,
            view,
        } = opened;
        let snapshots = machine.snapshots_dir().to_path_buf();
        let (applied_sender, applied) = watch::channel(machine.applied_index().unwrap_or(0));
        let (worker, thread) = Worker::spawn(&*ground, machine).map_err(StartError::Thread)?;
        let links = Links::new(
            Arc::clone(&options.peers),
            Arc::clone(&view),
            options.rpc.clone(),
        );
        let node = options.identity.node.0;
        let state_machine = StateMachine::new(
            Arc::clone(&ground),
            worker.clone(),
            snapshots.clone(),
            applied_sender,
        );
        let network = Network::new(Arc::clone(&ground), log.clone(), node, links.clone());
        let raft = Raft::new(node, config, network, log.clone(), state_machine)
            .await
            .map_err(|error| StartError::Consensus {
                reason: crate::report(&error),
            })?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let fatal = watch_fatal(&raft, &tasks, &stop);
        let (reads, waiting) = mpsc::channel(read::WAITING_MAX);
        let parted = Arc::<Notify>::default();
        let inner = Arc::new(Inner {
            ground,
            identity: options.identity,
            raft,
            log,
            worker,
            machine_thread: Mutex::new(thread),
            snapshots,
            view,
            applied,
            links,
            clock: options.clock,
            dead_after: options.dead_after,
            writes: semaphore(),
            proposals: semaphore(),
            reads,
            outage: Arc::default(),
            parted: Arc::clone(&parted),
            turn: AtomicUsize::new(0),
            fatal,
            stop: stop.clone(),
            tasks: tasks.clone(),
            lock: Mutex::new(Some(lock)),
        });
        // Tasks hold the store weakly: dropping the last handle ends them.
        tasks.spawn(read::serve(Arc::downgrade(&inner), waiting, stop.clone()));
        tasks.spawn(outage::probe(Arc::downgrade(&inner), stop.clone()));
        let watch = succession::watch(Arc::downgrade(&inner), options.peers, parted, stop.clone());
        tasks.spawn(watch);
        let every = options.timings.heartbeat.saturating_mul(3);
        tasks.spawn(reconciler::run(Arc::downgrade(&inner), stop, every));
        Ok(Self { inner })
    }

    /// Makes this core, which belongs to no cluster yet, the first of a new one. A founding that was
    /// cut off is finished by repeating it.
    ///
    /// # Errors
    /// When the founding could not be written, or there is another one already.
    pub async fn found(&self, founding: Founding) -> Result<(), FoundError> {
        let identity = &self.inner.identity;
        if (&founding.cluster, &founding.core, founding.node)
            != (&identity.cluster, &identity.core, identity.node)
        {
            return Err(FoundError::OtherCore);
        }
        let member = Member {
            core: founding.core.to_string(),
            rpc: founding.addresses.rpc.clone(),
        };
        let members = BTreeMap::from([(founding.node.0, member)]);
        match self.inner.raft.initialize(members).await {
            // Not pristine: an earlier try got this far.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => {
                return Err(FoundError::Consensus {
                    reason: crate::report(&error),
                });
            }
        }
        // It may have looked for a cluster before.
        self.inner.outage.answered();
        match self.write(Command::Found(founding.clone())).await? {
            Response::Rejected(Rejection::AlreadyFounded)
                if self.directory().cluster() == Some(&founding.cluster) =>
            {
                Ok(())
            }
            Response::Rejected(rejection) => Err(FoundError::Rejected(rejection)),
            Response::Done
            | Response::Nothing
            | Response::Reserved { .. }
            | Response::Admitted { .. }
            | Response::Renamed { .. } => Ok(()),
        }
    }

    /// Stops cleanly: hands leadership over, ends consensus, and closes state and log so that the
    /// next start needs no rebuild. Everything asked afterwards is answered `Stopped`.
    pub async fn shutdown(&self) {
        if self.inner.stop.is_cancelled() {
            return;
        }
        self.hand_over().await;
        self.end(true).await;
    }

    /// As [`Handle::shutdown`], when handing over was tried already.
    pub async fn close(&self) {
        self.end(true).await;
    }

    /// Stops as a crash would: no hand-over, no mark of a clean stop. For tests of recovery.
    #[doc(hidden)]
    pub async fn abandon(&self) {
        self.end(false).await;
    }

    async fn end(&self, clean: bool) {
        let inner = &self.inner;
        inner.stop.cancel();
        inner.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks of the platform store did not end in time");
        }
        match tokio::time::timeout(STOP_TIMEOUT, inner.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "consensus did not end cleanly"),
            Err(_) => tracing::warn!("consensus did not end in time"),
        }
        match inner.worker.stop(clean).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = crate::report(&error),
                    "the state was not closed cleanly"
                );
            }
            Err(stopped) => tracing::debug!(%stopped, "the state was closed before"),
        }
        let thread = inner
            .machine_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !joined.unwrap_or(false) {
                tracing::warn!("the thread of the platform store panicked");
            }
        }
        if clean && let Err(error) = inner.log.close().await {
            tracing::warn!(
                error = crate::report(&error),
                "the log was not closed cleanly"
            );
        }
        drop(
            inner
                .lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Tells when openraft stops for a reason that is not our stopping it.
fn watch_fatal(
    raft: &Raft,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> watch::Receiver<Option<String>> {
    let (tell, fatal) = watch::channel(None);
    let mut metrics = raft.metrics();
    let stop = stop.clone();
    tasks.spawn(async move {
        loop {
            let Metrics { running_state, .. } = metrics.borrow_watched().clone();
            if let Err(error) = running_state {
                if !stop.is_cancelled() {
                    let reason = crate::report(&error);
                    tracing::error!(error = reason, "consensus stopped on this core");
                    tell.send_replace(Some(reason));
                }
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = metrics.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    });
    fatal
}
