//! Names that change: nobody has one that is or was another's, and what a user had leads to it.

use homecore_types::Username;

use super::fixture::*;
use super::users::conflict;
use crate::codec;
use crate::command::{Command, Rejection, Response};
use crate::engine::EngineKind;
use crate::keys::{NameRow, Names, Space, Table};
use crate::records::User;

fn renamed(aliases: &[&str], changes: u32) -> Response {
    let aliases = aliases.iter().map(|name| Username::parse(*name).unwrap());
    Response::Renamed {
        aliases: aliases.collect(),
        changes,
    }
}

fn name_of(bench: &Bench, asked: &str) -> Option<String> {
    let user = bench.machine.user_by_name(asked).unwrap()?;
    Some(user.username.to_string())
}

#[test]
fn a_former_name_leads_to_its_user_until_the_user_goes() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let before = users_on(&bench.machine, "core-a");
    let change = rename("alice", "alice", "alicia", 0, 2);
    assert_eq!(bench.run(change.clone()), renamed(&["alice"], 1));
    let hash = bench.machine.state_hash().unwrap();
    assert_eq!(bench.run(change), renamed(&["alice"], 1), "again: the same");
    assert_eq!(bench.machine.state_hash().unwrap(), hash);
    for name in ["alice", "alicia"] {
        assert_eq!(name_of(&bench, name).as_deref(), Some("alicia"));
        let entry = bench.view.load().user(name).unwrap();
        assert_eq!((entry.id, entry.active), (user_id("alice"), true));
    }
    // Listings and figures know a user once.
    let listed = bench.machine.users(None, None, 10).unwrap().users;
    assert_eq!(listed.len(), 1);
    assert_eq!(bench.machine.directory().counts().users, 1);
    assert_eq!(users_on(&bench.machine, "core-a"), before);

    bench.done(Command::DeleteUser {
        user: user_id("alice"),
    });
    for name in ["alice", "alicia"] {
        assert_eq!(name_of(&bench, name), None);
        assert!(bench.view.load().user(name).is_none());
        let mut asked = reserve(name);
        asked.reservation = format!("r-next-{name}");
        asked.user = user_id(&format!("next{name}"));
        let taken = bench.run(Command::ReserveUser(asked));
        assert!(matches!(taken, Response::Reserved { .. }), "{taken}");
    }
}

#[test]
fn what_is_or_was_anothers_cannot_be_taken() {
    let mut bench = Bench::founded();
    for name in ["alice", "bobby"] {
        bench.add_user(name);
    }
    bench.run(Command::ReserveUser(reserve("carol")));
    bench.run(rename("alice", "alice", "alicia", 0, 9));
    bench.done(put_dns("mailer", "x"));
    bench.add_core("core-b", None);
    let before = bench.machine.state_hash().unwrap();
    for name in ["alice", "alicia", "carol"] {
        let refused = bench.rejected(rename("bobby", "bobby", name, 0, 9));
        assert_eq!(refused, conflict(&[("username", name)]));
    }
    for (name, holder) in [
        ("mailer", "dns"),
        ("core-b", "core"),
        ("system", "reserved"),
    ] {
        let refused = bench.rejected(rename("bobby", "bobby", name, 0, 9));
        let (label, holder) = (name.to_owned(), holder.to_owned());
        assert_eq!(refused, Rejection::LabelTaken { label, holder });
    }
    for name in ["alice", "alicia"] {
        let mut asked = reserve(name);
        asked.user = user_id("other");
        asked.reservation = format!("r-other-{name}");
        asked.unique = [("email".to_owned(), "other@test.org".to_owned())].into();
        let refused = bench.rejected(Command::ReserveUser(asked));
        assert_eq!(refused, conflict(&[("username", name)]));
        let refused = bench.rejected(put_dns(name, "x"));
        assert!(matches!(refused, Rejection::LabelTaken { .. }));
    }
    assert_eq!(bench.machine.state_hash().unwrap(), before);
}

