//! The conformance suites, and what is particular to files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use homecore_engine_sqlite::{Durability, SqliteEngine, SqliteJournal, SqliteOptions};
use homecore_store::{Engine, Journal, Kind, Position, Seq, StoreError, UserDatabase, suite};
use homecore_types::UserId;
use tempfile::TempDir;

/// Folders that live as long as the test.
#[derive(Default)]
struct Folders(Mutex<Vec<TempDir>>);

impl Folders {
    fn next(&self) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        self.0.lock().unwrap().push(folder);
        path
    }
}

#[test]
fn the_engine_passes_the_suite() {
    for durability in [Durability::FileSystem, Durability::Files] {
        let folders = Folders::default();
        let options = SqliteOptions {
            durability,
            ..SqliteOptions::default()
        };
        suite::engine_suite(|| {
            Arc::new(SqliteEngine::open(&folders.next(), options.clone()).unwrap())
        })
        .unwrap();
    }
}

#[test]
fn the_engine_passes_the_suite_with_mapped_files() {
    let folders = Folders::default();
    let options = SqliteOptions {
        mmap_bytes: 1 << 24,
        ..SqliteOptions::default()
    };
    suite::engine_suite(|| Arc::new(SqliteEngine::open(&folders.next(), options.clone()).unwrap()))
        .unwrap();
}

#[test]
fn the_journal_passes_the_suite() {
    let folders = Folders::default();
    suite::journal_suite(|| {
        Arc::new(SqliteJournal::open(&folders.next().join("journal.sqlite")).unwrap())
    })
    .unwrap();
}

fn open(root: &Path) -> SqliteEngine {
    SqliteEngine::open(root, SqliteOptions::default()).unwrap()
}

fn folders_in(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_closed_user_is_one_file_that_can_be_copied() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let anna = suite::user(1);
    let engine = open(here.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    let mut reader = engine.open_reader(&anna).unwrap();
    for n in 1..=20 {
        suite::write(database.as_mut(), &anna, n, Position(n)).unwrap();
    }
    reader
        .snapshot(&mut |view| view.last_seq().map(|last| assert_eq!(last, Seq(20))))
        .unwrap();
    drop(reader);
    drop(database);
    let folder = engine.folder(&anna);
    assert_eq!(folders_in(&folder), ["data.sqlite"]);

    let other = open(there.path());
    let copied = other.folder(&anna);
    std::fs::create_dir_all(&copied).unwrap();
    std::fs::copy(folder.join("data.sqlite"), copied.join("data.sqlite")).unwrap();
    let (mine, theirs): (Arc<dyn Engine>, Arc<dyn Engine>) = (Arc::new(engine), Arc::new(other));
    assert_eq!(
        suite::read(&theirs, &anna, suite::dump).unwrap(),
        suite::read(&mine, &anna, suite::dump).unwrap()
    );
}

/// How many bytes this thread has read from files.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar:"));
    read.unwrap().trim().parse().unwrap()
}

/// What a handle has given back it must read again.
#[cfg(target_os = "linux")]
#[test]
fn who_rests_keeps_no_pages() {
    const PAGE: u64 = 4_096;
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    let mut reader = engine.open_reader(&anna).unwrap();
    for n in 1..=50 {
        suite::write(database.as_mut(), &anna, n, Position(n)).unwrap();
    }
    let taken = |look: &mut dyn FnMut()| {
        let before = bytes_read();
        look();
        bytes_read() - before
    };
    let mut read = |rests: bool| {
        if rests {
            reader.rest();
        }
        taken(&mut || {
            reader
                .snapshot(&mut |view| suite::dump(view).map(drop))
                .unwrap();
        })
    };
    let (first, awake, rested) = (read(false), read(false), read(true));
    assert!(awake < PAGE, "{awake} bytes are read though they are here");
    assert!(rested > 4 * PAGE, "{rested} bytes of {first}");
    let mut read = |rests: bool| {
        if rests {
            database.rest();
        }
        taken(&mut || drop(suite::dump(&*database).unwrap()))
    };
    let (first, awake, rested) = (read(false), read(false), read(true));
    assert!(awake < PAGE, "{awake} bytes are read though they are here");
    assert!(rested > 4 * PAGE, "{rested} bytes of {first}");
}

