//! Messages to the name server: whatever comes, it says nothing or answers within its bounds.

use std::borrow::Cow;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;
use homecore_dns::handler::{Handler, Transport};
use homecore_dns::zone::{Names, Zone};
use homecore_dns::{RecordSet, SharedZone, ZoneFacts};
use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_types::limits::DNS_UDP_BYTES_MAX;

use crate::{Allocated, MEGABYTE};

const HEADER: usize = 12;
const TYPES: [u16; 14] = [1, 2, 5, 6, 12, 15, 16, 28, 41, 250, 251, 252, 255, 257];

#[derive(Debug)]
struct Everybody;

impl Names for Everybody {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        label.starts_with('a').then_some(Cow::Borrowed("core-a"))
    }
}

fn handler() -> Handler {
    let mut facts = ZoneFacts {
        generation: 1,
        ns: vec!["ns.example.com".into()],
        ..ZoneFacts::new("example.com")
    };
    facts.apex.a = vec![[203, 0, 113, 1].into()];
    let large = RecordSet {
        txt: vec!["x".repeat(200); 20],
        a: (0..30).map(|n| [192, 0, 2, n].into()).collect(),
        ..RecordSet::default()
    };
    facts.records.insert("large".into(), large);
    let zone = Zone::build(&facts, Arc::new(Everybody)).unwrap();
    Handler::new(Arc::new(SharedZone::new(zone)), None, Arc::default())
}

fn question(name: &str, record_type: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    if let Some(payload) = payload {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// A header of any kind, a question of labels, and records of any kind.
fn made(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = chance.bytes_up_to(2);
    bytes.resize(2, 0);
    bytes.extend(if chance.one_in(3) {
        [u8::try_from(chance.below(256)).unwrap(), 0]
    } else {
        [1, 0]
    });
    let additional = u8::try_from(chance.below(6)).unwrap();
    let questions = u8::from(!chance.one_in(8));
    bytes.extend([0, questions, 0, 0, 0, 0, 0, additional]);
    for _ in 0..chance.below(6) {
        let label = chance.text(&["large", "example", "com", "a", "ns", "_x", "*", "www"]);
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(if chance.one_in(10) { 0xc0 } else { 0 });
    let kind = chance.pick(&TYPES).copied().unwrap();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, if chance.one_in(8) { 255 } else { 1 }]);
    for _ in 0..additional {
        // OPT, with options of any length.
        let size = u16::try_from(chance.below(5_000)).unwrap();
        bytes.extend([0, 0, 41]);
        bytes.extend(size.to_be_bytes());
        bytes.extend([0, u8::try_from(chance.below(3)).unwrap(), 0, 0]);
        let data = chance.bytes_up_to(40);
        let length = data.len() + chance.below(3);
        bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// Bytes that an answer to this may have, as RFC 1035 and RFC 6891 say and as far as the question
/// can be read.
fn room(message: &[u8], transport: Transport) -> usize {
    if transport == Transport::Tcp {
        return usize::from(u16::MAX);
    }
    // The reader that this test has makes room for as many records as a header claims.
    let counts = message.get(4..HEADER).unwrap_or_default();
    let is_small = counts.chunks(2).all(|count| *count < [0, 16][..]);
    let asked = is_small
        .then(|| Message::from_bytes(message).ok())
        .flatten();
    let edns = asked.and_then(|asked| asked.edns.map(|edns| edns.max_payload()));
    usize::from(edns.unwrap_or(0).clamp(512, DNS_UDP_BYTES_MAX))
}

fn check(handler: &Handler, message: &[u8], transport: Transport) -> Verdict {
    let mut reply = vec![0xff; 7];
    handler.respond(
        message,
        "198.51.100.1:5353".parse().unwrap(),
        transport,
        0,
        &mut reply,
    );
    let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
    if reply.is_empty() {
        return Ok("nothing".into());
    }
    if message.len() < HEADER || is_response {
        return Err("what is no question was answered".to_owned());
    }
    if reply.len() > room(message, transport) {
        return Err(format!("the answer has {} bytes", reply.len()));
    }
    if reply[..2] != message[..2] {
        return Err("the answer has another id".to_owned());
    }
    let answer = Message::from_vec(&reply).map_err(|error| format!("no answer: {error}"))?;
    if answer.metadata.message_type != MessageType::Response {
        return Err("the answer is a question".to_owned());
    }
    let rcode = answer.metadata.response_code;
    // Which is what the handler says for a panic of its own.
    if rcode == ResponseCode::ServFail {
        return Err("it failed".to_owned());
    }
    let transfers =
        |query: &Query| matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    let is_refused = matches!(answer.metadata.op_code, OpCode::Notify | OpCode::Update)
        || answer.queries.first().is_some_and(transfers);
    if is_refused && rcode == ResponseCode::NoError {
        return Err("a transfer or a change was not refused".to_owned());
    }
    Ok(format!(
        "{rcode} cut off: {}, answers: {}, edns: {}",
        answer.metadata.truncation,
        !answer.answers.is_empty(),
        answer.edns.is_some()
    )
    .into())
}

#[test]
fn dns_messages() {
    let handler = handler();
    let seeds = vec![
        question("large.example.com.", RecordType::TXT, Some(1_232)),
        question("large.example.com.", RecordType::A, None),
        question("alice.example.com.", RecordType::A, Some(512)),
        question("nobody.example.com.", RecordType::AAAA, None),
        question("example.com.", RecordType::SOA, Some(65_535)),
        question("example.com.", RecordType::AXFR, None),
        question("example.com.", RecordType::ANY, None),
        question("example.org.", RecordType::A, None),
    ];
    let campaign = Campaign::new("dns", seeds)
        .words(&[
            "\x00\x00\x29",
            "\x05large",
            "\x07example\x03com\x00",
            "\u{c0}\x0c",
        ])
        .made_by(made)
        .bytes_max(4_096)
        .memory_max(&Allocated, MEGABYTE);
    let report = campaign.run(|message| {
        let over_udp = check(&handler, message, Transport::Udp)?;
        let over_tcp = check(&handler, message, Transport::Tcp)?;
        Ok(format!("udp {over_udp}; tcp {over_tcp}").into())
    });
    for end in [
        "udp nothing",
        "udp No Error cut off: true",
        "udp Form Error",
        "udp Query Refused",
    ] {
        assert!(report.ended(end) > 0, "never came to {end:?}: {report}");
    }
}
