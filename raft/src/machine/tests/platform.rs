//! Founding, configuration, DNS records and access requests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use homecore_types::limits::{ACCESS_REQUEST_BYTES_MAX, ACCESS_REQUESTS_MAX};
use homecore_types::{ClusterId, Millis, NodeId};

use super::fixture::*;
use crate::command::{Command, Rejection, ReserveUser, Response, SetEmails};
use crate::engine::EngineKind;
use crate::machine::{Item, MachineError};
use crate::records::{DnsRecord, PlatformConfig};

#[test]
fn nothing_comes_before_the_founding() {
    let mut bench = Bench::empty(EngineKind::Memory);
    for command in [
        sweep(1),
        put_dns("x", "y"),
        commit("r"),
        invite(&["i"]),
        put_token("t", "core-b"),
    ] {
        assert_eq!(bench.rejected(command), Rejection::NotFounded);
    }
    assert_eq!(bench.view.load().cluster(), None);
    bench.done(Command::Found(founding()));
    bench.done(Command::Found(founding()));
    let mut other = founding();
    other.cluster = ClusterId::parse("d23456789012345678901234").unwrap();
    assert_eq!(
        bench.rejected(Command::Found(other)),
        Rejection::AlreadyFounded
    );

    let seen = bench.view.load_full();
    assert_eq!(seen.cluster(), Some(&founding().cluster));
    assert_eq!(seen.ca_certificate(), Some(&[1, 2, 3][..]));
    assert_eq!(seen.secrets(), Some(&founding().secrets));
    assert_eq!(**seen.config().unwrap(), founding().config);
    assert_eq!(seen.core_by_node(NodeId(1)).unwrap().id, core_id("core-a"));
}

#[test]
fn entries_without_a_command_move_on_what_is_applied() {
    let mut bench = Bench::founded();
    let blank = |index: u64, membership: Option<&[u8]>| Item {
        index,
        log_id: vec![u8::try_from(index).unwrap()],
        membership: membership.map(<[u8]>::to_vec),
        command: None,
    };
    let answers = bench
        .machine
        .apply(vec![blank(2, Some(b"m")), blank(3, None)])
        .unwrap();
    assert_eq!(answers, [Response::Nothing, Response::Nothing]);
    assert_eq!(
        bench.machine.applied(),
        (Some(vec![3]), Some(b"m".to_vec()))
    );
    assert_eq!(bench.view.load().applied_index(), Some(3));
    let error = bench.machine.apply(vec![blank(3, None)]).unwrap_err();
    assert!(
        matches!(
            error,
            MachineError::OutOfOrder {
                index: 3,
                applied: 3
            }
        ),
        "{error}"
    );
    let error = bench
        .machine
        .apply(vec![blank(5, None), blank(5, None)])
        .unwrap_err();
    assert!(
        matches!(
            error,
            MachineError::OutOfOrder {
                index: 5,
                applied: 5
            }
        ),
        "{error}"
    );
    assert_eq!(
        bench.machine.applied_index(),
        Some(3),
        "nothing of the group took effect"
    );
    assert_eq!(
        bench.machine.apply(vec![blank(9, None)]).unwrap(),
        [Response::Nothing]
    );
}

#[test]
fn configuration_is_replaced_from_its_present_version() {
    let mut bench = Bench::founded();
    let mut config = founding().config;
    config.domain = Some("test.org".to_owned());
    let put = |config, base_version| Command::PutConfig {
        config,
        base_version,
        unless_accounts: Some(false),
    };
    bench.done(put(config.clone(), 1));
    bench.done(put(config.clone(), 1));
    let seen = bench.view.load_full();
    assert_eq!(seen.config().unwrap().version, 2);
    assert_eq!(seen.config().unwrap().domain.as_deref(), Some("test.org"));
    config.domain = None;
    assert_eq!(
        bench.rejected(put(config.clone(), 1)),
        Rejection::StaleVersion { current: 2 }
    );
    assert_eq!(
        bench.rejected(put(config.clone(), 7)),
        Rejection::StaleVersion { current: 2 }
    );
    bench.done(put(config, 2));
    assert_eq!(bench.view.load().config().unwrap().version, 3);
}

