//! What others notice while a core is attacked: somebody reads the 20 latest events over and over, with
//! eight clients, while connections are held open with half a request, bodies and headers do not end,
//! passwords are guessed, or names are asked for from thousands of addresses. Beside: the same reader in
//! peace.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homecore_harness::{Cluster, ClusterOptions};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::{self, Lane, Measured};
use crate::names::question;
use crate::people::{self, Person, READ};
use crate::table::{Table, megabytes, or_dash, rate, ratio, span};
use crate::wire::{Connection, request};
use crate::{Effort, machine};

const DOMAIN: &str = "bench.test";
const EVENTS: u64 = 200;
const READERS: usize = 8;
/// How long an attack goes on before anything is measured, so that it is at its worst.
const BEFORE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
/// Somebody whom the core has cut off learns it by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request that goes on and on: how it begins, and what follows again and again.
#[derive(Clone, Copy)]
struct Endless {
    beginning: &'static str,
    more: &'static str,
    pause: Duration,
}

/// One byte of a header every other second: what is waited for never comes.
const SLOW: Endless = Endless {
    beginning: "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    more: "a",
    pause: Duration::from_secs(2),
};
const BODY: Endless = Endless {
    beginning: "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n",
    more: "20\r\n                                \r\n",
    pause: Duration::from_millis(1),
};
const HEADER: Endless = Endless {
    beginning: "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
    more: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    pause: Duration::from_millis(1),
};

/// Who attacks, until dropped, and how often they were cut off or refused.
#[derive(Default)]
struct Attack {
    tasks: JoinSet<()>,
    refused: Arc<AtomicU64>,
}

impl Attack {
    /// Connections whose requests do not end. Who is cut off comes again.
    fn endless(core: SocketAddr, connections: usize, endless: Endless) -> Self {
        let mut attack = Self::default();
        for _ in 0..connections {
            let refused = Arc::clone(&attack.refused);
            attack.tasks.spawn(async move {
                loop {
                    // Whatever ends it, the core's limits or its listener's, is what is counted.
                    let ended = send_endless(core, endless).await;
                    refused.fetch_add(u64::from(ended.is_err()), Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
            });
        }
        attack
    }

    /// Clients that try one password after the other.
    fn guessing(core: SocketAddr, victim: &Person, clients: usize) -> Self {
        let mut attack = Self::default();
        for client in 0..clients {
            let (refused, name) = (Arc::clone(&attack.refused), victim.username.clone());
            attack.tasks.spawn(async move {
                let path = format!("/{name}/auth/login");
                for number in 0_u64.. {
                    let guess = json!({
                        "username": name, "password": format!("guess-{client}-{number}"), "appId": "homecore-bench",
                    });
                    let asked = request("POST", &path, core, None, Some(&guess.to_string()));
                    let Ok(mut connection) = Connection::open(core).await else {
                        sleep(PAUSE).await;
                        continue;
                    };
                    let answered = timeout(PATIENCE, connection.ask(&asked)).await;
                    let is_refused = matches!(answered, Ok(Ok(answer)) if answer.status != 401);
                    refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
                }
            });
        }
        attack
    }

    /// Questions from many addresses, as fast as they can be sent; nobody waits for answers.
    fn asking(dns: SocketAddr, addresses: u32) -> Self {
        let mut attack = Self::default();
        attack.tasks.spawn(async move {
            for number in (0..addresses).cycle() {
                let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number * 7);
                let Ok(socket) = UdpSocket::bind((from, 0)).await else {
                    continue;
                };
                for turn in 0..64 {
                    let asked = question(&format!("nobody{number}x{turn}.{DOMAIN}"));
                    if socket.send_to(&asked, dns).await.is_err() {
                        break;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
        attack
    }
}

/// Sends until the other side ends it.
async fn send_endless(core: SocketAddr, endless: Endless) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(core).await?;
    stream.write_all(endless.beginning.as_bytes()).await?;
    loop {
        stream.write_all(endless.more.as_bytes()).await?;
        sleep(endless.pause).await;
    }
}

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let options = ClusterOptions {
        domain: Some(DOMAIN.to_owned()),
        // As they are for everybody: the harness switches them off.
        set: vec!["http.rate_limits=true".to_owned()],
        ..ClusterOptions::cores(1)
    };
    let mut cluster = Cluster::start(options).await?;
    let core = people::address(cluster.core(0)?)?;
    let dns = cluster.core(0)?.dns()?;
    let pid = cluster.core_mut(0)?.process()?.id();
    let people = people::register(core, "reader", 2).await?;
    let [reader, victim] = &people[..] else {
        anyhow::bail!("two were to be registered");
    };
    reader.write_events(effort.pick(EVENTS, 30)).await?;

    let mut table = Table::new(
        "somebody reads while others attack (one core)",
        &[
            "",
            "reads",
            "to peace",
            "p50",
            "p99",
            "core's memory, most",
            "cut off or refused",
        ],
    );
    let peace = read(reader, effort, pid).await?;
    add(&mut table, "in peace", &peace, &peace, 0);
    let held = effort.pick(10_000, 500);
    for number in 0..5 {
        let (label, attack) = match number {
            0 => (
                format!("{held} connections with half a request"),
                Attack::endless(core, held, SLOW),
            ),
            1 => (
                "64 bodies that do not end".to_owned(),
                Attack::endless(core, 64, BODY),
            ),
            2 => (
                "64 headers that do not end".to_owned(),
                Attack::endless(core, 64, HEADER),
            ),
            3 => (
                "32 clients that guess passwords".to_owned(),
                Attack::guessing(core, victim, 32),
            ),
            _ => (
                "names asked for from 2,000 addresses".to_owned(),
                Attack::asking(dns, 2_000),
            ),
        };
        sleep(BEFORE).await;
        let measured = read(reader, effort, pid).await?;
        add(
            &mut table,
            &label,
            &measured,
            &peace,
            attack.refused.load(Ordering::Relaxed),
        );
        drop(attack);
        sleep(PAUSE).await;
    }
    table.note("attackers and readers share the processors with the core");
    table.print();
    Ok(vec![table])
}

/// What readers see, and the most memory that the core has meanwhile.
struct Read {
    measured: Measured,
    memory: Option<u64>,
}

async fn read(reader: &Person, effort: Effort, pid: u32) -> anyhow::Result<Read> {
    let path = format!("/{}/{READ}", reader.username);
    let asked = request("GET", &path, reader.home, Some(&reader.token), None);
    let lanes = (0..READERS)
        .map(|_| Lane::same(reader.home, asked.clone(), 200))
        .collect();
    let mut memory = None;
    let groups = [pid];
    let reading = load::run(lanes, effort.window(), &groups);
    tokio::pin!(reading);
    let measured = loop {
        tokio::select! {
            measured = &mut reading => break measured?,
            () = sleep(PAUSE) => memory = memory.max(machine::resident_bytes(pid)),
        }
    };
    Ok(Read { measured, memory })
}

fn add(table: &mut Table, label: &str, read: &Read, peace: &Read, refused: u64) {
    let measured = &read.measured;
    table.row([
        label.to_owned(),
        rate(measured.per_second()),
        ratio(measured.per_second(), peace.measured.per_second()),
        span(measured.quantile(0.5)),
        span(measured.quantile(0.99)),
        or_dash(read.memory.map(megabytes)),
        refused.to_string(),
    ]);
    if let Some(complaint) = measured.complaint(label) {
        table.note(complaint);
    }
}
