//! People register and write, all at once, and it is noted what was asked for and what was answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Http, wait_until};
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::people::{Person, register};

/// How many register at the same time.
const REGISTRARS: usize = 4;
/// How many write at the same time.
const WRITERS: usize = 6;

/// What is known of a name that was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Set when the registration was acknowledged.
    pub(crate) person: Option<Person>,
    /// Whether the stream for notes was acknowledged.
    pub(crate) stream: bool,
    /// Notes sent: 0, 1, 2 …
    pub(crate) sent: u64,
    /// Notes acknowledged, which are the first so many.
    pub(crate) written: u64,
    /// Whether the registration is of the present round.
    pub(crate) fresh: bool,
}

/// Everything that was asked for, by username.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeMap<String, Known>>>);

impl Ledger {
    /// A copy as it is now.
    pub(crate) fn entries(&self) -> BTreeMap<String, Known> {
        self.lock().clone()
    }

    /// Acknowledged registrations and notes.
    pub(crate) fn acknowledged(&self) -> (usize, u64) {
        let entries = self.lock();
        let users = entries.values().filter(|known| known.person.is_some());
        (
            users.count(),
            entries.values().map(|known| known.written).sum(),
        )
    }

    /// Begins a round: names that nobody was promised are forgotten.
    fn begin_round(&self) {
        let mut entries = self.lock();
        entries.retain(|_name, known| known.person.is_some());
        for known in entries.values_mut() {
            known.fresh = false;
        }
    }

    fn note(&self, username: &str, change: impl FnOnce(&mut Known)) {
        change(self.lock().entry(username.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().expect("no holder of the ledger panics")
    }
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Starts registering and writing at a core. Rounds have names of their own.
    pub(crate) async fn start(core: &str, ledger: &Ledger, round: usize) -> anyhow::Result<Self> {
        ledger.begin_round();
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let http = Http::new()?;
        for task in 0..REGISTRARS {
            let asker = Asker::new(core, ledger, &stop)?;
            tasks.spawn(asker.register_on(format!("new{round}x{task}x")));
        }
        for task in 0..WRITERS {
            let username = format!("writer{task}");
            let asker = Asker::new(core, ledger, &stop)?;
            let known = ledger.entries().remove(&username);
            let person = match known.and_then(|known| known.person) {
                Some(person) => person,
                None => asker.join(&http, &username).await?.context("stopped")?,
            };
            tasks.spawn(asker.write_on(person));
        }
        Ok(Self {
            ledger: ledger.clone(),
            stop,
            tasks,
        })
    }

    /// Waits until so many more registrations and notes are acknowledged.
    pub(crate) async fn wait_for(&mut self, users: usize, notes: u64) -> anyhow::Result<()> {
        let before = self.ledger.acknowledged();
        let what = format!("{users} more registrations and {notes} more notes");
        wait_until(PATIENCE, &what, async || {
            let now = self.ledger.acknowledged();
            Ok((now.0 >= before.0 + users && now.1 >= before.1 + notes).then_some(()))
        })
        .await
    }

    /// From here on failures are what the cut does. To be said before the core is killed.
    pub(crate) fn expect_the_end(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Waits until nobody asks any more; fails if anything failed before the end was expected.
    pub(crate) async fn join(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
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
    fn new(core: &str, ledger: &Ledger, stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        Ok(Self {
            http: Http::new()?,
            core: core.to_owned(),
            ledger: ledger.clone(),
            stop: Arc::clone(stop),
        })
    }

    async fn register_on(self, prefix: String) -> anyhow::Result<()> {
        for i in 0..100_000 {
            let username = format!("{prefix}{i}");
            let Some(person) = self.join(&self.http, &username).await? else {
                return Ok(());
            };
            if !self.write(&person, 0).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn write_on(self, person: Person) -> anyhow::Result<()> {
        let known = self.ledger.entries().remove(&person.username);
        // The one that was on its way when the power went is not sent again.
        for number in known.map_or(0, |known| known.sent).. {
            if !self.write(&person, number).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}