#[test]
fn records_need_a_label_of_their_own() {
    let mut bench = Bench::founded();
    bench.add_user("alice");
    bench.run(Command::ReserveUser(reserve("bobby")));
    bench.add_core("core-b", None);
    bench.add_core("core-c", None);
    bench.done(remove("core-c", false));
    for (label, holder) in [
        ("alice", "user"),
        ("bobby", "user"),
        ("core-b", "core"),
        ("core-c", "removed-core"),
        ("reg", "reserved"),
        ("Upper", "invalid"),
        ("a..b", "invalid"),
        ("", "invalid"),
    ] {
        let (label, holder) = (label.to_owned(), holder.to_owned());
        assert_eq!(
            bench.rejected(put_dns(&label, "x")),
            Rejection::LabelTaken { label, holder }
        );
    }
    for label in ["_acme-challenge", "a.b", "_dmarc.mail", "x"] {
        bench.done(put_dns(label, "one"));
        bench.done(put_dns(label, "one"));
        bench.done(put_dns(label, "two"));
        assert_eq!(bench.machine.dns_record(label).unwrap().txt, ["two"]);
        bench.done(Command::DeleteDnsRecord {
            label: label.to_owned(),
        });
        assert_eq!(
            bench.rejected(Command::DeleteDnsRecord {
                label: label.to_owned()
            }),
            Rejection::UnknownLabel {
                label: label.to_owned()
            }
        );
    }
    assert_eq!(bench.view.load().dns().count(), 0);
    // Once its user is gone, the label is free; and the other way round.
    bench.done(release("r-bobby"));
    bench.done(put_dns("bobby", "x"));
    bench.done(Command::DeleteDnsRecord {
        label: "bobby".to_owned(),
    });
    bench.add_user_again("bobby");
}

impl Bench {
    fn add_user_again(&mut self, name: &str) {
        let mut asked = reserve(name);
        asked.reservation.push_str("-again");
        assert!(matches!(
            self.run(Command::ReserveUser(asked)),
            Response::Reserved { .. }
        ));
    }
}

#[test]
fn only_changes_of_the_zone_make_a_generation() {
    let mut bench = Bench::founded();
    let generation = |bench: &Bench| bench.view.load().dns_generation();
    assert_eq!(generation(&bench), 1);
    bench.add_user("alice");
    bench.done(sweep(0));
    bench.done(Command::SetCoreAvailable {
        core: core_id("core-a"),
        available: false,
    });
    assert_eq!(generation(&bench), 1);
    bench.done(put_dns("x", "y"));
    assert_eq!(generation(&bench), bench.index);
    let record = DnsRecord {
        a: vec![Ipv4Addr::LOCALHOST],
        ..DnsRecord::default()
    };
    bench.done(Command::PutDnsRecord {
        label: "x".to_owned(),
        record,
    });
    assert_eq!(generation(&bench), bench.index);
    let before = bench.index;
    bench.add_core("core-b", None);
    assert!(generation(&bench) > before);
    put_section(&mut bench, "dns", "{}");
    assert_eq!(generation(&bench), bench.index);
}

#[test]
fn an_access_request_is_answered_once() {
    let mut bench = Bench::founded();
    let put = |payload: &str| Command::PutAccessRequest {
        id: "key".to_owned(),
        request: access_request("NEED_SIGNIN", payload, 1_000),
    };
    let resolve = |status: &str, payload: &str, at: i64| Command::ResolveAccessRequest {
        id: "key".to_owned(),
        request: access_request(status, payload, 2_000),
        at: Millis(at),
    };
    assert_eq!(
        bench.rejected(resolve("ACCEPTED", "t", 5)),
        Rejection::UnknownAccessRequest
    );
    bench.done(put("asked"));
    bench.done(put("asked"));
    assert_eq!(bench.view.load().counts().access_requests, 1);
    assert_eq!(
        bench.rejected(resolve("ACCEPTED", "t", 1_001)),
        Rejection::UnknownAccessRequest
    );
    bench.done(resolve("ACCEPTED", "token", 1_000));
    bench.done(resolve("ACCEPTED", "token", 1_500));
    assert_eq!(
        bench.rejected(resolve("REFUSED", "no", 1_500)),
        Rejection::AlreadyResolved
    );
    assert_eq!(
        bench.rejected(resolve("ACCEPTED", "other", 1_500)),
        Rejection::AlreadyResolved
    );
    bench.done(put("asked"));
    let stored = bench.machine.access_request("key").unwrap().unwrap();
    assert_eq!(
        stored,
        access_request("ACCEPTED", "token", 2_000),
        "a late repetition changes nothing"
    );

    bench.done(sweep(2_000));
    assert!(
        bench.machine.access_request("key").unwrap().is_some(),
        "its deadline moved"
    );
    bench.done(sweep(2_001));
    assert!(bench.machine.access_request("key").unwrap().is_none());
    assert_eq!(bench.view.load().counts().access_requests, 0);
    assert_eq!(bench.machine.next_deadline().unwrap(), None);
}