/// Closing one descriptor of a file takes all locks of the process on it.
#[cfg(target_os = "linux")]
#[test]
fn no_other_process_can_open_a_database_as_long_as_any_handle_is_open() {
    use std::os::unix::fs::MetadataExt as _;

    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    suite::write(database.as_mut(), &anna, 1, Position(1)).unwrap();
    let path = engine.folder(&anna).join("data.sqlite");
    let inode = format!(":{} ", std::fs::metadata(&path).unwrap().ino());
    let is_locked = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let own = locks.lines().filter(|lock| lock.contains(&inode));
        own.filter(|lock| lock.contains("POSIX") && lock.contains("WRITE"))
            .count()
            > 0
    };
    assert!(is_locked());
    let reader = engine.open_reader(&anna).unwrap();
    drop(database);
    assert!(is_locked());
    let database = engine.open(&anna).unwrap();
    drop(reader);
    engine.make_durable().unwrap();
    assert!(is_locked());
    drop(database);
    assert!(!is_locked());
    assert!(!path.with_extension("sqlite-wal").try_exists().unwrap());
}

#[test]
fn only_we_may_read_the_files() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    suite::write(database.as_mut(), &anna, 1, Position(1)).unwrap();
    let journal = SqliteJournal::open(&root.path().join("journal.sqlite")).unwrap();
    journal.append(vec![(anna.clone(), vec![1])]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = engine.folder(&anna);
    for path in [
        &folder,
        folder.parent().unwrap(),
        &root.path().join("users"),
    ] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let mut files = vec![
        root.path().join("journal.sqlite"),
        root.path().join("journal.sqlite-wal"),
    ];
    for name in ["data.sqlite", "data.sqlite-wal"] {
        files.push(folder.join(name));
    }
    for path in files {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn one_process_has_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let engine = open(root.path());
    let second = SqliteEngine::open(root.path(), SqliteOptions::default());
    assert!(second.unwrap_err().to_string().contains("another homecore"));
    drop(engine);
    drop(open(root.path()));
}

#[test]
fn what_a_crash_left_half_made_is_cleared_away() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    drop(open(root.path()));
    for folder in [".making", ".removed"] {
        let left = root.path().join("users").join(folder).join(anna.as_str());
        std::fs::create_dir_all(left.join("blobs")).unwrap();
        std::fs::write(left.join("blobs/one"), "x").unwrap();
    }
    let engine = open(root.path());
    for folder in [".making", ".removed"] {
        assert!(folders_in(&root.path().join("users").join(folder)).is_empty());
    }
    assert!(engine.users().unwrap().is_empty());
    // Left by a failure of this process.
    let left = root.path().join("users/.making").join(anna.as_str());
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("data.sqlite"), "nonsense").unwrap();
    drop(engine.create(&anna, Position(0)).unwrap());
    assert_eq!(engine.users().unwrap(), [anna]);
}

#[test]
fn removing_takes_everything_in_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    suite::write(database.as_mut(), &anna, 1, Position(1)).unwrap();
    drop(database);
    let folder = engine.folder(&anna);
    std::fs::create_dir(folder.join("blobs")).unwrap();
    std::fs::write(folder.join("blobs/one"), "x").unwrap();
    engine.remove(&anna).unwrap();
    assert!(!folder.try_exists().unwrap());
    assert!(folders_in(&root.path().join("users/.removed")).is_empty());
}

