//! One bit of one file changes while a core is stopped. It may not matter, or be repaired from what
//! else there is; else the core refuses to start, or the request, and its log names the file. What it
//! never does is to serve other data than was written, or none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, CoreOptions, Http, Reply, wait_until};
use serde_json::json;

use crate::people::Person;
use crate::{PATIENCE, rounds};

/// A start that takes longer than this hangs.
const START_MAX: Duration = Duration::from_secs(30);
/// Bits changed in each kind of file.
const FLIPS: usize = 1;
/// One person in so many logs in each time.
const LOGIN_EVERY: usize = 20;
/// What every note begins with: found in whatever file it is in.
const NOTES_FROM: u64 = 918_273_645_000;

/// What is changed.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// The end of the path below the core's directory.
    file: &'static str,
    /// A text in it that is to be hit; else anything is.
    text: Option<&'static str>,
    /// Whether the core was killed before, or stopped.
    killed: bool,
}

const fn kind(file: &'static str) -> Kind {
    Kind {
        file,
        text: None,
        killed: false,
    }
}

impl Kind {
    const fn hit(self, text: &'static str) -> Self {
        Self {
            text: Some(text),
            ..self
        }
    }

    const fn killed(self) -> Self {
        Self {
            killed: true,
            ..self
        }
    }
}

