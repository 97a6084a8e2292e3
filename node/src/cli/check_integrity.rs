//! `homecore check-integrity`: recomputes the hashes of every user of this core.
//!
//! Works on the data directory of a core that is stopped: it takes the core's lock and applies its
//! journal, as `serve` does at start, so that nothing that was acknowledged is missed. Users are
//! printed one by one, for their mismatches may be many.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use homecore_kernel::account;
use homecore_kernel::integrity::check::{Checked, Mismatch, check};
use homecore_store::{Kind, Users};
use homecore_types::{Clock, SystemClock, UserId};
use serde_json::{Value, json};

use super::{ConfigArgs, answer, block_on};
use crate::rpc::files::{self, DataDir};
use crate::telemetry::chain;
use crate::wiring::open_users;

/// `homecore check-integrity`.
#[derive(Debug, Args)]
pub(super) struct CheckIntegrityArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON, a line for each user
    #[arg(long)]
    pub(super) json: bool,
}

/// What was found of one user.
struct Found {
    user: UserId,
    username: Option<String>,
    checked: Checked,
    mismatches: Vec<Mismatch>,
    /// Why not everything could be read.
    failure: Option<String>,
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
        let (users, _blobs) = open_users(&data, &Arc::default(), &clock).await?;
        let result = check_all(&users, args.json).await;
        users.shutdown().await;
        result
    })
}

async fn check_all(users: &Users, as_json: bool) -> anyhow::Result<()> {
    let list = users.list().await?;
    let (mut mismatches, mut failures) = (0_usize, 0_usize);
    for user in &list {
        let found = check_user(users, user).await;
        mismatches = mismatches.saturating_add(found.mismatches.len());
        failures = failures.saturating_add(usize::from(found.failure.is_some()));
        answer(&if as_json { found.json() } else { found.text() })?;
    }
    if mismatches == 0 && failures == 0 {
        if !as_json {
            answer(&format!("{} users, everything is in order", list.len()))?;
        }
        return Ok(());
    }
    bail!("{mismatches} mismatches; {failures} users could not be read")
}

async fn check_user(users: &Users, user: &UserId) -> Found {
    let mut mismatches = Vec::new();
    let checked = check(users, user, &mut |mismatch| mismatches.push(mismatch)).await;
    let (checked, failure) = match checked {
        Ok(checked) => (checked, None),
        Err(error) => (Checked::default(), Some(chain(&error))),
    };
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
            "{name} ({}): {events} events, {event_deletions} deleted events, {event_versions} former versions, {accesses} accesses, {} mismatches",
            self.user,
            self.mismatches.len()
        );
        for mismatch in &self.mismatches {
            let Mismatch { id, rev, fault, .. } = mismatch;
            let noun = noun(mismatch);
            text.push_str(&format!("\n  {noun} {id}, version {}, {fault}", rev.0));
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
        json!({
            "ok": self.mismatches.is_empty() && self.failure.is_none(),
            "user": self.user.as_str(),
            "username": self.username,
            "events": self.checked.events,
            "eventDeletions": self.checked.event_deletions,
            "eventVersions": self.checked.event_versions,
            "accesses": self.checked.accesses,
            "mismatches": mismatches,
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
