//! Names of every length, views that do not move, and counts that add up.

use std::collections::BTreeSet;

use homecore_types::Millis;

use super::*;
use crate::records::CoreAddresses;

fn id(letter: char) -> UserId {
    UserId::parse(letter.to_string().repeat(24)).unwrap()
}

fn core_id(name: &str) -> CoreId {
    CoreId::parse(name).unwrap()
}

fn row(letter: char, core: &str, active: bool) -> NameRow {
    NameRow {
        alias_of: None,
        id: id(letter),
        core: core_id(core),
        active,
    }
}

fn core(name: &str, node: u64, state: CoreState) -> Arc<Core> {
    Arc::new(Core {
        id: core_id(name),
        node: NodeId(node),
        addresses: CoreAddresses::default(),
        key: String::new(),
        state,
        available: true,
        users: 0,
        joined_at: Millis(0),
        removed_at: None,
    })
}

#[test]
fn an_entry_is_small() {
    assert!(
        size_of::<(Name, Slot)>() <= 56,
        "{}",
        size_of::<(Name, Slot)>()
    );
}

#[test]
fn a_view_stays_as_it_was() {
    let mut next = Directory::default();
    next.set_name("alice", &row('a', "core-a", false));
    let before = next.clone();
    next.set_name("alice", &row('a', "core-a", true));
    next.set_name("bob-b", &row('b', "core-b", true));
    assert_eq!(
        before.user("alice").unwrap(),
        UserEntry {
            id: id('a'),
            core: core_id("core-a"),
            active: false
        }
    );
    assert_eq!(before.user("bob-b"), None);
    assert_eq!(
        (before.counts().users, before.counts().reservations),
        (0, 1)
    );
    assert!(next.user("alice").unwrap().active);
    assert_eq!((next.counts().users, next.counts().reservations), (2, 0));
    next.remove_name("alice");
    next.remove_name("alice");
    assert_eq!((next.counts().users, next.counts().reservations), (1, 0));
}

#[test]
fn users_are_listed_of_a_core_or_of_all() {
    let mut all = Directory::default();
    for (n, letter) in ('a'..='z').enumerate() {
        let home = if n % 2 == 0 { "core-a" } else { "core-b" };
        all.set_name(&format!("user-{letter}"), &row(letter, home, true));
    }
    let names = |core: Option<&str>| {
        let found = all.users(core.map(core_id).as_ref());
        let names: BTreeSet<String> = found.map(|(name, _)| name.to_owned()).collect();
        names
    };
    assert_eq!(names(None).len(), 26);
    assert_eq!(names(Some("core-b")).len(), 13);
    assert!(names(Some("core-b")).contains("user-d"));
    assert!(names(Some("nobody")).is_empty());
}

#[test]
fn only_what_the_zone_shows_makes_a_generation() {
    let mut all = Directory::default();
    all.set_core(core("core-a", 1, CoreState::Joining), 5);
    assert_eq!(all.dns_generation(), 5);
    let mut busier = (*core("core-a", 1, CoreState::Joining)).clone();
    busier.users = 3;
    all.set_core(Arc::new(busier), 6);
    all.set_name("alice", &row('a', "core-a", true));
    assert_eq!(all.dns_generation(), 5);
    assert_eq!(all.core(&core_id("core-a")).unwrap().users, 3);
    all.set_core(core("core-a", 1, CoreState::Serving), 7);
    assert_eq!(all.dns_generation(), 7);
    all.set_dns("a.b", DnsRecord::default(), 8);
    all.remove_dns("a.b", 9);
    assert_eq!((all.dns_generation(), all.counts().dns_labels), (9, 0));
}

#[test]
fn removed_cores_are_remembered_by_node() {
    let mut all = Directory::default();
    all.set_core(core("core-a", 1, CoreState::Serving), 1);
    all.set_core(core("core-b", 2, CoreState::Removed), 2);
    assert_eq!(all.cores().map(|core| core.node.0).collect::<Vec<_>>(), [1]);
    assert!(all.core(&core_id("core-b")).is_none());
    assert_eq!(
        all.core_by_node(NodeId(2)).unwrap().state,
        CoreState::Removed
    );
    assert!(all.core_or_removed("core-b").is_some());
    assert!(all.core_by_node(NodeId(3)).is_none());
}
