//! From the bytes of a query to the bytes of an answer: what every name server owes the protocol,
//! whatever its zone.
//!
//! Plain questions for addresses over UDP are read and answered in `plain`. All other messages are read
//! and written by hickory-server's `Request` and `MessageResponse`, which keep the question's bytes as
//! they came (0x20). What hickory does not bound is checked before it sees
//! a message: it reserves room for as many questions as the header claims (65 535 of them in 12
//! bytes), and it answers malformed *responses*, which two servers could throw at each other for
//! ever. Zone transfers, NOTIFY and UPDATE are always refused: the users of a platform are not
//! listed to anyone, and its records are written elsewhere.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::op::{
    Edns, Header, HeaderCounts, LowerQuery, MessageType, Metadata, OpCode, ResponseCode,
};
use hickory_proto::rr::{DNSClass, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use hickory_server::zone_handler::MessageResponseBuilder;
use homecore_types::limits::DNS_UDP_BYTES_MAX;
use tracing::error;

use crate::limit::{Kind, Limiter, Verdict};
use crate::source::ZoneSource;
use crate::stats::{Stats, count};
use crate::zone::{Answer, Question};

mod plain;

/// Bytes that any client takes over UDP (RFC 1035 §2.3.4).
const PLAIN_UDP_BYTES: u16 = 512;
const HEADER_BYTES: usize = 12;
/// Additional records of a query: OPT and a signature, and some room.
const QUERY_ADDITIONALS_MAX: u16 = 4;
/// An IXFR carries one SOA.
const QUERY_AUTHORITIES_MAX: u16 = 1;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Answers are bounded in size and in rate.
    Udp,
    /// The address is proven, and there is room.
    Tcp,
}

/// Answers messages.
#[derive(Debug)]
pub struct Handler {
    source: Arc<dyn ZoneSource>,
    limiter: Option<Limiter>,
    stats: Arc<Stats>,
}

/// What a message was recognised as.
enum Read {
    /// Not to be answered at all.
    Ignore,
    /// To be answered by a header alone.
    Bare(Header, ResponseCode),
    /// A question.
    Request(Box<Request>),
}

/// How much of an answer is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sections {
    All,
    WithoutAdditional,
    None,
}

impl Handler {
    /// `limiter` is for UDP only; without one every answer is sent.
    #[must_use]
    pub fn new(source: Arc<dyn ZoneSource>, limiter: Option<Limiter>, stats: Arc<Stats>) -> Self {
        Self {
            source,
            limiter,
            stats,
        }
    }

