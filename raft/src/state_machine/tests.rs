//! openraft's own suite over log and machine, with every engine.

use homecore_types::{ClusterId, CoreId, NodeId};
use openraft::StorageError;
use openraft::entry::RaftEntry as _;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId as _;
use tempfile::TempDir;

use super::*;
use crate::directory;
use crate::engine::EngineKind;
use crate::ground::System;
use crate::identity::Identity;
use crate::log::medium::Medium;
use crate::log::memory::MemoryDisk;
use crate::log::{LogError, LogStore};
use crate::machine::Machine;

struct Builder {
    engine: EngineKind,
    disk: Disk,
}

/// What the log lies on.
#[derive(Clone, Copy)]
enum Disk {
    File,
    /// As in simulations.
    Memory,
}

fn system() -> Arc<dyn Ground> {
    Arc::new(System)
}

/// The ground of a simulation: one thread, and a disk in memory.
#[derive(Debug, Default)]
struct Simulated {
    disk: MemoryDisk,
}

impl Ground for Simulated {
    fn log_exists(&self, _path: &Path) -> Result<bool, LogError> {
        Ok(self.disk.is_used())
    }

    fn open_log(&self, _path: &Path, owner: &str) -> Result<(Box<dyn Medium>, bool), LogError> {
        self.disk.open(owner)
    }

    fn has_threads(&self) -> bool {
        false
    }

    fn access(&self) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }

    fn room(
        &self,
        _of: crate::ground::Origin,
    ) -> futures_util::future::BoxFuture<'static, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId::parse("c".repeat(24)).unwrap(),
            node: NodeId(1),
            core: CoreId::parse("core-a").unwrap(),
        };
        let ground = match self.disk {
            Disk::File => system(),
            Disk::Memory => Arc::new(Simulated::default()),
        };
        let log = LogStore::open(&ground, dir.path(), &identity).unwrap();
        let machine = Machine::open(dir.path(), self.engine, directory::view()).unwrap();
        let snapshots = machine.snapshots_dir().to_path_buf();
        let (worker, _thread) = Worker::spawn(&*ground, machine).unwrap();
        let (applied, _) = watch::channel(0);
        Ok((
            dir,
            log,
            StateMachine::new(ground, worker, snapshots, applied).allowing_gaps(),
        ))
    }
}

async fn run(engine: EngineKind) {
    run_on(engine, Disk::File).await;
}

async fn run_on(engine: EngineKind, disk: Disk) {
    Suite::test_all(Builder { engine, disk }).await.unwrap();
}

#[tokio::test]
async fn openrafts_suite_passes_on_the_ground_of_a_simulation() {
    run_on(EngineKind::Memory, Disk::Memory).await;
}

#[tokio::test]
async fn openrafts_suite_passes_on_sled() {
    run(EngineKind::Sled).await;
}

#[tokio::test]
async fn openrafts_suite_passes_on_redb() {
    run(EngineKind::Redb).await;
}

#[tokio::test]
async fn openrafts_suite_passes_in_memory() {
    run(EngineKind::Memory).await;
}

#[test]
fn a_received_snapshot_goes_with_its_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("received");
    std::fs::write(&path, b"x").unwrap();
    drop(Arc::new(SnapshotFile::kept(path.clone())));
    assert!(path.try_exists().unwrap());
    drop(SnapshotFile::temporary(path.clone()));
    assert!(!path.try_exists().unwrap());
    drop(SnapshotFile::temporary(path));
}

#[tokio::test]
async fn an_entry_behind_a_gap_is_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::open(dir.path(), EngineKind::Memory, directory::view()).unwrap();
    let snapshots = machine.snapshots_dir().to_path_buf();
    let (worker, _thread) = Worker::spawn(&System, machine).unwrap();
    let (applied, told) = watch::channel(0);
    let mut machine = StateMachine::new(system(), worker, snapshots, applied);
    let entry = |index| {
        let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(1, 1).to_committed();
        Ok((
            Entry::new(LogId::new(leader, index), EntryPayload::Blank),
            None,
        ))
    };
    machine
        .apply(futures_util::stream::iter([entry(0), entry(1)]))
        .await
        .unwrap();
    let error = machine
        .apply(futures_util::stream::iter([entry(3)]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("2 comes next"), "{error}");
    assert_eq!(*told.borrow(), 1);
    assert_eq!(
        machine.applied_state().await.unwrap().0.map(|id| id.index),
        Some(1)
    );
}
