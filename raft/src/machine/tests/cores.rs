//! Cores and the tokens that admit them.

use homecore_types::{Millis, NodeId};

use super::fixture::*;
use crate::command::{Command, Rejection, Response};
use crate::records::CoreState;

fn taken(label: &str, holder: &str) -> Rejection {
    Rejection::LabelTaken {
        label: label.to_owned(),
        holder: holder.to_owned(),
    }
}

#[test]
fn a_core_is_admitted_under_the_index_of_its_entry() {
    let mut bench = Bench::founded();
    bench.done(put_token("t", "core-b"));
    let answer = bench.run(admit("t", "core-b", "k"));
    let node = NodeId(bench.index);
    assert_eq!(answer, Response::Admitted { node });
    let core = bench.view.load().core_by_node(node).cloned().unwrap();
    assert_eq!(
        (core.id.as_str(), core.state),
        ("core-b", CoreState::Joining)
    );
    assert_eq!(
        bench.machine.join_token("t").unwrap().unwrap().consumed_by,
        Some(("k".to_owned(), node))
    );
    bench.done(announce("core-b", node, Some("swiss")));
    bench.done(announce("core-b", node, Some("swiss")));
    let core = bench.view.load().core(&core_id("core-b")).cloned().unwrap();
    assert_eq!(core.state, CoreState::Serving);
    assert_eq!(core.addresses.hosting.as_deref(), Some("swiss"));
}

#[test]
fn a_node_id_is_never_that_of_the_founder() {
    let mut bench = Bench::empty(crate::engine::EngineKind::Memory);
    let mut founding = founding();
    founding.node = NodeId(3);
    bench.done(Command::Found(founding));
    bench.done(put_token("t", "core-b"));
    assert_eq!(
        bench.run(admit("t", "core-b", "k")),
        Response::Admitted { node: NodeId(4) }
    );
    bench.done(put_token("u", "core-c"));
    assert_eq!(
        bench.run(admit("u", "core-c", "k")),
        Response::Admitted { node: NodeId(5) }
    );
}

#[test]
fn a_join_that_was_cut_off_can_be_repeated() {
    let mut bench = Bench::founded();
    bench.done(put_token("t", "core-b"));
    let first = bench.run(admit("t", "core-b", "k"));
    let mut moved = admit("t", "core-b", "k");
    if let Command::AdmitCore { addresses, at, .. } = &mut moved {
        addresses.rpc = "elsewhere:1".to_owned();
        *at = Millis(99_000);
    }
    assert_eq!(
        bench.run(moved.clone()),
        first,
        "even after the token ended"
    );
    let rpc = |bench: &Bench| {
        bench
            .view
            .load()
            .core(&core_id("core-b"))
            .unwrap()
            .addresses
            .rpc
            .clone()
    };
    assert_eq!(rpc(&bench), "elsewhere:1");
    let Response::Admitted { node } = first else {
        panic!()
    };
    bench.done(announce("core-b", node, None));
    assert_eq!(bench.run(moved), first);
    assert_eq!(rpc(&bench), "core-b.test:4000", "what it announced stays");
}

#[test]
fn tokens_say_why_they_do_not_admit() {
    let mut bench = Bench::founded();
    for (id, core) in [
        ("used", "core-b"),
        ("revoked", "core-c"),
        ("open", "core-d"),
        ("late", "core-e"),
    ] {
        bench.done(put_token(id, core));
    }
    bench.run(admit("used", "core-b", "k"));
    bench.done(Command::RevokeJoinToken {
        id: "revoked".to_owned(),
        at: Millis(5),
    });
    bench.done(Command::RevokeJoinToken {
        id: "revoked".to_owned(),
        at: Millis(6),
    });
    let late = Command::AdmitCore {
        token: "late".to_owned(),
        core: core_id("core-e"),
        key: "k".to_owned(),
        addresses: addresses("core-e", None),
        at: Millis(1_001),
    };
    for (command, expected) in [
        (admit("never", "core-b", "k"), Rejection::UnknownToken),
        (admit("revoked", "core-c", "k"), Rejection::TokenRevoked),
        (admit("revoked", "core-x", "k"), Rejection::TokenRevoked),
        (
            admit("open", "core-x", "k"),
            Rejection::TokenForOtherCore {
                core: core_id("core-d"),
            },
        ),
        (admit("used", "core-b", "other"), Rejection::TokenConsumed),
        (late, Rejection::TokenExpired),
        (
            Command::RevokeJoinToken {
                id: "never".to_owned(),
                at: Millis(5),
            },
            Rejection::UnknownToken,
        ),
        (
            Command::RevokeJoinToken {
                id: "used".to_owned(),
                at: Millis(5),
            },
            Rejection::TokenConsumed,
        ),
    ] {
        assert_eq!(bench.rejected(command.clone()), expected, "{command:?}");
    }
    let token = bench.machine.join_token("revoked").unwrap().unwrap();
    assert_eq!(token.revoked_at, Some(Millis(5)));
    assert_eq!(bench.machine.join_tokens().unwrap().len(), 4);
}