/// Every kind of file that a core reads.
const KINDS: [Kind; 17] = [
    kind("homecore.toml").hit("listen"),
    kind("node.key"),
    kind("node.crt"),
    kind("cluster.key"),
    kind("platform/identity.json"),
    kind("platform/watermark"),
    kind("platform/log.sqlite"),
    kind("platform/log.sqlite").hit("resident"),
    kind("platform/log.sqlite-wal").killed(),
    kind("platform/log.sqlite-wal").hit("resident").killed(),
    kind(".hcs"),
    kind("state.redb"),
    kind("state.redb").hit("resident"),
    kind("journal.sqlite-wal").hit("918273645").killed(),
    kind("data.sqlite"),
    kind("data.sqlite").hit("918273645"),
    kind("blobs/").hit("note"),
];

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything is as it was.
    Whole,
    /// It did not start, and said why.
    RefusedToStart,
    /// It refused some requests, and said why.
    RefusedRequests,
    /// What came last is not there, as if the power had gone before: SQLite takes a changed bit in a
    /// write-ahead log for a write that was cut off. Other voters have what this one has lost.
    EndsEarlier,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bit_in_any_file_is_noticed() -> anyhow::Result<()> {
    let mut stage = Stage::build().await?;
    let (mut report, mut wrong) = (String::new(), 0);
    for (number, kind) in KINDS.into_iter().enumerate() {
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for flip in 0..rounds(FLIPS) {
            let seed = number + flip * KINDS.len();
            let outcome = match stage.try_out(kind, seed).await {
                Ok(outcome) => format!("{outcome:?}"),
                Err(error) => {
                    wrong += 1;
                    format!("WRONG: {error:#}")
                }
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        writeln!(report, "{kind:?}: {outcomes:?}")?;
    }
    println!("{report}");
    ensure!(wrong == 0, "{wrong} changes went wrong:\n{report}");
    Ok(())
}

/// A core, what it was told, and its directory as it was after a kill and after a clean stop.
struct Stage {
    core: Core,
    people: Vec<Person>,
    http: Http,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn build() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let options = CoreOptions {
            set: vec!["cluster.snapshot_every=100".to_owned()],
            ..CoreOptions::founder("core-a", "the-key-of-administrators")
        };
        let mut core = Core::prepare(&dir.path().join("live"), options)?;
        core.start()?;
        core.wait_ready(PATIENCE).await?;
        let http = Http::new()?;
        let mut people = Vec::new();
        // More commands than a snapshot covers.
        for number in 0..54 {
            people.push(Person::new(&http, &core.url(), &format!("resident{number}")).await?);
        }
        for person in &people {
            for number in 0..4 {
                let written = person.write(&http, NOTES_FROM + number).await?;
                written.expect(201)?;
            }
            let written = person.write_with_file(&http, NOTES_FROM + 4).await?;
            written.expect(201)?;
        }
        core.kill()?;
        let mut stage = Self {
            core,
            people,
            http,
            dir,
        };
        stage.keep("killed")?;
        stage.core.restart(PATIENCE).await?;
        stage.core.stop(PATIENCE).await?;
        stage.settle()?;
        stage.keep("stopped")?;
        Ok(stage)
    }

    /// Changes a bit of a file, starts the core, and looks at everything.
    async fn try_out(&mut self, kind: Kind, seed: usize) -> anyhow::Result<Outcome> {
        self.restore(if kind.killed { "killed" } else { "stopped" })?;
        let file = flip(&self.live(), kind, seed)?;
        let log = self.live().join("core-a.err");
        std::fs::write(&log, "")?;
        let outcome = self.start_and_look().await;
        if self.core.is_running() {
            self.core.kill()?;
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(_) if kind.file.ends_with("log.sqlite-wal") => return Ok(Outcome::EndsEarlier),
            Err(error) => return Err(error.context(file.display().to_string())),
        };
        if outcome != Outcome::Whole {
            let said = std::fs::read_to_string(&log)?;
            let name = name_in_log(&file)?;
            ensure!(said.contains(&name), "{name} is not named:\n{said}");
        }
        Ok(outcome)
    }

    async fn start_and_look(&mut self) -> anyhow::Result<Outcome> {
        self.core.start()?;
        if let Err(error) = self.core.wait_ready(START_MAX).await {
            ensure!(!self.core.is_running(), "it hangs: {error:#}");
            return Ok(Outcome::RefusedToStart);
        }
        let mut refused = 0;
        for (number, person) in self.people.iter().enumerate() {
            let whole = self.is_whole(person).await?;
            // Some: a password takes its time.
            let known = number % LOGIN_EVERY != 0 || self.knows_password(person).await?;
            refused += usize::from(!whole || !known);
        }
        Ok(if refused == 0 {
            Outcome::Whole
        } else {
            Outcome::RefusedRequests
        })
    }

    /// Whether everything about somebody is as it was; not, if requests fail. Anything else that is
    /// answered is wrong.
    async fn is_whole(&self, person: &Person) -> anyhow::Result<bool> {
        let (core, name) = (self.core.url(), &person.username);
        let url = format!("{core}reg/cores?username={name}");
        let Some(found) = answered(self.http.get(&url, None).await?) else {
            return Ok(false);
        };
        found.expect(200)?;
        let url = person.url("events?limit=1000&streams=[\"notes\"]");
        let token = Some(person.token.as_str());
        let Some(events) = answered(self.http.get(&url, token).await?) else {
            return Ok(false);
        };
        events.expect(200)?;
        let numbers = person.numbers(&self.http).await?;
        let written: Vec<u64> = (NOTES_FROM..NOTES_FROM + 5).collect();
        ensure!(numbers == written, "{name} reads {numbers:?}");
        for (number, address) in person.files(&self.http).await? {
            match self.http.get(&address, token).await {
                // Broken off: whoever asked knows that it is not whole.
                Err(_) => return Ok(false),
                Ok(reply) => {
                    let Some(reply) = answered(reply) else {
                        return Ok(false);
                    };
                    ensure!(reply.status == 200, "{address}: {}", reply.status);
                    let whole = reply.text() == person.file(number);
                    ensure!(whole, "{address} of {name} says something else");
                }
            }
        }
        Ok(true)
    }

    async fn knows_password(&self, person: &Person) -> anyhow::Result<bool> {
        let name = &person.username;
        let body = json!({"username": name, "password": "a-password", "appId": "cluster-tests"});
        let url = person.url("auth/login");
        let Some(login) = answered(self.http.post(&url, None, &body).await?) else {
            return Ok(false);
        };
        login.expect(200)?;
        Ok(true)
    }

    /// Moves what is in the databases' write-ahead logs to where it stays.
    fn settle(&self) -> anyhow::Result<()> {
        let mut files = Vec::new();
        collect(&self.live(), &mut files)?;
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "sqlite"))
        {
            let database = rusqlite::Connection::open(file)?;
            database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))?;
        }
        Ok(())
    }

    fn live(&self) -> PathBuf {
        self.dir.path().join("live/core-a")
    }

    fn keep(&self, name: &str) -> anyhow::Result<()> {
        copy(&self.live(), &self.dir.path().join(name))
    }

    fn restore(&self, name: &str) -> anyhow::Result<()> {
        std::fs::remove_dir_all(self.live())?;
        copy(&self.dir.path().join(name), &self.live())
    }
}

