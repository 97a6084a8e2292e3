//! `homecore check-integrity`: recomputes the hashes of every user's items and files on this core, and
//! compares the indexes of the databases with what they lead to.
//!
//! Works on the data directory of a core that is stopped: it takes the core's lock and applies its
//! journal, as `serve` does at start, so that nothing that was acknowledged is missed: with that, it writes to
//! the databases, and says so before. Users are printed one by one, and of each kind of fault the first ones of a user, for they may be many.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use homecore_engine_sqlite::{Rebuilt, SqliteEngine, SqliteOptions};
use homecore_kernel::account;
use homecore_kernel::integrity::check::{Checked, Mismatch, check};
use homecore_kernel::integrity::files::{FileFault, check_files};
use homecore_store::{BlobStore, Engine as _, Kind, StoreError, Users};
use homecore_types::{Clock, SystemClock, UserId};
use serde_json::{Value, json};

use super::{ConfigArgs, answer, block_on, say};
use crate::rpc::files::{self, DataDir};
use crate::telemetry::chain;
use crate::wiring::open_users;

/// Faults of a kind that are shown of a user; what more there are, are counted.
const SHOWN_MAX: usize = 100;

/// `homecore check-integrity`.
#[derive(Debug, Args)]
pub(super) struct CheckIntegrityArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON, a line for each user (with --repair-indexes one more, before, for each that was repaired)
    #[arg(long)]
    pub(super) json: bool,
    /// Make the indexes of users' databases anew where they do not agree with what is stored, then check
    /// again
    #[arg(long)]
    repair_indexes: bool,
    /// Repair also where something is lost by it, which is named: documents and versions that only damaged indexes
    /// still know are given up, and those that are damaged themselves are set aside in a table of the database
    #[arg(long, requires = "repair_indexes")]
    accept_loss: bool,
}

/// What was found of one user.
struct Found {
    user: UserId,
    username: Option<String>,
    checked: Checked,
    mismatches: Faults<Mismatch>,
    /// Files that were looked at, and what is wrong with some.
    files: u64,
    file_faults: Faults<FileFault>,
    /// What is wrong in the database.
    damages: Faults<String>,
    /// How much was set aside earlier, which is no fault.
    set_aside: u64,
    /// Why not everything could be read.
    failure: Option<String>,
}

/// Faults of one kind: the first ones, and how many more there are.
#[derive(Debug)]
struct Faults<T> {
    shown: Vec<T>,
    more: usize,
}

impl<T> Default for Faults<T> {
    fn default() -> Self {
        Self {
            shown: Vec::new(),
            more: 0,
        }
    }
}

impl<T> Faults<T> {
    fn note(&mut self, fault: T) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(fault);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn count(&self) -> usize {
        self.shown.len().saturating_add(self.more)
    }

    /// A line for each, as people read it.
    fn write(&self, text: &mut String, noun: &str, line: impl Fn(&T) -> String) {
        for fault in &self.shown {
            text.push_str(&format!("\n  {}", line(fault)));
        }
        if self.more > 0 {
            text.push_str(&format!("\n  and {} more {noun}", self.more));
        }
    }

    fn json(&self, each: impl Fn(&T) -> Value) -> Vec<Value> {
        self.shown.iter().map(each).collect()
    }
}

/// Checks everything; fails if anything is not as it should be.
pub(super) fn run(args: &CheckIntegrityArgs) -> anyhow::Result<()> {
    let data = DataDir::at(&args.config.load()?.core.data);
    if !data.journal().try_exists()? {
        bail!("{} holds no users' data", data.root().display());
    }
    let _lock = files::take_lock(&data).context("stop the core first")?;
    block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        if args.repair_indexes {
            repair(&data, args).await?;
        }
        say("the journal is applied to the databases first, as at every start");
        let (users, blobs) = open_users(&data, &Arc::default(), &clock).await?;
        let result = check_all(&users, &blobs, args.json).await;
        users.shutdown().await;
        result
    })
}

