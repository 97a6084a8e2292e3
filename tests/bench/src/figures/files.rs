//! One large file into a core and out again, and the memory that it takes meanwhile: it must not
//! depend on the size of the file. Beside writing the same bytes to a file and syncing it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::table::{Table, or_dash, rate, span};
use crate::{Effort, machine, people};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const MEGABYTE: usize = 1024 * 1024;
const BOUNDARY: &str = "homecore-bench";
/// Memory is looked at after this many pieces of a megabyte.
const LOOK_EVERY: usize = 4;

/// How a file went.
struct Went {
    took: Duration,
    memory_max: Option<u64>,
}

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let megabytes = effort.pick(100, 10);
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut options = CoreOptions::founder("core-a", "homecore-bench-admin-key");
    options.set.push("uploads.max_size_mb=1000".to_owned());
    let mut core = Core::prepare(directory.path(), options)?;
    core.start()?;
    core.wait_ready(START_TIMEOUT).await?;
    let pid = core.process()?.id();
    let people = people::register(people::address(&core)?, "somebody", 1).await?;
    let person = people.first().context("nobody was registered")?;
    // Whatever the first file makes once is not what is asked about.
    upload(person, 1, pid).await?;
    let before = machine::resident_bytes(pid);
    let (path, into) = upload(person, megabytes, pid).await?;
    let out = download(person, &path, megabytes, pid).await?;
    core.stop(STOP_TIMEOUT).await?;
    let plain = plain(directory.path(), megabytes)?;

    let mut table = Table::new(
        &format!("a file of {megabytes} MB"),
        &["", "took", "MB a second", "most memory", "more than before"],
    );
    for (label, went) in [
        ("into a core", into),
        ("out of it", out),
        ("write and sync of a file", plain),
    ] {
        let more = went
            .memory_max
            .zip(before)
            .map(|(most, before)| most.saturating_sub(before));
        table.row([
            label.to_owned(),
            span(went.took),
            rate(as_number(megabytes) / went.took.as_secs_f64()),
            or_dash(went.memory_max.map(shown)),
            or_dash(more.map(shown)),
        ]);
    }
    table.note("memory is what is resident of the core, looked at every few megabytes");
    table.print();
    Ok(vec![table])
}

/// Sends a file; where it is then.
async fn upload(
    person: &people::Person,
    megabytes: usize,
    pid: u32,
) -> anyhow::Result<(String, Went)> {
    let beginning = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n\
         {{\"streamIds\":[\"bench\"],\"type\":\"file/attached\"}}\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"large.bin\"\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let length = beginning.len() + megabytes * MEGABYTE + end.len();
    let head = format!(
        "POST /{}/events HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n",
        person.username, person.home, person.token
    );
    let started = Instant::now();
    let mut memory_max = machine::resident_bytes(pid);
    let mut stream = TcpStream::connect(person.home).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(beginning.as_bytes()).await?;
    for number in 0..megabytes {
        stream.write_all(&piece(number)).await?;
        if number % LOOK_EVERY == 0 {
            memory_max = memory_max.max(machine::resident_bytes(pid));
        }
    }
    stream.write_all(end.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    memory_max = memory_max.max(machine::resident_bytes(pid));
    let answer = String::from_utf8(answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let event: Value = serde_json::from_str(body)?;
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let (id, file) = text("/event/id")
        .zip(text("/event/attachments/0/id"))
        .context("the answer has no file")?;
    let path = format!("/{}/events/{id}/{file}", person.username);
    let took = started.elapsed();
    Ok((path, Went { took, memory_max }))
}

/// Reads a file and throws it away.
async fn download(
    person: &people::Person,
    path: &str,
    megabytes: usize,
    pid: u32,
) -> anyhow::Result<Went> {
    let home: SocketAddr = person.home;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {home}\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        person.token
    );
    let started = Instant::now();
    let mut memory_max = machine::resident_bytes(pid);
    let mut stream = TcpStream::connect(home).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0_u8; MEGABYTE];
    let (mut bytes, mut pieces) = (0, 0);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        bytes += read;
        pieces += 1;
        if pieces % 64 == 0 {
            memory_max = memory_max.max(machine::resident_bytes(pid));
        }
    }
    ensure!(bytes > megabytes * MEGABYTE, "only {bytes} bytes came");
    Ok(Went {
        took: started.elapsed(),
        memory_max,
    })
}

fn plain(directory: &std::path::Path, megabytes: usize) -> anyhow::Result<Went> {
    let started = Instant::now();
    let mut file = std::fs::File::create(directory.join("plain.bin"))?;
    for number in 0..megabytes {
        file.write_all(&piece(number))?;
    }
    file.sync_all()?;
    Ok(Went {
        took: started.elapsed(),
        memory_max: None,
    })
}

/// A megabyte that is like no other.
fn piece(number: usize) -> Vec<u8> {
    let mut piece = vec![0xA5; MEGABYTE];
    for (place, byte) in piece.iter_mut().zip(number.to_be_bytes()) {
        *place = byte;
    }
    piece
}

fn shown(bytes: u64) -> String {
    format!(
        "{:.1} MB",
        as_number(usize::try_from(bytes).unwrap_or(usize::MAX)) / 1e6
    )
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_number(number: usize) -> f64 {
    number as f64
}
