//! Who votes.
//!
//! Nobody chooses voters by hand: the leader compares the cores in the directory with the consensus
//! configuration and takes one step at a time towards what [`plan`] wants. Voters are 1, 3 or 5:
//! an even number survives no more failures than the odd one below it, and with two of them each is
//! a single point of failure. Three come from one in a single change.
//!
//! [`plan`] is pure; `reconciler` is the task that runs it.

pub(crate) mod reconciler;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homecore_types::limits::VOTERS_MAX;

/// How a core looks from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Since when the leader has not heard from it; zero for the leader.
    pub silent: Duration,
    /// Whether the leader heard from it just now: it answers, and can agree to a change.
    pub heard: bool,
    /// Whether it is there and its log is nearly complete.
    pub ready: bool,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Node id of the leader.
    pub leader: u64,
    /// Every core that was not removed, by node id.
    pub cores: BTreeMap<u64, Standing>,
    /// The voters of the configuration.
    pub voters: BTreeSet<u64>,
    /// Its learners.
    pub learners: BTreeSet<u64>,
    /// Those of the learners that answer and were not told yet which configuration that is.
    pub untold: BTreeSet<u64>,
    /// A voter silent for longer may be replaced.
    pub dead_after: Duration,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begins to replicate to a core.
    AddLearner(u64),
    /// Makes these the voters; others stay on as learners.
    SetVoters(BTreeSet<u64>),
    /// Stops replicating to a core.
    RemoveLearner(u64),
}

/// The next step towards a configuration that fits the cores; none if it fits.
///
/// ```
/// # use homecore_raft::membership::{Change, Facts, Standing, plan};
/// # use std::time::Duration;
/// let ready = Standing { silent: Duration::ZERO, heard: true, ready: true };
/// let facts = Facts {
///     leader: 1,
///     cores: [(1, ready), (2, ready), (3, ready)].into(),
///     voters: [1].into(),
///     learners: [2, 3].into(),
///     untold: [].into(),
///     dead_after: Duration::from_secs(60),
/// };
/// assert_eq!(plan(&facts), Some(Change::SetVoters([1, 2, 3].into())));
/// ```
#[must_use]
pub fn plan(facts: &Facts) -> Option<Change> {
    // Before the founding is applied nothing is known of cores.
    if facts.cores.is_empty() {
        return None;
    }
    let known = |node: &u64| facts.voters.contains(node) || facts.learners.contains(node);
    if let Some(node) = facts.cores.keys().find(|node| !known(node)) {
        return Some(Change::AddLearner(*node));
    }
    let voters = choose(facts);
    if !voters.is_empty() && voters != facts.voters {
        return Some(Change::SetVoters(voters));
    }
    // One that may have had a vote is told first that it has none any more: it gets no more of the log
    // once it is let go, and would not know that it may stop.
    let gone = facts
        .learners
        .iter()
        .find(|node| !facts.cores.contains_key(node) && !facts.untold.contains(node));
    gone.map(|node| Change::RemoveLearner(*node))
}

/// The voters that there should be; none if no step would be safe.
fn choose(facts: &Facts) -> BTreeSet<u64> {
    let alive = |node: &u64| {
        facts
            .cores
            .get(node)
            .is_some_and(|standing| *node == facts.leader || standing.silent < facts.dead_after)
    };
    let ready = |node: &u64| facts.cores.get(node).is_some_and(|standing| standing.ready);
    let member = |node: &u64| facts.cores.contains_key(node);

    let heard = |node: &u64| {
        *node == facts.leader || facts.cores.get(node).is_some_and(|standing| standing.heard)
    };

    // In the order of preference: the leader, voters that answer, voters that may be back in a moment,
    // learners that could vote at once, and last those voters that are dead.
    let leader = std::iter::once(facts.leader).filter(|node| facts.voters.contains(node));
    let others = || {
        facts
            .voters
            .iter()
            .copied()
            .filter(|node| *node != facts.leader)
    };
    let usable: Vec<u64> = leader
        .filter(member)
        .chain(others().filter(|node| alive(node) && heard(node)))
        .chain(others().filter(|node| alive(node) && !heard(node)))
        .chain(facts.learners.iter().copied().filter(ready))
        .collect();
    let dead = others().filter(member).filter(|node| !alive(node));
    let candidates: Vec<u64> = usable.iter().copied().chain(dead).collect();

    let present = facts.voters.iter().filter(|node| member(node)).count();
    let wanted = wanted(usable.len(), present, facts.cores.len()).min(candidates.len());
    let odd = if wanted.is_multiple_of(2) {
        wanted.saturating_sub(1)
    } else {
        wanted
    };
    let chosen: BTreeSet<u64> = candidates.into_iter().take(odd).collect();

    // A change is agreed on by a majority of the new voters, too: without one that answers it would
    // stay half done, and nothing else could be changed. It waits until they answer, or are dead.
    let answering = chosen.iter().filter(|node| heard(node)).count();
    if answering > chosen.len() / 2 {
        chosen
    } else {
        BTreeSet::new()
    }
}

/// How many voters: by the cores that could vote now, but a death alone lowers the number only where
/// that helps the survivors (five with two dead are worse off than three; three with one dead are
/// better off than one).
fn wanted(usable: usize, present_voters: usize, cores: usize) -> usize {
    let by_usable = voters_for(usable);
    if present_voters >= 5 && cores >= 5 && usable == 4 {
        5
    } else if present_voters >= 3 && cores >= 3 {
        by_usable.max(3)
    } else {
        by_usable
    }
}

/// How many of so many live cores vote once the cluster has come to rest: 1, 3 or 5.
#[must_use]
pub fn voters_for(cores: usize) -> usize {
    match cores {
        0..=2 => 1,
        3..=4 => 3,
        _ => VOTERS_MAX,
    }
}

#[cfg(test)]
mod tests;
