//! The data API, one user and fifty: reads, writes, batches, log-ins and files; beside the figures
//! that the Node.js server had on such a machine. Then what a large store costs.

mod archive;
mod store;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions};
use serde_json::{Value, json};

use crate::Effort;
use crate::aim::{Aim, Target};
use crate::load::{self, Lane, Measured};
use crate::people::{self, Person, READ};
use crate::table::{Table, or_dash, rate, say, span};
use crate::wire::{Connection, request};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Users, and clients, of the second measurement of each call.
const MANY: usize = 50;
/// Calls of a batch.
const BATCH: u64 = 100;
/// Events of a batch that fills a store.
const FILL_BATCH: u64 = 1_000;
const BOUNDARY: &str = "homecore-bench";
/// A path of the bytes of a file.
type Path = String;

/// One call: what it is called, and who asks what.
struct Call {
    label: &'static str,
    lane: fn(&Who, usize) -> Lane,
    /// Requests a second of the Node.js server (open-pryv.io 2.0.0-rc on Node 24 with PostgreSQL 15 and
    /// two workers, on two processors that the load shared), for one client and for many.
    node: [Option<f64>; 2],
    /// Fewer clients than [`MANY`], where that is what the other figure was taken with.
    many: usize,
    /// How many times the other server it is to do.
    aim: Option<f64>,
}

/// Somebody who asks, and a small and a large file of theirs.
#[derive(Clone)]
struct Who {
    person: Person,
    files: [Path; 2],
}

pub(crate) async fn run(effort: Effort, events: u64) -> anyhow::Result<Vec<Table>> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let options = CoreOptions::founder("core-a", "homecore-bench-admin-key");
    let mut core = Core::prepare(directory.path(), options)?;
    core.start()?;
    core.wait_ready(START_TIMEOUT).await?;
    let pid = core.process()?.id();
    say(&format!("\ndata: {MANY} users and their events ..."));
    let people = people::register(people::address(&core)?, "somebody", MANY).await?;
    let mut everybody = Vec::new();
    for person in &people {
        fill(person, effort.pick(10_000, 500)).await?;
        let files = [
            upload(person, 1_024).await?,
            upload(person, 10 * 1_024 * 1_024).await?,
        ];
        let person = person.clone();
        everybody.push(Who { person, files });
    }
    let calls = calls(effort, &everybody, pid).await?;
    let stores = store::run(effort, directory.path(), &mut core, events, &people).await?;
    core.stop(STOP_TIMEOUT).await?;
    Ok(std::iter::once(calls).chain(stores).collect())
}

impl Who {
    /// Somebody without files.
    fn of(person: Person) -> Self {
        Self {
            person,
            files: Default::default(),
        }
    }
}

async fn calls(effort: Effort, everybody: &[Who], pid: u32) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "the data API (one core, 10,000 events a user)",
        &[
            "",
            "homecore",
            "p50",
            "p99",
            "CPU each",
            "Node.js, recorded",
            "times",
        ],
    );
    for call in all() {
        for (clients, node) in [1, call.many].into_iter().zip(call.node) {
            let lanes = (0..clients)
                .zip(everybody.iter().cycle())
                .map(|(number, who)| (call.lane)(who, number))
                .collect();
            let measured = load::run(lanes, effort.window(), &[pid]).await?;
            let plural = if clients == 1 { "" } else { "s" };
            let label = format!("{}, {clients} client{plural}", call.label);
            table.row(line(&label, &measured, node));
            if let Some((target, node)) = call.aim.zip(node) {
                table.aim(Aim {
                    what: label.clone(),
                    ours: rate(measured.per_second()),
                    beside: format!("Node.js {}", rate(node)),
                    ratio: measured.per_second() / node,
                    target: Target::AtLeast(target),
                });
            }
            if let Some(complaint) = measured.complaint(&label) {
                table.note(complaint);
            }
        }
    }
    table.note("every client is another user's, and each write is durable when it is answered");
    table.note(
        "nothing changes between the reads of one user, so what is asked again is answered from memory, but \
         for what has a window in time",
    );
    table.note(
        "Node.js: open-pryv.io 2.0.0-rc, PostgreSQL 15, a machine of this kind, another day; to compare the \
         machines: then a loop of fdatasync made 3836/s, puts of one client at three nodes of etcd 474/s, nsd \
         gave 95000 answers a second to one thread of dnsperf",
    );
    table.print();
    Ok(table)
}

fn line(label: &str, measured: &Measured, node: Option<f64>) -> [String; 7] {
    [
        label.to_owned(),
        rate(measured.per_second()),
        span(measured.quantile(0.5)),
        span(measured.quantile(0.99)),
        or_dash(measured.processor_per_answer().map(span)),
        or_dash(node.map(rate)),
        or_dash(node.map(|node| format!("{:.0}x", measured.per_second() / node))),
    ]
}

