//! The thread that reads entries which have left memory: for followers that catch up, and after a
//! start. It has its own connection, so it never waits for the writer nor delays it.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::log::LogError;
use crate::log::disk::{self, Found};

/// Reads waiting.
const QUEUED_MAX: usize = 64;

/// A range to read.
pub(super) struct Request {
    pub(super) range: Range<u64>,
    pub(super) bytes_max: usize,
    pub(super) done: oneshot::Sender<Result<Found, LogError>>,
}

pub(super) fn spawn(path: &Path) -> Result<mpsc::Sender<Request>, LogError> {
    let connection = disk::open_reader(path)?;
    let (send, mut receive) = mpsc::channel::<Request>(QUEUED_MAX);
    let owned = path.to_path_buf();
    let run = move || {
        while let Some(Request {
            range,
            bytes_max,
            done,
        }) = receive.blocking_recv()
        {
            let found = disk::read(&connection, &owned, range, bytes_max);
            if done.send(found).is_err() {
                tracing::debug!("a log read was abandoned");
            }
        }
    };
    let spawned = thread::Builder::new()
        .name("raft-log-read".to_owned())
        .spawn(run);
    spawned
        .map(|_| send)
        .map_err(|source: io::Error| LogError::Io {
            path: path.to_path_buf(),
            source,
        })
}
