//! The plan: a table of situations, and what holds in all of them.

use proptest::prelude::*;

use super::*;

const DEAD_AFTER: Duration = Duration::from_secs(60);
const READY: Standing = Standing {
    silent: Duration::ZERO,
    heard: true,
    ready: true,
};
const BEHIND: Standing = Standing {
    silent: Duration::ZERO,
    heard: true,
    ready: false,
};
const SILENT: Standing = Standing {
    silent: Duration::from_secs(5),
    heard: false,
    ready: false,
};
const DEAD: Standing = Standing {
    silent: Duration::from_secs(61),
    heard: false,
    ready: false,
};

fn facts(cores: &[(u64, Standing)], voters: &[u64], learners: &[u64]) -> Facts {
    Facts {
        leader: 1,
        cores: cores.iter().copied().collect(),
        voters: voters.iter().copied().collect(),
        learners: learners.iter().copied().collect(),
        untold: BTreeSet::new(),
        dead_after: DEAD_AFTER,
    }
}

fn set(nodes: &[u64]) -> Option<Change> {
    Some(Change::SetVoters(nodes.iter().copied().collect()))
}

#[test]
fn growing() {
    let r = READY;
    assert_eq!(plan(&facts(&[], &[1], &[])), None, "not founded yet");
    assert_eq!(plan(&facts(&[(1, r)], &[1], &[])), None);
    assert_eq!(
        plan(&facts(&[(1, r), (2, r)], &[1], &[])),
        Some(Change::AddLearner(2))
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, r)], &[1], &[2])),
        None,
        "never two voters"
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, r), (3, BEHIND)], &[1], &[2, 3])),
        None
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, r), (3, r)], &[1], &[2, 3])),
        set(&[1, 2, 3])
    );
    let four = [(1, r), (2, r), (3, r), (4, r)];
    assert_eq!(plan(&facts(&four, &[1, 2, 3], &[4])), None, "never four");
    let five = [(1, r), (2, r), (3, r), (4, r), (5, r)];
    assert_eq!(
        plan(&facts(&five, &[1, 2, 3], &[4, 5])),
        set(&[1, 2, 3, 4, 5])
    );
    let six = [(1, r), (2, r), (3, r), (4, r), (5, r), (6, r)];
    assert_eq!(
        plan(&facts(&six, &[1, 2, 3, 4, 5], &[6])),
        None,
        "at most five"
    );
}

#[test]
fn dying() {
    let r = READY;
    let three = [(1, r), (2, r), (3, DEAD)];
    assert_eq!(
        plan(&facts(&three, &[1, 2, 3], &[])),
        None,
        "no one to replace it"
    );
    let four = [(1, r), (2, r), (3, SILENT), (4, r)];
    assert_eq!(
        plan(&facts(&four, &[1, 2, 3], &[4])),
        None,
        "silent, not dead"
    );
    let four = [(1, r), (2, r), (3, DEAD), (4, r)];
    assert_eq!(plan(&facts(&four, &[1, 2, 3], &[4])), set(&[1, 2, 4]));
    let four = [(1, r), (2, r), (3, DEAD), (4, BEHIND)];
    assert_eq!(
        plan(&facts(&four, &[1, 2, 3], &[4])),
        None,
        "the learner could not vote yet"
    );
    let five = [(1, r), (2, r), (3, r), (4, r), (5, DEAD)];
    assert_eq!(plan(&facts(&five, &[1, 2, 3, 4, 5], &[])), None);
    let five = [(1, r), (2, r), (3, r), (4, DEAD), (5, DEAD)];
    assert_eq!(plan(&facts(&five, &[1, 2, 3, 4, 5], &[])), set(&[1, 2, 3]));
    let five = [(1, r), (2, r), (3, r), (4, r), (5, r)];
    assert_eq!(
        plan(&facts(&five, &[1, 2, 3], &[4, 5])),
        set(&[1, 2, 3, 4, 5]),
        "they came back"
    );
}

#[test]
fn removing() {
    let r = READY;
    assert_eq!(
        plan(&facts(&[(1, r), (2, r)], &[1, 2, 3], &[])),
        set(&[1]),
        "three become one"
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, r)], &[1], &[2, 3])),
        Some(Change::RemoveLearner(3))
    );
    let four = [(1, r), (2, r), (4, r)];
    assert_eq!(plan(&facts(&four, &[1, 2, 3], &[4])), set(&[1, 2, 4]));
    assert_eq!(
        plan(&facts(&[(2, r), (3, r), (4, r)], &[1, 2, 3], &[4])),
        set(&[2, 3, 4]),
        "the leader"
    );
    assert_eq!(
        plan(&facts(&[(2, r)], &[1], &[2])),
        set(&[2]),
        "the leader hands everything over"
    );
    assert_eq!(
        plan(&facts(&[(2, BEHIND)], &[1], &[2])),
        None,
        "not to one that is behind"
    );
    let four = [(1, r), (2, r), (3, r), (4, r)];
    assert_eq!(plan(&facts(&four, &[1, 2, 3, 4, 5], &[])), set(&[1, 2, 3]));
    assert_eq!(
        plan(&facts(&four, &[1, 2, 3], &[4, 5])),
        Some(Change::RemoveLearner(5))
    );
}

