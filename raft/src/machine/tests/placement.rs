//! Where a registration ends up, and whether it may be made at all: cores, hostings, invitations.

use homecore_types::Millis;

use super::fixture::*;
use crate::command::{Command, Rejection, ReserveUser, Response};

#[test]
fn the_emptiest_live_core_is_chosen() {
    let mut bench = Bench::founded();
    bench.add_core("core-b", None);
    bench.add_core("core-c", None);
    // Ties go by id, then the emptiest.
    for (name, home) in [
        ("user-1", "core-a"),
        ("user-2", "core-b"),
        ("user-3", "core-c"),
        ("user-4", "core-a"),
    ] {
        assert_eq!(
            bench.run(Command::ReserveUser(reserve(name))),
            reserved(home, name)
        );
    }
    let choose = |bench: &mut Bench, name: &str, live: &[&str]| {
        let live = live.iter().map(|name| core_id(name)).collect();
        bench.run(Command::ReserveUser(ReserveUser {
            live,
            ..reserve(name)
        }))
    };
    assert_eq!(
        choose(&mut bench, "user-5", &["core-a"]),
        reserved("core-a", "user-5")
    );
    assert_eq!(
        choose(&mut bench, "user-6", &[]),
        Response::Rejected(Rejection::NoCore)
    );
    assert_eq!(
        choose(&mut bench, "user-6", &["core-x"]),
        Response::Rejected(Rejection::NoCore)
    );
    bench.done(Command::SetCoreAvailable {
        core: core_id("core-b"),
        available: false,
    });
    assert_eq!(
        choose(&mut bench, "user-6", &["core-b", "core-c"]),
        reserved("core-c", "user-6")
    );
    // Given back, the place counts again.
    bench.done(release("r-user-6"));
    assert_eq!(users_on(&bench.machine, "core-c"), 1);
}

#[test]
fn a_core_that_does_not_serve_yet_gets_nobody() {
    let mut bench = Bench::founded();
    bench.done(Command::SetCoreAvailable {
        core: core_id("core-a"),
        available: false,
    });
    bench.done(put_token("t", "core-b"));
    let Response::Admitted { node } = bench.run(admit("t", "core-b", "k")) else {
        panic!()
    };
    assert_eq!(
        bench.rejected(Command::ReserveUser(reserve("alice"))),
        Rejection::NoCore
    );
    bench.done(announce("core-b", node, None));
    assert_eq!(
        bench.run(Command::ReserveUser(reserve("alice"))),
        reserved("core-b", "alice")
    );
}

#[test]
fn without_a_tree_every_hosting_is_accepted() {
    let mut bench = Bench::founded();
    bench.add_core("core-b", Some("swiss"));
    for (name, hosting, expected) in [
        ("user-1", Some("swiss"), reserved("core-b", "user-1")),
        ("user-2", Some("default"), reserved("core-a", "user-2")),
        ("user-3", Some(""), reserved("core-a", "user-3")),
        ("user-4", None, reserved("core-b", "user-4")),
        ("user-5", Some("mars"), reserved("core-a", "user-5")),
        ("user-6", Some("mars"), reserved("core-b", "user-6")),
    ] {
        let hosting = hosting.map(str::to_owned);
        let asked = ReserveUser {
            hosting,
            ..reserve(name)
        };
        assert_eq!(bench.run(Command::ReserveUser(asked)), expected, "{name}");
    }
}

#[test]
fn without_a_tree_the_default_hosting_is_any_core() {
    let mut bench = Bench::founded();
    // The only hosting that an empty tree shows is "default", so that is what clients ask for.
    for name in ["core-b", "core-c"] {
        bench.add_core(name, Some("eu"));
    }
    bench.done(Command::SetCoreAvailable {
        core: core_id("core-a"),
        available: false,
    });
    for (name, hosting, expected) in [
        ("user-1", "default", reserved("core-b", "user-1")),
        ("user-2", "default", reserved("core-c", "user-2")),
        ("user-3", "", reserved("core-b", "user-3")),
        ("user-4", "eu", reserved("core-c", "user-4")),
    ] {
        let asked = ReserveUser {
            hosting: Some(hosting.to_owned()),
            ..reserve(name)
        };
        assert_eq!(bench.run(Command::ReserveUser(asked)), expected, "{name}");
    }
}

#[test]
fn in_a_tree_the_default_hosting_is_one_of_them() {
    let mut bench = Bench::founded();
    bench.add_core("core-b", Some("eu"));
    put_section(
        &mut bench,
        "hostings",
        r#"{"regions":{"x":{"zones":{"y":{"hostings":{"default":{},"eu":{}}}}}}}"#,
    );
    for (name, hosting, expected) in [
        ("user-1", "default", reserved("core-a", "user-1")),
        ("user-2", "default", reserved("core-a", "user-2")),
        ("user-3", "eu", reserved("core-b", "user-3")),
    ] {
        let asked = ReserveUser {
            hosting: Some(hosting.to_owned()),
            ..reserve(name)
        };
        assert_eq!(bench.run(Command::ReserveUser(asked)), expected, "{name}");
    }
}

