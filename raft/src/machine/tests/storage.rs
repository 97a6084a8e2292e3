//! What a start finds: trusted after a clean stop, made anew otherwise, never half of anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fixture::*;
use crate::command::Command;
use crate::directory::{UserEntry, view};
use crate::engine::{Batch, EngineKind};
use crate::keys::Space;
use crate::machine::{Machine, MachineError, Opened};
use crate::snapshot;

const ON_DISK: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Redb];
const ALL: [EngineKind; 3] = [EngineKind::Sled, EngineKind::Redb, EngineKind::Memory];

/// A platform with something in every space.
fn furnish(bench: &mut Bench) {
    bench.add_core("core-b", Some("swiss"));
    bench.add_user("alice");
    bench.run(Command::ReserveUser(reserve("bobby")));
    bench.done(put_dns("mailer", "x"));
    bench.done(invite(&["inv"]));
    bench.done(Command::PutAccessRequest {
        id: "key".to_owned(),
        request: access_request("NEED_SIGNIN", "{}", 9_000),
    });
}

/// What readers see, as far as it can be compared.
fn seen(machine: &Machine) -> String {
    let directory = machine.directory();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        directory.applied_index(),
        directory.cluster(),
        directory.config(),
        directory.users(None).collect::<BTreeMap<_, _>>(),
        directory.cores().collect::<Vec<_>>(),
        directory.dns().collect::<Vec<_>>(),
        directory.counts(),
        directory.policy(),
    )
}

#[test]
fn a_clean_stop_is_trusted() {
    for kind in ON_DISK {
        let mut bench = Bench::founded_on(kind);
        assert_eq!(bench.machine.opened(), &Opened::Empty);
        furnish(&mut bench);
        let (hash, before) = (bench.machine.state_hash().unwrap(), seen(&bench.machine));
        let applied = bench.machine.applied();
        for _ in 0..2 {
            bench = bench.reopen(kind, true);
            assert_eq!(bench.machine.opened(), &Opened::Trusted, "{kind:?}");
            assert_eq!(bench.machine.state_hash().unwrap(), hash);
            assert_eq!(bench.machine.applied(), applied);
            assert_eq!(seen(&bench.machine), before);
        }
        assert!(
            bench.view.load().user("alice").unwrap().active,
            "published at start"
        );
        assert!(bench.machine.size_bytes().unwrap() > 0);
    }
}

#[test]
fn an_unclean_stop_falls_back_to_the_newest_snapshot() {
    for kind in [EngineKind::Sled, EngineKind::Memory] {
        let mut bench = Bench::founded_on(kind);
        furnish(&mut bench);
        let hash = bench.machine.state_hash().unwrap();
        let (index, applied) = (bench.index, bench.machine.applied());
        let file = bench.snapshot();
        bench.done(put_dns("later", "x"));
        bench = bench.reopen(kind, false);
        assert_eq!(
            bench.machine.opened(),
            &Opened::FromSnapshot(file),
            "{kind:?}"
        );
        assert_eq!(bench.machine.state_hash().unwrap(), hash);
        assert_eq!(bench.machine.applied(), applied);
        assert_eq!(bench.machine.applied_index(), Some(index));
        assert!(bench.view.load().dns_record("later").is_none());
        // The log replays the rest.
        bench.done(put_dns("later", "x"));
        assert!(bench.view.load().dns_record("later").is_some());
    }
}

#[test]
fn more_names_than_are_read_at_once_come_back() {
    let mut bench = Bench::founded();
    for number in 0..2_500 {
        bench.add_user(&format!("user-{number:04}"));
    }
    let users = |bench: &Bench| -> BTreeMap<String, UserEntry> {
        let view = bench.view.load();
        let named = |(name, entry): (&str, UserEntry)| (name.to_owned(), entry);
        view.users(None).map(named).collect()
    };
    let before = users(&bench);
    bench.snapshot();
    let bench = bench.reopen(EngineKind::Memory, false);
    assert_eq!(bench.view.load().counts().users, 2_500);
    assert_eq!(before.len(), 2_500);
    assert_eq!(users(&bench), before);
}

