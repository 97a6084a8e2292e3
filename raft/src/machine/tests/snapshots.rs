//! A snapshot shows the state at its beginning, whatever is applied while it is read.

use super::fixture::*;
use crate::command::{Command, Response};
use crate::engine::EngineKind;
use crate::machine::MachineError;
use crate::snapshot::Writer;

#[test]
fn one_at_a_time() {
    let mut bench = Bench::founded();
    let mut cursor = bench.machine.begin_snapshot().unwrap();
    assert!(matches!(
        bench.machine.begin_snapshot(),
        Err(MachineError::SnapshotOpen)
    ));
    bench.machine.next_chunk(&mut cursor, 1).unwrap().unwrap();
    bench.machine.abort_snapshot(&cursor);
    assert!(matches!(
        bench.machine.next_chunk(&mut cursor, 1),
        Err(MachineError::SnapshotAborted)
    ));
    let mut next = bench.machine.begin_snapshot().unwrap();
    // The cursor of the one before has nothing to say any more.
    bench.machine.abort_snapshot(&cursor);
    assert!(matches!(
        bench.machine.next_chunk(&mut cursor, 1),
        Err(MachineError::SnapshotAborted)
    ));
    while bench.machine.next_chunk(&mut next, 1).unwrap().is_some() {}
    assert!(
        bench.machine.next_chunk(&mut next, 1).unwrap().is_none(),
        "the end stays the end"
    );
    bench.machine.begin_snapshot().unwrap();
}

#[test]
fn an_installed_snapshot_ends_the_one_being_made() {
    let mut leader = Bench::founded();
    leader.add_user("alice");
    let file = leader.snapshot();
    let mut bench = Bench::founded();
    let mut cursor = bench.machine.begin_snapshot().unwrap();
    bench.machine.install(&file).unwrap();
    assert!(matches!(
        bench.machine.next_chunk(&mut cursor, 9),
        Err(MachineError::SnapshotAborted)
    ));
}

#[test]
fn what_changes_meanwhile_is_not_in_it() {
    for kind in [EngineKind::Memory, EngineKind::Redb, EngineKind::Sled] {
        for ahead in [0, 3, 9, 200] {
            let mut bench = Bench::founded_on(kind);
            for n in 0..40 {
                bench.add_user(&format!("user-{n:02}"));
            }
            let hash = bench.machine.state_hash().unwrap();
            let applied = bench.machine.applied();
            let mut cursor = bench.machine.begin_snapshot().unwrap();
            let header = cursor.header().clone();
            assert_eq!(
                (
                    header.applied.log_id.clone(),
                    header.applied.membership.clone()
                ),
                applied
            );
            let mut writer = Writer::create(bench.machine.snapshots_dir(), header).unwrap();
            for _ in 0..ahead {
                if let Some(items) = bench.machine.next_chunk(&mut cursor, 2).unwrap() {
                    writer.write(&items).unwrap();
                }
            }
            // Changed, deleted, made, and made and deleted again: on both sides of the cursor.
            for n in (0..40).step_by(3) {
                bench.done(Command::DeleteUser {
                    user: user_id(&format!("user-{n:02}")),
                });
            }
            for n in 0..20 {
                bench.add_user(&format!("user-{n:02}-new"));
            }
            bench.done(Command::DeleteUser {
                user: user_id("user-07-new"),
            });
            let answer = bench.run(Command::ReserveUser(reserve("zz-last-one")));
            assert!(matches!(answer, Response::Reserved { .. }));
            bench.done(put_dns("aa", "x"));
            while let Some(items) = bench.machine.next_chunk(&mut cursor, 5).unwrap() {
                writer.write(&items).unwrap();
                bench.done(put_dns("aa", &format!("{}", bench.index)));
            }
            let file = writer.finish().unwrap();
            assert_eq!(hash_of_file(&file), hash, "{kind:?}, {ahead} pieces before");
        }
    }
}
