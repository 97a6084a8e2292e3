//! Messages in, messages out.

use std::borrow::Cow;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData};
use proptest::prelude::*;

use super::*;
use crate::facts::{RecordSet, ZoneFacts};
use crate::limit::RateLimit;
use crate::source::SharedZone;
use crate::zone::{Names, Zone};

/// A name whose look-up fails in the worst way.
#[derive(Debug)]
struct Panics;

impl Names for Panics {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        assert_ne!(label, "trigger", "as asked");
        None
    }
}

fn zone() -> Zone {
    let mut facts = ZoneFacts {
        generation: 3,
        ..ZoneFacts::new("example.com")
    };
    facts.apex.a = vec![[203, 0, 113, 1].into()];
    let texts = |n: usize| RecordSet {
        txt: vec!["x".repeat(200); n],
        ..RecordSet::default()
    };
    facts.records.insert("small".into(), texts(1));
    facts.records.insert("middle".into(), texts(4));
    facts.records.insert("large".into(), texts(20));
    facts.ns = vec!["ns.example.com".into()];
    let many = (0..30).map(|n| [192, 0, 2, n].into()).collect();
    facts.records.insert(
        "ns".into(),
        RecordSet {
            a: many,
            ..RecordSet::default()
        },
    );
    Zone::build(&facts, Arc::new(Panics)).unwrap()
}

fn handler(limit: Option<RateLimit>) -> Handler {
    let limiter = limit.map(|limit| Limiter::new(limit, 1));
    Handler::new(Arc::new(SharedZone::new(zone())), limiter, Arc::default())
}

fn query(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

fn bytes_over(handler: &Handler, message: &[u8], transport: Transport) -> Vec<u8> {
    let mut reply = vec![0xff; 7];
    handler.respond(
        message,
        "198.51.100.1:5353".parse().unwrap(),
        transport,
        0,
        &mut reply,
    );
    reply
}

fn over(message: &Message, transport: Transport) -> Message {
    let bytes = bytes_over(&handler(None), &message.to_vec().unwrap(), transport);
    Message::from_vec(&bytes).unwrap()
}

fn udp(message: &Message) -> Message {
    over(message, Transport::Udp)
}

/// The code of the answer to raw bytes, `None` without one.
fn raw(message: &[u8]) -> Option<ResponseCode> {
    let reply = bytes_over(&handler(None), message, Transport::Udp);
    (!reply.is_empty()).then(|| Message::from_vec(&reply).unwrap().metadata.response_code)
}

#[test]
fn an_answer_repeats_the_question_and_says_who_speaks() {
    let answer = udp(&query("eXample.COM.", RecordType::A));
    assert_eq!(answer.metadata.id, 0x1234);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
    assert!(!answer.metadata.recursion_available && !answer.metadata.truncation);
    let asked = answer.queries.first().unwrap().name();
    assert!(asked.eq_case(&Name::from_ascii("eXample.COM.").unwrap()));
    let owner = &answer.answers.first().unwrap().name;
    assert!(owner.eq_case(asked), "{owner}");
    assert!(answer.edns.is_none());

    let none = udp(&query("nobody.example.com.", RecordType::A));
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(
        none.authorities.first().unwrap().data,
        RData::SOA(_)
    ));

    let other = udp(&query("example.org.", RecordType::A));
    assert_eq!(other.metadata.response_code, ResponseCode::Refused);
    assert!(!other.metadata.authoritative);
}

