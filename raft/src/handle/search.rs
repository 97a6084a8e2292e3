//! Whom to ask next for the leader.
//!
//! Usually this core knows who leads. A core that was away may know an old leader or none, and the new
//! one may be unable to tell it, because it has moved: then it must find the leader by itself. A core
//! that is asked and does not lead says who does, and is followed; one that does not answer is passed
//! over for another that may know. What was asked is never passed on: this core asks again.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::handle::{Attempt, Inner};
use crate::records::CoreState;

/// Hints followed at once. Two cores that name each other, as both may in an election, must not be
/// asked without a pause.
const HINTS_MAX: u8 = 3;

/// One search for the leader: the state between tries.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Who leads, by the core asked last.
    hint: Option<u64>,
    /// Hints in a row.
    followed: u8,
    /// Whether the core that this one takes for the leader was just asked in vain.
    in_vain: bool,
}

/// A core to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) node: u64,
    /// It is not said to lead: it may know who does.
    pub(super) guess: bool,
}

impl Search {
    /// Whom to ask next: who was named, or whom this core takes for the leader, by turns with the
    /// others if that one is of no help. None: this core knows of no other.
    pub(super) fn next(&mut self, inner: &Inner) -> Option<Choice> {
        let believed = inner.metrics().current_leader;
        self.choose(believed, || inner.next_in_turn())
    }

    fn choose(
        &mut self,
        believed: Option<u64>,
        in_turn: impl FnOnce() -> Option<u64>,
    ) -> Option<Choice> {
        let said = |node| Choice { node, guess: false };
        if let Some(named) = self.hint.take() {
            return Some(said(named));
        }
        let in_vain = std::mem::take(&mut self.in_vain);
        if let Some(leader) = believed.filter(|_| !in_vain) {
            return Some(said(leader));
        }
        in_turn()
            .map(|node| Choice { node, guess: true })
            .or_else(|| believed.map(said))
    }

    /// Takes note of how a try went, at a core, by the core `this`. Whether the next one may follow
    /// without a pause.
    pub(super) fn note<T>(&mut self, asked: Choice, attempt: &Attempt<T>, this: u64) -> bool {
        let elsewhere = match attempt {
            Attempt::NotLeader { leader } => {
                self.hint = leader.filter(|named| *named != asked.node && *named != this);
                true
            }
            Attempt::Unreachable { .. } | Attempt::Unknown { .. } => true,
            Attempt::Done(_)
            | Attempt::Refused { .. }
            | Attempt::Incompatible { .. }
            | Attempt::Stopped => false,
        };
        self.in_vain = elsewhere && !asked.guess;
        self.followed = if self.hint.is_some() {
            self.followed.saturating_add(1)
        } else {
            0
        };
        self.hint.is_some() && self.followed <= HINTS_MAX
    }
}

impl Inner {
    /// One of the other cores, each time the next: also from one call to the next, or cores that do
    /// not answer could use up the time of every call.
    fn next_in_turn(&self) -> Option<u64> {
        let directory = self.view.load();
        let mut others: BTreeSet<u64> = directory.cores().map(|core| core.node.0).collect();
        // A core that only just joined knows the others from the configuration.
        let members = self.metrics().membership_config;
        others.extend(members.nodes().map(|(node, _)| *node).filter(|node| {
            directory
                .core_by_node(homecore_types::NodeId(*node))
                .is_none_or(|core| core.state != CoreState::Removed)
        }));
        others.remove(&self.node());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let position = turn.checked_rem(others.len())?;
        others.into_iter().nth(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: u64 = 9;

    fn choice(node: u64, guess: bool) -> Choice {
        Choice { node, guess }
    }

    fn not_leader(leader: Option<u64>) -> Attempt<()> {
        Attempt::NotLeader { leader }
    }

    fn unreachable() -> Attempt<()> {
        let reason = "no route".to_owned();
        Attempt::Unreachable { reason }
    }

    #[test]
    fn who_is_named_is_asked_at_once() {
        let mut search = Search::default();
        let asked = search.choose(Some(1), || Some(5)).unwrap();
        assert_eq!(asked, choice(1, false));
        assert!(search.note(asked, &not_leader(Some(3)), THIS));
        let asked = search.choose(Some(1), || Some(5)).unwrap();
        assert_eq!(asked, choice(3, false));
        // That one is of no help either: another, and only then the first again.
        assert!(!search.note(asked, &unreachable(), THIS));
        let asked = search.choose(Some(1), || Some(5)).unwrap();
        assert_eq!(asked, choice(5, true));
        assert!(!search.note(asked, &not_leader(None), THIS));
        assert_eq!(search.choose(Some(1), || Some(6)), Some(choice(1, false)));
    }

    #[test]
    fn without_a_leader_the_others_are_asked_in_turn() {
        let mut search = Search::default();
        for node in [4, 5, 6] {
            let asked = search.choose(None, || Some(node)).unwrap();
            assert_eq!(asked, choice(node, true));
            assert!(!search.note(asked, &not_leader(None), THIS));
        }
        assert_eq!(search.choose(None, || None), None, "alone");
        assert_eq!(search.choose(Some(1), || None), Some(choice(1, false)));
    }

    #[test]
    fn a_leader_that_is_only_busy_is_asked_again() {
        let mut search = Search::default();
        let asked = search.choose(Some(1), || Some(5)).unwrap();
        let reason = "too many".to_owned();
        assert!(!search.note(asked, &Attempt::<()>::Refused { reason }, THIS));
        assert_eq!(search.choose(Some(1), || Some(5)), Some(choice(1, false)));
    }

    #[test]
    fn cores_that_name_each_other_are_not_asked_without_a_pause() {
        let mut search = Search::default();
        let mut at_once = 0;
        for round in 0..20_u64 {
            let asked = search.choose(Some(1), || Some(5)).unwrap();
            let other = if asked.node == 1 { 2 } else { 1 };
            if search.note(asked, &not_leader(Some(other)), THIS) {
                at_once += 1;
            }
            assert!(round == 0 || !asked.guess);
        }
        assert_eq!(at_once, u64::from(HINTS_MAX));
    }

    #[test]
    fn a_core_that_names_the_one_that_asks_is_not_believed() {
        let mut search = Search::default();
        let asked = choice(1, false);
        assert!(!search.note(asked, &not_leader(Some(THIS)), THIS));
        assert!(!search.note(asked, &not_leader(Some(1)), THIS));
        assert_eq!(search.choose(None, || Some(5)), Some(choice(5, true)));
    }
}
