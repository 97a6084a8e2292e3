//! Random aliases: each one user's, and gone with what it stands for.

use homecore_types::limits;

use super::fixture::*;
use super::users::conflict;
use crate::codec;
use crate::command::{Command, HoldNames, Rejection, Response};
use crate::engine::EngineKind;
use crate::keys::{Holdings, NameRow, Names, Space, Table};
use crate::records::UserHoldings;

const ONE: &str = "r-abcdefgh";
const TWO: &str = "r-23456789";

fn take(user: &str, alias: &str) -> Command {
    Command::TakeAlias {
        user: user_id(user),
        alias: username(alias),
    }
}

fn free(user: &str, aliases: &[&str]) -> Command {
    Command::FreeAliases {
        user: user_id(user),
        aliases: aliases.iter().copied().map(username).collect(),
    }
}

fn hold(reservation: &str, former: &[&str], changes: u32, aliases: &[&str]) -> Command {
    Command::HoldNames(HoldNames {
        reservation: reservation.to_owned(),
        former: former.iter().copied().map(username).collect(),
        changes,
        aliases: aliases.iter().copied().map(username).collect(),
        emails: Vec::new(),
        email_changes: 0,
    })
}

/// Whom a name leads to: on disk and in memory.
fn owner(bench: &Bench, name: &str) -> Option<String> {
    let user = bench.machine.user_by_name(name).unwrap();
    let seen = bench.view.load().user(name).map(|entry| entry.id);
    assert_eq!(seen, user.as_ref().map(|user| user.id.clone()));
    user.map(|user| user.username.to_string())
}

#[test]
fn an_alias_is_one_users_until_it_is_freed() {
    for kind in [EngineKind::Memory, EngineKind::Redb, EngineKind::Sled] {
        let mut bench = Bench::empty(kind);
        bench.run(Command::Found(founding()));
        for name in ["alice", "bobby"] {
            bench.add_user(name);
        }
        let clean = bench.machine.state_hash().unwrap();
        bench.done(take("alice", ONE));
        let hash = bench.machine.state_hash().unwrap();
        bench.done(take("alice", ONE));
        assert_eq!(bench.machine.state_hash().unwrap(), hash, "again: the same");
        assert_eq!(owner(&bench, ONE).as_deref(), Some("alice"));

        let refused = bench.rejected(take("bobby", ONE));
        assert_eq!(refused, conflict(&[("username", ONE)]));
        let refused = bench.rejected(rename("bobby", "bobby", ONE, 0, 9));
        assert_eq!(refused, conflict(&[("username", ONE)]));
        let refused = bench.rejected(Command::ReserveUser(reserve(ONE)));
        assert_eq!(refused, conflict(&[("username", ONE)]));
        let refused = bench.rejected(put_dns(ONE, "x"));
        assert!(matches!(refused, Rejection::LabelTaken { .. }), "{refused}");
        // What another has is not freed, nor a name that is no alias.
        bench.done(free("bobby", &[ONE, "alice", "bobby"]));
        bench.done(free("alice", &["alice", TWO]));
        assert_eq!(bench.machine.state_hash().unwrap(), hash);

        if kind != EngineKind::Memory {
            bench = bench.reopen(kind, true);
        }
        assert_eq!(owner(&bench, ONE).as_deref(), Some("alice"), "{kind:?}");
        bench.done(free("alice", &[ONE]));
        bench.done(free("alice", &[ONE]));
        assert_eq!(owner(&bench, ONE), None);
        assert_eq!(bench.machine.state_hash().unwrap(), clean);
        bench.done(take("bobby", ONE));
        assert_eq!(owner(&bench, ONE).as_deref(), Some("bobby"));
    }
}

#[test]
fn an_alias_outlives_names_and_goes_with_its_user() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(take("alice", ONE));
    bench.done(take("alice", TWO));
    bench.run(rename("alice", "alice", "alicia", 0, 9));
    for alias in [ONE, TWO] {
        assert_eq!(owner(&bench, alias).as_deref(), Some("alicia"));
        assert_eq!(bench.view.load().present_name(alias), "alicia");
    }
    // Names that were had and aliases are not the same.
    let user = bench.machine.user_by_name(ONE).unwrap().unwrap();
    assert_eq!((user.aliases.len(), user.name_changes), (1, 1));
    bench.done(free("alice", &[TWO]));
    bench.done(Command::DeleteUser {
        user: user_id("alice"),
    });
    for name in [ONE, TWO, "alice", "alicia"] {
        assert_eq!(owner(&bench, name), None, "{name}");
    }
    assert_eq!(bench.machine.holdings(&user_id("alice")).unwrap(), None);
}

