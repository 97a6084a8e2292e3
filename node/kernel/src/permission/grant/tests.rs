//! What an access may give, against the contract's rule written out plainly; and that nobody gets
//! more than the giver has, on any stream of any tree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::permission::with_injected;

/// A tree as plain pairs.
#[derive(Clone, Debug, Default)]
struct Pairs(BTreeMap<String, Option<String>>);

impl Parents for Pairs {
    fn parent_of(&self, stream_id: &str) -> Option<&str> {
        self.0.get(stream_id)?.as_deref()
    }
    fn contains(&self, stream_id: &str) -> bool {
        self.0.contains_key(stream_id)
    }
}

/// Streams of the tree.
const STREAMS: usize = 8;
/// Names beside them.
const OTHERS: usize = 7;

fn name(i: usize) -> String {
    match i {
        0 => "*".to_owned(),
        1 => "unknown".to_owned(),
        2 => ":dummy:x".to_owned(),
        3 => ":dummy:*".to_owned(),
        4 => ":_system:language".to_owned(),
        5 => ":_audit:access-x".to_owned(),
        6 => ":_audit:*".to_owned(),
        i => format!("s{}", i - OTHERS),
    }
}

fn tree(parents: &[Option<usize>]) -> Pairs {
    let mut tree = Pairs::default();
    for (i, parent) in parents.iter().enumerate() {
        let parent = parent.filter(|p| *p < i).map(|p| name(p + OTHERS));
        tree.0.insert(name(i + OTHERS), parent);
    }
    tree
}

fn entry() -> impl Strategy<Value = Permission> {
    let setting = prop::sample::select(vec![Setting::Allowed, Setting::Forbidden]);
    let feature = prop::sample::select(vec![SELF_REVOKE, SELF_AUDIT, SECRET_SHARING, "other"]);
    prop_oneof![
        6 => (0..STREAMS + OTHERS, prop::sample::select(Level::ALL))
            .prop_map(|(i, level)| Permission::stream(name(i), level)),
        1 => (feature, setting).prop_map(|(feature, setting)| Permission::Feature {
            feature: feature.to_owned(),
            setting,
        }),
    ]
}

/// The level as the contract has it, word by word.
fn level(entries: &[Permission], tree: &Pairs, stream: &str) -> Option<Level> {
    let last_for = |id: &str| {
        entries.iter().rev().find_map(|entry| match entry {
            Permission::Stream { level, stream_id } if stream_id == id => Some(*level),
            _ => None,
        })
    };
    let mut current = Some(stream.to_owned()).filter(|id| id != "*");
    while let Some(id) = current {
        if let Some(level) = last_for(&id) {
            return Some(level);
        }
        current = tree.0.get(&id).cloned().flatten();
    }
    match stream {
        s if s.starts_with(":_system:") => None,
        s if s.starts_with(":_audit:") => last_for(":_audit:*"),
        s if s.starts_with(":dummy:") => last_for(":dummy:*").or_else(|| last_for("*")),
        _ => last_for("*"),
    }
}

/// The rule as the contract says it (App. B.2).
fn model(giver: &[Permission], tree: &Pairs, given: &[Permission]) -> bool {
    let set = |name: &str| {
        let mut settings = giver.iter().filter_map(|entry| match entry {
            Permission::Feature { feature, setting } if feature == name => Some(*setting),
            _ => None,
        });
        let all: Vec<Setting> = settings.by_ref().collect();
        if all.contains(&Setting::Forbidden) {
            Some(Setting::Forbidden)
        } else {
            all.first().copied()
        }
    };
    let streams = given.iter().filter(|entry| entry.stream_id().is_some());
    streams.count() > 0
        && given.iter().all(|entry| match entry {
            Permission::Stream {
                level: wanted,
                stream_id,
            } => level(giver, tree, stream_id)
                .is_some_and(|own| own != Level::CreateOnly && own.rank() >= wanted.rank()),
            Permission::Feature { feature, setting } => match feature.as_str() {
                "selfRevoke" | "secretSharing" => {
                    set(feature) != Some(Setting::Forbidden) || *setting == Setting::Forbidden
                }
                "selfAudit" => set(feature).is_none_or(|own| own == *setting),
                _ => false,
            },
            Permission::ForcedStreams { .. } => false,
        })
}

/// What somebody can do with a level.
fn powers(level: Option<Level>) -> [bool; 5] {
    let level = level.unwrap_or(Level::None);
    [
        level.lists(),
        level.reads(),
        level.creates(),
        level.updates(),
        level.manages(),
    ]
}

proptest! {
    #[test]
    fn giving_is_as_the_contract_has_it(
        parents in prop::collection::vec(prop::option::of(0..STREAMS), STREAMS),
        giver in prop::collection::vec(entry(), 0..8),
        given in prop::collection::vec(entry(), 0..5),
    ) {
        let tree = tree(&parents);
        let all = with_injected("giver", &giver);
        let rights = Rights::limited(&all);
        for i in 0..STREAMS + OTHERS {
            prop_assert_eq!(rights.level(&tree, &name(i)), level(&all, &tree, &name(i)));
        }
        prop_assert_eq!(may_give(&tree, &rights, &given), model(&all, &tree, &given));
    }

    /// With what is added, whoever is given something can do nothing that the giver cannot.
    #[test]
    fn nobody_gets_more_than_the_giver_has(
        parents in prop::collection::vec(prop::option::of(0..STREAMS), STREAMS),
        giver in prop::collection::vec(entry(), 1..8),
        given in prop::collection::vec(entry(), 1..5),
    ) {
        let tree = tree(&parents);
        let giver = Rights::limited(&with_injected("giver", &giver));
        // Those that it may not give are left out, so that few cases are wasted.
        let mut given: Vec<Permission> = given
            .into_iter()
            .filter(|entry| {
                entry.stream_id().is_some() && may_give(&tree, &giver, std::slice::from_ref(entry))
            })
            .collect();
        prop_assume!(!given.is_empty());
        given.extend(denied(&tree, &giver, &given));
        prop_assert_eq!(denied(&tree, &giver, &given), Vec::new());
        let got = Rights::limited(&with_injected("child", &given));
        for i in 0..STREAMS + OTHERS {
            let stream = name(i);
            let (own, theirs) = (giver.level(&tree, &stream), got.level(&tree, &stream));
            for (own, theirs) in powers(own).into_iter().zip(powers(theirs)) {
                prop_assert!(own || !theirs, "{stream}");
            }
        }
        if giver.feature(SECRET_SHARING) == Some(Setting::Forbidden) {
            prop_assert_eq!(got.feature(SECRET_SHARING), Some(Setting::Forbidden));
        }
    }
}

#[test]
fn forced_streams_are_handed_on() {
    let forced = Permission::ForcedStreams {
        feature: super::super::ForcedStreams::ForcedStreams,
        streams: vec!["a".to_owned()],
    };
    let giver = Rights::limited(&[Permission::stream("*", Level::Manage), forced.clone()]);
    let given = [Permission::stream("b", Level::Read)];
    assert!(may_give(&Pairs::default(), &giver, &given));
    let forced = [forced];
    assert_eq!(denied(&Pairs::default(), &giver, &given), forced);
    assert!(!may_give(&Pairs::default(), &giver, &forced));
}
