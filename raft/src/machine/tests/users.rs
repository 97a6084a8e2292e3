//! Registration: one owner for every name, one answer for every attempt.

use std::collections::BTreeSet;

use homecore_types::{Millis, UserId};

use super::fixture::*;
use crate::command::{Command, Rejection, ReserveUser, Response};
use crate::machine::sweep::SWEEP_MAX;

pub(super) fn conflict(fields: &[(&str, &str)]) -> Rejection {
    let own = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
    Rejection::Conflict {
        fields: fields.iter().map(own).collect(),
    }
}

#[test]
fn a_reservation_becomes_a_user() {
    let mut bench = Bench::founded();
    assert_eq!(
        bench.run(Command::ReserveUser(reserve("alice"))),
        reserved("core-a", "alice")
    );
    assert!(!bench.view.load().user("alice").unwrap().active);
    assert_eq!(bench.view.load().counts().reservations, 1);
    bench.done(commit("r-alice"));

    let seen = bench.view.load_full();
    let entry = seen.user("alice").unwrap();
    assert!(entry.active);
    assert_eq!(
        (entry.id, entry.core),
        (user_id("alice"), core_id("core-a"))
    );
    assert_eq!((seen.counts().users, seen.counts().reservations), (1, 0));
    assert_eq!(seen.applied_index(), Some(bench.index));
    assert_eq!(users_on(&bench.machine, "core-a"), 1);

    let user = bench.machine.user_by_name("alice").unwrap().unwrap();
    assert_eq!(user.reservation, None);
    assert_eq!(user.created_at, Millis(10));
    assert_eq!(
        bench.machine.user_by_id(&user_id("alice")).unwrap(),
        Some(user.clone())
    );
    assert_eq!(
        bench.machine.owner_of("email", "alice@test.org").unwrap(),
        Some(user.clone())
    );
    assert_eq!(
        bench.machine.owner_of("email", "alice@test.or").unwrap(),
        None
    );
    assert_eq!(bench.machine.users(None, None, 10).unwrap().users, [user]);
}

#[test]
fn a_repeated_reservation_is_answered_as_the_first_time() {
    let mut bench = Bench::founded();
    let first = bench.run(Command::ReserveUser(reserve("alice")));
    let again = ReserveUser {
        user: user_id("other"),
        ..reserve("alice")
    };
    assert_eq!(bench.run(Command::ReserveUser(again.clone())), first);
    bench.done(commit("r-alice"));
    bench.done(commit("r-alice"));
    assert_eq!(bench.run(Command::ReserveUser(again)), first);
    assert_eq!(users_on(&bench.machine, "core-a"), 1);
    assert_eq!(bench.machine.user_by_id(&user_id("other")).unwrap(), None);
}

#[test]
fn every_conflict_is_told_at_once_and_nothing_is_written() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.add_user("bobby");
    let before = bench.machine.state_hash().unwrap();
    let mut asked = reserve("alice");
    asked.reservation = "r-2".to_owned();
    asked.user = user_id("fresh");
    asked.unique = [("email", "bobby@test.org"), ("phone", "free")]
        .map(|(field, value)| (field.to_owned(), value.to_owned()))
        .into();
    assert_eq!(
        bench.rejected(Command::ReserveUser(asked)),
        conflict(&[("email", "bobby@test.org"), ("username", "alice")])
    );
    assert_eq!(bench.machine.state_hash().unwrap(), before);
    assert_eq!(bench.machine.owner_of("phone", "free").unwrap(), None);
}

#[test]
fn a_value_of_one_field_is_free_in_another() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let mut asked = reserve("bobby");
    asked.unique = [("alias".to_owned(), "alice@test.org".to_owned())].into();
    assert_eq!(
        bench.run(Command::ReserveUser(asked)),
        reserved("core-a", "bobby")
    );
}

#[test]
fn names_of_others_cannot_be_taken() {
    let mut bench = Bench::founded();
    bench.add_core("core-b", None);
    bench.add_core("core-c", None);
    bench.done(remove("core-c", false));
    bench.done(put_dns("mailer", "x"));
    bench.run(Command::ReserveUser(reserve("held-one")));
    for taken in [
        "core-b", "core-c", "mailer", "system", "register", "held-one",
    ] {
        let asked = ReserveUser {
            reservation: format!("again-{taken}"),
            user: user_id("fresh"),
            unique: std::collections::BTreeMap::new(),
            ..reserve(taken)
        };
        assert_eq!(
            bench.rejected(Command::ReserveUser(asked)),
            conflict(&[("username", taken)]),
            "{taken}"
        );
    }
}

