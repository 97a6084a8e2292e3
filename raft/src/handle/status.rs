//! How a store stands.

use homecore_types::NodeId;
use openraft::ServerState;

use crate::handle::Handle;
use crate::records::CoreState;

/// How a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This core's node id.
    pub node: NodeId,
    /// The term of the last vote.
    pub term: u64,
    /// What this core is.
    pub role: Role,
    /// Who leads, as far as this core knows.
    pub leader: Option<NodeId>,
    /// Index of the last entry in the log here.
    pub last_log: Option<u64>,
    /// Index of the last entry applied here.
    pub applied: Option<u64>,
    /// Index of the last entry in the newest snapshot here.
    pub snapshot: Option<u64>,
    /// Index of the last entry that the log no longer holds.
    pub purged: Option<u64>,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who follows without a vote.
    pub learners: Vec<NodeId>,
    /// Set while the voters are being changed.
    pub changing: bool,
    /// Set when this core can take no part any more.
    pub stopped: bool,
}

/// What a core is in the consensus group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It votes.
    Voter,
    /// It follows.
    Learner,
    /// It was removed for good.
    Removed,
}

impl Handle {
    /// How this store stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.metrics();
        let membership = &metrics.membership_config;
        let node = self.inner.identity.node;
        let voters: Vec<NodeId> = membership.voter_ids().map(NodeId).collect();
        let learners = membership.membership().learner_ids().map(NodeId).collect();
        let removed = self
            .inner
            .view
            .load()
            .core_by_node(node)
            .is_some_and(|core| core.state == CoreState::Removed);
        let stopped = self.inner.has_stopped() || metrics.running_state.is_err();
        let role = if removed {
            Role::Removed
        } else if metrics.state == ServerState::Leader && !stopped {
            Role::Leader
        } else if voters.contains(&node) {
            Role::Voter
        } else {
            Role::Learner
        };
        Status {
            node,
            term: metrics.current_term,
            role,
            leader: metrics.current_leader.map(NodeId),
            last_log: metrics.last_log_index,
            applied: metrics.last_applied.map(|id| id.index),
            snapshot: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            voters,
            learners,
            changing: membership.get_joint_config().len() > 1,
            stopped,
        }
    }
}