fn tamper(engine: &SqliteEngine, user: &UserId, sql: &str) {
    let path = engine.folder(user).join("data.sqlite");
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[test]
fn another_format_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    drop(engine.create(&anna, Position(0)).unwrap());
    tamper(&engine, &anna, "PRAGMA user_version = 9");
    for error in [
        engine.open(&anna).map(drop),
        engine.open_reader(&anna).map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(
            matches!(&error, StoreError::UnknownFormat { found: 9, known: 3, what } if what.contains(anna.as_str())),
            "{error:?}"
        );
    }
    tamper(&engine, &anna, "PRAGMA user_version = 0");
    assert!(matches!(
        engine.open(&anna),
        Err(StoreError::Corrupted { .. })
    ));

    let journal = root.path().join("journal.sqlite");
    drop(SqliteJournal::open(&journal).unwrap());
    let raw = rusqlite::Connection::open(&journal).unwrap();
    raw.execute_batch("PRAGMA user_version = 3").unwrap();
    let error = SqliteJournal::open(&journal).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::UnknownFormat {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_writer_knows_what_did_not_change() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    suite::write(database.as_mut(), &anna, 1, Position(1)).unwrap();
    suite::write(database.as_mut(), &anna, 2, Position(2)).unwrap();
    let known =
        |database: &dyn UserDatabase, kind: Kind, since| database.is_unchanged(&[kind], Seq(since));
    assert!(!known(&*database, Kind::Event, 1));
    assert!(known(&*database, Kind::Event, 2));
    assert!(known(&*database, Kind::Stream, 0));
    drop(database);
    let mut database = engine.open(&anna).unwrap();
    assert!(
        !known(&*database, Kind::Stream, 1),
        "written before it was opened"
    );
    assert!(known(&*database, Kind::Stream, 2));
    suite::write(database.as_mut(), &anna, 3, Position(3)).unwrap();
    assert!(known(&*database, Kind::Stream, 2));
    assert!(!known(&*database, Kind::Event, 2));
    assert!(!database.is_unchanged(&[Kind::Stream, Kind::Event], Seq(2)));
}

#[test]
fn damage_is_reported_as_damage() {
    let root = tempfile::tempdir().unwrap();
    let anna = suite::user(1);
    let engine = open(root.path());
    let mut database = engine.create(&anna, Position(0)).unwrap();
    for n in 1..=200 {
        suite::write(database.as_mut(), &anna, n, Position(n)).unwrap();
    }
    drop(database);
    let path = engine.folder(&anna).join("data.sqlite");
    let whole = std::fs::read(&path).unwrap();
    let read = |engine: &SqliteEngine| -> Result<(), StoreError> {
        let database = engine.open(&anna)?;
        suite::dump(&*database).map(drop)
    };
    read(&engine).unwrap();
    // Cut short, and overwritten.
    std::fs::write(&path, &whole[..whole.len() / 2 / 4096 * 4096]).unwrap();
    assert!(matches!(read(&engine), Err(StoreError::Corrupted { .. })));
    std::fs::write(&path, vec![0x5A; whole.len()]).unwrap();
    assert!(matches!(read(&engine), Err(StoreError::Corrupted { .. })));
    std::fs::write(&path, &whole).unwrap();
    read(&engine).unwrap();
    tamper(
        &engine,
        &anna,
        "UPDATE document SET kind = 99 WHERE id = 'e7'",
    );
    assert!(matches!(read(&engine), Err(StoreError::Corrupted { what }) if what.contains("99")));
}

/// SQLite does not notice these.
#[test]
fn a_changed_value_is_not_read() {
    for change in [
        "UPDATE document SET body = CAST(body || x'00' AS BLOB) WHERE id = 'e7'",
        "UPDATE document SET body = zeroblob(length(body)) WHERE id = 'e7'",
        "UPDATE document SET rev = rev + 1 WHERE id = 'e7'",
        "UPDATE document SET deleted = 1 - deleted WHERE id = 'e7'",
        "UPDATE document SET written_at = written_at + 1 WHERE id = 'e7'",
        "UPDATE document SET body = (SELECT body FROM document WHERE id = 'e8') WHERE id = 'e7'",
    ] {
        let root = tempfile::tempdir().unwrap();
        let anna = suite::user(1);
        let engine = open(root.path());
        let mut database = engine.create(&anna, Position(0)).unwrap();
        for n in 1..=20 {
            suite::write(database.as_mut(), &anna, n, Position(n)).unwrap();
        }
        drop(database);
        tamper(&engine, &anna, change);
        let database = engine.open(&anna).unwrap();
        let error = database.list(Kind::Event, None, 50).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { place, id, .. } if place.contains(anna.as_str()) && id == "e7"),
            "{change}: {error:?}"
        );
    }
}

