//! Writes numbered documents for several users at once and says, on a line of its own, which were
//! acknowledged, until it is killed. A harness cuts the power under it and compares.
//!
//! ```text
//! powercut_writer <folder> [users]             prints "acknowledged <user> <number>"
//! powercut_writer <folder> [users] --verify    prints "present <user> <number>", and fails on a gap
//! ```
//!
//! Numbers of a user are 1, 2, 3 …; everything acknowledged must be present.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use homecore_engine_sqlite::{SqliteEngine, SqliteJournal, SqliteOptions};
use homecore_store::suite::user;
use homecore_store::users::Options;
use homecore_store::{Base, Entry, Index, Kind, PutError, Seq, Users, Write, Writer};
use homecore_types::SystemClock;

/// Users if none are given.
const USERS: u64 = 8;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut folder = None;
    let mut count = USERS;
    let mut verify = false;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--verify") => verify = true,
            Some(text) if folder.is_some() => count = text.parse()?,
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let folder = folder.ok_or("usage: powercut_writer <folder> [users] [--verify]")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let users = start(&folder)?;
        if verify {
            print_present(&users, count).await
        } else {
            write(&users, count).await
        }
    })
}

fn start(folder: &Path) -> Result<Users, Failure> {
    let engine = SqliteEngine::open(folder, SqliteOptions::default())?;
    let journal = SqliteJournal::open(&folder.join("journal.sqlite"))?;
    let options = Options {
        // Often enough that power is cut in the middle of one.
        checkpoint_bytes: 256 * 1024,
        checkpoint_interval: Duration::from_millis(200),
        ..Options::default()
    };
    Ok(Users::start(
        Arc::new(engine),
        Arc::new(journal),
        Arc::new(SystemClock),
        options,
    )?)
}

fn document(number: u64) -> impl FnOnce(&mut Writer<'_>) -> Result<(), PutError> + Send + 'static {
    move |writer| {
        writer.attempt(|transaction| {
            transaction.put(Write {
                kind: Kind::Event,
                id: format!("e{number}"),
                base: Base::Absent,
                body: Bytes::from(format!("{{\"number\":{number},\"text\":\"{:300}\"}}", "x")),
                deleted: false,
                entries: vec![Entry {
                    index: Index(1),
                    key: number.to_be_bytes().to_vec(),
                }],
                keep_previous: false,
            })?;
            Ok(())
        })
    }
}

async fn write(users: &Users, count: u64) -> Result<(), Failure> {
    let mut tasks = Vec::new();
    for n in 1..=count {
        let users = users.clone();
        tasks.push(tokio::spawn(async move {
            let user = user(n);
            let mut number = 1;
            if users.contains(&user).await? {
                number = users.read(&user, |view| view.last_seq()).await??.0 + 1;
            } else {
                users.create(&user, document(number)).await??;
                say("acknowledged", n, number)?;
                number += 1;
            }
            loop {
                users.write(&user, document(number)).await??;
                say("acknowledged", n, number)?;
                number += 1;
            }
            #[expect(unreachable_code, reason = "names the type of the errors above")]
            Ok::<(), Failure>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn print_present(users: &Users, count: u64) -> Result<(), Failure> {
    for n in 1..=count {
        let user = user(n);
        if !users.contains(&user).await? {
            continue;
        }
        let (last, found) = users
            .read(&user, |view| {
                Ok::<_, homecore_store::StoreError>((
                    view.last_seq()?,
                    view.changes(Seq(0), usize::MAX)?,
                ))
            })
            .await??;
        if u64::try_from(found.len())? != last.0 {
            return Err(format!("user {n} has {} documents of {}", found.len(), last.0).into());
        }
        for (document, number) in found.iter().zip(1_u64..) {
            if document.id != format!("e{number}") || document.seq != Seq(number) {
                return Err(format!("user {n} has {} as number {number}", document.id).into());
            }
            say("present", n, number)?;
        }
    }
    users.shutdown().await;
    Ok(())
}

/// A line in one piece, handed to the system at once.
fn say(what: &str, user: u64, number: u64) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {user} {number}")?;
    out.flush()
}
