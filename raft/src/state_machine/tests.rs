//! openraft's own suite over log and machine, with every engine.

use std::sync::Arc;

use homecore_types::{ClusterId, CoreId, NodeId};
use openraft::StorageError;
use openraft::entry::RaftEntry as _;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId as _;
use tempfile::TempDir;

use super::*;
use crate::directory;
use crate::engine::EngineKind;
use crate::identity::Identity;
use crate::log::LogStore;
use crate::machine::Machine;

struct Builder(EngineKind);

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId::parse("c".repeat(24)).unwrap(),
            node: NodeId(1),
            core: CoreId::parse("core-a").unwrap(),
        };
        let log = LogStore::open(dir.path(), &identity).unwrap();
        let machine = Machine::open(dir.path(), self.0, directory::view()).unwrap();
        let snapshots = machine.snapshots_dir().to_path_buf();
        let (worker, _thread) = Worker::spawn(machine).unwrap();
        let (applied, _) = watch::channel(0);
        Ok((
            dir,
            log,
            StateMachine::new(worker, snapshots, applied).allowing_gaps(),
        ))
    }
}

async fn run(engine: EngineKind) {
    Suite::test_all(Builder(engine)).await.unwrap();
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
    let (worker, _thread) = Worker::spawn(machine).unwrap();
    let (applied, told) = watch::channel(0);
    let mut machine = StateMachine::new(worker, snapshots, applied);
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
