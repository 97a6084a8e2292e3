//! The one question about permissions against a slow model, and the levels' own table.

use proptest::prelude::*;

use super::*;

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

/// The rule as the contract says it, word by word: walk up, at each stream look through all entries
/// from the last to the first, then the same for `*`.
fn model(entries: &[(String, Level)], tree: &Pairs, stream: &str) -> Option<Level> {
    let last_for = |id: &str| {
        entries
            .iter()
            .rev()
            .find(|(entry, _)| entry == id)
            .map(|e| e.1)
    };
    let mut path = vec![stream.to_owned()];
    while let Some(Some(parent)) = tree.0.get(path.last().unwrap()) {
        path.push(parent.clone());
    }
    let on_path = path
        .iter()
        .filter(|id| *id != "*")
        .find_map(|id| last_for(id));
    let star_covers = !stream.starts_with(":_system:") && !stream.starts_with(":_audit:");
    on_path.or_else(|| if star_covers { last_for("*") } else { None })
}

#[test]
fn what_a_lost_stream_hung_below_still_counts_for_what_hangs_below_it() {
    // Of `top` (none), `lost` and `below` the one in the middle is not there any more.
    let mut tree = Pairs::default();
    for (id, parent) in [
        ("top", None),
        ("below", Some("lost")),
        ("deep", Some("below")),
    ] {
        tree.0.insert(id.to_owned(), parent.map(str::to_owned));
    }
    let rights = |entries: &[(&str, Level)]| {
        let entries = entries.iter();
        let entries: Vec<_> = entries
            .map(|(id, level)| Permission::stream((*id).to_owned(), *level))
            .collect();
        Rights::limited(&entries)
    };
    let star = [("*", Level::Read), ("top", Level::None)];
    let withheld = rights(&star);
    for id in ["below", "deep"] {
        assert_eq!(withheld.level(&tree, id), None, "{id}");
    }
    // What is granted by name, at whatever height, is.
    for named in ["lost", "below"] {
        let given = rights(&[star[0], star[1], (named, Level::Manage)]);
        assert_eq!(given.level(&tree, "deep"), Some(Level::Manage), "{named}");
    }
    // A stream that may come yet.
    assert_eq!(withheld.level(&tree, "unknown"), Some(Level::Read));
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL)
}

proptest! {
    #[test]
    fn nearest_entry_wins(
        parents in prop::collection::vec(prop::option::of(0_usize..12), 12),
        entries in prop::collection::vec((prop::option::of(0_usize..14), level()), 0..8),
        asked in 0_usize..14,
    ) {
        // A stream hangs under one with a smaller number, so there is no circle.
        let name = |i: usize| match i {
            12 => ":_system:language".to_owned(),
            13 => "unknown".to_owned(),
            i => format!("s{i}"),
        };
        let mut tree = Pairs::default();
        for (i, parent) in parents.iter().enumerate() {
            tree.0.insert(name(i), parent.filter(|p| *p < i).map(name));
        }
        tree.0.insert(":_system:language".to_owned(), Some(ACCOUNT_ROOT.to_owned()));
        tree.0.insert(ACCOUNT_ROOT.to_owned(), None);
        let stored: Vec<Permission> = entries
            .iter()
            .map(|(i, level)| Permission::stream(i.map_or_else(|| "*".to_owned(), name), *level))
            .collect();
        let with = with_injected("x", &stored);
        let plain: Vec<(String, Level)> = with
            .iter()
            .filter_map(|entry| match entry {
                Permission::Stream { stream_id, level } => Some((stream_id.clone(), *level)),
                _ => None,
            })
            .collect();
        let rights = Rights::limited(&with);
        for stream in [name(asked), "*".to_owned()] {
            prop_assert_eq!(rights.level(&tree, &stream), model(&plain, &tree, &stream));
        }
        prop_assert_eq!(Rights::Personal.level(&tree, &name(asked)), Some(Level::Manage));
    }
}

#[test]
fn levels_permit_what_the_table_says() {
    // list, get, create, update, manage
    for (level, expected) in [
        (Level::None, [false, false, false, false, false]),
        (Level::Read, [true, true, false, false, false]),
        (Level::CreateOnly, [true, false, true, false, false]),
        (Level::Contribute, [true, true, true, true, false]),
        (Level::Manage, [true, true, true, true, true]),
    ] {
        let found = [
            level.lists(),
            level.reads(),
            level.creates(),
            level.updates(),
            level.manages(),
        ];
        assert_eq!(found, expected, "{level}");
        assert_eq!(Level::parse(level.wire()), Some(level));
    }
}

#[test]
fn star_opens_neither_account_nor_audit() {
    let rights = Rights::limited(&with_injected(
        "me",
        &[Permission::stream("*", Level::Manage)],
    ));
    let tree = Pairs::default();
    assert_eq!(rights.level(&tree, "anything"), Some(Level::Manage));
    assert_eq!(rights.level(&tree, "*"), Some(Level::Manage));
    assert_eq!(rights.level(&tree, ACCOUNT_ROOT), Some(Level::None));
    assert_eq!(rights.level(&tree, AUDIT_ROOT), None);
    assert_eq!(rights.level(&tree, ":_audit:access-other"), None);
    assert_eq!(rights.level(&tree, ":_audit:access-me"), Some(Level::Read));
    assert_eq!(rights.level(&tree, ":dummy:x"), Some(Level::Manage));
}

#[test]
fn the_own_audit_stream_can_be_forbidden() {
    let forbidden = Permission::Feature {
        feature: SELF_AUDIT.to_owned(),
        setting: Setting::Forbidden,
    };
    assert_eq!(
        with_injected("me", std::slice::from_ref(&forbidden)).last(),
        Some(&forbidden)
    );
}

#[test]
fn entries_are_stored_as_they_are_on_the_wire() {
    for text in [
        r#"{"streamId":"a","level":"create-only"}"#,
        r#"{"feature":"selfRevoke","setting":"forbidden"}"#,
        r#"{"feature":"forcedStreams","streams":["a"]}"#,
    ] {
        let read: Permission = serde_json::from_str(text).unwrap();
        assert_eq!(read.to_json().to_string(), text);
        let stored = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Permission>(&stored).unwrap(), read);
    }
}