#[test]
fn what_is_no_query_is_not_answered() {
    let mut response = query("example.com.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let mut bytes = response.to_vec().unwrap();
    assert_eq!(raw(&bytes), None);
    bytes.truncate(14);
    assert_eq!(
        raw(&bytes),
        None,
        "a malformed response is still a response"
    );
    assert_eq!(raw(&[]), None);
    assert_eq!(raw(&[0; 11]), None);
}

#[test]
fn other_operations_are_turned_down() {
    for (op_code, expected) in [
        (OpCode::Notify, ResponseCode::Refused),
        (OpCode::Update, ResponseCode::Refused),
        (OpCode::Status, ResponseCode::NotImp),
        (OpCode::Unknown(6), ResponseCode::NotImp),
    ] {
        let mut message = query("example.com.", RecordType::SOA);
        message.metadata.op_code = op_code;
        let answer = udp(&message);
        assert_eq!(answer.metadata.response_code, expected, "{op_code:?}");
        assert_eq!(answer.metadata.op_code, op_code);
    }
}

#[test]
fn classes_and_types_that_are_not_served_are_refused() {
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos
        .queries
        .first_mut()
        .unwrap()
        .set_query_class(DNSClass::CH);
    assert_eq!(udp(&chaos).metadata.response_code, ResponseCode::Refused);
    let mut any_class = query("example.com.", RecordType::A);
    any_class
        .queries
        .first_mut()
        .unwrap()
        .set_query_class(DNSClass::ANY);
    assert_eq!(
        udp(&any_class).metadata.response_code,
        ResponseCode::Refused
    );
    for transport in [Transport::Udp, Transport::Tcp] {
        for kind in [RecordType::AXFR, RecordType::IXFR] {
            let answer = over(&query("example.com.", kind), transport);
            assert_eq!(
                answer.metadata.response_code,
                ResponseCode::Refused,
                "{kind}"
            );
        }
    }
    let opt = query("example.com.", RecordType::OPT);
    assert_eq!(udp(&opt).metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn malformed_queries_get_a_header() {
    let good = query("example.com.", RecordType::A).to_vec().unwrap();
    assert_eq!(raw(&good), Some(ResponseCode::NoError));
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let table: &[(&str, Vec<u8>)] = &[
        ("no question", changed(4, &[0, 0])),
        ("two questions", changed(4, &[0, 2])),
        ("more questions than bytes", changed(4, &[0xff, 0xff])),
        ("an answer", changed(6, &[0, 1])),
        ("many authorities", changed(8, &[0xff, 0xff])),
        ("many additionals", changed(10, &[0xff, 0xff])),
        ("an additional that is not there", changed(10, &[0, 1])),
        ("a pointer as name", changed(12, &[0xc0, 0x00])),
        ("a label type that is none", changed(12, &[0x80])),
        ("a cut name", good[..16].to_vec()),
        ("a cut question", good[..good.len() - 1].to_vec()),
        ("a header only", good[..12].to_vec()),
    ];
    for (what, bytes) in table {
        let reply = bytes_over(&handler(None), bytes, Transport::Udp);
        assert_eq!(raw(bytes), Some(ResponseCode::FormErr), "{what}");
        assert_eq!((reply.len(), &reply[..2]), (12, &good[..2]), "{what}");
    }
}

#[test]
fn edns_is_answered_with_our_size() {
    let answer = udp(&with_edns(query("example.com.", RecordType::A), 4096));
    let edns = answer.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
    assert!(!edns.flags().dnssec_ok);

    let mut wants_dnssec = with_edns(query("example.com.", RecordType::A), 4096);
    wants_dnssec.edns.as_mut().unwrap().set_dnssec_ok(true);
    let answer = udp(&wants_dnssec);
    assert!(answer.edns.as_ref().unwrap().flags().dnssec_ok);
    assert_eq!(answer.answers.len(), 1);

    let mut newer = with_edns(query("example.com.", RecordType::A), 4096);
    newer.edns.as_mut().unwrap().set_version(1);
    let answer = udp(&newer);
    // BADVERS; the same number is BADSIG in another place, which is how hickory reads it.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.as_ref().unwrap().version(), 0);
    assert!(answer.answers.is_empty());

    let mut twice = with_edns(query("example.com.", RecordType::A), 4096)
        .to_vec()
        .unwrap();
    let opt = twice[twice.len() - 11..].to_vec();
    twice.extend_from_slice(&opt);
    twice[11] = 2;
    assert_eq!(raw(&twice), Some(ResponseCode::FormErr));
}

#[test]
fn what_does_not_fit_is_truncated_to_the_question_and_opt() {
    // name, payload (0: no EDNS), fits
    let table = [
        ("small", 0, true),
        ("middle", 0, false),
        ("middle", 100, false),
        ("middle", 512, false),
        ("middle", 1232, true),
        ("middle", 65_535, true),
        ("large", 1232, false),
        ("large", 65_535, false),
    ];
    for (label, payload, fits) in table {
        let plain = query(&format!("{label}.example.com."), RecordType::TXT);
        let asked = if payload == 0 {
            plain
        } else {
            with_edns(plain, payload)
        };
        let bytes = bytes_over(&handler(None), &asked.to_vec().unwrap(), Transport::Udp);
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.truncation, !fits, "{label} {payload}");
        assert_eq!(answer.answers.is_empty(), !fits, "{label} {payload}");
        assert_eq!(answer.edns.is_some(), payload != 0, "{label} {payload}");
        assert_eq!(answer.queries.len(), 1);
        assert!(
            bytes.len() <= usize::from(payload.clamp(512, 1232)),
            "{label} {payload}"
        );
        let tcp = over(&asked, Transport::Tcp);
        assert!(
            !tcp.metadata.truncation && !tcp.answers.is_empty(),
            "{label} over TCP"
        );
    }
}

#[test]
fn the_additional_section_gives_way_first() {
    let small = udp(&query("example.com.", RecordType::NS));
    assert!(!small.metadata.truncation);
    assert_eq!((small.answers.len(), small.additionals.len()), (1, 16));
    let mut name = "y".repeat(60);
    name.push_str(".example.com.");
    // A longer answer: many names, so that 16 addresses no longer fit 512 bytes.
    let mut facts = ZoneFacts::new("example.com");
    facts.ns = (0..4).map(|n| format!("{n}{name}")).collect();
    let many: Vec<_> = (0..30).map(|n| [192, 0, 2, n].into()).collect();
    for server in &facts.ns {
        let label = server.split('.').next().unwrap().to_owned();
        facts.records.insert(
            label,
            RecordSet {
                a: many.clone(),
                ..RecordSet::default()
            },
        );
    }
    let zone = Zone::build(&facts, Arc::new(())).unwrap();
    let handler = Handler::new(Arc::new(SharedZone::new(zone)), None, Arc::default());
    let asked = query("example.com.", RecordType::NS).to_vec().unwrap();
    let answer = Message::from_vec(&bytes_over(&handler, &asked, Transport::Udp)).unwrap();
    assert!(!answer.metadata.truncation);
    assert_eq!((answer.answers.len(), answer.additionals.len()), (4, 0));
}

#[test]
fn a_panic_costs_one_query() {
    let handler = handler(None);
    let ask = |name: &str| {
        let asked = query(name, RecordType::A).to_vec().unwrap();
        let reply = bytes_over(&handler, &asked, Transport::Udp);
        Message::from_vec(&reply).unwrap().metadata
    };
    let failed = ask("trigger.example.com.");
    assert_eq!(
        (failed.id, failed.response_code),
        (0x1234, ResponseCode::ServFail)
    );
    assert_eq!(ask("example.com.").response_code, ResponseCode::NoError);
    assert_eq!(handler.stats.snapshot().servfail, 1);
}

#[test]
fn the_rate_limit_is_for_udp_only() {
    let handler = handler(Some(RateLimit {
        per_second: 3,
        slip: 2,
    }));
    let asked = query("example.com.", RecordType::A).to_vec().unwrap();
    let replies: Vec<_> = (0..9)
        .map(|_| bytes_over(&handler, &asked, Transport::Udp))
        .collect();
    let full = replies.iter().filter(|r| r.len() > asked.len()).count();
    let empty = replies.iter().filter(|r| r.is_empty()).count();
    let cut: Vec<_> = replies.iter().filter(|r| r.len() == asked.len()).collect();
    assert_eq!((full, cut.len(), empty), (3, 3, 3));
    for reply in cut {
        let message = Message::from_vec(reply).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty());
    }
    assert!(!bytes_over(&handler, &asked, Transport::Tcp).is_empty());
    let stats = handler.stats.snapshot();
    assert_eq!((stats.limited_dropped, stats.limited_slipped), (3, 3));
    assert_eq!(
        (stats.udp_queries, stats.tcp_queries, stats.noerror),
        (9, 1, 7)
    );
}

/// Queries as they are, and with some bytes changed, cut or added.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec!["example.com.", "large.example.com.", "x.y.", "."]);
    let base = (names, any::<u16>(), any::<bool>(), any::<u16>()).prop_map(
        |(name, kind, edns, payload)| {
            let message = query(name, RecordType::from(kind));
            let message = if edns {
                with_edns(message, payload)
            } else {
                message
            };
            message.to_vec().unwrap_or_default()
        },
    );
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let tail = prop::collection::vec(any::<u8>(), 0..40);
    (
        base,
        changes,
        any::<prop::sample::Index>(),
        any::<bool>(),
        tail,
    )
        .prop_map(|(mut bytes, changes, cut, cuts, tail)| {
            for (at, to) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = to;
                }
            }
            if cuts && !bytes.is_empty() {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes.extend_from_slice(&tail);
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn any_bytes_get_a_proper_answer_or_none(
        message in prop_oneof![damaged(), prop::collection::vec(any::<u8>(), 0..300)],
        tcp: bool,
    ) {
        let handler = handler(None);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let reply = bytes_over(&handler, &message, transport);
        // Nothing that comes in may reach an error of ours.
        prop_assert_eq!(handler.stats.snapshot().servfail, 0);
        let is_query = message.len() >= 12 && message[2] & 0x80 == 0;
        prop_assert_eq!(!reply.is_empty(), is_query);
        if !reply.is_empty() {
            let answer = Message::from_vec(&reply).unwrap();
            prop_assert_eq!(&reply[..2], &message[..2]);
            prop_assert_eq!(answer.metadata.message_type, MessageType::Response);
            prop_assert!(!answer.metadata.recursion_available);
            prop_assert!(tcp || reply.len() <= usize::from(DNS_UDP_BYTES_MAX));
            let negative = answer.metadata.response_code == ResponseCode::NXDomain;
            prop_assert!(!negative || answer.authorities.len() == 1);
        }
    }
}