#[test]
fn a_changed_row_of_the_journal_is_not_replayed() {
    for change in [
        "UPDATE row SET changes = zeroblob(length(changes)) WHERE position = 2",
        "UPDATE row SET changes = (SELECT changes FROM row WHERE position = 1) WHERE position = 2",
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal.sqlite");
        let rows = (1..=3_u8).map(|n| (suite::user(1), vec![n; 30])).collect();
        let journal = SqliteJournal::open(&path).unwrap();
        journal.append(rows).unwrap();
        drop(journal);
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute_batch(change).unwrap();
        drop(raw);
        let journal = SqliteJournal::open(&path).unwrap();
        let mut seen = 0;
        let replayed = journal.replay(Position(0), &mut |_, _, _| {
            seen += 1;
            Ok(())
        });
        let error = replayed.unwrap_err().to_string();
        assert!(
            seen == 1 && error.contains("journal.sqlite at 2"),
            "{seen}: {error}"
        );
    }
}

#[test]
fn the_journal_survives_closing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/journal.sqlite");
    let (anna, bert) = (suite::user(1), suite::user(2));
    let journal = SqliteJournal::open(&path).unwrap();
    for n in 0..100 {
        journal
            .append(vec![
                (anna.clone(), vec![n]),
                (bert.clone(), vec![n; 1_000]),
            ])
            .unwrap();
    }
    journal.forget_through(Position(150)).unwrap();
    let (bytes, rows) = (
        journal.size_bytes().unwrap(),
        suite::rows(&journal, Position(0)).unwrap(),
    );
    drop(journal);
    let journal = SqliteJournal::open(&path).unwrap();
    assert_eq!(journal.last(), Position(200));
    assert_eq!(journal.size_bytes().unwrap(), bytes);
    assert_eq!(suite::rows(&journal, Position(0)).unwrap(), rows);
    assert_eq!(rows.len(), 50);
    // Everything forgotten: the positions go on all the same.
    journal.forget_through(Position(200)).unwrap();
    assert_eq!(journal.size_bytes().unwrap(), 0);
    drop(journal);
    let journal = SqliteJournal::open(&path).unwrap();
    assert_eq!(
        journal.append(vec![(anna, vec![1])]).unwrap(),
        Position(201)
    );
}

#[test]
fn callers_share_a_sync() {
    let root = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(&root.path().join("journal.sqlite")).unwrap());
    let threads: Vec<_> = (0..16)
        .map(|n| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                for _ in 0..50 {
                    journal.append(vec![(suite::user(n), vec![0; 64])]).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(journal.last(), Position(800));
    assert!(
        journal.syncs() < 600,
        "{} syncs for 800 appends",
        journal.syncs()
    );
}

#[test]
fn a_burst_does_not_leave_a_large_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("journal.sqlite");
    let journal = SqliteJournal::open(&path).unwrap();
    for n in 0..12_000 / 100 {
        journal
            .append((0..100).map(|_| (suite::user(n), vec![1; 8_000])).collect())
            .unwrap();
    }
    for through in (0..=12_000).step_by(1_000) {
        journal.forget_through(Position(through)).unwrap();
    }
    drop(journal);
    let left = std::fs::metadata(&path).unwrap().len();
    assert!(left < 80_000_000, "{left}");
}
