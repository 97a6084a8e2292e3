//! `homecore check-integrity`: recomputes the hashes of every user's items and files on this core, and
//! compares the indexes of the databases with what they lead to.
//!
//! Works on the data directory of a core that is stopped: it takes the core's lock and applies its
//! journal, as `serve` does at start, so that nothing that was acknowledged is missed. Users are
//! printed one by one, for their mismatches may be many.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use homecore_engine_sqlite::{SqliteEngine, SqliteOptions};
use homecore_kernel::account;
use homecore_kernel::integrity::check::{Checked, Mismatch, check};
use homecore_kernel::integrity::files::{FileFault, check_files};
use homecore_store::{BlobStore, Kind, StoreError, Users};
use homecore_types::{Clock, SystemClock, UserId};
use serde_json::{Value, json};

use super::{ConfigArgs, answer, block_on};
use crate::rpc::files::{self, DataDir};
use crate::telemetry::chain;
use crate::wiring::open_users;

/// Lines of damage in the database that are shown of a user; what more there is, is counted.
const DAMAGES_SHOWN_MAX: usize = 100;

/// `homecore check-integrity`.
#[derive(Debug, Args)]
pub(super) struct CheckIntegrityArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON, a line for each user
    #[arg(long)]
    pub(super) json: bool,
    /// Make the indexes of users' databases anew where they do not agree with what is stored, then check
    /// again
    #[arg(long)]
    repair_indexes: bool,
}

/// What was found of one user.
struct Found {
    user: UserId,
    username: Option<String>,
    checked: Checked,
    mismatches: Vec<Mismatch>,
    /// Files that were looked at, and what is wrong with some.
    files: u64,
    file_faults: Vec<FileFault>,
    damages: Damages,
    /// Why not everything could be read.
    failure: Option<String>,
}

/// What is wrong in a user's database.
#[derive(Debug, Default)]
struct Damages {
    shown: Vec<String>,
    more: usize,
}

impl Damages {
    fn note(&mut self, damage: String) {
        if self.shown.len() < DAMAGES_SHOWN_MAX {
            self.shown.push(damage);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn len(&self) -> usize {
        self.shown.len().saturating_add(self.more)
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
            repair(&data, &clock).await?;
        }
        let (users, blobs) = open_users(&data, &Arc::default(), &clock).await?;
        let result = check_all(&users, &blobs, args.json).await;
        users.shutdown().await;
        result
    })
}

/// Makes the indexes anew of users whose databases are damaged.
async fn repair(data: &DataDir, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
    // What is in the journal only must be in the databases first.
    let (users, blobs) = open_users(data, &Arc::default(), clock).await?;
    let mut damaged = Vec::new();
    for user in users.list().await? {
        let found = damages_of(&users, &user).await;
        // What cannot be read at all may be readable with new indexes.
        if found.is_err() || found.is_ok_and(|damages| damages.len() > 0) {
            damaged.push(user);
        }
    }
    users.shutdown().await;
    // Both hold the folder's lock.
    drop((users, blobs));
    let root = data.root().to_owned();
    tokio::task::spawn_blocking(move || {
        let engine = SqliteEngine::open(&root, SqliteOptions::default())?;
        for user in damaged {
            match engine.rebuild_indexes(&user) {
                Ok(()) => answer(&format!("{user}: the indexes were made anew"))?,
                Err(error) => answer(&format!(
                    "{user}: the indexes cannot be made anew: {}",
                    chain(&error)
                ))?,
            }
        }
        Ok(())
    })
    .await?
}

async fn damages_of(users: &Users, user: &UserId) -> Result<Damages, StoreError> {
    users
        .read(user, |view| {
            let mut damages = Damages::default();
            view.check(&mut |damage| damages.note(damage))?;
            Ok(damages)
        })
        .await?
}

async fn check_all(users: &Users, blobs: &BlobStore, as_json: bool) -> anyhow::Result<()> {
    let list = users.list().await?;
    let (mut mismatches, mut files, mut damages, mut failures) = (0, 0, 0, 0);
    for user in &list {
        let found = check_user(users, blobs, user).await;
        mismatches += found.mismatches.len();
        files += found.file_faults.len();
        damages += found.damages.len();
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
        _ => "; indexes can be made anew with --repair-indexes",
    };
    bail!(
        "{mismatches} mismatches; {files} files missing or changed; {damages} faults in databases; {failures} users could not be read{hint}"
    )
}

async fn check_user(users: &Users, blobs: &BlobStore, user: &UserId) -> Found {
    let (mut mismatches, mut file_faults) = (Vec::new(), Vec::new());
    let mut failure = None;
    let mut failed = |error: StoreError| failure = Some(chain(&error));
    let checked = check(users, user, &mut |mismatch| mismatches.push(mismatch)).await;
    let checked = checked.map_err(&mut failed).unwrap_or_default();
    let files = check_files(users, blobs, user, &mut |fault| file_faults.push(fault)).await;
    let files = files.map_err(&mut failed).unwrap_or_default();
    let damages = damages_of(users, user).await;
    let damages = damages.map_err(&mut failed).unwrap_or_default();
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
        failure,
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
            self.mismatches.len()
        );
        for mismatch in &self.mismatches {
            let Mismatch { id, rev, fault, .. } = mismatch;
            let noun = noun(mismatch);
            text.push_str(&format!("\n  {noun} {id}, version {}, {fault}", rev.0));
        }
        for fault in &self.file_faults {
            text.push_str(&format!("\n  {fault}"));
        }
        for damage in &self.damages.shown {
            text.push_str(&format!("\n  in the database: {damage}"));
        }
        if self.damages.more > 0 {
            text.push_str(&format!("\n  and {} more", self.damages.more));
        }
        if let Some(failure) = &self.failure {
            text.push_str(&format!("\n  cannot be read: {failure}"));
        }
        text
    }

    fn json(&self) -> String {
        let mismatches: Vec<Value> = self
            .mismatches
            .iter()
            .map(|mismatch| {
                json!({
                    "kind": noun(mismatch), "id": mismatch.id, "version": mismatch.rev.0,
                    "former": mismatch.is_former, "fault": mismatch.fault.to_string(),
                })
            })
            .collect();
        let files: Vec<Value> = self
            .file_faults
            .iter()
            .map(|fault| {
                json!({ "event": fault.event, "hash": fault.hash.to_string(), "missing": fault.is_missing })
            })
            .collect();
        json!({
            "ok": self.mismatches.is_empty() && self.file_faults.is_empty()
                && self.damages.len() == 0 && self.failure.is_none(),
            "user": self.user.as_str(),
            "username": self.username,
            "events": self.checked.events,
            "eventDeletions": self.checked.event_deletions,
            "eventVersions": self.checked.event_versions,
            "accesses": self.checked.accesses,
            "mismatches": mismatches,
            "files": self.files,
            "fileFaults": files,
            "damages": self.damages.shown,
            "moreDamages": self.damages.more,
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