#[test]
fn an_unclean_stop_without_a_snapshot_starts_from_nothing() {
    let mut bench = Bench::founded_on(EngineKind::Sled);
    furnish(&mut bench);
    let bench = bench.reopen(EngineKind::Sled, false);
    assert_eq!(bench.machine.opened(), &Opened::Empty);
    assert_eq!(bench.machine.applied(), (None, None));
    assert_eq!(bench.view.load().cluster(), None);
}

#[test]
fn a_crash_safe_engine_goes_on_from_its_last_sync() {
    let mut bench = Bench::founded_on(EngineKind::Redb);
    for n in 0..200 {
        bench.add_user(&format!("user-{n}"));
    }
    let applied = bench.machine.applied_index();
    let bench = bench.reopen(EngineKind::Redb, false);
    assert_eq!(bench.machine.opened(), &Opened::Trusted);
    let found = bench.machine.applied_index();
    assert!(
        found > Some(0) && found <= applied,
        "{found:?} of {applied:?}"
    );
    let counts = bench.machine.directory().counts();
    assert_eq!(
        counts.users,
        bench
            .machine
            .users(None, None, 1_000)
            .unwrap()
            .users
            .iter()
            .filter(|user| user.reservation.is_none())
            .count() as u64
    );
}

#[test]
fn a_state_behind_the_newest_snapshot_is_not_used() {
    // The log may begin behind the snapshot: going on from an older state would leave a hole.
    for kind in ON_DISK {
        let mut other = Bench::founded();
        furnish(&mut other);
        let file = other.snapshot();
        let mut bench = Bench::founded_on(kind);
        bench.add_user("early");
        let dir = bench.dir.path().join("snapshots");
        std::fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
        let bench = bench.reopen(kind, true);
        assert!(
            matches!(bench.machine.opened(), Opened::FromSnapshot(_)),
            "{kind:?}"
        );
        assert_eq!(
            bench.machine.state_hash().unwrap(),
            other.machine.state_hash().unwrap()
        );
    }
}

#[test]
fn an_engine_that_lost_its_content_is_not_trusted() {
    let mut bench = Bench::founded_on(EngineKind::Sled);
    furnish(&mut bench);
    let hash = bench.machine.state_hash().unwrap();
    bench.snapshot();
    let Bench { dir, machine, .. } = bench;
    machine.close().unwrap();
    // What a power cut does to sled: it opens, without a word, and is empty.
    let generation = dir.path().join("state-sled/gen-1");
    let mut engine = EngineKind::Sled.open(&generation).unwrap();
    engine.clear().unwrap();
    engine.close().unwrap();
    let machine = Machine::open(dir.path(), EngineKind::Sled, view()).unwrap();
    assert!(matches!(machine.opened(), Opened::FromSnapshot(_)));
    assert_eq!(machine.state_hash().unwrap(), hash);
}

