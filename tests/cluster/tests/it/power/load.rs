//! People register and write, all at once, and it is noted what was asked for and what was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, bail};
use homecore_harness::{Http, Reply, wait_until};
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::people::{Person, register};

/// How many register at the same time.
const REGISTRARS: usize = 4;
/// How many write at the same time.
const WRITERS: usize = 6;

/// One note in so many has a file.
const FILE_EVERY: u64 = 8;

/// What is known of a name that was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Whether the account has to be there: its registration was acknowledged, or it was seen.
    pub(crate) lives: bool,
    /// Set when the registration was acknowledged.
    pub(crate) person: Option<Person>,
    /// Whether the stream for notes was acknowledged.
    pub(crate) stream: bool,
    /// How many notes were sent: 0, 1, 2 …
    pub(crate) sent: u64,
    /// The notes that were acknowledged.
    pub(crate) notes: BTreeSet<u64>,
    /// Those of them that have a file.
    pub(crate) files: BTreeSet<u64>,
    /// Whether the registration was sent before the present round.
    pub(crate) seen_before: bool,
}

/// Everything that was asked for, by username.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeMap<String, Known>>>);

/// How much has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) users: usize,
    pub(crate) notes: usize,
    pub(crate) files: usize,
}

impl Ledger {
    /// A copy as it is now.
    pub(crate) fn entries(&self) -> BTreeMap<String, Known> {
        self.lock().clone()
    }

    /// How much has to be there by now.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        let entries = self.lock();
        let users = entries.values().filter(|known| known.lives);
        Acknowledged {
            users: users.count(),
            notes: entries.values().map(|known| known.notes.len()).sum(),
            files: entries.values().map(|known| known.files.len()).sum(),
        }
    }

    /// A registration that was not acknowledged took effect all the same; from now on it counts.
    pub(crate) fn seen(&self, username: &str) {
        self.note(username, |known| known.lives = true);
    }

    /// Begins a round: names that did not become users are forgotten.
    fn begin_round(&self) {
        let mut entries = self.lock();
        entries.retain(|_name, known| known.lives);
        for known in entries.values_mut() {
            known.seen_before = true;
        }
    }

    fn note(&self, username: &str, change: impl FnOnce(&mut Known)) {
        change(self.lock().entry(username.to_owned()).or_default());
    }

    #[expect(clippy::expect_used, reason = "a poisoned ledger is a failed test")]
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().expect("no holder of the ledger panics")
    }
}

/// A running load; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Starts registering and writing at a core. Rounds have names of their own; those who write
    /// stay the same.
    pub(crate) async fn start(core: &str, ledger: &Ledger, round: usize) -> anyhow::Result<Self> {
        ledger.begin_round();
        let stop = Arc::new(AtomicBool::new(false));
        let asker = |_task| {
            anyhow::Ok(Asker {
                http: Http::new()?,
                core: core.to_owned(),
                ledger: ledger.clone(),
                stop: Arc::clone(&stop),
            })
        };
        let mut tasks = JoinSet::new();
        for task in 0..WRITERS {
            let (username, asker) = (format!("writer{task}"), asker(task)?);
            let known = ledger.entries().remove(&username).unwrap_or_default();
            let person = match known.person {
                Some(person) => person,
                None => asker.join(&username).await?.context("nobody said stop")?,
            };
            // The note that was on its way when the power went is not sent again.
            tasks.spawn(asker.write_on(person, known.sent));
        }
        for task in 0..REGISTRARS {
            tasks.spawn(asker(task)?.register_on(format!("new{round}x{task}x")));
        }
        Ok(Self {
            ledger: ledger.clone(),
            stop,
            tasks,
        })
    }

    /// Waits until so many more registrations and notes are acknowledged.
    pub(crate) async fn wait_for(&mut self, users: usize, notes: usize) -> anyhow::Result<()> {
        let before = self.ledger.acknowledged();
        let what = format!("{users} more registrations and {notes} more notes");
        wait_until(PATIENCE, &what, async || {
            let now = self.ledger.acknowledged();
            Ok(
                (now.users >= before.users + users && now.notes >= before.notes + notes)
                    .then_some(()),
            )
        })
        .await
        .with_context(|| self.failure())
    }

    /// Waits until nobody asks any more, which is when the core is gone.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// To be set when a failure is what the test does, and before it does it. Until then every
    /// failure is an error.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Why some task has ended already, if one has.
    fn failure(&mut self) -> String {
        match self.tasks.try_join_next() {
            None => "nothing has failed".to_owned(),
            Some(Ok(Err(error))) => format!("{error:#}"),
            Some(other) => format!("a task ended: {other:?}"),
        }
    }
}

/// Somebody with connections of their own who asks and notes the answers.
struct Asker {
    http: Http,
    core: String,
    ledger: Ledger,
    stop: Arc<AtomicBool>,
}

impl Asker {
    async fn register_on(self, prefix: String) -> anyhow::Result<()> {
        for i in 0..100_000 {
            let Some(person) = self.join(&format!("{prefix}{i}")).await? else {
                break;
            };
            if !self.write(&person, 0).await? {
                break;
            }
        }
        Ok(())
    }

    async fn write_on(self, person: Person, from: u64) -> anyhow::Result<()> {
        for number in from..from + 1_000_000 {
            if !self.write(&person, number).await? {
                break;
            }
        }
        Ok(())
    }

    /// Registers, and makes the stream for notes. `None` when the end has come.
    async fn join(&self, username: &str) -> anyhow::Result<Option<Person>> {
        self.ledger.note(username, |_known| {});
        let reply = register(&self.http, &self.core, username).await;
        let Some(reply) = self.created(reply)? else {
            return Ok(None);
        };
        let person = Person::registered(username, &reply.json()?)?;
        self.ledger.note(username, |known| {
            known.lives = true;
            known.person = Some(person.clone());
        });
        if let Err(error) = person.make_stream(&self.http).await {
            return self.ended(error).map(|()| None);
        }
        self.ledger.note(username, |known| known.stream = true);
        Ok(Some(person))
    }

    /// Writes a note; false when the end has come.
    async fn write(&self, person: &Person, number: u64) -> anyhow::Result<bool> {
        self.ledger
            .note(&person.username, |known| known.sent = number + 1);
        let with_file = number % FILE_EVERY == 1;
        let reply = if with_file {
            person.write_with_file(&self.http, number).await
        } else {
            person.write(&self.http, number).await
        };
        if self.created(reply)?.is_none() {
            return Ok(false);
        }
        self.ledger.note(&person.username, |known| {
            known.notes.insert(number);
            if with_file {
                known.files.insert(number);
            }
        });
        Ok(true)
    }

    fn created(&self, reply: anyhow::Result<Reply>) -> anyhow::Result<Option<Reply>> {
        let error = match reply {
            Ok(reply) if reply.status == 201 => return Ok(Some(reply)),
            Ok(reply) => {
                anyhow::anyhow!("{} answered {}: {}", reply.url, reply.status, reply.text())
            }
            Err(error) => error,
        };
        self.ended(error).map(|()| None)
    }

    /// A failure is fine once the end was said to come.
    fn ended(&self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        bail!("a request failed although the core runs: {error:#}")
    }
}
