//! The disk of a simulated core: the log in memory with what was synced of it, and a folder for snapshots
//! and small files. A life of the core has its own copy of the folder, so that what an earlier one still
//! does is done to nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_raft::LogError;
use homecore_raft::ground::{Ground, Origin};
use homecore_raft::medium::{self, Bounds, Change, Medium, MediumReader, Sync, VOTE};
use homecore_raft::memory::MemoryDisk;
use homecore_raft::snapshot::{self, Header, Reader, Writer};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::invariants::votes::Votes;
use crate::net::{End, Host};
use crate::tally::Fault;
use crate::trace::Trace;

/// An access that takes so long is slow.
const LONG: Duration = Duration::from_millis(20);

/// A core's disk. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    host: Host,
    log: MemoryDisk,
    root: PathBuf,
    trace: Trace,
    votes: Votes,
    chance: Chance,
    bug: Option<Bug>,
    life: Arc<AtomicU64>,
    /// How long an access takes at most.
    slow_ms: Arc<AtomicU64>,
    /// There is no room for the log …
    full: Arc<AtomicBool>,
    /// … or for what is larger than its next commit.
    full_for_files: Arc<AtomicBool>,
    lies: Arc<Mutex<Lies>>,
    /// A vote is on the disk: a bad moment to die.
    pub(crate) voted: Arc<Notify>,
}

/// How much room there is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// Enough for the next commits, not for a snapshot.
    Little,
    Nothing,
}

/// What a disk that lies about votes would lose.
#[derive(Debug, Default)]
struct Lies {
    /// The mark of the vote as it was when a vote was last synced for certain.
    watermark: Option<Option<Vec<u8>>>,
}

impl Disk {
    pub(crate) fn new(
        host: Host,
        root: PathBuf,
        chance: Chance,
        bug: Option<Bug>,
        (trace, votes): (Trace, Votes),
    ) -> io::Result<Self> {
        let disk = Self {
            host,
            log: MemoryDisk::default(),
            root,
            trace,
            votes,
            chance,
            bug,
            full: Arc::default(),
            full_for_files: Arc::default(),
            life: Arc::default(),
            slow_ms: Arc::new(AtomicU64::new(2)),
            lies: Arc::default(),
            voted: Arc::default(),
        };
        fs::create_dir_all(disk.dir())?;
        Ok(disk)
    }