#[test]
fn a_recorded_token_stays_as_it_is() {
    let mut bench = Bench::founded();
    bench.done(put_token("t", "core-b"));
    let first = bench.run(admit("t", "core-b", "k"));
    bench.done(put_token("t", "core-b"));
    assert_eq!(bench.run(admit("t", "core-b", "k")), first);
}

fn put_token_until(id: &str, core: &str, expires: i64) -> Command {
    Command::PutJoinToken {
        id: id.to_owned(),
        core: core_id(core),
        at: Millis(expires - 999),
        expires: Millis(expires),
    }
}

fn admit_at(token: &str, core: &str, at: i64) -> Command {
    let mut command = admit(token, core, "k");
    if let Command::AdmitCore { at: asked, .. } = &mut command {
        *asked = Millis(at);
    }
    command
}

#[test]
fn a_token_recorded_again_takes_the_later_end() {
    let week = 7 * 24 * 3_600_000;
    let mut bench = Bench::founded();
    bench.done(put_token("t", "core-b"));
    assert_eq!(
        bench.rejected(admit_at("t", "core-b", 5_000)),
        Rejection::TokenExpired
    );
    bench.done(put_token_until("t", "core-b", 6_000));
    // An earlier one that arrives late takes nothing back.
    bench.done(put_token_until("t", "core-b", 2_000));
    let token = bench.machine.join_token("t").unwrap().unwrap();
    assert_eq!(
        (token.issued_at, token.expires_at),
        (Millis(1), Millis(6_000))
    );
    assert_eq!(
        bench.machine.next_deadline().unwrap(),
        Some(Millis(6_000 + week)),
        "and is remembered for as long after it"
    );
    bench.done(sweep(1_001 + week));
    let answer = bench.run(admit_at("t", "core-b", 6_000));
    assert!(matches!(answer, Response::Admitted { .. }), "{answer:?}");
    bench.done(sweep(6_001 + week));
    assert_eq!(bench.machine.join_token("t").unwrap(), None);
    assert_eq!(bench.machine.next_deadline().unwrap(), None);
}

#[test]
fn a_token_that_is_done_with_gets_no_later_end() {
    let mut bench = Bench::founded();
    for (id, core) in [
        ("used", "core-b"),
        ("revoked", "core-c"),
        ("of-d", "core-d"),
    ] {
        bench.done(put_token(id, core));
    }
    bench.run(admit("used", "core-b", "k"));
    bench.done(Command::RevokeJoinToken {
        id: "revoked".to_owned(),
        at: Millis(5),
    });
    for (id, core) in [
        ("used", "core-b"),
        ("revoked", "core-c"),
        ("of-d", "core-x"),
    ] {
        let before = bench.machine.join_token(id).unwrap().unwrap();
        bench.done(put_token_until(id, core, 9_000));
        assert_eq!(bench.machine.join_token(id).unwrap(), Some(before), "{id}");
    }
}

#[test]
fn ended_tokens_are_forgotten_a_week_later() {
    let week = 7 * 24 * 3_600_000;
    let mut bench = Bench::founded();
    bench.done(put_token("t", "core-b"));
    bench.done(sweep(1_000 + week));
    assert!(bench.machine.join_token("t").unwrap().is_some());
    bench.done(sweep(1_001 + week));
    assert!(bench.machine.join_token("t").unwrap().is_none());
    assert_eq!(
        bench.rejected(admit("t", "core-b", "k")),
        Rejection::UnknownToken
    );
}