/// How a file is called in messages to operators: a user's database by the user, the configuration by
/// what it is, a write-ahead log as the database that it belongs to.
fn name_in_log(file: &Path) -> anyhow::Result<String> {
    let text = |path: &Path| {
        let name = path.file_name().context("a path without a name")?;
        anyhow::Ok(name.to_string_lossy().into_owned())
    };
    let name = text(file)?;
    Ok(match name.trim_end_matches("-wal") {
        "data.sqlite" => text(file.parent().context("a file without a folder")?)?,
        "homecore.toml" => "the configuration".to_owned(),
        name => name.to_owned(),
    })
}

/// The answer, unless it says that something went wrong inside.
fn answered(reply: Reply) -> Option<Reply> {
    (!reply.status.is_server_error()).then_some(reply)
}

/// Changes one bit of a file of a kind; which file it was.
fn flip(root: &Path, kind: Kind, seed: usize) -> anyhow::Result<PathBuf> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.retain(|path| {
        let path = path.to_string_lossy();
        match kind.file.strip_suffix('/') {
            Some(folder) => path.contains(&format!("/{folder}/")),
            None => path.ends_with(kind.file),
        }
    });
    let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    files.sort();
    ensure!(!files.is_empty(), "there is no {}", kind.file);
    let file = files.swap_remove(dice % files.len());
    let mut bytes = std::fs::read(&file)?;
    let places: Vec<usize> = match kind.text {
        None => (0..bytes.len()).collect(),
        Some(text) => bytes
            .windows(text.len())
            .enumerate()
            .filter(|(_, found)| *found == text.as_bytes())
            .map(|(place, _)| place + text.len() - 1)
            .collect(),
    };
    if places.is_empty() {
        bail!("{} does not hold {:?}", file.display(), kind.text);
    }
    bytes[places[(dice >> 8) % places.len()]] ^= 1;
    std::fs::write(&file, bytes)?;
    Ok(file)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => collect(&entry.path(), found)?,
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_core_takes_no_part_until_it_is_accepted() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    cluster.wait_settled(PATIENCE).await?;
    let core = cluster.core_mut(2)?;
    let data = core.data();
    // Its directory comes back from a backup.
    core.stop(PATIENCE).await?;
    let backup = data.with_extension("backup");
    std::fs::rename(&data, &backup)?;
    copy(&backup, &data)?;
    std::fs::copy(backup.join("original"), data.join("original"))?;
    core.start()?;
    wait_until(PATIENCE, "the copy is refused", async || {
        Ok((!core.is_running()).then_some(()))
    })
    .await?;
    let said = core.log_tail();
    ensure!(
        said.contains("is a copy") && said.contains("--restored"),
        "{said}"
    );
    // Nothing newer exists: the operator says so, once.
    core.start_with(&["--restored"])?;
    core.wait_ready(PATIENCE).await?;
    core.stop(PATIENCE).await?;
    core.restart(PATIENCE).await?;
    cluster.wait_settled(PATIENCE).await?;
    Ok(())
}

/// Copies files and folders; sockets are made anew by whoever listens. What tells a copy from the original is
/// left out: the copy stands for the same disk.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if entry.file_name() == "original" {
            continue;
        }
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