#[test]
fn only_users_have_aliases_and_only_so_many() {
    let mut bench = Bench::founded();
    bench.run(Command::ReserveUser(reserve("alice")));
    bench.add_user("bobby");
    let hash = bench.machine.state_hash().unwrap();
    for user in ["alice", "nobody"] {
        for command in [take(user, ONE), free(user, &[ONE])] {
            let refused = bench.rejected(command);
            assert!(
                matches!(refused, Rejection::UnknownUser { .. }),
                "{refused}"
            );
        }
    }
    for name in ["carol", "r-abcdefg", "r-abcdefghi"] {
        let refused = bench.rejected(take("bobby", name));
        assert!(matches!(refused, Rejection::LabelTaken { .. }), "{refused}");
    }
    assert_eq!(bench.machine.state_hash().unwrap(), hash);
    for n in 0..limits::ALIASES_MAX {
        bench.done(take("bobby", &format!("r-{n:08}")));
    }
    let refused = bench.rejected(take("bobby", ONE));
    assert_eq!(refused, Rejection::TooManyAliases { most: 1_000 });
}

#[test]
fn a_user_who_is_brought_along_has_its_names_from_the_start() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.run(rename("alice", "alice", "alicia", 0, 9));
    bench.run(Command::ReserveUser(reserve("bobby")));
    let before = bench.machine.state_hash().unwrap();
    // All or none.
    for (former, aliases) in [
        (&["bobbie", "alice"][..], &[ONE][..]),
        (&["bobbie"], &[ONE, "carol"]),
    ] {
        bench.rejected(hold("r-bobby", former, 0, aliases));
        assert_eq!(bench.machine.state_hash().unwrap(), before);
    }
    let whole = hold("r-bobby", &["bobbie", "bobby"], 3, &[ONE, ONE]);
    bench.done(whole.clone());
    let hash = bench.machine.state_hash().unwrap();
    bench.done(whole.clone());
    assert_eq!(bench.machine.state_hash().unwrap(), hash, "again: the same");
    let entry = bench.view.load().user(ONE).unwrap();
    assert!(!entry.active, "nobody lives there yet");
    bench.done(commit("r-bobby"));
    for name in ["bobbie", "bobby", ONE] {
        assert_eq!(owner(&bench, name).as_deref(), Some("bobby"));
        assert!(bench.view.load().user(name).unwrap().active);
    }
    let user = bench.machine.user_by_name("bobby").unwrap().unwrap();
    assert_eq!(
        (user.aliases, user.name_changes),
        (vec![username("bobbie")], 3)
    );
    assert_eq!(bench.rejected(whole), Rejection::AlreadyCommitted);

    // What comes to nothing leaves nothing.
    bench.run(Command::ReserveUser(reserve("carol")));
    bench.done(hold("r-carol", &["caroline"], 0, &[TWO]));
    bench.done(release("r-carol"));
    for name in ["carol", "caroline", TWO] {
        assert_eq!(owner(&bench, name), None, "{name}");
    }
    let late = bench.rejected(hold("r-carol", &["caroline"], 0, &[TWO]));
    assert_eq!(late, Rejection::ReservationGone);
    assert!(matches!(
        bench.run(hold("r-nobody", &[], 0, &[])),
        Response::Rejected(Rejection::ReservationGone)
    ));
}

#[test]
fn what_was_held_before_reads_as_before() {
    let old = (vec!["a@b.c".to_owned()], 3_u32);
    let bytes = codec::encode(Space::Holdings.version(), &old).unwrap();
    let held = UserHoldings {
        emails: vec!["a@b.c".to_owned()],
        email_changes: 3,
        aliases: Vec::new(),
    };
    assert_eq!(Holdings::decode(&bytes).unwrap(), held);
    assert_eq!(Holdings::encode(&held).unwrap(), bytes);
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(take("alice", ONE));
    let rows = crate::engine::suite::everything(bench.machine.engine.as_ref(), Space::Names, 9);
    let row = rows.iter().find(|(key, _)| key == ONE.as_bytes()).unwrap();
    let row: NameRow = Names::decode(&row.1).unwrap();
    assert_eq!(row.alias_of, Some(username("alice")));
}
