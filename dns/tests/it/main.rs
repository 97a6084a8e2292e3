//! The server over real sockets of the loopback interface.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, as the test does"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use homecore_dns::{
    CoreFact, Names, Options, RateLimit, RecordSet, ServeError, Server, SharedZone, Stats, Zone,
    ZoneFacts,
};
use homecore_types::CoreId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

mod tcp;
mod udp;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Users(BTreeMap<String, String>);

impl Names for Users {
    fn core_of(&self, label: &str) -> Option<Cow<'_, str>> {
        self.0.get(label).map(|core| Cow::Borrowed(core.as_str()))
    }
}

fn users(names: &[&str]) -> Arc<Users> {
    Arc::new(Users(
        names
            .iter()
            .map(|n| ((*n).to_owned(), "core-a".to_owned()))
            .collect(),
    ))
}

fn zone() -> Zone {
    let mut facts = ZoneFacts {
        generation: 1,
        ..ZoneFacts::new("example.com")
    };
    facts.cores.push(CoreFact {
        id: CoreId::parse("core-a").unwrap(),
        a: vec![Ipv4Addr::new(192, 0, 2, 1)],
        aaaa: vec![],
        cname: None,
        serving: true,
        live: true,
    });
    let large = RecordSet {
        txt: vec!["x".repeat(250); 12],
        ..RecordSet::default()
    };
    facts.records.insert("large".into(), large);
    Zone::build(&facts, users(&["alice"])).unwrap()
}

fn options() -> Options {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        udp: vec![loopback],
        tcp: vec![loopback],
        rate_limit: None,
        ..Options::default()
    }
}

/// A server that is being served.
struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    stats: Arc<Stats>,
    zone: Arc<SharedZone>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    fn start(options: &Options) -> Self {
        let zone = Arc::new(SharedZone::new(zone()));
        let server = Server::bind(options, Arc::clone(&zone) as _).unwrap();
        let stop = CancellationToken::new();
        Self {
            udp: *server.udp_addresses().first().unwrap(),
            tcp: *server.tcp_addresses().first().unwrap(),
            stats: server.stats(),
            zone,
            task: tokio::spawn(server.serve(stop.clone())),
            stop,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(self.stats.snapshot().tcp_open, 0);
    }

    /// Waits until a counter has a value.
    async fn until(&self, what: impl Fn(&homecore_dns::StatsSnapshot) -> bool) {
        let reached = async {
            while !what(&self.stats.snapshot()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(
            timeout(PATIENCE, reached).await.is_ok(),
            "{:?}",
            self.stats.snapshot()
        );
    }
}

fn query(id: u16, name: &str, record_type: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

async fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

async fn ask_udp(server: SocketAddr, message: &[u8]) -> Message {
    let socket = client(server).await;
    socket.send(message).await.unwrap();
    receive(&socket).await
}

async fn send_tcp(stream: &mut TcpStream, message: &[u8]) {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await.unwrap();
}

async fn receive_tcp(stream: &mut TcpStream) -> Message {
    let read = async {
        let len = stream.read_u16().await.unwrap();
        let mut buffer = vec![0; usize::from(len)];
        stream.read_exact(&mut buffer).await.unwrap();
        buffer
    };
    Message::from_vec(&timeout(PATIENCE, read).await.unwrap()).unwrap()
}

/// True when the server has closed the connection, false when it sent something.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    match timeout(PATIENCE, stream.read(&mut byte)).await.unwrap() {
        Ok(len) => len == 0,
        Err(_reset) => true,
    }
}
