//! The platform store of one core, as the rest of homecore sees it: nothing of openraft shows.
//!
//! ```text
//! write ──► leader? propose : forward once ──► log ──► machine ──► Directory
//! current ─► read index of the leader ──► wait until applied here ──► Directory
//! ```

mod errors;
mod lead;
mod options;
mod outage;
mod queries;
mod read;
mod search;
mod start;
mod status;
mod succession;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use homecore_types::limits::{COMMANDS_IN_FLIGHT_MAX, RPC_MESSAGE_BYTES_MAX};
use homecore_types::{Clock, Millis, NodeId};
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::directory::{Directory, View};
use crate::ground::Ground;
use crate::identity::Identity;
use crate::log::LogStore;
use crate::network::{Links, PeerError};
use crate::records::CoreState;
use crate::state_machine::Raft;
use crate::state_machine::worker::Worker;
use crate::types::{Member, Metrics};

pub use errors::{FoundError, ReadError, StartError, WriteError};
pub(crate) use lead::{LIVE_WITHIN, peers};
pub use lead::{PeerLiveness, has_live_quorum};
pub use options::{Options, Timings};
pub use status::{Role, Status};
pub use succession::Presence;

/// The platform store of one core. Clones are cheap and reach the same store.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    ground: Arc<dyn Ground>,
    identity: Identity,
    raft: Raft,
    log: LogStore,
    worker: Worker,
    machine_thread: Mutex<Option<JoinHandle<()>>>,
    snapshots: PathBuf,
    view: View,
    applied: watch::Receiver<u64>,
    links: Links,
    clock: Arc<dyn Clock>,
    dead_after: std::time::Duration,
    /// Writes of this core's own callers.
    writes: Semaphore,
    /// Proposals at this core while it leads, forwarded ones included.
    proposals: Semaphore,
    reads: mpsc::Sender<read::Waiting>,
    outage: Arc<outage::Outage>,
    /// A connection of another core ended.
    parted: Arc<Notify>,
    /// Which other core is asked next while it is not known who leads.
    turn: AtomicUsize,
    fatal: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Given back when the store has stopped, even if handles live on.
    lock: Mutex<Option<start::DirLock>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("core", &self.inner.identity.core)
            .field("node", &self.inner.identity.node)
            .finish_non_exhaustive()
    }
}

/// How one try at the leader ended.
#[derive(Debug)]
pub(crate) enum Attempt<T> {
    /// It worked.
    Done(T),
    /// The core asked does not lead; it did nothing.
    NotLeader { leader: Option<u64> },
    /// It certainly did not happen, and may be tried again.
    Refused { reason: String },
    /// It certainly did not happen: the core asked cannot be reached, or does not listen to this one.
    Unreachable { reason: String },
    /// It may or may not happen.
    Unknown { reason: String },
    /// The other side runs a release that does not understand.
    Incompatible { reason: String },
    /// This core's store was stopped.
    Stopped,
}

impl Handle {
    /// Who this core is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The platform as this core knows it now. No lock, no disk, and possibly behind.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.inner.view.load_full()
    }

    /// Where the newest directory is found; it stays the same for the life of this store.
    #[must_use]
    pub fn view(&self) -> View {
        Arc::clone(&self.inner.view)
    }

    /// The index of the last log entry applied here. The directory is never older than it.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }

    /// Why this core can take no part any more, once it cannot: the process should end then.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.inner.fatal.clone()
    }

    /// Whether a node may speak to this one: a core that was not removed, or one that the consensus
    /// configuration still holds while the directory does not know it yet.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        match self.inner.view.load().core_by_node(node) {
            Some(core) => core.state != CoreState::Removed,
            None => self.inner.member(node.0).is_some(),
        }
    }

    /// Whether a node takes part in consensus: it is a voter or a learner of the configuration in
    /// effect here, which a core that was removed still is until the others have agreed to do without
    /// it.
    ///
    /// Asked about this core itself, once it was removed: whether its vote may still be needed. That it
    /// is let go as a learner, too, is told only to those that stay.
    #[must_use]
    pub fn in_consensus(&self, node: NodeId) -> bool {
        let inner = &self.inner;
        if node == inner.identity.node && inner.is_removed(node) {
            return inner.may_vote(node.0);
        }
        inner.member(node.0).is_some()
    }

    /// Whether a node may have been admitted by an entry of the log that is not applied here yet: its id
    /// is the index of that entry, or follows it.
    ///
    /// A core that was away meets a leader that joined meanwhile. Of that it learns from the log alone, and
    /// the log comes from this very leader: refused as unknown, it would be refused for as long as it leads.
    /// Who is asked about must have proved its id with a certificate of this cluster.
    #[must_use]
    pub fn may_be_new(&self, node: NodeId) -> bool {
        let directory = self.inner.view.load();
        let applied = directory.applied_index().unwrap_or(0);
        directory.core_by_node(node).is_none() && node.0 > applied
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn ground(&self) -> &dyn Ground {
        &*self.inner.ground
    }

    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.inner.snapshots.clone()
    }

    /// Takes note of where a node says it is.
    pub(crate) fn told_address(&self, node: u64, rpc: &str) {
        let member = self.inner.member(node);
        self.inner.links.told(node, rpc, member.as_ref());
    }

    /// Where this core reaches a node.
    #[cfg(test)]
    pub(crate) fn address(&self, node: u64) -> Option<String> {
        self.inner.links.address(node)
    }
}

impl Inner {
    /// openraft's state now. Cloned at once: a guard held would stop openraft.
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    pub(crate) fn node(&self) -> u64 {
        self.identity.node.0
    }

    pub(crate) fn dead_after(&self) -> std::time::Duration {
        self.dead_after
    }

    /// The time that goes into commands made here.
    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Closes channels to nodes that are no members any more.
    pub(crate) fn retain_links(&self) {
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        self.links
            .retain(|node| members.get_node(&node).is_some() || !self.is_removed(NodeId(node)));
    }

    fn is_removed(&self, node: NodeId) -> bool {
        self.view
            .load()
            .core_by_node(node)
            .is_some_and(|core| core.state == CoreState::Removed)
    }

    /// Whether a node has a vote in the configuration in effect, or had one in the last that is
    /// certain: a leader that gave up its vote is needed until the others have agreed.
    fn may_vote(&self, node: u64) -> bool {
        let metrics = self.metrics();
        [
            &metrics.membership_config,
            &metrics.committed_membership_config,
        ]
        .into_iter()
        .any(|membership| membership.voter_ids().any(|voter| voter == node))
    }

    /// A node of the consensus configuration.
    fn member(&self, node: u64) -> Option<Member> {
        self.raft
            .metrics()
            .borrow_watched()
            .membership_config
            .get_node(&node)
            .cloned()
    }

    fn platform(
        &self,
        node: u64,
    ) -> Result<
        homecore_proto::platform::platform_client::PlatformClient<tonic::transport::Channel>,
        PeerError,
    > {
        let channel = self.links.channel(node, self.member(node).as_ref())?;
        Ok(
            homecore_proto::platform::platform_client::PlatformClient::new(channel)
                .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX),
        )
    }

    fn has_stopped(&self) -> bool {
        self.stop.is_cancelled() || self.fatal.borrow().is_some()
    }
}

fn semaphore() -> Semaphore {
    Semaphore::new(COMMANDS_IN_FLIGHT_MAX)
}