/// Makes the indexes anew of users whose databases are damaged. Before the journal is applied, which trusts the
/// indexes.
async fn repair(data: &DataDir, args: &CheckIntegrityArgs) -> anyhow::Result<()> {
    let (accept_loss, as_json) = (args.accept_loss, args.json);
    let root = data.root().to_owned();
    tokio::task::spawn_blocking(move || {
        let engine = SqliteEngine::open(&root, SqliteOptions::default())?;
        let mut left = 0_usize;
        for user in engine.users()? {
            if !is_damaged(&engine, &user) {
                continue;
            }
            let outcome = engine.rebuild_indexes(&user, accept_loss);
            let is_done = outcome.as_ref().is_ok_and(|rebuilt| rebuilt.is_done);
            left += usize::from(!is_done);
            answer(&repaired(&user, outcome, as_json))?;
        }
        // The journal is not applied onto what is still damaged.
        match (left, accept_loss) {
            (0, _) => Ok(()),
            (_, true) => bail!("{left} users were not repaired: why is said above"),
            (_, false) => bail!(
                "{left} users were not repaired; what would be lost is given up with --accept-loss only"
            ),
        }
    })
    .await?
}

/// What cannot be read at all may be readable with new indexes, and counts as damaged.
fn is_damaged(engine: &SqliteEngine, user: &UserId) -> bool {
    let mut damaged = false;
    let database = engine.open(user);
    let checked = database.and_then(|database| database.check(&mut |_damage| damaged = true));
    checked.is_err() || damaged
}

/// What is said of a user whose indexes were to be made anew.
fn repaired(user: &UserId, outcome: Result<Rebuilt, StoreError>, as_json: bool) -> String {
    let (rebuilt, failure) = match outcome {
        Ok(rebuilt) => (rebuilt, None),
        Err(error) => (Rebuilt::default(), Some(chain(&error))),
    };
    let Rebuilt {
        is_done,
        lost,
        restored,
        refused,
    } = rebuilt;
    if as_json {
        let repaired = is_done.then_some("indexes");
        return json!({
            "ok": is_done, "user": user.as_str(), "repaired": repaired, "lost": lost, "restored": restored,
            "refused": refused, "failure": failure,
        })
        .to_string();
    }
    let outcome = match (failure, refused) {
        (None, None) if is_done => format!("{user}: the indexes were made anew"),
        (None, None) => {
            format!("{user}: the indexes stay as they are, for with new ones would be lost:")
        }
        (None, Some(why)) => format!("{user}: not repaired, everything is as it was: {why}"),
        (Some(failure), _) => format!("{user}: the indexes cannot be made anew: {failure}"),
    };
    let mut lines = vec![outcome];
    lines.extend(restored);
    lines.extend(lost);
    lines.join("\n  ")
}

/// What is wrong in a user's database, and what ended the check early, if anything did.
async fn damages_of(
    users: &Users,
    user: &UserId,
) -> Result<(Faults<String>, Option<StoreError>), StoreError> {
    users
        .read(user, |view| {
            let mut damages = Faults::default();
            let ended = view.check(&mut |damage| damages.note(damage)).err();
            (damages, ended)
        })
        .await
}

async fn check_all(users: &Users, blobs: &BlobStore, as_json: bool) -> anyhow::Result<()> {
    let list = users.list().await?;
    let (mut mismatches, mut files, mut damages, mut failures) = (0, 0, 0, 0);
    for user in &list {
        let found = check_user(users, blobs, user).await;
        mismatches += found.mismatches.count();
        files += found.file_faults.count();
        damages += found.damages.count();
        failures += usize::from(found.failure.is_some());
        answer(&if as_json { found.json() } else { found.text() })?;
    }
    if mismatches + files + damages + failures == 0 {
        if !as_json {
            answer(&format!("{} users, everything is in order", list.len()))?;
        }
        return Ok(());
    }
    let hint = match damages {
        0 => "",
        _ => {
            "; indexes can be made anew with --repair-indexes, documents that are not what they were can be set \
             aside with --repair-indexes --accept-loss, so that the rest can be read"
        }
    };
    bail!(
        "{mismatches} mismatches; {files} files missing or changed; {damages} faults in databases; {failures} users could not be read{hint}"
    )
}

