//! The thread that reads entries which have left memory: for followers that catch up, and after a
//! start. It has its own connection, so it never waits for the writer nor delays it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::ground::Ground;
use crate::log::LogError;
use crate::log::medium::{self, Found, MediumReader};

/// Reads waiting.
const QUEUED_MAX: usize = 64;

/// A range to read.
pub(super) struct Request {
    pub(super) range: Range<u64>,
    pub(super) bytes_max: usize,
    pub(super) done: oneshot::Sender<Result<Found, LogError>>,
}

pub(super) fn spawn(
    ground: &dyn Ground,
    medium: Box<dyn MediumReader>,
    path: &Path,
) -> Result<mpsc::Sender<Request>, LogError> {
    let (send, mut receive) = mpsc::channel::<Request>(QUEUED_MAX);
    let reader = Reader {
        medium,
        path: path.to_path_buf(),
    };
    if !ground.has_threads() {
        tokio::spawn(async move {
            while let Some(request) = receive.recv().await {
                reader.answer(request);
            }
        });
        return Ok(send);
    }
    let run = move || {
        while let Some(request) = receive.blocking_recv() {
            reader.answer(request);
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

struct Reader {
    medium: Box<dyn MediumReader>,
    path: PathBuf,
}

impl Reader {
    fn answer(&self, request: Request) {
        let Request {
            range,
            bytes_max,
            done,
        } = request;
        let found = medium::read(&*self.medium, &self.path, range, bytes_max);
        if done.send(found).is_err() {
            tracing::debug!("a log read was abandoned");
        }
    }
}