#[test]
fn access_requests_are_bounded() {
    let mut bench = Bench::founded();
    let put = |id: usize, payload: &str| Command::PutAccessRequest {
        id: format!("{id:06}"),
        request: access_request("NEED_SIGNIN", payload, 1_000),
    };
    let big = "x".repeat(ACCESS_REQUEST_BYTES_MAX);
    assert!(matches!(
        bench.rejected(put(0, &big)),
        Rejection::TooMany { .. }
    ));
    let answers = bench.run_all((0..ACCESS_REQUESTS_MAX).map(|id| put(id, "")).collect());
    assert!(answers.iter().all(|answer| *answer == Response::Done));
    assert_eq!(
        bench.rejected(put(ACCESS_REQUESTS_MAX, "")),
        Rejection::TooMany {
            what: "pending access requests".to_owned(),
            most: ACCESS_REQUESTS_MAX as u64
        }
    );
    bench.done(put(5, ""));
    bench.done(sweep(1_001));
    bench.done(put(ACCESS_REQUESTS_MAX, ""));
}

#[test]
fn the_version_of_fields_counts_their_declaration_only() {
    let mut bench = Bench::founded();
    let version = |bench: &Bench| bench.view.load().config().unwrap().fields_version;
    assert_eq!(version(&bench), 0);
    put_section(&mut bench, "hostings", "{}");
    assert_eq!(version(&bench), 0);
    put_section(&mut bench, PlatformConfig::FIELDS, "{}");
    assert_eq!(version(&bench), 3);
    put_section(&mut bench, "hostings", "null");
    assert_eq!(version(&bench), 3);
    // Whatever the command says of it; again is the same.
    let mut config = (**bench.view.load().config().unwrap()).clone();
    config.fields_version = 1;
    config
        .sections
        .insert("hostings".to_owned(), "[]".to_owned());
    for _ in 0..2 {
        bench.done(Command::PutConfig {
            config: config.clone(),
            base_version: 4,
            unless_accounts: Some(false),
        });
        assert_eq!(version(&bench), 3);
    }
}

#[test]
fn fields_judged_by_another_declaration_are_not_taken() {
    let mut bench = Bench::founded();
    let asked = |fields_version| {
        Command::ReserveUser(ReserveUser {
            fields_version,
            ..reserve("alice")
        })
    };
    put_section(&mut bench, PlatformConfig::FIELDS, "{}");
    let changed = Rejection::FieldsChanged { present: 2 };
    for stale in [0, 1, 3] {
        assert_eq!(bench.rejected(asked(Some(stale))), changed);
    }
    assert_eq!(bench.run(asked(Some(2))), reserved("core-a", "alice"));
    bench.done(commit("r-alice"));
    put_section(&mut bench, PlatformConfig::FIELDS, "[]");
    // What took effect before is not undone by it.
    assert_eq!(bench.run(asked(Some(2))), reserved("core-a", "alice"));

    let changed = Rejection::FieldsChanged { present: 3 };
    let update = |fields_version| Command::UpdateUser {
        user: user_id("alice"),
        unique: [("phone".to_owned(), "1".to_owned())].into(),
        indexed: BTreeMap::new(),
        freed: BTreeSet::new(),
        fields_version,
    };
    assert_eq!(bench.rejected(update(Some(2))), changed);
    let set = |fields_version| {
        Command::SetEmails(SetEmails {
            user: user_id("alice"),
            present: "new@test.org".to_owned(),
            others: Vec::new(),
            changes: 0,
            indexed: BTreeMap::new(),
            unique: [("phone".to_owned(), "1".to_owned())].into(),
            freed: BTreeSet::new(),
            fields_version,
        })
    };
    assert_eq!(bench.rejected(set(Some(2))), changed);
    bench.done(set(Some(3)));
    bench.done(set(Some(2)));
    bench.done(update(Some(3)));
}

#[test]
fn a_configuration_for_nobody_is_refused_once_somebody_is_about_to_be() {
    let mut bench = Bench::founded();
    let put = |domain: &str, base_version| Command::PutConfig {
        config: PlatformConfig {
            domain: Some(domain.to_owned()),
            ..founding().config
        },
        base_version,
        unless_accounts: Some(true),
    };
    bench.done(put("a.test", 1));
    bench.run(Command::ReserveUser(reserve("alice")));
    assert_eq!(bench.rejected(put("b.test", 2)), Rejection::AccountsExist);
    // It is the same again.
    bench.done(put("a.test", 1));
    bench.done(commit("r-alice"));
    assert_eq!(bench.rejected(put("b.test", 2)), Rejection::AccountsExist);
}

#[test]
fn a_configuration_of_an_older_log_counts_no_version_of_fields() {
    let mut bench = Bench::founded();
    let mut config = founding().config;
    config
        .sections
        .insert(PlatformConfig::FIELDS.to_owned(), "{}".to_owned());
    bench.done(Command::PutConfig {
        config,
        base_version: 1,
        unless_accounts: None,
    });
    let seen = bench.view.load_full();
    let seen = seen.config().unwrap();
    assert_eq!((seen.version, seen.fields_version), (2, 0));
}
