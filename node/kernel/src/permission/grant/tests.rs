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
        let asked = Rights::limited(&given);
        given = carried(&tree, &giver, given);
        prop_assert_eq!(&carried(&tree, &giver, given.clone()), &given);
        for entry in &given {
            let forced = matches!(entry, Permission::ForcedStreams { .. });
            prop_assert!(forced || !exceeds(&tree, &giver, entry), "{entry:?}");
        }
        prop_assert!(!leaves_more(&tree, &giver, &giver, &given));
        let got = Rights::limited(&with_injected("child", &given));
        for i in 0..STREAMS + OTHERS {
            let stream = name(i);
            let (own, theirs) = (giver.level(&tree, &stream), got.level(&tree, &stream));
            // And what it was given it has, as far as the giver has it.
            if let (Some(own), Some(asked)) = (own, asked.level(&tree, &stream)) {
                prop_assert_eq!(theirs, Some(own.common(asked)), "{}", stream);
            }
            for (own, theirs) in powers(own).into_iter().zip(powers(theirs)) {
                prop_assert!(own || !theirs, "{stream}");
            }
        }
        if giver.feature(SECRET_SHARING) == Some(Setting::Forbidden) {
            prop_assert_eq!(got.feature(SECRET_SHARING), Some(Setting::Forbidden));
        }
    }
}

proptest! {
    /// An access may be narrowed unless that takes away what one has that it gave to.
    #[test]
    fn narrowing_is_refused_where_somebody_is_left_with_more(
        parents in prop::collection::vec(prop::option::of(0..STREAMS), STREAMS),
        before in prop::collection::vec(entry(), 1..8),
        after in prop::collection::vec(entry(), 1..8),
        given in prop::collection::vec(entry(), 1..5),
    ) {
        let tree = tree(&parents);
        let before = Rights::limited(&with_injected("giver", &before));
        let after = Rights::limited(&with_injected("giver", &after));
        let given: Vec<Permission> =
            given.into_iter().filter(|entry| entry.stream_id().is_some()).collect();
        let theirs = Rights::limited(&given);
        let own = ":_audit:access-giver".to_owned();
        let taken = (0..STREAMS + OTHERS).map(name).chain([own]).any(|stream| {
            let of = |rights: &Rights| powers(rights.level(&tree, &stream));
            let had = of(&before).into_iter().zip(of(&theirs)).map(|(own, theirs)| own && theirs);
            had.zip(of(&after)).skip(1).any(|(had, has)| had && !has)
        });
        let secrets = is_forbidden(&after, SECRET_SHARING) && !is_forbidden(&before, SECRET_SHARING);
        prop_assert_eq!(leaves_more(&tree, &before, &after, &given), taken || secrets);
    }
}

#[test]
fn what_two_levels_have_in_common() {
    for a in Level::ALL {
        for b in Level::ALL {
            let both = powers(Some(*a)).into_iter().zip(powers(Some(*b)));
            let both: Vec<bool> = both.map(|(a, b)| a && b).collect();
            // No level lists and does nothing else.
            let both = if both == [true, false, false, false, false] {
                vec![false; 5]
            } else {
                both
            };
            assert_eq!(powers(Some(a.common(*b))).to_vec(), both, "{a} {b}");
        }
    }
}

#[test]
fn what_limits_the_giver_is_carried_over() {
    let tree = Pairs(
        [("a", None), ("a1", Some("a")), ("a11", Some("a1"))]
            .map(|(id, parent)| (id.to_owned(), parent.map(str::to_owned)))
            .into(),
    );
    let entries = |of: &[(&str, Level)]| -> Vec<Permission> {
        of.iter()
            .map(|(id, level)| Permission::stream(*id, *level))
            .collect()
    };
    use Level::{Contribute, CreateOnly, Manage, Read};
    for (own, given, added) in [
        (
            vec![("a", Contribute), ("a1", CreateOnly)],
            ("a", Contribute),
            vec![("a1", CreateOnly)],
        ),
        (
            vec![("a", Contribute), ("a1", CreateOnly)],
            ("a", CreateOnly),
            vec![],
        ),
        (
            vec![("a", Contribute), ("a1", CreateOnly)],
            ("a", Read),
            vec![("a1", Level::None)],
        ),
        (
            vec![("a", Contribute), ("a1", Read)],
            ("a", CreateOnly),
            vec![("a1", Level::None)],
        ),
        // Also what is less limited again further down, in whatever order it is stored.
        (
            vec![("a11", Manage), ("a1", Level::None), ("a", Read)],
            ("a", Read),
            vec![("a1", Level::None), ("a11", Read)],
        ),
        (vec![("a", Read), ("a1", Contribute)], ("a", Read), vec![]),
    ] {
        let giver = Rights::limited(&entries(&own));
        let given = entries(&[given]);
        let wanted = [given.clone(), entries(&added)].concat();
        assert_eq!(carried(&tree, &giver, given), wanted, "{own:?}");
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
    let both = [given[0].clone(), forced.clone()];
    assert_eq!(carried(&Pairs::default(), &giver, given.to_vec()), both);
    assert!(!may_give(&Pairs::default(), &giver, &[forced]));
}