    /// Answers one message: `reply` is emptied and filled. It stays empty when nothing is to be
    /// sent. `now_us` is a time that never goes back, for the rate limit.
    pub fn respond(
        &self,
        message: &[u8],
        from: SocketAddr,
        transport: Transport,
        now_us: u64,
        reply: &mut Vec<u8>,
    ) {
        reply.clear();
        count(match transport {
            Transport::Udp => &self.stats.udp_queries,
            Transport::Tcp => &self.stats.tcp_queries,
        });
        // A panic may cost the query that caused it, never the socket it came through.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.answer_message(message, from, transport, now_us, reply)
        }));
        let failure = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "panic".to_owned(),
        };
        error!(error = failure, "a DNS query could not be answered");
        reply.clear();
        if let Ok(header) = Header::read(&mut BinDecoder::new(message)) {
            self.stats.count_rcode(ResponseCode::ServFail);
            if emit_bare(&header, ResponseCode::ServFail, false, reply).is_err() {
                reply.clear();
            }
        }
    }

    fn answer_message(
        &self,
        message: &[u8],
        from: SocketAddr,
        transport: Transport,
        now_us: u64,
        reply: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        if transport == Transport::Udp && self.answer_plain(message, from, now_us, reply).is_some()
        {
            return Ok(());
        }
        self.answer_any(message, from, transport, now_us, reply)
    }

    /// Answers a plain question; nothing is done and counted if it is none, or has another answer.
    fn answer_plain(
        &self,
        message: &[u8],
        from: SocketAddr,
        now_us: u64,
        reply: &mut Vec<u8>,
    ) -> Option<()> {
        let query = plain::read(message)?;
        let zone = self.source.zone();
        let answer = zone.answer_plain(&query.question)?;
        if !query.answer(&answer, reply) {
            return None;
        }
        let verdict = self.limiter.as_ref().map_or(Verdict::Send, |limiter| {
            limiter.check(from.ip(), plain::kind_of(&answer), now_us)
        });
        match self.apply(verdict) {
            Some(Sections::All | Sections::WithoutAdditional) => {}
            Some(Sections::None) => query.truncated(&answer, reply),
            None => {
                reply.clear();
                return Some(());
            }
        }
        self.stats.count_rcode(plain::code_of(&answer));
        Some(())
    }

    /// Answers whatever a message holds.
    fn answer_any(
        &self,
        message: &[u8],
        from: SocketAddr,
        transport: Transport,
        now_us: u64,
        reply: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        let verdict = |kind| match (transport, &self.limiter) {
            (Transport::Udp, Some(limiter)) => limiter.check(from.ip(), kind, now_us),
            _ => Verdict::Send,
        };
        match read(message, from, transport) {
            Read::Ignore => {
                count(&self.stats.ignored);
                Ok(())
            }
            Read::Bare(header, rcode) => {
                let Some(sections) = self.apply(verdict(Kind::Error)) else {
                    return Ok(());
                };
                self.stats.count_rcode(rcode);
                emit_bare(&header, rcode, sections == Sections::None, reply)
            }
            Read::Request(request) => {
                let zone = self.source.zone();
                let answer = match refusal(&request) {
                    Some(rcode) => refused(rcode),
                    None => match request.queries.queries().first() {
                        Some(query) => zone.answer(&question(&request, query)),
                        None => refused(ResponseCode::FormErr),
                    },
                };
                let Some(sections) = self.apply(verdict(kind_of(&answer))) else {
                    return Ok(());
                };
                self.stats.count_rcode(answer.rcode);
                self.emit(&request, &answer, sections, transport, reply)
            }
        }
    }

    /// What to encode under a verdict of the rate limit; `None` is nothing at all.
    fn apply(&self, verdict: Verdict) -> Option<Sections> {
        match verdict {
            Verdict::Send => Some(Sections::All),
            Verdict::Truncate => {
                count(&self.stats.limited_slipped);
                Some(Sections::None)
            }
            Verdict::Drop => {
                count(&self.stats.limited_dropped);
                None
            }
        }
    }

    /// Encodes an answer into the room there is: without the additional section if it does not
    /// fit, then without any records but with TC.
    fn emit(
        &self,
        request: &Request,
        answer: &Answer<'_>,
        asked: Sections,
        transport: Transport,
        reply: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        let edns = request.edns.as_ref().map(|theirs| {
            let mut ours = Edns::new();
            ours.set_max_payload(DNS_UDP_BYTES_MAX);
            // RFC 3225 §3: copied, although nothing here is signed.
            ours.set_dnssec_ok(theirs.flags().dnssec_ok);
            ours
        });
        let room = match (transport, &request.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_UDP_BYTES,
            (Transport::Udp, Some(edns)) => {
                edns.max_payload().clamp(PLAIN_UDP_BYTES, DNS_UDP_BYTES_MAX)
            }
        };
        for sections in [Sections::All, Sections::WithoutAdditional] {
            let repeats = sections == Sections::WithoutAdditional && answer.additional.is_empty();
            if asked == Sections::None || repeats {
                continue;
            }
            if emit_in(request, answer, edns.as_ref(), sections, room, reply)? {
                return Ok(());
            }
        }
        if asked == Sections::All {
            count(&self.stats.truncated);
        }
        emit_in(request, answer, edns.as_ref(), Sections::None, room, reply).map(drop)
    }
}