fn all() -> Vec<Call> {
    let call = |label, node, lane| Call {
        label,
        lane,
        node,
        many: MANY,
        aim: None,
    };
    let calls = vec![
        Call {
            aim: Some(60.0),
            ..call(
                "events.get, latest 20",
                [Some(124.0), Some(198.0)],
                |who, _| get(who, "events?limit=20"),
            )
        },
        call("latest 20, read each time", [None, None], |who, _| {
            get(who, READ)
        }),
        call(
            "events.get of a stream",
            [Some(87.0), Some(231.0)],
            |who, _| get(who, "events?streams%5B%5D=bench&limit=20"),
        ),
        Call {
            aim: Some(60.0),
            ..call("streams.get", [Some(245.0), Some(349.0)], |who, _| {
                get(who, "streams")
            })
        },
        call("access-info", [Some(324.0), Some(525.0)], |who, _| {
            get(who, "access-info")
        }),
        Call {
            aim: Some(30.0),
            ..call("events.create", [Some(116.0), Some(216.0)], |who, _| {
                let person = who.person.clone();
                made(who, 201, move |number| person.event(number))
            })
        },
        Call {
            // The other figure is of eight connections.
            many: 8,
            aim: Some(100.0),
            ..call("batch of 100 creates", [Some(2.0), Some(3.7)], |who, _| {
                let person = who.person.clone();
                made(who, 200, move |number| batch(&person, number, BATCH))
            })
        },
        call("login", [Some(13.0), Some(25.0)], |who, _| login(who)),
        call("1 KB in", [None, None], |who, _| sent(who, 1_024)),
        call("1 KB out", [None, None], |who, _| file(who, 0)),
        Call {
            many: 4,
            ..call("10 MB in", [None, None], |who, _| {
                sent(who, 10 * 1_024 * 1_024)
            })
        },
        Call {
            many: 4,
            ..call("10 MB out", [None, None], |who, _| file(who, 1))
        },
    ];
    debug_assert!(calls.iter().all(|call| call.many <= MANY), "a user each");
    calls
}

fn get(who: &Who, path: &str) -> Lane {
    let person = &who.person;
    let path = format!("/{}/{path}", person.username);
    let asked = request("GET", &path, person.home, Some(&person.token), None);
    Lane::same(person.home, asked, 200)
}

fn file(who: &Who, which: usize) -> Lane {
    let person = &who.person;
    let path = who.files.get(which).map_or("/", String::as_str);
    let asked = request("GET", path, person.home, Some(&person.token), None);
    Lane::same(person.home, asked, 200)
}

/// A lane whose requests are numbered.
fn made(who: &Who, status: u16, request: impl Fn(u64) -> Vec<u8> + Send + 'static) -> Lane {
    let mut number = 0;
    Lane {
        address: who.person.home,
        expected: status,
        make: Box::new(move |buffer| {
            number += 1;
            buffer.extend_from_slice(&request(number));
        }),
    }
}

fn login(who: &Who) -> Lane {
    let person = &who.person;
    let body = json!({
        "username": person.username, "password": people::PASSWORD, "appId": "homecore-bench",
    });
    let path = format!("/{}/auth/login", person.username);
    let asked = request("POST", &path, person.home, None, Some(&body.to_string()));
    Lane::same(person.home, asked, 200)
}

/// Files that are all different: one that is there already costs no write.
fn sent(who: &Who, bytes: usize) -> Lane {
    let person = who.person.clone();
    made(who, 201, move |number| form(&person, bytes, number))
}

/// The request that creates an event with a file.
fn form(person: &Person, bytes: usize, number: u64) -> Vec<u8> {
    let mut content = vec![0xA5; bytes];
    for (place, byte) in content.iter_mut().zip(number.to_be_bytes()) {
        *place = byte;
    }
    let beginning = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n\
         {{\"streamIds\":[\"{}\"],\"type\":\"file/attached\"}}\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\n\r\n",
        people::STREAM
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let head = format!(
        "POST /{}/events HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        person.username,
        person.home,
        person.token,
        beginning.len() + bytes + end.len()
    );
    [
        head.as_bytes(),
        beginning.as_bytes(),
        &content,
        end.as_bytes(),
    ]
    .concat()
}

/// Sends a file; where it is then.
async fn upload(person: &Person, bytes: usize) -> anyhow::Result<Path> {
    let mut connection = Connection::open(person.home).await?;
    let body = connection.ask(&form(person, bytes, 0)).await?.expect(201)?;
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let (id, file) = text("/event/id")
        .zip(text("/event/attachments/0/id"))
        .context("the answer has no file")?;
    Ok(format!("/{}/events/{id}/{file}", person.username))
}

/// The request of so many creates in one batch.
fn batch(person: &Person, first: u64, count: u64) -> Vec<u8> {
    let calls: Vec<Value> = (first..first + count)
        .map(|number| {
            json!({
                "method": "events.create",
                "params": { "streamIds": [people::STREAM], "type": "count/generic", "content": number },
            })
        })
        .collect();
    let path = format!("/{}/", person.username);
    let body = Value::from(calls).to_string();
    request("POST", &path, person.home, Some(&person.token), Some(&body))
}

/// Writes so many events.
async fn fill(person: &Person, events: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(person.home).await?;
    let mut written = 0;
    while written < events {
        let count = FILL_BATCH.min(events - written);
        let body = connection
            .ask(&batch(person, written, count))
            .await?
            .expect(200)?;
        let refused = body
            .pointer("/results")
            .and_then(Value::as_array)
            .context("a batch without results")?
            .iter()
            .find(|result| result.get("error").is_some());
        ensure!(refused.is_none(), "an event was refused: {refused:?}");
        written += count;
    }
    Ok(())
}