#[test]
fn hostings_of_a_tree_are_known_even_without_a_core() {
    let mut bench = Bench::founded();
    put_section(
        &mut bench,
        "hostings",
        r#"{"regions":{"eu":{"zones":{"ch":{"hostings":{"swiss":{}}}}}}}"#,
    );
    for (hosting, expected) in [
        ("swiss", Rejection::NoCore),
        (
            "default",
            Rejection::UnknownHosting {
                hosting: "default".to_owned(),
            },
        ),
    ] {
        let asked = ReserveUser {
            hosting: Some(hosting.to_owned()),
            ..reserve("alice")
        };
        assert_eq!(bench.rejected(Command::ReserveUser(asked)), expected);
    }
}

fn invited(name: &str, token: Option<&str>) -> Command {
    Command::ReserveUser(ReserveUser {
        invitation: token.map(str::to_owned),
        ..reserve(name)
    })
}

#[test]
fn an_invitation_is_held_then_used_up() {
    let mut bench = Bench::founded();
    assert!(
        bench.machine.invitation_valid(None).unwrap(),
        "open without any rows"
    );
    bench.done(invite(&["inv-1", "inv-2"]));
    for token in [None, Some("nonsense"), Some("")] {
        assert_eq!(
            bench.rejected(invited("alice", token)),
            Rejection::InvalidInvitation
        );
        assert!(!bench.machine.invitation_valid(token).unwrap());
    }
    assert!(bench.machine.invitation_valid(Some("inv-1")).unwrap());
    assert_eq!(
        bench.run(invited("alice", Some("inv-1"))),
        reserved("core-a", "alice")
    );
    assert_eq!(
        bench.rejected(invited("bobby", Some("inv-1"))),
        Rejection::InvalidInvitation
    );
    assert!(!bench.machine.invitation_valid(Some("inv-1")).unwrap());

    bench.done(release("r-alice"));
    assert_eq!(
        bench.run(invited("bobby", Some("inv-1"))),
        reserved("core-a", "bobby")
    );
    bench.done(commit("r-bobby"));
    let row = bench.machine.invitation("inv-1").unwrap().unwrap();
    assert_eq!(row.invitation.consumed_by.as_deref(), Some("bobby"));
    assert_eq!(row.invitation.consumed_at, Some(Millis(20)));
    assert_eq!(row.held_by, None);
    assert_eq!(
        bench.rejected(invited("carol", Some("inv-1"))),
        Rejection::InvalidInvitation
    );
    // A swept reservation gives its invitation back too.
    bench.run(invited("carol", Some("inv-2")));
    bench.done(sweep(1_001));
    assert!(bench.machine.invitation_valid(Some("inv-2")).unwrap());
    // An id that exists stays as it is.
    bench.done(invite(&["inv-1", "inv-3"]));
    assert!(!bench.machine.invitation_valid(Some("inv-1")).unwrap());
    assert_eq!(bench.view.load().counts().invitations, 3);
    assert_eq!(bench.machine.invitations().unwrap().len(), 3);
}

#[test]
fn configured_invitation_tokens_decide_while_there_are_no_rows() {
    let mut bench = Bench::founded();
    put_section(&mut bench, "invitationTokens", "[]");
    assert_eq!(
        bench.rejected(invited("alice", Some("x"))),
        Rejection::InvalidInvitation
    );
    put_section(&mut bench, "invitationTokens", r#"["seed"]"#);
    assert_eq!(
        bench.rejected(invited("alice", None)),
        Rejection::InvalidInvitation
    );
    assert_eq!(
        bench.run(invited("alice", Some("seed"))),
        reserved("core-a", "alice")
    );
    assert_eq!(
        bench.run(invited("bobby", Some("seed"))),
        reserved("core-a", "bobby")
    );
    put_section(&mut bench, "invitationTokens", "null");
    assert_eq!(
        bench.run(invited("carol", None)),
        reserved("core-a", "carol")
    );
    bench.done(invite(&["row"]));
    put_section(&mut bench, "invitationTokens", r#"["seed"]"#);
    assert_eq!(
        bench.rejected(invited("david", Some("seed"))),
        Rejection::InvalidInvitation
    );
}

#[test]
fn checks_come_in_order() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.done(invite(&["good"]));
    put_section(
        &mut bench,
        "hostings",
        r#"{"regions":{"eu":{"zones":{"ch":{"hostings":{"swiss":{}}}}}}}"#,
    );
    let asked = ReserveUser {
        reservation: "r-2".to_owned(),
        hosting: Some("mars".to_owned()),
        live: Vec::new(),
        ..reserve("alice")
    };
    assert_eq!(
        bench.rejected(Command::ReserveUser(asked.clone())),
        Rejection::InvalidInvitation
    );
    let asked = ReserveUser {
        invitation: Some("good".to_owned()),
        ..asked
    };
    assert!(matches!(
        bench.rejected(Command::ReserveUser(asked.clone())),
        Rejection::UnknownHosting { .. }
    ));
    let asked = ReserveUser {
        hosting: None,
        ..asked
    };
    assert!(matches!(
        bench.rejected(Command::ReserveUser(asked.clone())),
        Rejection::Conflict { .. }
    ));
    let asked = ReserveUser {
        live: Vec::new(),
        invitation: asked.invitation,
        ..reserve("bobby")
    };
    assert_eq!(
        bench.rejected(Command::ReserveUser(asked)),
        Rejection::NoCore
    );
    assert!(
        bench.machine.invitation_valid(Some("good")).unwrap(),
        "nothing was held on the way"
    );
}
