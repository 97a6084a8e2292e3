//! Addresses of users: several of one, each of one person only.

use std::collections::{BTreeMap, BTreeSet};

use super::fixture::*;
use super::users::conflict;
use crate::command::{Command, HoldNames, Rejection, Response, SetEmails};

fn set(user: &str, present: &str, others: &[&str], changes: u32) -> Command {
    Command::SetEmails(SetEmails {
        user: user_id(user),
        present: present.to_owned(),
        others: others.iter().map(|email| (*email).to_owned()).collect(),
        changes,
        indexed: BTreeMap::from([("language".to_owned(), "fr".to_owned())]),
        unique: BTreeMap::new(),
        freed: BTreeSet::new(),
        fields_version: None,
    })
}

fn owner(bench: &Bench, email: &str) -> Option<String> {
    let user = bench.machine.owner_of("email", email).unwrap()?;
    Some(user.username.to_string())
}

#[test]
fn all_addresses_of_a_user_are_taken_or_none() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.add_user("bobby");
    let alice = user_id("alice");
    let first = bench.machine.user_by_id(&alice).unwrap().unwrap().unique["email"].clone();
    let change = set("alice", "a@new.example", &[&first, "b@new.example"], 0);
    bench.done(change.clone());
    let hash = bench.machine.state_hash().unwrap();
    bench.done(change);
    assert_eq!(bench.machine.state_hash().unwrap(), hash, "again: the same");
    for email in ["a@new.example", "b@new.example", &first] {
        assert_eq!(owner(&bench, email).as_deref(), Some("alice"));
        let mut asked = reserve("other");
        asked.unique = BTreeMap::from([("email".to_owned(), email.to_owned())]);
        let refused = bench.rejected(Command::ReserveUser(asked));
        assert_eq!(refused, conflict(&[("email", email)]));
    }
    let record = bench.machine.user_by_id(&alice).unwrap().unwrap();
    assert_eq!(record.unique["email"], "a@new.example");
    assert_eq!(record.indexed["language"], "fr");

    // One that somebody else has, and nothing changes.
    let hash = bench.machine.state_hash().unwrap();
    let refused = bench.rejected(set("bobby", "c@new.example", &["b@new.example"], 0));
    assert_eq!(refused, conflict(&[("email", "b@new.example")]));
    let many: Vec<String> = (0..20).map(|n| format!("{n}@new.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = bench.rejected(set("bobby", "c@new.example", &many, 0));
    assert!(matches!(refused, Rejection::TooMany { most: 20, .. }));
    assert_eq!(bench.machine.state_hash().unwrap(), hash);

    // What is left out is free, and what comes late undoes nothing.
    bench.done(set("alice", "b@new.example", &[], 1));
    assert_eq!(owner(&bench, "a@new.example"), None);
    assert_eq!(owner(&bench, &first), None);
    let late = bench.rejected(set("alice", "a@new.example", &[], 0));
    assert_eq!(late, Rejection::EmailsChanged { changes: 2 });
    bench.done(set("bobby", "a@new.example", &[&first], 0));
    assert_eq!(owner(&bench, &first).as_deref(), Some("bobby"));

    bench.done(Command::DeleteUser {
        user: user_id("bobby"),
    });
    assert_eq!(owner(&bench, &first), None);
    assert_eq!(bench.machine.holdings(&user_id("bobby")).unwrap(), None);
    let gone = bench.run(set("bobby", "a@new.example", &[], 1));
    assert!(matches!(
        gone,
        Response::Rejected(Rejection::UnknownUser { .. })
    ));
}

#[test]
fn the_same_addresses_with_other_fields_are_another_change() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    let with = |insurance: &str, language: &str| {
        let Command::SetEmails(mut change) = set("alice", "a@new.example", &[], 0) else {
            unreachable!()
        };
        change.unique = BTreeMap::from([("insurance".to_owned(), insurance.to_owned())]);
        change.indexed = BTreeMap::from([("language".to_owned(), language.to_owned())]);
        Command::SetEmails(change)
    };
    bench.done(with("1", "fr"));
    let hash = bench.machine.state_hash().unwrap();
    bench.done(with("1", "fr"));
    for other in [with("2", "fr"), with("1", "de")] {
        let refused = bench.rejected(other);
        assert_eq!(refused, Rejection::EmailsChanged { changes: 1 });
    }
    assert_eq!(bench.machine.state_hash().unwrap(), hash);
    assert_eq!(bench.machine.owner_of("insurance", "2").unwrap(), None);

    // It is unique no more.
    let Command::SetEmails(mut change) = set("alice", "b@new.example", &[], 1) else {
        unreachable!()
    };
    change.freed = BTreeSet::from(["insurance".to_owned(), "email".to_owned()]);
    bench.done(Command::SetEmails(change.clone()));
    let hash = bench.machine.state_hash().unwrap();
    bench.done(Command::SetEmails(change));
    assert_eq!(bench.machine.state_hash().unwrap(), hash, "again: the same");
    assert_eq!(bench.machine.owner_of("insurance", "1").unwrap(), None);
    assert_eq!(owner(&bench, "b@new.example").as_deref(), Some("alice"));
}

