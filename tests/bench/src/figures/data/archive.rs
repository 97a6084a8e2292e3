//! A user with many events as an archive, which is how somebody comes who has them: made here, taken in
//! and given out by the operator's commands.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, Process};
use serde_json::{Value, json};

use crate::machine;
use crate::people::{self, Person};
use crate::table::{Table, megabytes, or_dash, rate, span};

/// Events in one file of it.
const CHUNK: u64 = 250_000;
/// The only access.
const ACCESS: &str = "cka0access00000000000001";
/// When the first event was, in seconds; one follows each second.
const BEGAN: u64 = 1_600_000_000;
/// Of a password that nobody knows.
const HASH: &str = "$2b$10$VuxIaANY8zeeKnCJbz8MAeliRAhQlF.I4ov9.txEle0xgz6TdzKuC";
/// How often a command is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Somebody with so many events, moved into a core.
///
/// # Errors
/// When the archive cannot be written, or is refused.
pub(super) async fn bring(
    core: &mut Core,
    directory: &Path,
    username: &str,
    events: u64,
    table: &mut Table,
) -> anyhow::Result<Person> {
    let archive = tempfile::tempdir_in(directory)?;
    write(archive.path(), username, events).await?;
    let path = archive.path().display().to_string();
    let run = watch(core, directory, &["import", &path]).await?;
    run.row(table, &format!("import of {events} events"), events);
    Ok(Person {
        username: username.to_owned(),
        home: people::address(core)?,
        token: token(username),
    })
}

/// Gives somebody out again; the archive is removed.
///
/// # Errors
/// When the command fails.
pub(super) async fn export(
    core: &mut Core,
    directory: &Path,
    person: &Person,
    events: u64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let archive = tempfile::tempdir_in(directory)?;
    let path = archive.path().display().to_string();
    let command = ["export", &path, "--user", &person.username];
    let run = watch(core, directory, &command).await?;
    run.row(table, &format!("export of {events} events"), events);
    Ok(())
}

/// The table of both.
pub(super) fn table() -> Table {
    Table::new(
        "one user in and out (`homecore import`, `homecore export`)",
        &[
            "",
            "events",
            "took",
            "CPU each, core",
            "and command",
            "core, most memory",
            "command, most memory",
        ],
    )
}

fn token(username: &str) -> String {
    format!("ctoken{username}")
}

/// Writes an archive. It can be given up between two files.
async fn write(folder: &Path, username: &str, events: u64) -> anyhow::Result<()> {
    let id = format!("cku{username:0>21}");
    let user = folder.join("users").join(&id);
    std::fs::create_dir_all(user.join("events"))?;
    let lines = |name: &str, record: &Value| std::fs::write(user.join(name), format!("{record}\n"));
    let with = |mut record: Value| {
        let made = json!({
            "created": BEGAN, "createdBy": "system", "modified": BEGAN, "modifiedBy": "system",
        });
        if let (Value::Object(record), Value::Object(made)) = (&mut record, made) {
            record.extend(made);
        }
        record
    };
    lines(
        "account.jsonl",
        &json!({
            "passwords": [{ "time": BEGAN, "hash": HASH }],
            "accountFields": [{ "field": "email", "value": format!("{username}@example.com"), "time": BEGAN }],
        }),
    )?;
    let stream = json!({ "id": people::STREAM, "name": "Bench" });
    lines("streams.jsonl", &with(stream))?;
    let access = json!({
        "id": ACCESS, "token": token(username), "type": "app", "name": "bench",
        "permissions": [{ "streamId": "*", "level": "manage" }],
    });
    lines("accesses.jsonl", &with(access))?;
    let mut chunks = Vec::new();
    for first in (0..events).step_by(usize::try_from(CHUNK)?) {
        let name = format!("events-{:04}.jsonl", chunks.len() + 1);
        let path = user.join("events").join(&name);
        chunk(&path, first..events.min(first + CHUNK))
            .with_context(|| format!("cannot write {}", path.display()))?;
        chunks.push(name);
        tokio::task::yield_now().await;
    }
    let manifest = json!({
        "userId": id, "username": username, "backupTimestamp": 0,
        "stats": { "events": events }, "chunks": { "events": chunks },
    });
    std::fs::write(user.join("user-manifest.json"), manifest.to_string())?;
    let whole = json!({
        "formatVersion": 1, "coreVersion": "2", "config": { "engine": "bench", "domain": "" },
        "backupType": "full", "backupTimestamp": 0, "snapshotBefore": 0,
        "users": [manifest], "compressed": false,
    });
    std::fs::write(folder.join("manifest.json"), whole.to_string())?;
    Ok(())
}

fn chunk(path: &Path, numbers: std::ops::Range<u64>) -> std::io::Result<()> {
    let stream = people::STREAM;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for number in numbers {
        let at = BEGAN + number;
        writeln!(
            file,
            r#"{{"id":"c{number:024}","streamIds":["{stream}"],"type":"count/generic","content":{number},"time":{at},"created":{at},"createdBy":"{ACCESS}","modified":{at},"modifiedBy":"{ACCESS}"}}"#
        )?;
    }
    file.flush()
}

/// What a command took.
struct Run {
    took: Duration,
    /// Processor time of the core and of the command.
    used: [Option<Duration>; 2],
    /// The most memory of both.
    most: [Option<u64>; 2],
}

impl Run {
    fn row(&self, table: &mut Table, label: &str, events: u64) {
        let count = u32::try_from(events.max(1)).unwrap_or(u32::MAX);
        let [core, command] = self
            .used
            .map(|used| or_dash(used.map(|used| span(used / count))));
        let [memory, commands] = self.most.map(|most| or_dash(most.map(megabytes)));
        let per_second = f64::from(count) / self.took.as_secs_f64();
        table.row([
            label.to_owned(),
            rate(per_second),
            span(self.took),
            core,
            command,
            memory,
            commands,
        ]);
    }
}

/// Runs a command of the operator's and looks at it, and at its core.
async fn watch(core: &mut Core, logs: &Path, arguments: &[&str]) -> anyhow::Result<Run> {
    let command = core.command(arguments);
    let pid = core.process()?.id();
    let before = machine::processor_time(&[pid]);
    let begun = Instant::now();
    let mut process = Process::start("command", command, logs)?;
    let groups = [pid, process.id()];
    let (mut most, mut used) = ([None; 2], [None; 2]);
    let status = loop {
        if let Some(status) = process.exited()? {
            break status;
        }
        for ((group, most), used) in groups.into_iter().zip(&mut most).zip(&mut used) {
            *most = (*most).max(machine::resident_bytes(group));
            *used = machine::processor_time(&[group]).or(*used);
        }
        tokio::time::sleep(PAUSE).await;
    };
    let took = begun.elapsed();
    ensure!(
        status.success(),
        "homecore {}: {status}\n{}",
        arguments.join(" "),
        process.log_tail()
    );
    let spent = machine::processor_time(&[pid]).zip(before);
    used[0] = spent.map(|(after, before)| after.saturating_sub(before));
    Ok(Run { took, used, most })
}
