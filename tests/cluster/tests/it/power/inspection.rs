//! What a core has, held against what it had acknowledged.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use homecore_harness::{Core, Http, wait_until};
use serde_json::json;

use super::load::{Known, Ledger};
use crate::PATIENCE;
use crate::people::{Person, register};

/// Names looked at at the same time.
const AT_ONCE: usize = 4;

/// What is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Users who have to be there and are not known.
    pub(crate) users: Vec<String>,
    /// Users with acknowledged notes (or the stream for them) that are not there.
    pub(crate) notes: Vec<(String, Vec<u64>)>,
    /// Users with acknowledged files that are not there, or files that do not say what they should.
    pub(crate) files: Vec<(String, u64)>,
    /// Users who are known but cannot use their account, and notes that nobody wrote or that are
    /// there twice.
    pub(crate) half: Vec<String>,
}

impl Damage {
    /// Fails if there is any.
    pub(crate) fn none(&self) -> anyhow::Result<()> {
        ensure!(
            self.users.is_empty()
                && self.notes.is_empty()
                && self.files.is_empty()
                && self.half.is_empty(),
            "after the cut: {self:?}"
        );
        Ok(())
    }

    fn add(mut self, other: Self) -> Self {
        self.users.extend(other.users);
        self.notes.extend(other.notes);
        self.files.extend(other.files);
        self.half.extend(other.half);
        self
    }
}

/// Looks at everything that the ledger knows of.
pub(crate) async fn inspect(core: &Core, ledger: &Ledger) -> anyhow::Result<Damage> {
    let (http, core) = (Http::new()?, core.url());
    stream::iter(ledger.entries())
        .map(|(username, known)| {
            let (http, core) = (&http, &core);
            async move { look_at(http, core, ledger, &username, &known).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(Damage::default(), async |all, one| Ok(all.add(one)))
        .await
}

async fn look_at(
    http: &Http,
    core: &str,
    ledger: &Ledger,
    username: &str,
    known: &Known,
) -> anyhow::Result<Damage> {
    let mut damage = Damage::default();
    let url = format!("{core}reg/cores?username={username}");
    let reply = http.get(&url, None).await?;
    match (reply.status.as_u16(), known.lives) {
        (200, _) => {
            ledger.seen(username);
            // Those of earlier rounds have logged in after an earlier cut.
            if !known.seen_before && !can_log_in(http, core, username).await? {
                damage.half.push(format!("{username} cannot log in"));
            }
            if let Some(person) = &known.person {
                look_at_data(http, person, known, &mut damage).await?;
            }
        }
        (404, true) => damage.users.push(username.to_owned()),
        (404, false) => {
            // Nobody lives there: the name is free, or reserved until the reservation ends.
            let reply = register(http, core, username).await?;
            let fine = match reply.status.as_u16() {
                201 => {
                    ledger.seen(username);
                    can_log_in(http, core, username).await?
                }
                status => status == 409,
            };
            if !fine {
                let said = reply.text();
                damage
                    .half
                    .push(format!("{username} cannot be registered again: {said}"));
            }
        }
        _ => bail!("{url}: {}: {}", reply.status, reply.text()),
    }
    Ok(damage)
}

async fn can_log_in(http: &Http, core: &str, username: &str) -> anyhow::Result<bool> {
    let body = json!({"username": username, "password": "a-password", "appId": "cluster-tests"});
    let url = format!("{core}{username}/auth/login");
    let reply = http.post(&url, None, &body).await?;
    Ok(reply.status == 200)
}

async fn look_at_data(
    http: &Http,
    person: &Person,
    known: &Known,
    damage: &mut Damage,
) -> anyhow::Result<()> {
    let username = &person.username;
    let url = person.url("access-info");
    let reply = http.get(&url, Some(&person.token)).await?;
    if reply.status != 200 {
        let said = reply.text();
        damage
            .half
            .push(format!("the token of {username} opens nothing: {said}"));
        return Ok(());
    }
    if !known.stream {
        return Ok(());
    }
    let Ok(numbers) = person.numbers(http).await else {
        // Without the stream there are no notes either.
        let lost = known.notes.iter().copied().collect();
        damage.notes.push((username.clone(), lost));
        return Ok(());
    };
    let present: BTreeSet<u64> = numbers.iter().copied().collect();
    let lost: Vec<u64> = known.notes.difference(&present).copied().collect();
    if !lost.is_empty() {
        damage.notes.push((username.clone(), lost));
    }
    if present.len() != numbers.len() || present.last().is_some_and(|last| *last >= known.sent) {
        damage.half.push(format!(
            "{username} has notes twice or that nobody wrote: {numbers:?}"
        ));
    }
    // Those too that nobody was told of: a note that is there has its file.
    let files = person.files(http).await?;
    let lost = known
        .files
        .iter()
        .filter(|number| !files.contains_key(*number));
    let lost = lost.filter(|number| present.contains(*number));
    let mut wrong: Vec<u64> = lost.copied().collect();
    for (number, address) in &files {
        let reply = http.get(address, Some(&person.token)).await?;
        if reply.status != 200 || reply.text() != person.file(*number) {
            wrong.push(*number);
        }
    }
    damage
        .files
        .extend(wrong.into_iter().map(|number| (username.clone(), number)));
    Ok(())
}

/// Waits until every user has a folder and every folder a user. Folders of registrations that were
/// cut off are marked in `pending/` until the platform has decided about them.
pub(crate) async fn wait_for_folders(core: &Core, ledger: &Ledger) -> anyhow::Result<()> {
    wait_until(PATIENCE, "each folder belongs to a user", async || {
        let pending = names_in(&core.data().join("pending"))?;
        let mut settled = 0;
        for shard in names_in(&core.data().join("users"))? {
            // The others are the engine's own.
            if !shard.starts_with('.') {
                let folders = names_in(&core.data().join("users").join(shard))?;
                settled += folders.difference(&pending).count();
            }
        }
        let users = ledger.acknowledged().users;
        ensure!(
            settled == users,
            "{settled} folders without a mark for {users} users; marked are {pending:?}"
        );
        Ok(Some(()))
    })
    .await
}

fn names_in(directory: &Path) -> std::io::Result<BTreeSet<String>> {
    std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