#[test]
fn an_address_that_becomes_the_present_one_is_held_once() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(set("alice", "a@new.example", &["b@new.example"], 0));
    bench.done(Command::UpdateUser {
        user: user_id("alice"),
        unique: BTreeMap::from([("email".to_owned(), "b@new.example".to_owned())]),
        indexed: BTreeMap::new(),
        freed: BTreeSet::new(),
        fields_version: None,
    });
    assert_eq!(owner(&bench, "a@new.example"), None);
    let held = bench.machine.holdings(&user_id("alice")).unwrap().unwrap();
    assert_eq!((held.emails.len(), held.email_changes), (0, 2));
    bench.done(set("alice", "c@new.example", &[], 2));
    assert_eq!(owner(&bench, "b@new.example"), None);
}

#[test]
fn a_user_who_is_brought_along_has_all_addresses_or_comes_not() {
    let hold = |emails: &[&str], changes| {
        Command::HoldNames(HoldNames {
            reservation: "r-bobby".to_owned(),
            former: vec![username("bobbie")],
            changes: 0,
            aliases: Vec::new(),
            emails: emails.iter().map(|email| (*email).to_owned()).collect(),
            email_changes: changes,
        })
    };
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(set("alice", "a@new.example", &["b@new.example"], 0));
    let clean = bench.machine.state_hash().unwrap();
    bench.run(Command::ReserveUser(reserve("bobby")));
    let bobby = user_id("bobby");
    let present = bench.machine.user_by_id(&bobby).unwrap().unwrap().unique["email"].clone();
    let reserved = bench.machine.state_hash().unwrap();
    // One that is the present one of somebody else, one that is held beside it, both, and too many.
    for (emails, taken) in [
        (
            &["c@new.example", "a@new.example"][..],
            &["a@new.example"][..],
        ),
        (&["b@new.example"], &["b@new.example"]),
    ] {
        let taken: Vec<(&str, &str)> = taken.iter().map(|email| ("email", *email)).collect();
        assert_eq!(bench.rejected(hold(emails, 3)), conflict(&taken));
    }
    let many: Vec<String> = (0..20).map(|n| format!("{n}@new.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = bench.rejected(hold(&many, 3));
    assert!(matches!(refused, Rejection::TooMany { most: 20, .. }));
    assert_eq!(bench.machine.state_hash().unwrap(), reserved, "all or none");

    let whole = hold(&["c@new.example", &present, "d@new.example"], 3);
    bench.done(whole.clone());
    let hash = bench.machine.state_hash().unwrap();
    bench.done(whole.clone());
    assert_eq!(bench.machine.state_hash().unwrap(), hash, "again: the same");
    let taken = bench.rejected(set("alice", "c@new.example", &[], 1));
    assert_eq!(taken, conflict(&[("email", "c@new.example")]));
    bench.done(commit("r-bobby"));
    let held = bench.machine.holdings(&bobby).unwrap().unwrap();
    assert_eq!(held.emails, ["c@new.example", "d@new.example"]);
    assert_eq!(held.email_changes, 3);
    assert_eq!(bench.rejected(whole), Rejection::AlreadyCommitted);
    // And it goes on from there.
    bench.done(set("bobby", "d@new.example", &[&present], 3));
    assert_eq!(owner(&bench, "c@new.example"), None);

    // What comes to nothing leaves nothing but that it came to nothing.
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(set("alice", "a@new.example", &["b@new.example"], 0));
    assert_eq!(bench.machine.state_hash().unwrap(), clean);
    bench.run(Command::ReserveUser(reserve("bobby")));
    bench.done(hold(&["c@new.example"], 3));
    bench.done(release("r-bobby"));
    assert_eq!(owner(&bench, "c@new.example"), None);
    assert_eq!(bench.machine.holdings(&bobby).unwrap(), None);
}