#[test]
fn a_users_id_is_never_overwritten() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let asked = ReserveUser {
        user: user_id("alice"),
        ..reserve("bobby")
    };
    let Rejection::Conflict { fields } = bench.rejected(Command::ReserveUser(asked)) else {
        panic!("no conflict")
    };
    assert!(fields.contains_key("id"), "{fields:?}");
}

#[test]
fn released_names_are_free_and_a_late_repetition_does_not_take_them_again() {
    let mut bench = Bench::founded();
    let fresh = bench.machine.state_hash().unwrap();
    bench.run(Command::ReserveUser(reserve("alice")));
    bench.done(release("r-alice"));
    bench.done(release("r-alice"));
    bench.done(release("never-was"));
    assert_eq!(users_on(&bench.machine, "core-a"), 0);
    assert!(bench.view.load().user("alice").is_none());
    assert_eq!(
        bench.rejected(Command::ReserveUser(reserve("alice"))),
        Rejection::ReservationGone
    );
    assert_eq!(
        bench.rejected(commit("r-alice")),
        Rejection::ReservationGone
    );

    let other = ReserveUser {
        reservation: "r-2".to_owned(),
        ..reserve("alice")
    };
    assert_eq!(
        bench.run(Command::ReserveUser(other)),
        reserved("core-a", "alice")
    );
    bench.done(release("r-2"));
    bench.done(sweep(1_001));
    assert_eq!(
        bench.machine.state_hash().unwrap(),
        fresh,
        "nothing is left"
    );
}

#[test]
fn a_committed_reservation_cannot_be_released() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    assert_eq!(
        bench.rejected(release("r-alice")),
        Rejection::AlreadyCommitted
    );
    assert!(bench.view.load().user("alice").unwrap().active);
}

#[test]
fn only_a_sweep_ends_a_reservation() {
    let mut bench = Bench::founded();
    bench.run(Command::ReserveUser(reserve("alice")));
    assert_eq!(bench.machine.next_deadline().unwrap(), Some(Millis(1_000)));
    // Long past the deadline, and still held.
    let late = ReserveUser {
        reservation: "r-2".to_owned(),
        user: user_id("fresh"),
        at: Millis(9_000),
        ..reserve("alice")
    };
    assert!(matches!(
        bench.rejected(Command::ReserveUser(late.clone())),
        Rejection::Conflict { .. }
    ));
    bench.done(sweep(1_000));
    assert!(
        bench.view.load().user("alice").is_some(),
        "held up to its deadline"
    );
    bench.done(sweep(1_001));
    assert!(bench.view.load().user("alice").is_none());
    assert_eq!(users_on(&bench.machine, "core-a"), 0);
    assert_eq!(
        bench.machine.owner_of("email", "alice@test.org").unwrap(),
        None
    );
    assert_eq!(
        bench.rejected(commit("r-alice")),
        Rejection::ReservationGone
    );
    assert!(matches!(
        bench.run(Command::ReserveUser(late)),
        Response::Reserved { .. }
    ));
}

#[test]
fn a_commit_after_the_deadline_and_before_the_sweep_counts() {
    let mut bench = Bench::founded();
    bench.run(Command::ReserveUser(reserve("alice")));
    bench.done(Command::CommitUser {
        reservation: "r-alice".to_owned(),
        at: Millis(5_000),
    });
    bench.done(sweep(6_000));
    assert!(bench.view.load().user("alice").unwrap().active);
    bench.done(commit("r-alice"));
}

#[test]
fn a_committed_reservation_is_forgotten_a_week_later() {
    let week = 7 * 24 * 3_600_000;
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(sweep(20 + week));
    bench.done(commit("r-alice"));
    bench.done(sweep(21 + week));
    assert_eq!(
        bench.rejected(commit("r-alice")),
        Rejection::ReservationGone
    );
    assert!(
        bench.view.load().user("alice").unwrap().active,
        "the user stays"
    );
    assert_eq!(bench.machine.next_deadline().unwrap(), None);
}

#[test]
fn a_deleted_user_leaves_its_names_free() {
    let mut bench = Bench::founded();
    let alice = bench.add_user("alice");
    bench.done(Command::DeleteUser {
        user: alice.clone(),
    });
    assert_eq!(users_on(&bench.machine, "core-a"), 0);
    assert_eq!(
        bench.machine.owner_of("email", "alice@test.org").unwrap(),
        None
    );
    let unknown = |user: UserId| Rejection::UnknownUser { user };
    assert_eq!(
        bench.rejected(Command::DeleteUser {
            user: alice.clone()
        }),
        unknown(alice)
    );
    assert_eq!(
        bench.rejected(commit("r-alice")),
        Rejection::ReservationGone
    );

    let again = ReserveUser {
        reservation: "r-2".to_owned(),
        ..reserve("alice")
    };
    assert_eq!(
        bench.run(Command::ReserveUser(again)),
        reserved("core-a", "alice")
    );
    // Reserved only: not a user that could be deleted.
    let user = user_id("alice");
    assert_eq!(
        bench.rejected(Command::DeleteUser { user: user.clone() }),
        unknown(user)
    );
}

