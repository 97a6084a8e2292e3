//! The machine as openraft drives it.
//!
//! The machine itself is synchronous and owned by one thread ([`worker`]); here entries are gathered
//! into groups, handed over, and their proposers answered. A snapshot is built beside applying, chunk
//! by chunk ([`builder`]), and is a file from beginning to end ([`SnapshotFile`]): it is never whole
//! in memory.

mod builder;
pub(crate) mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use crate::ground::Ground;
use crate::keys::Applied;
use crate::machine::Item;
use crate::room;
use crate::snapshot::{self, Header};
use crate::types::{self, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
pub(crate) use builder::SnapshotBuilder;
use worker::Worker;

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Entries that are applied in one go, at most: each may have a megabyte.
const GROUP_MAX: usize = 128;
/// What a snapshot takes in the engine, about, for each of its bytes.
const INSTALLED_TIMES: u64 = 3;

/// A snapshot on disk.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    /// Whether it was received into a place of its own, and goes with this value.
    temporary: bool,
}

impl SnapshotFile {
    /// One that stays where it is.
    pub(crate) fn kept(path: PathBuf) -> Self {
        Self {
            path,
            temporary: false,
        }
    }

    /// One that is removed with this value.
    pub(crate) fn temporary(path: PathBuf) -> Self {
        Self {
            path,
            temporary: true,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a received snapshot");
        }
    }
}

/// The machine behind openraft's trait.
#[derive(Debug)]
pub(crate) struct StateMachine {
    ground: Arc<dyn Ground>,
    worker: Worker,
    dir: PathBuf,
    applied: watch::Sender<u64>,
    /// The index that has to come next; none: the first may be any.
    next: Option<u64>,
    /// Only for openraft's suite, which applies entries that are not neighbours.
    gaps_allowed: bool,
}

impl StateMachine {
    /// `dir` is where the machine keeps its snapshots; `applied` is told the index of each applied group.
    pub(crate) fn new(
        ground: Arc<dyn Ground>,
        worker: Worker,
        dir: PathBuf,
        applied: watch::Sender<u64>,
    ) -> Self {
        Self {
            ground,
            worker,
            dir,
            applied,
            next: None,
            gaps_allowed: false,
        }
    }

    #[cfg(test)]
    fn allowing_gaps(mut self) -> Self {
        self.gaps_allowed = true;
        self
    }

    /// Refuses an entry that leaves a gap. openraft asks the log for a range and takes what it gets;
    /// an entry passed over would set this core apart from the others for ever.
    fn follows(&mut self, index: u64) -> io::Result<()> {
        match self.next.replace(index.saturating_add(1)) {
            Some(expected) if expected != index && !self.gaps_allowed => Err(io::Error::other(
                format!("entry {index} was to be applied, but {expected} comes next"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    async fn apply_group(&self, group: Vec<Pending>) -> io::Result<()> {
        let Some(last) = group.last().map(|pending| pending.item.index) else {
            return Ok(());
        };
        // The engine would not survive being refused in the middle.
        room::wait(&self.dir, room::LEAST_BYTES, "applying").await;
        let (items, responders): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|pending| (pending.item, pending.responder))
            .unzip();
        let expected = items.len();
        let responses = self
            .worker
            .run(move |machine| machine.apply(items))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        if responses.len() != expected {
            return Err(io::Error::other("the machine did not answer every entry"));
        }
        self.applied.send_replace(last);
        for (responder, response) in responders.into_iter().zip(responses) {
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }
}

/// An entry on its way to the machine, and who waits for its answer.
struct Pending {
    item: Item,
    responder: Option<ApplyResponder<TypeConfig>>,
}

fn item(entry: Entry) -> io::Result<Item> {
    let log_id = types::encode(&entry.log_id).map_err(io::Error::other)?;
    let (command, membership) = match entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(command) => (Some(command), None),
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(entry.log_id), membership);
            (
                None,
                Some(types::encode(&stored).map_err(io::Error::other)?),
            )
        }
    };
    Ok(Item {
        index: entry.log_id.index,
        log_id,
        membership,
        command,
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let (log_id, membership) = self
            .worker
            .run(|machine| machine.applied())
            .await
            .map_err(io::Error::other)?;
        let (log_id, membership) = decode_state(log_id.as_deref(), membership.as_deref())?;
        self.next = log_id.map(|id| id.index.saturating_add(1));
        Ok((log_id, membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut group = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.follows(entry.log_id.index)?;
            group.push(Pending {
                item: item(entry)?,
                responder,
            });
            if group.len() >= GROUP_MAX {
                self.apply_group(std::mem::take(&mut group)).await?;
            }
        }
        self.apply_group(group).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let builder = SnapshotBuilder::begin(
            Arc::clone(&self.ground),
            self.worker.clone(),
            self.dir.clone(),
        )
        .await;
        if builder.has_failed() && !force {
            None
        } else {
            Some(builder)
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::begin(
            Arc::clone(&self.ground),
            self.worker.clone(),
            self.dir.clone(),
        )
        .await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let path = snapshot.path().to_path_buf();
        let bytes = std::fs::metadata(&path)?
            .len()
            .saturating_mul(INSTALLED_TIMES);
        room::wait(
            &self.dir,
            bytes.saturating_add(room::LEAST_BYTES),
            "installing",
        )
        .await;
        self.worker
            .run(move |machine| machine.install(&path))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        drop(snapshot);
        let (installed, _) = self.applied_state().await?;
        if installed != meta.last_log_id {
            return Err(io::Error::other(
                "the installed snapshot is not the one that was announced",
            ));
        }
        self.applied
            .send_replace(installed.map_or(0, |id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>, io::Error> {
        let dir = self.dir.clone();
        let newest = self
            .worker
            .run(move |_| snapshot::newest(&dir))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        newest
            .map(|(listed, header)| {
                Ok(Snapshot {
                    meta: meta(&header)?,
                    snapshot: SnapshotFile::kept(listed.path),
                })
            })
            .transpose()
    }
}

/// What a snapshot's header says, as openraft knows it.
pub(crate) fn meta(header: &Header) -> io::Result<SnapshotMeta> {
    let Applied {
        log_id, membership, ..
    } = &header.applied;
    let (last_log_id, last_membership) = decode_state(log_id.as_deref(), membership.as_deref())?;
    Ok(SnapshotMeta {
        last_log_id,
        last_membership,
    })
}

fn decode_state(
    log_id: Option<&[u8]>,
    membership: Option<&[u8]>,
) -> io::Result<(Option<LogId>, StoredMembership)> {
    let log_id = log_id
        .map(types::decode)
        .transpose()
        .map_err(io::Error::other)?;
    let membership = membership
        .map(types::decode)
        .transpose()
        .map_err(io::Error::other)?;
    Ok((log_id, membership.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