async fn check_user(users: &Users, blobs: &BlobStore, user: &UserId) -> Found {
    let (mut mismatches, mut file_faults) = (Faults::default(), Faults::default());
    let mut failures = Vec::new();
    let mut failed = |error: StoreError| failures.push(chain(&error));
    let checked = check(users, user, &mut |mismatch| mismatches.note(mismatch)).await;
    let checked = checked.map_err(&mut failed).unwrap_or_default();
    let files = check_files(users, blobs, user, &mut |fault| file_faults.note(fault)).await;
    let files = files.map_err(&mut failed).unwrap_or_default();
    let damages = damages_of(users, user).await;
    let (damages, ended) = damages.map_err(&mut failed).unwrap_or_default();
    if let Some(error) = ended {
        failed(error);
    }
    let set_aside = users.read(user, |view| view.count_set_aside()).await;
    let set_aside = set_aside.and_then(std::convert::identity);
    let set_aside = set_aside.map_err(&mut failed).unwrap_or_default();
    // Several readings often fail for one reason.
    failures.dedup();
    // Whose they are is a help only; a damaged account is not what is looked for here.
    let account = users.read(user, |view| account::load(view)).await;
    Found {
        user: user.clone(),
        username: account
            .ok()
            .and_then(Result::ok)
            .map(|account| account.username.to_string()),
        checked,
        mismatches,
        files,
        file_faults,
        damages,
        set_aside,
        failure: (!failures.is_empty()).then(|| failures.join("; ")),
    }
}

impl Found {
    fn text(&self) -> String {
        let Checked {
            events,
            event_deletions,
            event_versions,
            accesses,
        } = self.checked;
        let name = self.username.as_deref().unwrap_or("(no name)");
        let mut text = format!(
            "{name} ({}): {events} events, {event_deletions} deleted events, {event_versions} former versions, {accesses} accesses, {} files, {} mismatches",
            self.user,
            self.files,
            self.mismatches.count()
        );
        self.mismatches.write(&mut text, "mismatches", |mismatch| {
            let Mismatch { id, rev, fault, .. } = mismatch;
            format!("{} {id}, version {}, {fault}", noun(mismatch), rev.0)
        });
        self.file_faults
            .write(&mut text, "faults of files", ToString::to_string);
        self.damages.write(&mut text, "faults", |damage| {
            format!("in the database: {damage}")
        });
        if self.set_aside > 0 {
            text.push_str(&format!(
                "\n  {} documents and former versions are set aside, damaged",
                self.set_aside
            ));
        }
        if let Some(failure) = &self.failure {
            text.push_str(&format!("\n  cannot be read: {failure}"));
        }
        text
    }

    fn json(&self) -> String {
        let mismatches = self.mismatches.json(|mismatch| {
            json!({
                "kind": noun(mismatch), "id": mismatch.id, "version": mismatch.rev.0,
                "former": mismatch.is_former, "fault": mismatch.fault.to_string(),
            })
        });
        let files = self.file_faults.json(|fault| {
            json!({ "event": fault.event, "hash": fault.hash.to_string(), "missing": fault.is_missing })
        });
        json!({
            "ok": self.mismatches.count() + self.file_faults.count() + self.damages.count() == 0
                && self.failure.is_none(),
            "user": self.user.as_str(),
            "username": self.username,
            "events": self.checked.events,
            "eventDeletions": self.checked.event_deletions,
            "eventVersions": self.checked.event_versions,
            "accesses": self.checked.accesses,
            "mismatches": mismatches,
            "moreMismatches": self.mismatches.more,
            "files": self.files,
            "fileFaults": files,
            "moreFileFaults": self.file_faults.more,
            "damages": self.damages.shown,
            "moreDamages": self.damages.more,
            "setAside": self.set_aside,
            "failure": self.failure,
        })
        .to_string()
    }
}

fn noun(mismatch: &Mismatch) -> &'static str {
    if mismatch.kind == Kind::Access {
        "access"
    } else {
        "event"
    }
}
