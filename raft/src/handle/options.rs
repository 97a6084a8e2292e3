//! What a store is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homecore_types::Clock;
use openraft::{Config, SnapshotPolicy};

use crate::engine::EngineKind;
use crate::handle::StartError;
use crate::identity::Identity;
use crate::network::Peers;

/// How long a snapshot may take from its first byte until the peer has installed it.
const SNAPSHOT_TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

/// What a store is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of this store and of nothing else.
    pub dir: PathBuf,
    /// The engine under the state.
    pub engine: EngineKind,
    /// Who this core is.
    pub identity: Identity,
    /// How patient consensus is.
    pub timings: Timings,
    /// A voter silent for longer is replaced by a live learner, if there is one.
    pub dead_after: Duration,
    /// A snapshot is taken after so many log entries.
    pub snapshot_every: u64,
    /// The time that goes into commands made here.
    pub clock: Arc<dyn Clock>,
    /// Makes channels to other cores.
    pub peers: Arc<dyn Peers>,
    /// Where other cores reach this one (`host:port`). They hear it from itself when it asks for votes: a
    /// directory that needs this core's vote to change may have its former one.
    pub rpc: String,
}

impl Options {
    /// Default time after which a silent voter is replaced.
    pub const DEAD_AFTER: Duration = Duration::from_secs(60);
    /// Default number of log entries between snapshots.
    pub const SNAPSHOT_EVERY: u64 = 10_000;
}

/// How patient consensus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How often the leader says that it is there.
    pub heartbeat: Duration,
    /// After how much silence a voter stands for election, at least …
    pub election_min: Duration,
    /// … and at most.
    pub election_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(550),
        }
    }
}

impl Options {
    pub(super) fn config(&self) -> Result<Config, StartError> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let every = self.snapshot_every.max(1);
        let config = Config {
            cluster_name: self.identity.cluster.to_string(),
            heartbeat_interval: millis(self.timings.heartbeat),
            election_timeout_min: millis(self.timings.election_min),
            election_timeout_max: millis(self.timings.election_max),
            enable_pre_vote: Some(true),
            // Others may hold what a leader that crashed had not on its own disk: adr/0003.
            enable_leader_restore: Some(false),
            install_snapshot_timeout: millis(SNAPSHOT_TRANSFER_TIMEOUT),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(every),
            // A follower that was away for a while catches up from the log.
            max_in_snapshot_log_to_keep: every.checked_div(2).unwrap_or(0).min(5_000),
            // Above the distance between snapshots, or a snapshot could not end the lag.
            replication_lag_threshold: every.saturating_mul(2),
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Settings {
            reason: error.to_string(),
        })
    }
}