#[test]
fn a_core_needs_a_free_name() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.run(Command::ReserveUser(reserve("bobby")));
    bench.done(put_dns("mailer", "x"));
    bench.add_core("core-b", None);
    bench.add_core("core-c", None);
    bench.done(remove("core-c", false));
    for (name, expected) in [
        ("alice", taken("alice", "user")),
        ("bobby", taken("bobby", "user")),
        ("mailer", taken("mailer", "dns")),
        (
            "core-b",
            Rejection::CoreExists {
                core: core_id("core-b"),
            },
        ),
        ("core-c", taken("core-c", "removed-core")),
    ] {
        let token = format!("new-token-{name}");
        bench.done(put_token(&token, name));
        assert_eq!(bench.rejected(admit(&token, name, "new-key")), expected);
        assert_eq!(
            bench
                .machine
                .join_token(&token)
                .unwrap()
                .unwrap()
                .consumed_by,
            None
        );
    }
}

#[test]
fn a_removed_core_is_gone_for_good() {
    let mut bench = Bench::founded();
    let node = bench.add_core("core-b", None);
    bench.done(remove("core-b", false));
    let unknown = Rejection::UnknownCore {
        core: core_id("core-b"),
    };
    for command in [
        remove("core-b", false),
        announce("core-b", node, None),
        Command::SetCoreAvailable {
            core: core_id("core-b"),
            available: true,
        },
    ] {
        assert_eq!(bench.rejected(command), unknown);
    }
    assert_eq!(
        bench.rejected(admit("token-of-core-b", "core-b", "key")),
        taken("core-b", "removed-core")
    );
    let seen = bench.view.load_full();
    assert!(seen.core(&core_id("core-b")).is_none());
    let tombstone = seen.core_by_node(node).unwrap();
    assert_eq!(
        (tombstone.state, tombstone.removed_at),
        (CoreState::Removed, Some(Millis(50)))
    );
}

#[test]
fn only_the_core_of_the_node_id_speaks_for_it() {
    let mut bench = Bench::founded();
    let node = bench.add_core("core-b", None);
    let unknown = |name: &str| Rejection::UnknownCore {
        core: core_id(name),
    };
    assert_eq!(
        bench.rejected(announce("core-b", NodeId(node.0 + 1), None)),
        unknown("core-b")
    );
    assert_eq!(
        bench.rejected(announce("core-x", node, None)),
        unknown("core-x")
    );
}

#[test]
fn a_core_with_users_is_removed_only_with_force() {
    let mut bench = Bench::founded();
    bench.add_core("core-b", None);
    bench.done(invite(&["inv"]));
    bench.done(Command::SetCoreAvailable {
        core: core_id("core-a"),
        available: false,
    });
    let mut asked = reserve("alice");
    asked.invitation = Some("inv".to_owned());
    bench.run(Command::ReserveUser(asked));
    let refused = Rejection::CoreHasUsers {
        core: core_id("core-b"),
        users: 1,
    };
    assert_eq!(bench.rejected(remove("core-b", false)), refused);
    bench.done(commit("r-alice"));
    assert_eq!(bench.rejected(remove("core-b", false)), refused);
    bench.done(invite(&["inv-2"]));
    let mut asked = reserve("bobby");
    asked.invitation = Some("inv-2".to_owned());
    bench.run(Command::ReserveUser(asked));

    bench.done(remove("core-b", true));
    let seen = bench.view.load_full();
    assert_eq!((seen.counts().users, seen.counts().reservations), (0, 0));
    assert_eq!(
        bench.machine.owner_of("email", "alice@test.org").unwrap(),
        None
    );
    assert_eq!(
        bench.rejected(commit("r-bobby")),
        Rejection::ReservationGone
    );
    assert!(bench.machine.invitation_valid(Some("inv-2")).unwrap());
    assert!(!bench.machine.invitation_valid(Some("inv")).unwrap());
}

#[test]
fn the_last_core_stays() {
    let mut bench = Bench::founded();
    assert_eq!(
        bench.rejected(remove("core-a", false)),
        Rejection::LastCore {
            core: core_id("core-a")
        }
    );
    bench.add_core("core-b", None);
    bench.done(remove("core-a", false));
    assert_eq!(
        bench.rejected(remove("core-b", true)),
        Rejection::LastCore {
            core: core_id("core-b")
        }
    );
}
