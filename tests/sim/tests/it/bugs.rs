//! Defects that are put back on purpose, outside of production code: a disk that lies, a core that skips a
//! step. Each has to be found.

/// What is broken in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The disk says that a vote is synced, and it is not; nor is the mark beside it.
    VoteNotSynced,
    /// The disk says that entries are synced, and they are not.
    AppendNotSynced,
    /// A snapshot file has its name before it is on the disk: a power cut takes the newest one.
    SnapshotNotSynced,
    /// Snapshots do not say who votes.
    SnapshotForgetsVoters,
    /// Whether a name is taken is answered from this core's own state, without asking the leader.
    StaleCheck,
    /// After a crash an account is looked up in this core's own state, and removed if it is not there.
    StaleSettle,
    /// A commit whose outcome is unknown is taken for one that failed: the account is removed.
    UnknownIsNo,
    /// Wall clocks stand still, so that nothing is ever overdue.
    StoppedClock,
    /// A core that was away refuses a leader that joined meanwhile. This one was ours.
    StrangerLeads,
}

impl Bug {
    pub(crate) const ALL: [Self; 9] = [
        Self::VoteNotSynced,
        Self::AppendNotSynced,
        Self::SnapshotNotSynced,
        Self::SnapshotForgetsVoters,
        Self::StaleCheck,
        Self::StaleSettle,
        Self::UnknownIsNo,
        Self::StoppedClock,
        Self::StrangerLeads,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}