/// Recognises a message without trusting any of its counts.
fn read(message: &[u8], from: SocketAddr, transport: Transport) -> Read {
    let Ok(header) = Header::read(&mut BinDecoder::new(message)) else {
        return Read::Ignore;
    };
    if header.metadata.message_type == MessageType::Response {
        return Read::Ignore;
    }
    match header.metadata.op_code {
        OpCode::Query => {}
        OpCode::Notify | OpCode::Update => return Read::Bare(header, ResponseCode::Refused),
        OpCode::Status | OpCode::Unknown(_) => return Read::Bare(header, ResponseCode::NotImp),
    }
    let counts = header.counts;
    let plausible = counts.queries == 1
        && counts.answers == 0
        && counts.authorities <= QUERY_AUTHORITIES_MAX
        && counts.additionals <= QUERY_ADDITIONALS_MAX
        && question_is_plain(message);
    if !plausible {
        return Read::Bare(header, ResponseCode::FormErr);
    }
    let protocol = match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    };
    match Request::from_bytes(message.to_vec(), from, protocol) {
        Ok(request) => Read::Request(Box::new(request)),
        Err(_malformed) => Read::Bare(header, ResponseCode::FormErr),
    }
}

/// Why a well-formed question is not put to the zone, if it is not.
fn refusal(request: &Request) -> Option<ResponseCode> {
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Some(ResponseCode::BADVERS);
    }
    let query = request.queries.queries().first()?;
    match (query.query_class(), query.query_type()) {
        (DNSClass::IN, RecordType::OPT) => Some(ResponseCode::FormErr),
        (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => Some(ResponseCode::Refused),
        (DNSClass::IN, _) => None,
        _ => Some(ResponseCode::Refused),
    }
}

/// The name of the question is spelled out: the first name of a message has nothing to point to,
/// and its bytes are repeated in the answer.
fn question_is_plain(message: &[u8]) -> bool {
    let mut at = HEADER_BYTES;
    while let Some(len) = message.get(at) {
        match len {
            0 => return true,
            1..=63 => at = at.saturating_add(usize::from(*len)).saturating_add(1),
            _ => return false,
        }
    }
    false
}

fn question<'q>(request: &Request, query: &'q LowerQuery) -> Question<'q> {
    Question {
        name: query.original().name(),
        record_type: query.query_type(),
        rotation: request.metadata.id,
    }
}

fn refused<'z>(rcode: ResponseCode) -> Answer<'z> {
    Answer {
        rcode,
        authoritative: false,
        answers: Vec::new(),
        authority: None,
        additional: Vec::new(),
    }
}

fn kind_of(answer: &Answer<'_>) -> Kind {
    match answer.rcode {
        ResponseCode::NoError if answer.answers.is_empty() => Kind::NoData,
        ResponseCode::NoError => Kind::Data,
        ResponseCode::NXDomain => Kind::NoName,
        _ => Kind::Error,
    }
}

/// Encodes some sections of an answer; false when they do not fit.
fn emit_in(
    request: &Request,
    answer: &Answer<'_>,
    edns: Option<&Edns>,
    sections: Sections,
    room: u16,
    reply: &mut Vec<u8>,
) -> Result<bool, ProtoError> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = answer.rcode;
    metadata.authoritative = answer.authoritative;
    metadata.truncation = sections == Sections::None;
    let no_records: &[Record] = &[];
    let (answers, authority, additional) = match sections {
        Sections::All => (&*answer.answers, answer.authority, &*answer.additional),
        Sections::WithoutAdditional => (&*answer.answers, answer.authority, no_records),
        Sections::None => (no_records, None, no_records),
    };
    reply.clear();
    let mut encoder = BinEncoder::new(reply);
    encoder.set_max_size(room);
    let response = MessageResponseBuilder::new(&request.queries, edns)
        .build(metadata, answers, authority, None, additional);
    let sent = response.destructive_emit(&mut encoder)?;
    Ok(sections == Sections::None || !sent.truncation)
}

/// Encodes an answer that is a header only.
fn emit_bare(
    header: &Header,
    rcode: ResponseCode,
    truncation: bool,
    reply: &mut Vec<u8>,
) -> Result<(), ProtoError> {
    let mut metadata = Metadata::response_from_request(&header.metadata);
    metadata.response_code = rcode;
    metadata.truncation = truncation;
    reply.clear();
    Header {
        metadata,
        counts: HeaderCounts::default(),
    }
    .emit(&mut BinEncoder::new(reply))
}

#[cfg(test)]
mod tests;