#[test]
fn commands_of_one_group_see_each_other() {
    let mut bench = Bench::founded();
    let other = ReserveUser {
        reservation: "r-2".to_owned(),
        user: user_id("fresh"),
        ..reserve("alice")
    };
    let answers = bench.run_all(vec![
        Command::ReserveUser(reserve("alice")),
        Command::ReserveUser(other.clone()),
        release("r-alice"),
        Command::ReserveUser(other),
        commit("r-2"),
        sweep(5_000),
        Command::ReserveUser(reserve("bobby")),
        sweep(5_000),
        commit("r-bobby"),
    ]);
    assert!(matches!(
        answers[1],
        Response::Rejected(Rejection::Conflict { .. })
    ));
    assert_eq!(answers[3], reserved("core-a", "fresh"));
    assert_eq!(answers[4], Response::Done);
    assert_eq!(answers[8], Response::Rejected(Rejection::ReservationGone));
    assert_eq!(
        bench.view.load().user("alice").unwrap().id,
        user_id("fresh")
    );
    assert_eq!(users_on(&bench.machine, "core-a"), 1);
}

#[test]
fn a_sweep_is_bounded_and_the_next_goes_on() {
    let mut bench = Bench::founded();
    let count = SWEEP_MAX + 10;
    let all = (0..count)
        .map(|n| Command::ReserveUser(reserve(&format!("user-{n}"))))
        .collect();
    bench.run_all(all);
    assert_eq!(bench.view.load().counts().reservations, count as u64);
    bench.done(sweep(2_000));
    assert_eq!(bench.view.load().counts().reservations, 10);
    assert_eq!(bench.machine.next_deadline().unwrap(), Some(Millis(1_000)));
    bench.done(sweep(2_000));
    assert_eq!(bench.view.load().counts().reservations, 0);
    assert_eq!(bench.machine.next_deadline().unwrap(), None);
}

#[test]
fn a_user_who_is_brought_along_needs_no_invitation_and_has_a_core() {
    let mut bench = Bench::founded();
    bench.done(invite(&["only-one"]));
    let adopt = |name: &str, core: &str| Command::AdoptUser {
        asked: ReserveUser {
            live: Vec::new(),
            ..reserve(name)
        },
        core: core_id(core),
    };
    assert_eq!(
        bench.rejected(Command::ReserveUser(reserve("alice"))),
        Rejection::InvalidInvitation
    );
    assert_eq!(bench.rejected(adopt("alice", "core-x")), Rejection::NoCore);
    let taken = bench.run(adopt("alice", "core-a"));
    assert_eq!(taken, reserved("core-a", "alice"));
    assert_eq!(bench.run(adopt("alice", "core-a")), taken);
    let other = Command::AdoptUser {
        asked: ReserveUser {
            reservation: "r-other".to_owned(),
            live: Vec::new(),
            ..reserve("alice")
        },
        core: core_id("core-a"),
    };
    assert!(matches!(bench.rejected(other), Rejection::Conflict { .. }));
    bench.done(commit("r-alice"));
    assert!(bench.view.load().user("alice").unwrap().active);
}

