//! Builds a snapshot beside applying.
//!
//! The machine marks the moment and from then on gives chunks of the state as it was; each chunk is
//! one short turn on its thread, so that applying goes on between them. The file is written and
//! synced on a blocking thread.
//!
//! openraft stops for good when a snapshot fails. A disk that is full for a while is no reason for
//! that as long as there is an older snapshot: then that one is given instead, and the log grows on
//! until the next try.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::alias::SnapshotOf;
use openraft::storage::{RaftSnapshotBuilder, Snapshot};
use thiserror::Error;

use crate::ground::{self, Ground, Origin};
use crate::machine::{MachineError, SnapshotCursor};
use crate::snapshot::{self, Header, SnapshotError, Writer};
use crate::state_machine::worker::{MachineStopped, Worker};
use crate::state_machine::{SnapshotFile, meta};
use crate::types::TypeConfig;

/// Items that the machine gives in one turn.
const CHUNK_ITEMS_MAX: usize = 2_048;
/// How often a snapshot is begun that the machine gave up because too much changed meanwhile.
const ATTEMPTS_MAX: usize = 3;
/// Pause before it is begun again.
const PAUSE: Duration = Duration::from_millis(200);

/// Pause before the first one is tried again on a full disk.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// Why a snapshot was not made.
#[derive(Debug, Error)]
enum BuildError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    File(#[from] SnapshotError),
    #[error(transparent)]
    Stopped(#[from] MachineStopped),
    #[error("there is no room for it")]
    Room(#[from] io::Error),
    #[error("the writing task ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl BuildError {
    fn is_full(&self) -> bool {
        let source = match self {
            Self::File(SnapshotError::File(file)) => &file.source,
            Self::Room(source) => source,
            Self::Machine(_) | Self::File(_) | Self::Stopped(_) | Self::Task(_) => return false,
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// A snapshot in the making.
#[derive(Debug)]
pub(crate) struct SnapshotBuilder {
    ground: Arc<dyn Ground>,
    worker: Worker,
    dir: PathBuf,
    /// The moment that was asked for, until it is used.
    begun: Option<Result<Moment, BuildError>>,
}

/// A moment that the machine keeps open; let go with this value.
#[derive(Debug)]
struct Moment {
    worker: Worker,
    cursor: Arc<Mutex<SnapshotCursor>>,
}

impl Drop for Moment {
    fn drop(&mut self) {
        let cursor = Arc::clone(&self.cursor);
        let queued = self.worker.run_later(move |machine| {
            machine.abort_snapshot(&cursor.lock().unwrap_or_else(PoisonError::into_inner));
        });
        if !queued {
            tracing::debug!("the platform store stopped before its snapshot was let go");
        }
    }
}

impl Moment {
    async fn begin(worker: &Worker) -> Result<Self, BuildError> {
        let cursor = worker
            .run(crate::machine::Machine::begin_snapshot)
            .await??;
        Ok(Self {
            worker: worker.clone(),
            cursor: Arc::new(Mutex::new(cursor)),
        })
    }

    fn header(&self) -> Header {
        self.cursor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .header()
            .clone()
    }

    async fn next(&self) -> Result<Option<Vec<snapshot::Item>>, BuildError> {
        let cursor = Arc::clone(&self.cursor);
        let chunk = self.worker.run(move |machine| {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            machine.next_chunk(&mut cursor, CHUNK_ITEMS_MAX)
        });
        Ok(chunk.await??)
    }
}

impl SnapshotBuilder {
    /// Marks the moment.
    pub(super) async fn begin(ground: Arc<dyn Ground>, worker: Worker, dir: PathBuf) -> Self {
        let begun = Some(Moment::begin(&worker).await);
        Self {
            ground,
            worker,
            dir,
            begun,
        }
    }

    /// Whether another snapshot is being made, or the machine failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.begun, Some(Err(_)))
    }

    async fn write(&self, moment: Moment) -> Result<(Header, PathBuf), BuildError> {
        let header = moment.header();
        let (dir, described) = (self.dir.clone(), header.clone());
        let mut writer = self
            .writing(move || Writer::create(&dir, described))
            .await?;
        let mut chunk = moment.next().await?;
        while let Some(items) = chunk {
            // The next chunk is read while this one is written.
            let written = self.writing(move || writer.write(&items).map(|()| writer));
            (writer, chunk) = futures_util::try_join!(written, moment.next())?;
        }
        let path = self.writing(move || writer.finish()).await?;
        Ok((header, path))
    }

    async fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
    ) -> Result<T, BuildError> {
        self.ground.room(Origin::Built).await?;
        self.blocking(work).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
    ) -> Result<T, BuildError> {
        Ok(ground::blocking(&*self.ground, work).await??)
    }

    async fn build(&mut self) -> Result<(Header, PathBuf), BuildError> {
        let mut attempts = 1;
        loop {
            let moment = match self.begun.take() {
                Some(begun) => begun,
                None => Moment::begin(&self.worker).await,
            };
            let built = match moment {
                Ok(moment) => self.write(moment).await,
                Err(error) => Err(error),
            };
            match built {
                Err(BuildError::Machine(
                    MachineError::SnapshotAborted | MachineError::SnapshotOpen,
                )) if attempts < ATTEMPTS_MAX => {
                    attempts = attempts.saturating_add(1);
                    tokio::time::sleep(PAUSE).await;
                }
                built => return built,
            }
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotFile>, io::Error> {
        loop {
            let error = match self.build().await {
                Ok((header, path)) => {
                    let meta = meta(&header)?;
                    tracing::info!(snapshot = %meta, "a snapshot was written");
                    return Ok(Snapshot {
                        meta,
                        snapshot: SnapshotFile::kept(path),
                    });
                }
                Err(error) => error,
            };
            let dir = self.dir.clone();
            match self.blocking(move || snapshot::newest(&dir)).await {
                Ok(Some((listed, header))) => {
                    tracing::error!(
                        error = crate::report(&error),
                        "no snapshot was made; the last one stays"
                    );
                    return Ok(Snapshot {
                        meta: meta(&header)?,
                        snapshot: SnapshotFile::kept(listed.path),
                    });
                }
                Ok(None) if error.is_full() => {
                    tracing::error!(
                        error = crate::report(&error),
                        "the first snapshot waits for room"
                    );
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                Ok(None) | Err(_) => return Err(io::Error::other(error)),
            }
        }
    }
}