#[test]
fn the_clean_marker_is_good_for_one_start() {
    let mut bench = Bench::founded_on(EngineKind::Sled);
    bench.add_user("alice");
    bench = bench.reopen(EngineKind::Sled, true);
    bench.add_user("bobby");
    let bench = bench.reopen(EngineKind::Sled, false);
    assert_eq!(bench.machine.opened(), &Opened::Empty);
    let marker = bench.dir.path().join("state-sled/CLEAN");
    assert!(!marker.try_exists().unwrap());
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let mut bench = Bench::founded();
    let older = bench.snapshot();
    let hash = bench.machine.state_hash().unwrap();
    furnish(&mut bench);
    let newer = bench.snapshot();
    flip(&newer, 200);
    bench = bench.reopen(EngineKind::Memory, false);
    assert_eq!(bench.machine.opened(), &Opened::FromSnapshot(older.clone()));
    assert_eq!(bench.machine.state_hash().unwrap(), hash);

    flip(&older, 100);
    let Bench { dir, machine, .. } = bench;
    drop(machine);
    for kind in ALL {
        let error = Machine::open(dir.path(), kind, view()).unwrap_err();
        assert!(matches!(error, MachineError::Snapshot(_)), "{error:?}");
        assert!(
            error.to_string().contains(newer.to_str().unwrap()),
            "{error}"
        );
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_newer_releases_values_are_refused_by_name() {
    let bench = Bench::founded_on(EngineKind::Redb);
    let Bench { dir, machine, .. } = bench;
    machine.close().unwrap();
    let mut engine = EngineKind::Redb
        .open(&dir.path().join("state-redb/gen-1"))
        .unwrap();
    let mut batch = Batch::default();
    batch.put(Space::Names, b"alice".to_vec(), vec![9, 1, 2]);
    engine.commit(batch).unwrap();
    engine.close().unwrap();
    let error = Machine::open(dir.path(), EngineKind::Redb, view()).unwrap_err();
    let MachineError::Value {
        space: Space::Names,
        source,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(source.to_string().contains("version 9"), "{source}");
}

#[test]
fn a_damaged_state_is_made_anew() {
    let mut bench = Bench::founded_on(EngineKind::Redb);
    furnish(&mut bench);
    let hash = bench.machine.state_hash().unwrap();
    bench.snapshot();
    let Bench { dir, machine, .. } = bench;
    machine.close().unwrap();
    let generation = dir.path().join("state-redb/gen-1");
    let mut engine = EngineKind::Redb.open(&generation).unwrap();
    let mut batch = Batch::default();
    batch.put(Space::Names, b"alice".to_vec(), vec![1, 0xc1]);
    engine.commit(batch).unwrap();
    engine.close().unwrap();
    let machine = Machine::open(dir.path(), EngineKind::Redb, view()).unwrap();
    assert!(matches!(machine.opened(), Opened::FromSnapshot(_)));
    assert_eq!(machine.state_hash().unwrap(), hash);
    drop(machine);

    let file = dir.path().join("state-redb/gen-2/state.redb");
    std::fs::write(&file, b"no database").unwrap();
    let machine = Machine::open(dir.path(), EngineKind::Redb, view()).unwrap();
    assert!(matches!(machine.opened(), Opened::FromSnapshot(_)));
    assert_eq!(machine.state_hash().unwrap(), hash);
}

#[test]
fn no_changed_bit_of_redbs_first_pages_ends_a_start() {
    let mut bench = Bench::founded_on(EngineKind::Redb);
    furnish(&mut bench);
    let before = seen(&bench.machine);
    bench.snapshot();
    let Bench { dir, machine, .. } = bench;
    machine.close().unwrap();
    let state = dir.path().join("state-redb");
    let whole: Vec<(PathBuf, Vec<u8>)> = ["CURRENT", "CLEAN", "gen-1/state.redb"]
        .map(|name| state.join(name))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .into();
    // The header, and a share of the pages behind it.
    let places = (0..320)
        .step_by(5)
        .chain((4_096..4_112).chain((4_112..6 * 4_096).step_by(61)));
    let mut anew = 0;
    for place in places {
        std::fs::create_dir_all(state.join("gen-1")).unwrap();
        for (path, bytes) in &whole {
            std::fs::write(path, bytes).unwrap();
        }
        let file = state.join("gen-1/state.redb");
        let mut bytes = whole[2].1.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&file, bytes).unwrap();
        let machine = Machine::open(dir.path(), EngineKind::Redb, view()).unwrap();
        assert_eq!(seen(&machine), before, "{place}");
        anew += u32::from(machine.opened() != &Opened::Trusted);
    }
    assert!(anew > 10, "{anew}");
}

#[test]
fn engines_can_be_changed_through_a_snapshot() {
    let mut bench = Bench::founded_on(EngineKind::Sled);
    furnish(&mut bench);
    let hash = bench.machine.state_hash().unwrap();
    bench.snapshot();
    let bench = bench.reopen(EngineKind::Redb, true);
    assert!(matches!(bench.machine.opened(), Opened::FromSnapshot(_)));
    assert_eq!(bench.machine.state_hash().unwrap(), hash);
}

#[test]
fn installing_replaces_everything() {
    let mut leader = Bench::founded();
    furnish(&mut leader);
    let file = leader.snapshot();
    for kind in ALL {
        for clean in [true, false] {
            let mut bench = Bench::founded_on(kind);
            bench.add_user("stale-user");
            bench.machine.install(&file).unwrap();
            assert_eq!(
                bench.machine.state_hash().unwrap(),
                leader.machine.state_hash().unwrap()
            );
            assert_eq!(bench.machine.applied(), leader.machine.applied());
            assert_eq!(seen(&bench.machine), seen(&leader.machine));
            assert!(bench.view.load().user("stale-user").is_none());
            assert!(
                file.try_exists().unwrap(),
                "another folder's file is copied"
            );

            bench.index = leader.index;
            bench.done(put_dns("newer", "x"));
            let bench = bench.reopen(kind, clean);
            assert!(
                bench.machine.applied_index() >= Some(leader.index),
                "{kind:?} {clean}"
            );
            assert!(bench.machine.directory().user("alice").is_some());
            assert!(bench.machine.directory().user("stale-user").is_none());
            let state = bench.dir.path().join(format!("state-{}", kind.name()));
            let generations = std::fs::read_dir(state)
                .unwrap()
                .filter(|entry| {
                    entry
                        .as_ref()
                        .unwrap()
                        .file_name()
                        .to_str()
                        .unwrap()
                        .starts_with("gen-")
                })
                .count();
            assert_eq!(generations, 1);
        }
    }
}

#[test]
fn a_damaged_file_is_not_installed() {
    let mut leader = Bench::founded();
    furnish(&mut leader);
    let file = leader.snapshot();
    let length = usize::try_from(std::fs::metadata(&file).unwrap().len()).unwrap();
    flip(&file, length - 30);
    for kind in ALL {
        let mut bench = Bench::founded_on(kind);
        bench.add_user("alice");
        let hash = bench.machine.state_hash().unwrap();
        let error = bench.machine.install(&file).unwrap_err();
        assert!(matches!(error, MachineError::Snapshot(_)), "{error}");
        assert_eq!(bench.machine.state_hash().unwrap(), hash);
        assert_eq!(snapshot::list(bench.machine.snapshots_dir()).unwrap(), []);
        bench.add_user("bobby");
    }
}

#[test]
fn a_snapshot_that_would_undo_is_not_installed() {
    let mut leader = Bench::founded();
    let file = leader.snapshot();
    let mut bench = Bench::founded();
    bench.machine.install(&file).unwrap();
    bench.add_user("alice");
    let error = bench.machine.install(&file).unwrap_err();
    assert!(
        matches!(
            error,
            MachineError::SnapshotBehind {
                index: 1,
                applied: 3
            }
        ),
        "{error}"
    );
    bench.add_user("bobby");
}

#[test]
fn a_received_file_is_moved() {
    let mut leader = Bench::founded();
    furnish(&mut leader);
    let bytes = std::fs::read(leader.snapshot()).unwrap();
    let mut bench = Bench::empty(EngineKind::Sled);
    let mut incoming = snapshot::Incoming::create(bench.machine.snapshots_dir()).unwrap();
    incoming.write(&bytes).unwrap();
    let file = incoming.finish().unwrap();
    bench.machine.install(&file).unwrap();
    assert!(!file.try_exists().unwrap());
    let (listed, header) = snapshot::newest(bench.machine.snapshots_dir())
        .unwrap()
        .unwrap();
    assert_eq!(header.applied.index, Some(leader.index));
    assert_eq!(snapshot::verify(&listed.path).unwrap(), header);
}

/// Every place where an installation can be cut off, as its files would be.
#[test]
fn an_installation_cut_off_leaves_the_old_or_the_new() {
    let mut leader = Bench::founded();
    furnish(&mut leader);
    let new = leader.machine.state_hash().unwrap();
    let file = leader.snapshot();
    for kind in ON_DISK {
        // While loading: a generation of which nothing is known.
        let mut bench = Bench::founded_on(kind);
        bench.add_user("old-user");
        let old = bench.machine.state_hash().unwrap();
        bench.snapshot();
        let half = bench
            .dir
            .path()
            .join(format!("state-{}/gen-2", kind.name()));
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("db"), b"half").unwrap();
        let bench = bench.reopen(kind, true);
        assert_eq!(bench.machine.state_hash().unwrap(), old);
        assert!(!half.try_exists().unwrap());

        // After the file got its name, before the change-over.
        let name = file.file_name().unwrap();
        std::fs::copy(&file, bench.dir.path().join("snapshots").join(name)).unwrap();
        let bench = bench.reopen(kind, false);
        assert_eq!(bench.machine.state_hash().unwrap(), new, "{kind:?}");
        assert_eq!(bench.machine.applied_index(), Some(leader.index));
    }
}
