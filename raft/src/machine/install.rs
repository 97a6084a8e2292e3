//! Replacing the whole state by a snapshot that another core made.

use std::path::Path;

use super::{Machine, MachineError, read};
use crate::engine::EngineError;
use crate::snapshot;

impl Machine {
    /// Loads a snapshot file into a new state beside the present one, puts the file among the
    /// snapshots, changes over and publishes the directory. A crash on the way leaves the old state,
    /// or one that is made from this snapshot at the next start.
    ///
    /// A file that [`snapshot::Incoming`] left in the folder of snapshots is moved, any other copied.
    ///
    /// # Errors
    /// When the file is damaged or ends before what is applied here (then nothing has changed), or when
    /// the machine fails.
    pub fn install(&mut self, file: &Path) -> Result<(), MachineError> {
        self.ensure_usable()?;
        let loaded = self.place.load(file)?;
        let applied = loaded.header().applied.clone();
        if let Some(own) = self
            .applied
            .index
            .filter(|own| applied.index.is_none_or(|new| new < *own))
        {
            self.place.discard(loaded)?;
            let index = applied.index.unwrap_or(0);
            return Err(MachineError::SnapshotBehind {
                index,
                applied: own,
            });
        }
        let directory = match read::scan_directory(loaded.engine(), &applied) {
            Ok(directory) => directory,
            Err(error) => {
                self.place.discard(loaded)?;
                return Err(error);
            }
        };
        // From here on the snapshot is what a start would find.
        let result = self.change_over(file, loaded, directory);
        self.failed = result.is_err();
        result
    }

    fn change_over(
        &mut self,
        file: &Path,
        loaded: super::place::Loaded,
        directory: crate::directory::Directory,
    ) -> Result<(), MachineError> {
        let header = loaded.header().clone();
        snapshot::adopt(file, self.place.snapshots(), &header)?;
        let engine = self.place.switch(loaded)?;
        let previous = std::mem::replace(&mut self.engine, engine);
        self.frozen = None;
        self.applied = header.applied;
        self.publish(directory);
        // The old state is of no more use: whether it closes well does not matter.
        if let Err(error) = previous.close() {
            let error: EngineError = error;
            tracing::warn!(%error, "replaced state did not close cleanly");
        }
        self.place.remove_other_generations()
    }
}
