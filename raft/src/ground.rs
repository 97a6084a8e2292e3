//! What a store stands on, where a simulation must stand on something else: the disk under the log,
//! and threads.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use futures_util::future::BoxFuture;
use tokio::task::JoinError;

use crate::log::LogError;
use crate::log::disk;
use crate::log::medium::Medium;

/// What a store stands on.
pub trait Ground: Debug + Send + Sync + 'static {
    /// Whether there is a file for the log at `path`.
    ///
    /// # Errors
    /// When that cannot be told.
    fn log_exists(&self, path: &Path) -> Result<bool, LogError>;

    /// Opens the log at `path`, or makes it for `owner`, and says whether it was empty.
    ///
    /// # Errors
    /// When it cannot be opened, or is another's.
    fn open_log(&self, path: &Path, owner: &str) -> Result<(Box<dyn Medium>, bool), LogError>;

    /// Whether work that blocks has threads of its own. Without them it is done in tasks, one piece at
    /// a time, so that one thread runs everything in an order that can be repeated.
    fn has_threads(&self) -> bool;

    /// Without threads: what the next access to the disk takes.
    fn access(&self) -> BoxFuture<'static, ()>;

    /// Without threads: what the next piece of a snapshot's file takes, and whether there is room for it.
    fn room(&self, of: Origin) -> BoxFuture<'static, io::Result<()>>;
}

/// Where a snapshot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This core's own state.
    Built,
    /// Another core.
    Received,
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Ground for System {
    fn log_exists(&self, path: &Path) -> Result<bool, LogError> {
        path.try_exists().map_err(|source| LogError::Io {
            path: path.to_path_buf(),
            source,
        })
    }

    fn open_log(&self, path: &Path, owner: &str) -> Result<(Box<dyn Medium>, bool), LogError> {
        let (disk, fresh) = disk::Disk::open(path, owner)?;
        Ok((Box::new(disk), fresh))
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn access(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Writing the file tells.
    fn room(&self, _of: Origin) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Does work that blocks, off the runtime's workers where there are threads for it.
pub(crate) async fn blocking<T: Send + 'static>(
    ground: &dyn Ground,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if ground.has_threads() {
        tokio::task::spawn_blocking(work).await
    } else {
        Ok(work())
    }
}
