//! [`Users`] on real files: many users at once, and what a killed process or a power cut leaves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use homecore_engine_sqlite::{SqliteEngine, SqliteJournal, SqliteOptions};
use homecore_store::suite::{event, user};
use homecore_store::users::Options;
use homecore_store::{Base, PutError, Seq, StoreError, Users, Write, Writer};
use homecore_types::{SystemClock, UserId};

/// The folder that the child works in.
const FOLDER: &str = "HOMECORE_TEST_FOLDER";

fn options() -> Options {
    Options {
        checkpoint_interval: Duration::from_secs(3_600),
        ..Options::default()
    }
}

fn try_start(root: &Path, options: Options) -> Result<(Users, Arc<SqliteJournal>), StoreError> {
    let engine = Arc::new(SqliteEngine::open(root, SqliteOptions::default())?);
    let journal = Arc::new(SqliteJournal::open(&root.join("journal.sqlite"))?);
    let users = Users::start(
        engine,
        Arc::<SqliteJournal>::clone(&journal),
        Arc::new(SystemClock),
        options,
    )?;
    Ok((users, journal))
}

fn start(root: &Path) -> Users {
    try_start(root, options()).unwrap().0
}

fn put(number: u64) -> impl FnOnce(&mut Writer<'_>) -> Result<(), PutError> + Send + 'static {
    move |writer| {
        writer.attempt(|transaction| {
            let event = event(number, 0);
            transaction.put(Write {
                kind: event.kind,
                id: event.id,
                base: Base::Any,
                body: event.body,
                deleted: false,
                entries: event.entries,
                keep_previous: true,
            })?;
            Ok(())
        })
    }
}

async fn last(users: &Users, user: &UserId) -> u64 {
    let documents = users
        .read(user, |view| view.changes(Seq(0), 100_000))
        .await
        .unwrap()
        .unwrap();
    let last = users
        .read(user, |view| view.last_seq())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(u64::try_from(documents.len()).unwrap(), last.0, "a gap");
    last.0
}

/// Writes `each` events more for each of `count` users, all at once.
async fn fill(users: &Users, count: u64, each: u64) {
    let tasks: Vec<_> = (0..count)
        .map(|n| {
            let users = users.clone();
            tokio::spawn(async move {
                let user = user(n);
                let mut next = 1;
                if users.contains(&user).await.unwrap() {
                    next = last(&users, &user).await + 1;
                } else {
                    users.create(&user, put(0)).await.unwrap().unwrap();
                    next += 1;
                }
                for number in next..next + each {
                    users.write(&user, put(number)).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_users_write_at_once_and_share_syncs() {
    let root = tempfile::tempdir().unwrap();
    let (users, journal) = try_start(root.path(), options()).unwrap();
    fill(&users, 40, 10).await;
    for n in 0..40 {
        assert_eq!(last(&users, &user(n)).await, 11);
    }
    // 40 announcements, 40 first writes, 400 writes.
    assert!(journal.syncs() < 360, "{} syncs", journal.syncs());
    users.shutdown().await;
    assert_eq!(users.stats().journal_bytes, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_an_unclean_stop() {
    let root = tempfile::tempdir().unwrap();
    let users = start(root.path());
    fill(&users, 12, 8).await;
    drop(users);
    // Its threads end by themselves and give the folder free.
    let again = async {
        loop {
            match try_start(root.path(), options()) {
                Ok((users, _)) => return users,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let users = tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .unwrap();
    for n in 0..12 {
        assert_eq!(last(&users, &user(n)).await, 9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_files_as_old_as_the_last_checkpoint_are_brought_up() {
    let (root, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let users = start(root.path());
    fill(&users, 6, 5).await;
    users.checkpoint().await.unwrap();
    copy(&root.path().join("users"), &crashed.path().join("users"));
    fill(&users, 6, 7).await;
    // The journal of now with the files of then: a power cut that lost all that it may lose.
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        std::fs::copy(root.path().join(name), crashed.path().join(name)).unwrap();
    }
    let left = start(crashed.path());
    for n in 0..6 {
        assert_eq!(last(&left, &user(n)).await, 13);
    }
    // And once more without a clean stop, from a copy of all of it.
    fill(&left, 6, 3).await;
    let again = tempfile::tempdir().unwrap();
    copy(crashed.path(), again.path());
    let again = start(again.path());
    for n in 0..6 {
        assert_eq!(last(&again, &user(n)).await, 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_user_is_refused_and_the_others_are_served() {
    let root = tempfile::tempdir().unwrap();
    let users = start(root.path());
    fill(&users, 3, 3).await;
    users.shutdown().await;
    drop(users);
    let engine = SqliteEngine::open(root.path(), SqliteOptions::default()).unwrap();
    let file = engine.folder(&user(1)).join("data.sqlite");
    drop(engine);
    std::fs::write(&file, vec![1; 8_192]).unwrap();
    let users = start(root.path());
    let refused = users.write(&user(1), put(9)).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupted { .. })),
        "{refused:?}"
    );
    assert!(users.read(&user(1), |_| ()).await.is_err());
    fill(&users, 1, 3).await;
    assert_eq!(last(&users, &user(2)).await, 4);
    users.remove(&user(1)).await.unwrap();
    assert!(!users.contains(&user(1)).await.unwrap());
}

/// The child of the test below: writes until it is killed, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test that kills it"]
async fn child_that_writes() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let options = Options {
        checkpoint_interval: Duration::from_millis(20),
        checkpoint_bytes: 50_000,
        idle: Duration::from_millis(20),
        open_users_max: 8,
        ..Options::default()
    };
    let (users, _) = try_start(Path::new(&folder), options).unwrap();
    let mut tasks: Vec<_> = (0..10)
        .map(|n| {
            let users = users.clone();
            tokio::spawn(async move {
                let user = user(n);
                if !users.contains(&user).await.unwrap() {
                    users.create(&user, put(1)).await.unwrap().unwrap();
                }
                let mut number = last(&users, &user).await;
                loop {
                    println!("acknowledged {n} {number}");
                    number += 1;
                    users.write(&user, put(number)).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    // None of them ever returns.
    tasks.remove(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crashes::child_that_writes",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, rest)) = line.split_once("acknowledged ") else {
                continue;
            };
            let (n, number) = rest.split_once(' ').unwrap();
            let (n, number): (u64, u64) = (n.parse().unwrap(), number.parse().unwrap());
            acknowledged.insert(n, number);
            seen += 1;
            if seen == 150 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 150 * round, "the child ended by itself");
        let users = start(root.path());
        for (n, number) in &acknowledged {
            let found = last(&users, &user(*n)).await;
            assert!(found >= *number, "user {n} has {found}, not {number}");
            assert!(
                found <= number + 1,
                "user {n} has {found}, only {number} are known"
            );
        }
        users.shutdown().await;
    }
    assert_eq!(acknowledged.len(), 10);
}