#[test]
fn a_name_is_changed_as_often_as_it_may_be_and_never_late() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    for nobody in ["carol", "dave0"] {
        let user = user_id(nobody);
        let refused = bench.rejected(rename(nobody, nobody, "erika", 0, 9));
        assert_eq!(refused, Rejection::UnknownUser { user });
    }
    assert_eq!(
        bench.run(rename("alice", "alice", "alicia", 0, 2)),
        renamed(&["alice"], 1)
    );
    // Back to a name that was its own.
    let back = rename("alice", "alicia", "alice", 1, 2);
    assert_eq!(bench.run(back), renamed(&["alicia"], 2));
    let late = rename("alice", "alicia", "other", 1, 9);
    let present = Username::parse("alice").unwrap();
    assert_eq!(bench.rejected(late), Rejection::NameChanged { present });
    let more = rename("alice", "alice", "erika", 2, 2);
    assert_eq!(bench.rejected(more), Rejection::NameChangesUsed { used: 2 });
    assert_eq!(name_of(&bench, "alicia").as_deref(), Some("alice"));
}

/// A proposer that lost its answer asks again; meanwhile the user takes the former name back.
#[test]
fn a_copy_that_is_late_does_not_bring_a_name_back() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let sent_twice = rename("alice", "alice", "alicia", 0, 9);
    assert_eq!(bench.run(sent_twice.clone()), renamed(&["alice"], 1));
    let back = rename("alice", "alicia", "alice", 1, 9);
    assert_eq!(bench.run(back.clone()), renamed(&["alicia"], 2));
    let before = bench.machine.state_hash().unwrap();
    let present = Username::parse("alice").unwrap();
    let refused = Rejection::NameChanged { present };
    assert_eq!(bench.rejected(sent_twice.clone()), refused);
    assert_eq!(bench.run(back.clone()), renamed(&["alicia"], 2), "again");
    assert_eq!(bench.machine.state_hash().unwrap(), before);
    // The same once more, and the name that a late copy asks for is the present one again.
    bench.run(rename("alice", "alice", "alicia", 2, 9));
    for late in [sent_twice, back] {
        let refused = bench.rejected(late);
        assert!(matches!(refused, Rejection::NameChanged { .. }));
    }
    // No change at all.
    let same = bench.rejected(rename("alice", "alicia", "alicia", 3, 9));
    assert!(matches!(same, Rejection::NameChanged { .. }), "{same}");
    assert_eq!(
        bench.run(rename("alice", "alicia", "alice", 3, 9)),
        renamed(&["alicia"], 4)
    );
}

#[test]
fn names_survive_stops_and_snapshots() {
    for kind in [EngineKind::Redb, EngineKind::Sled] {
        for clean in [true, false] {
            let mut bench = Bench::founded_on(kind);
            bench.add_user("alice");
            bench.run(rename("alice", "alice", "alicia", 0, 2));
            bench.snapshot();
            let bench = bench.reopen(kind, clean);
            assert_eq!(name_of(&bench, "alice").as_deref(), Some("alicia"));
            assert_eq!(bench.machine.directory().counts().users, 1);
        }
    }
}

/// Values of users whose name never changed are those of releases that knew no aliases.
#[test]
fn values_without_aliases_are_as_they_were() {
    #[derive(serde::Serialize)]
    struct Former<'a>(&'a str, &'a str, bool);
    let row = NameRow {
        id: user_id("alice"),
        core: core_id("core-a"),
        active: true,
        alias_of: None,
    };
    let id = user_id("alice");
    let former = Former(id.as_str(), "core-a", true);
    let former = codec::encode(Space::Names.version(), &former).unwrap();
    assert_eq!(Names::encode(&row).unwrap(), former);
    assert_eq!(Names::decode(&former).unwrap(), row);

    let mut bench = Bench::founded();
    bench.add_user("alice");
    let user = bench.machine.user_by_name("alice").unwrap().unwrap();
    let bytes = codec::encode(1, &user).unwrap();
    // A version, and an array of the eight values that there were.
    assert_eq!(bytes.get(1), Some(&0x98));
    assert_eq!(codec::decode::<User>(1, &bytes).unwrap(), user);
}