    /// The folder of this life.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root
            .join(format!("life-{}", self.life.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_slow(&self, most_ms: u64) {
        self.slow_ms.store(most_ms, Ordering::Relaxed);
    }

    /// How much room there is from now on.
    pub(crate) fn set_room(&self, room: Room) {
        self.log.set_full(room == Room::Nothing);
        self.full.store(room == Room::Nothing, Ordering::Relaxed);
        self.full_for_files
            .store(room != Room::Enough, Ordering::Relaxed);
    }

    fn time(&self) -> Duration {
        let time = self.chance.millis(0, self.slow_ms.load(Ordering::Relaxed));
        if time >= LONG {
            self.trace.fault(Fault::SlowDisk);
        }
        time
    }

    /// Ends a life: what the next one finds. How many commits of the log were lost.
    pub(crate) fn end(&self, end: End) -> io::Result<usize> {
        let unsynced = self.log.unsynced();
        let kept = match end {
            End::Killed => unsynced,
            End::Dark => {
                let most = u64::try_from(unsynced).unwrap();
                usize::try_from(self.chance.between(0, most)).unwrap()
            }
        };
        self.log.cut(kept);
        let old = self.dir();
        self.life.fetch_add(1, Ordering::Relaxed);
        let new = self.dir();
        copy(&old, &new)?;
        if end == End::Dark {
            self.lose(&new, kept < unsynced)?;
        }
        if self.bug == Some(Bug::SnapshotForgetsVoters) {
            forget_voters(&new.join("snapshots"))?;
        }
        Ok(unsynced - kept)
    }

    /// What a disk that lies loses of a folder.
    fn lose(&self, dir: &Path, log_lost: bool) -> io::Result<()> {
        if self.bug == Some(Bug::SnapshotNotSynced)
            && let Some(newest) = snapshots(&dir.join("snapshots"))?.into_iter().next()
        {
            fs::remove_file(newest)?;
        }
        let watermark = self.lies.lock().unwrap().watermark.take();
        if log_lost && let Some(before) = watermark {
            let path = dir.join("watermark");
            match before {
                Some(bytes) => fs::write(path, bytes)?,
                None => fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    fn note_vote(&self) {
        let mut lies = self.lies.lock().unwrap();
        if lies.watermark.is_none() {
            lies.watermark = Some(fs::read(self.dir().join("watermark")).ok());
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else if entry.file_name() != "lock" {
            fs::copy(path, target)?;
        }
    }
    Ok(())
}

/// Newest first.
fn snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if !dir.try_exists()? {
        return Ok(Vec::new());
    }
    let listed = snapshot::list(dir).map_err(io::Error::other)?;
    Ok(listed.into_iter().map(|listed| listed.path).collect())
}

fn forget_voters(dir: &Path) -> io::Result<()> {
    for path in snapshots(dir)? {
        let mut reader = Reader::open(&path).map_err(io::Error::other)?;
        let mut header: Header = reader.header().clone();
        header.applied.membership = None;
        let mut parts = Vec::new();
        while let Some(items) = reader.next_items().map_err(io::Error::other)? {
            parts.push(items);
        }
        fs::remove_file(&path)?;
        let mut writer = Writer::create(dir, header).map_err(io::Error::other)?;
        for items in parts {
            writer.write(&items).map_err(io::Error::other)?;
        }
        writer.finish().map_err(io::Error::other)?;
    }
    Ok(())
}

impl Ground for Disk {
    fn log_exists(&self, _path: &Path) -> Result<bool, LogError> {
        Ok(self.log.is_used())
    }

    fn open_log(&self, _path: &Path, owner: &str) -> Result<(Box<dyn Medium>, bool), LogError> {
        let (medium, fresh) = self.log.open(owner)?;
        let watched = Watched {
            medium,
            disk: self.clone(),
        };
        Ok((Box::new(watched), fresh))
    }

    fn has_threads(&self) -> bool {
        false
    }

    fn access(&self) -> BoxFuture<'static, ()> {
        Box::pin(sleep(self.time()))
    }

    fn room(&self, of: Origin) -> BoxFuture<'static, io::Result<()>> {
        let this = self.clone();
        Box::pin(async move {
            sleep(this.time()).await;
            if !this.full_for_files.load(Ordering::Relaxed) {
                return Ok(());
            }
            this.trace.fault(match of {
                Origin::Built => Fault::FullForBuilding,
                Origin::Received => Fault::FullForReceiving,
            });
            Err(io::ErrorKind::StorageFull.into())
        })
    }
}

/// A log that is watched, on a disk that may say that it synced and did not.
struct Watched {
    medium: Box<dyn Medium>,
    disk: Disk,
}

impl Medium for Watched {
    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        self.medium.note(name)
    }

    fn bounds(&self) -> Result<Option<Bounds>, LogError> {
        self.medium.bounds()
    }

    fn commit(&mut self, sync: Sync, changes: &[Change<'_>]) -> Result<(), LogError> {
        let vote = changes.iter().rev().find_map(|change| match change {
            Change::Note { name: VOTE, value } => medium::ballot(value),
            _ => None,
        });
        let votes = vote.is_some();
        let appends = changes
            .iter()
            .any(|change| matches!(change, Change::Append { .. }));
        let lie = match self.disk.bug {
            Some(Bug::VoteNotSynced) => votes && !appends,
            Some(Bug::AppendNotSynced) => appends && !votes,
            _ => false,
        };
        if lie && votes {
            self.disk.note_vote();
        }
        if !lie && sync == Sync::Full {
            // Everything before it is on the disk now.
            self.disk.lies.lock().unwrap().watermark = None;
        }
        let sync = if lie { Sync::Lazy } else { sync };
        if self.disk.full.load(Ordering::Relaxed) {
            self.disk.trace.fault(Fault::FullForLog);
        }
        self.medium.commit(sync, changes)?;
        if let Some(vote) = vote {
            self.disk.votes.cast(self.disk.host, vote);
            self.disk.voted.notify_one();
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn MediumReader>, LogError> {
        self.medium.reader()
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        self.medium.close()
    }
}
