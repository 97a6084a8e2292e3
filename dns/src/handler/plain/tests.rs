//! The short way and the long way give the same answers.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, Query as Asked};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use homecore_types::CoreId;
use proptest::prelude::*;

use super::super::{Handler, Transport};
use crate::facts::{CoreFact, RecordSet, ZoneFacts};
use crate::limit::{Limiter, RateLimit};
use crate::source::SharedZone;
use crate::zone::{Names, Zone};

#[derive(Debug)]
struct Users;

impl Names for Users {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        match label {
            "alice" => Some("core-a".into()),
            "bob" => Some("core-b".into()),
            "nobody-s" => Some("gone".into()),
            _ => None,
        }
    }
}

fn handler(admin: &str, limit: Option<RateLimit>) -> Handler {
    let core = |id: &str, a: usize, aaaa: usize| CoreFact {
        id: CoreId::parse(id).unwrap(),
        a: (0..a)
            .map(|n| [192, 0, 2, u8::try_from(n).unwrap()].into())
            .collect(),
        aaaa: (0..aaaa)
            .map(|n| [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::try_from(n).unwrap()].into())
            .collect(),
        cname: None,
        serving: true,
        live: true,
    };
    let mut facts = ZoneFacts {
        generation: 7,
        cores: vec![core("core-a", 3, 1), core("core-b", 1, 0)],
        ..ZoneFacts::new("example.com")
    };
    facts.soa.admin = admin.into();
    facts.apex.a = vec![[203, 0, 113, 1].into()];
    facts.records.insert(
        "alias".into(),
        RecordSet {
            cname: Some("alice.example.com".into()),
            ..RecordSet::default()
        },
    );
    facts.records.insert(
        "deep.below".into(),
        RecordSet {
            a: (0..60).map(|n| [198, 51, 100, n].into()).collect(),
            txt: vec!["text".into()],
            ..RecordSet::default()
        },
    );
    let zone = Zone::build(&facts, Arc::new(Users)).unwrap();
    let limiter = limit.map(|limit| Limiter::new(limit, 1));
    Handler::new(Arc::new(SharedZone::new(zone)), limiter, Arc::default())
}

fn from() -> SocketAddr {
    "198.51.100.1:5353".parse().unwrap()
}

/// What the short way answers, if it does.
fn short(handler: &Handler, message: &[u8]) -> Option<Vec<u8>> {
    let mut reply = vec![0xff; 7];
    handler.answer_plain(message, from(), 0, &mut reply)?;
    Some(reply)
}

fn long(handler: &Handler, message: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    handler
        .answer_any(message, from(), Transport::Udp, 0, &mut reply)
        .unwrap();
    reply
}

fn message(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

/// Everything that a message says, names with their case but for those of the SOA, which one way cuts
/// where the question's name goes on.
fn said(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    let authorities = format!("{:?}", message.authorities).to_lowercase();
    format!(
        "{:?} {:?} {:?} {authorities} {:?} {:?}",
        message.metadata, message.queries, message.answers, message.additionals, message.edns
    )
}

fn names() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        Just("alice".to_owned()),
        Just("aLiCe".to_owned()),
        Just("bob".to_owned()),
        Just("nobody-s".to_owned()),
        Just("core-a".to_owned()),
        Just("reg".to_owned()),
        Just("lsc".to_owned()),
        Just("alias".to_owned()),
        Just("deep.below".to_owned()),
        Just("x.deep.below".to_owned()),
        Just("below".to_owned()),
        Just("x.alice".to_owned()),
        "[a-zA-Z0-9]([a-zA-Z0-9-]{0,60}[a-zA-Z0-9])?",
        Just(format!("{}.{}", "a".repeat(63), "b".repeat(63))),
    ];
    let origin = prop_oneof![
        6 => Just("example.com."),
        2 => Just("EXAMPLE.Com."),
        1 => Just("example.org."),
    ];
    prop_oneof![
        9 => (label, origin.clone()).prop_map(|(label, origin)| format!("{label}.{origin}")),
        1 => origin.prop_map(str::to_owned),
        1 => Just(".".to_owned()),
    ]
}

fn types() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        4 => Just(RecordType::A),
        4 => Just(RecordType::AAAA),
        1 => Just(RecordType::TXT),
        1 => Just(RecordType::SOA),
        1 => Just(RecordType::ANY),
    ]
}

