//! How often each fault really happened in a run: one that is drawn and never takes effect is none.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Some cores cannot reach the others.
    Partition,
    /// A core is not heard, or hears nothing.
    OneWay,
    /// A segment was lost, and came later.
    Loss,
    /// A segment took long.
    Delay,
    /// The connections of a core broke.
    Reset,
    /// A request came once more, later.
    Twice,
    /// A process was killed.
    Killed,
    /// A machine lost its power.
    PowerCut,
    /// A power cut took commits that were not synced.
    CommitsLost,
    /// A core was stopped cleanly.
    Stopped,
    /// A machine said that the leader it ran is gone.
    Refused,
    /// An access to a disk took long.
    SlowDisk,
    /// There was no room for a commit of the log.
    FullForLog,
    /// There was no room for a snapshot that was being built.
    FullForBuilding,
    /// There was no room for a snapshot that was being received.
    FullForReceiving,
    /// A wall clock jumped.
    ClockJump,
    /// A core joined while things broke.
    Joined,
    /// A core was removed.
    Removed,
    /// A voter lost its power just after it had voted.
    AfterVote,
    /// As that, with the former leader in reach of the voter and the new one not.
    Usurped,
    /// A core died just after it had made an account.
    AfterAccount,
    /// A core lost touch just after it had made an account.
    AccountAlone,
}

impl Fault {
    pub(crate) const ALL: [Self; 22] = [
        Self::Partition,
        Self::OneWay,
        Self::Loss,
        Self::Delay,
        Self::Reset,
        Self::Twice,
        Self::Killed,
        Self::PowerCut,
        Self::CommitsLost,
        Self::Stopped,
        Self::Refused,
        Self::SlowDisk,
        Self::FullForLog,
        Self::FullForBuilding,
        Self::FullForReceiving,
        Self::ClockJump,
        Self::Joined,
        Self::Removed,
        Self::AfterVote,
        Self::Usurped,
        Self::AfterAccount,
        Self::AccountAlone,
    ];
}

/// Fault → how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<Fault, u64>);

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(*fault).or_default() += times;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<Fault> {
        let happened = |fault: &Fault| self.0.get(fault).is_some_and(|times| *times > 0);
        Fault::ALL
            .into_iter()
            .filter(|fault| !happened(fault))
            .collect()
    }

    /// Reads what [`Display`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let pairs = text.split_whitespace().map(|pair| {
            let (name, times) = pair.split_once('=')?;
            let known = |fault: &Fault| format!("{fault:?}") == name;
            let fault = Fault::ALL.into_iter().find(known)?;
            Some((fault, times.parse().ok()?))
        });
        pairs.collect::<Option<BTreeMap<_, _>>>().map(Self)
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (fault, times)) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{fault:?}={times}")?;
        }
        Ok(())
    }
}