#[test]
fn a_removed_core_is_told_before_it_is_let_go() {
    let mut facts = facts(&[(1, READY)], &[1], &[2, 3]);
    facts.untold = [2, 3].into();
    assert_eq!(plan(&facts), None);
    facts.untold = [2].into();
    assert_eq!(plan(&facts), Some(Change::RemoveLearner(3)));
    facts.untold.clear();
    assert_eq!(plan(&facts), Some(Change::RemoveLearner(2)));
}

#[test]
fn a_silent_core_is_not_what_a_change_waits_for() {
    let r = READY;
    // Leader 1 is removed; 2 died a moment ago, 3 lives. A change to {2} would never be agreed on.
    assert_eq!(
        plan(&facts(&[(2, SILENT), (3, r)], &[1, 2, 3], &[])),
        set(&[3])
    );
    assert_eq!(
        plan(&facts(&[(2, SILENT), (3, BEHIND)], &[1, 2, 3], &[])),
        set(&[3]),
        "a voter that answers catches up"
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, SILENT)], &[1, 2, 3], &[])),
        set(&[1])
    );
    assert_eq!(
        plan(&facts(&[(1, r), (2, DEAD)], &[1, 2, 3], &[])),
        set(&[1])
    );
    // Two of five are silent, another is removed.
    let four = [(1, r), (2, SILENT), (3, SILENT), (5, r)];
    assert_eq!(
        plan(&facts(&four, &[1, 2, 3, 4, 5], &[])),
        set(&[1, 2, 5]),
        "two of these three can agree"
    );
    assert_eq!(
        plan(&facts(&[(2, SILENT), (4, r)], &[1, 2, 3], &[4])),
        None,
        "a voter that may be back is not replaced, and alone it cannot agree"
    );
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![4 => Just(READY), 1 => Just(BEHIND), 1 => Just(SILENT), 1 => Just(DEAD)]
}

/// Any directory, and a configuration as this planner may have left it.
fn situation() -> impl Strategy<Value = Facts> {
    let cores = prop::collection::btree_map(1..9_u64, standing(), 1..8);
    let configuration = prop::collection::btree_set(1..9_u64, 1..9);
    (
        cores,
        configuration,
        0..3_usize,
        any::<prop::sample::Index>(),
    )
        .prop_map(|(mut cores, members, size, leader)| {
            let members: Vec<u64> = members.into_iter().collect();
            let size = [1, 3, 5][size].min(members.len());
            let size = if size % 2 == 0 { size - 1 } else { size };
            let (voters, learners) = members.split_at(size);
            let leader = voters[leader.index(voters.len())];
            cores.entry(leader).and_modify(|standing| *standing = READY);
            Facts {
                leader,
                cores,
                voters: voters.iter().copied().collect(),
                learners: learners.iter().copied().collect(),
                untold: BTreeSet::new(),
                dead_after: DEAD_AFTER,
            }
        })
}

/// What the configuration looks like after a step.
fn apply(facts: &Facts, change: &Change) -> Facts {
    let mut next = facts.clone();
    match change {
        Change::AddLearner(node) => {
            next.learners.insert(*node);
        }
        Change::RemoveLearner(node) => {
            next.learners.remove(node);
        }
        Change::SetVoters(voters) => {
            next.learners.extend(&facts.voters);
            next.learners.retain(|node| !voters.contains(node));
            next.voters.clone_from(voters);
            // A leader that is no voter steps down; another voter leads.
            if !voters.contains(&facts.leader) {
                next.leader = *voters.first().unwrap();
            }
        }
    }
    next
}

proptest! {
    #[test]
    fn every_step_is_safe(facts in situation()) {
        let Some(change) = plan(&facts) else { return Ok(()) };
        match change {
            Change::AddLearner(node) => {
                prop_assert!(facts.cores.contains_key(&node));
                prop_assert!(!facts.voters.contains(&node) && !facts.learners.contains(&node));
            }
            Change::RemoveLearner(node) => {
                prop_assert!(facts.learners.contains(&node) && !facts.cores.contains_key(&node));
            }
            Change::SetVoters(voters) => {
                prop_assert!([1, 3, 5].contains(&voters.len()), "{voters:?}");
                for node in &voters {
                    prop_assert!(facts.cores.contains_key(node), "removed: {node}");
                    prop_assert!(facts.voters.contains(node) || facts.cores[node].ready, "behind: {node}");
                }
                let heard = |node: &&u64| {
                    **node == facts.leader || facts.cores[*node].heard
                };
                prop_assert!(voters.iter().filter(heard).count() > voters.len() / 2);
            }
        }
    }

    #[test]
    fn steps_end_and_the_end_is_what_is_wanted(facts in situation()) {
        let mut facts = facts;
        let mut steps = 0;
        while let Some(change) = plan(&facts) {
            facts = apply(&facts, &change);
            steps += 1;
            prop_assert!(steps < 40, "no end: {facts:?}");
        }
        for node in facts.cores.keys() {
            prop_assert!(facts.voters.contains(node) || facts.learners.contains(node));
        }
        let all_ready = facts.cores.values().all(|standing| *standing == READY);
        if all_ready {
            let gone = |node: &u64| !facts.cores.contains_key(node);
            prop_assert!(!facts.voters.iter().any(gone) && !facts.learners.iter().any(gone));
            prop_assert_eq!(facts.voters.len(), voters_for(facts.cores.len()));
        }
    }
}