proptest! {
    #[test]
    fn both_ways_say_the_same(
        name in names(),
        record_type in types(),
        id in any::<u16>(),
        bits in any::<[bool; 4]>(),
        payload in proptest::option::of(prop_oneof![Just(0_u16), Just(512), Just(1232), any::<u16>()]),
        chaos in proptest::bool::weighted(0.1),
        admin in prop_oneof![Just("hostmaster@example.com"), Just("admin@example.org")],
    ) {
        let handler = handler(admin, None);
        let mut message = message(&name, record_type);
        message.metadata.id = id;
        let [recursion, authentic, checking, dnssec] = bits;
        message.metadata.recursion_desired = recursion;
        message.metadata.authentic_data = authentic;
        message.metadata.checking_disabled = checking;
        if chaos {
            // Another class.
            message.queries.first_mut().unwrap().set_query_class(DNSClass::CH);
        }
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            edns.set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        let bytes = message.to_vec().unwrap();
        if let Some(short) = short(&handler, &bytes) {
            prop_assert_eq!(said(&short), said(&long(&handler, &bytes)));
        }
    }

    #[test]
    fn bytes_that_are_nearly_a_question_are_read_alike(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in 0_usize..4,
        more in proptest::collection::vec(any::<u8>(), 0..3),
        edns in any::<bool>(),
    ) {
        let handler = handler("hostmaster@example.com", None);
        let mut message = message("alice.example.com.", RecordType::A);
        if edns {
            message.set_edns(Edns::new());
        }
        let mut bytes = message.to_vec().unwrap();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(bytes.len() - cut);
        bytes.extend(more);
        if let Some(short) = short(&handler, &bytes) {
            prop_assert_eq!(said(&short), said(&long(&handler, &bytes)));
        }
    }
}

#[test]
fn the_usual_questions_go_the_short_way() {
    let handler = handler("hostmaster@example.com", None);
    for name in [
        "alice", "bob", "nobody-s", "core-a", "reg", "none", "x.none",
    ] {
        for record_type in [RecordType::A, RecordType::AAAA] {
            for payload in [None, Some(1232)] {
                let mut message = message(&format!("{name}.example.com."), record_type);
                if let Some(payload) = payload {
                    let mut edns = Edns::new();
                    edns.set_max_payload(payload);
                    message.set_edns(edns);
                }
                let bytes = message.to_vec().unwrap();
                assert!(short(&handler, &bytes).is_some(), "{name} {record_type}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_or_is_an_alias_goes_the_long_way() {
    let handler = handler("hostmaster@example.com", None);
    let bytes = |name: &str| message(name, RecordType::A).to_vec().unwrap();
    assert_eq!(short(&handler, &bytes("deep.below.example.com.")), None);
    assert_eq!(short(&handler, &bytes("alias.example.com.")), None);
    assert_eq!(short(&handler, &bytes("example.org.")), None);
    // The way is chosen by itself.
    let mut reply = Vec::new();
    let asked = bytes("alias.example.com.");
    handler.respond(&asked, from(), Transport::Udp, 0, &mut reply);
    assert_eq!(reply, long(&handler, &asked));
}

#[test]
fn the_rate_limit_holds_for_both_ways_together() {
    let limit = RateLimit {
        per_second: 1,
        slip: 2,
    };
    let handler = handler("hostmaster@example.com", Some(limit));
    let bytes = message("alice.example.com.", RecordType::A)
        .to_vec()
        .unwrap();
    let first = short(&handler, &bytes).unwrap();
    assert_eq!(Message::from_vec(&first).unwrap().answers.len(), 3);
    assert_eq!(short(&handler, &bytes), Some(Vec::new()));
    let slipped = short(&handler, &bytes).unwrap();
    let slipped = Message::from_vec(&slipped).unwrap();
    assert!(slipped.metadata.truncation && slipped.answers.is_empty());
    assert_eq!(long(&handler, &bytes), Vec::<u8>::new());
    let counted = handler.stats.snapshot();
    assert_eq!(
        (
            counted.noerror,
            counted.limited_dropped,
            counted.limited_slipped
        ),
        (2, 2, 1)
    );
}