fn fields<const N: usize>(list: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    list.map(|(field, value)| (field.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn a_user_takes_other_values_and_gives_the_former_ones_back() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let update = Command::UpdateUser {
        user: user_id("alice"),
        unique: fields([("email", "new@test.org")]),
        indexed: fields([("language", "fr")]),
        freed: BTreeSet::new(),
        fields_version: None,
    };
    bench.done(update.clone());
    let changed = bench.machine.user_by_name("alice").unwrap().unwrap();
    assert_eq!(changed.unique, fields([("email", "new@test.org")]));
    assert_eq!(
        changed.indexed.get("language").map(String::as_str),
        Some("fr")
    );
    let owner = |bench: &Bench, email: &str| bench.machine.owner_of("email", email).unwrap();
    assert_eq!(owner(&bench, "alice@test.org"), None);
    assert_eq!(owner(&bench, "new@test.org"), Some(changed));

    let before = bench.machine.state_hash().unwrap();
    bench.done(update);
    assert_eq!(bench.machine.state_hash().unwrap(), before);
    assert_eq!(users_on(&bench.machine, "core-a"), 1);
}

#[test]
fn of_a_users_new_values_all_are_taken_or_none() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.add_user("bobby");
    bench.done(Command::UpdateUser {
        user: user_id("bobby"),
        unique: fields([("phone", "1")]),
        indexed: fields([]),
        freed: BTreeSet::new(),
        fields_version: None,
    });
    let before = bench.machine.state_hash().unwrap();
    let asked = fields([
        ("email", "bobby@test.org"),
        ("phone", "1"),
        ("plate", "free"),
    ]);
    let refused = bench.rejected(Command::UpdateUser {
        user: user_id("alice"),
        unique: asked,
        indexed: fields([("language", "fr")]),
        freed: BTreeSet::new(),
        fields_version: None,
    });
    assert_eq!(
        refused,
        conflict(&[("email", "bobby@test.org"), ("phone", "1")])
    );
    assert_eq!(bench.machine.state_hash().unwrap(), before);
    assert_eq!(bench.machine.owner_of("plate", "free").unwrap(), None);
}

#[test]
fn only_users_have_fields_to_change() {
    let mut bench = Bench::founded();
    bench.run(Command::ReserveUser(reserve("alice")));
    for nobody in ["alice", "carol"] {
        let update = Command::UpdateUser {
            user: user_id(nobody),
            unique: fields([("email", "x@test.org")]),
            indexed: fields([]),
            freed: BTreeSet::new(),
            fields_version: None,
        };
        let user = user_id(nobody);
        assert_eq!(bench.rejected(update), Rejection::UnknownUser { user });
    }
}

#[test]
fn commands_of_older_logs_are_read() {
    let command = Command::UpdateUser {
        user: user_id("alice"),
        unique: fields([("email", "new@test.org")]),
        indexed: fields([]),
        freed: BTreeSet::new(),
        fields_version: None,
    };
    let bytes = rmp_serde::to_vec(&command).unwrap();
    // Of one variant, with five members; the last ones are an empty list and nothing.
    let name = b"\x81\xaaUpdateUser".as_slice();
    let members = bytes.strip_prefix(&[name, &[0x95]].concat()[..]).unwrap();
    let members = members.strip_suffix(&[0x90, 0xC0]).unwrap();
    for (count, last) in [(0x93, [].as_slice()), (0x94, &[0x90])] {
        let older = [name, &[count], members, last].concat();
        let read: Command = rmp_serde::from_slice(&older).unwrap();
        assert_eq!(read, command);
    }
}

#[test]
fn what_is_unique_no_more_is_given_back() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.add_user("bobby");
    let phone = |user: &str, unique: &[&str], indexed: &[&str]| {
        let of = |values: &[&str]| {
            let values = values.iter();
            values
                .map(|value| ("phone".to_owned(), (*value).to_owned()))
                .collect()
        };
        Command::UpdateUser {
            user: user_id(user),
            unique: of(unique),
            indexed: of(indexed),
            freed: BTreeSet::from(["phone".to_owned(), "email".to_owned()]),
            fields_version: None,
        }
    };
    let owner = |bench: &Bench, value: &str| {
        let user = bench.machine.owner_of("phone", value).unwrap()?;
        Some(user.username.to_string())
    };
    bench.done(phone("alice", &["1"], &[]));
    assert_eq!(owner(&bench, "1").as_deref(), Some("alice"));
    // The same one again, then only shown, then neither.
    bench.done(phone("alice", &["1"], &[]));
    assert_eq!(owner(&bench, "1").as_deref(), Some("alice"));
    bench.done(phone("alice", &[], &["2"]));
    assert_eq!(owner(&bench, "1"), None);
    let alice = bench.machine.user_by_name("alice").unwrap().unwrap();
    assert_eq!(alice.unique, fields([("email", "alice@test.org")]));
    assert_eq!(alice.indexed["phone"], "2");
    bench.done(phone("alice", &[], &[]));
    let alice = bench.machine.user_by_name("alice").unwrap().unwrap();
    assert!(!alice.indexed.contains_key("phone"));
    bench.done(phone("bobby", &["1"], &[]));
    // Nothing is given back where something is refused.
    bench.done(phone("alice", &["3"], &[]));
    let before = bench.machine.state_hash().unwrap();
    let refused = bench.rejected(phone("alice", &["1"], &[]));
    assert_eq!(refused, conflict(&[("phone", "1")]));
    assert_eq!(bench.machine.state_hash().unwrap(), before);
}
