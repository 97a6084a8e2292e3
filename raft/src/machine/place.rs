//! Where the state machine's files are, and which of them may be trusted at start.
//!
//! ```text
//! snapshots/snapshot-<index>.hcs     the truth, with the log
//! state-<engine>/CURRENT             number of the generation in use
//! state-<engine>/CLEAN               what the engine held at a clean stop
//! state-<engine>/gen-<n>/            the engine's own files
//! ```
//!
//! A state is replaced by making a new generation beside it and renaming a new `CURRENT` into place:
//! a crash leaves the one or the other, and the rest is removed at the next start. An engine that is
//! not crash-safe is trusted only if the stop before was clean and it still holds what it held then;
//! `CLEAN` is removed before anything else is done. No engine is trusted that is behind the newest
//! snapshot, because the log may end there. What is not trusted is wiped and made anew from the newest
//! whole snapshot.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::read::scan_directory;
use super::{MachineError, Opened, read_applied};
use crate::codec::{self, CodecError};
use crate::directory::Directory;
use crate::engine::{Batch, Engine, EngineKind};
use crate::files::{self, because};
use crate::keys::{Applied, Meta, Space, Table};
use crate::snapshot::{self, Damage, Header, Reader, SnapshotError};

const MARKER_VERSION: u8 = 1;

/// What the engine held at a clean stop.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    generation: u64,
    applied: Applied,
    users: u64,
}

/// The files of one state machine.
#[derive(Debug)]
pub(super) struct Place {
    kind: EngineKind,
    state: PathBuf,
    snapshots: PathBuf,
    generation: Option<u64>,
}

impl Place {
    /// Makes the folders and removes what an interrupted process left.
    pub(super) fn open(dir: &Path, kind: EngineKind) -> Result<Self, MachineError> {
        let state = dir.join(format!("state-{}", kind.name()));
        let snapshots = dir.join("snapshots");
        files::create_dir(&state)?;
        files::create_dir(&snapshots)?;
        files::sync_dir(dir)?;
        snapshot::remove_unfinished(&snapshots)?;
        let mut place = Self {
            kind,
            state,
            snapshots,
            generation: None,
        };
        place.generation = place.read_current()?;
        place.remove_other_generations()?;
        Ok(place)
    }

    pub(super) fn snapshots(&self) -> &Path {
        &self.snapshots
    }

    /// Opens the engine with a state that can be trusted, or makes one from a snapshot.
    pub(super) fn start(mut self) -> Result<Started, MachineError> {
        let marker = self.take_marker()?;
        if let Some((engine, state)) = self.trusted(marker.as_ref())? {
            return Ok(Started {
                place: self,
                engine,
                state,
                opened: Opened::Trusted,
            });
        }
        let (engine, opened) = self.rebuild()?;
        self.remove_other_generations()?;
        let state = State::read(engine.as_ref())?;
        Ok(Started {
            place: self,
            engine,
            state,
            opened,
        })
    }

    /// The engine as it was left and what it holds, unless there is a reason to make it anew. A panic is
    /// one: redb takes the structure of its file for granted, which a changed bit can end.
    fn trusted(&self, marker: Option<&Marker>) -> Result<Option<Kept>, MachineError> {
        catch_unwind(AssertUnwindSafe(|| self.kept(marker))).unwrap_or_else(|panic| {
            let dir = self
                .generation
                .map(|generation| self.generation_dir(generation));
            tracing::warn!(
                ?dir,
                reason = reason(panic.as_ref()),
                "the engine panicked at its state, made anew"
            );
            Ok(None)
        })
    }

    fn kept(&self, marker: Option<&Marker>) -> Result<Option<Kept>, MachineError> {
        let Some(generation) = self.generation else {
            return Ok(None);
        };
        let clean = marker.filter(|marker| marker.generation == generation);
        if self.kind == EngineKind::Memory || !(clean.is_some() || self.kind.crash_safe()) {
            return Ok(None);
        }
        let opened = self
            .kind
            .open(&self.generation_dir(generation))
            .map_err(MachineError::from);
        let read = opened.and_then(|engine| {
            let state = State::read(engine.as_ref())?;
            Ok((engine, state))
        });
        let (engine, state) = match read {
            Ok(read) => read,
            Err(error) if is_newer(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(
                    error = crate::report(&error),
                    "state not readable, made anew"
                );
                return Ok(None);
            }
        };
        if let Some(marker) = clean
            && (marker.applied != state.applied || marker.users != state.directory.counts().users)
        {
            tracing::warn!("state is not what it was at the clean stop, made anew");
            return Ok(None);
        }
        let newest = snapshot::list(&self.snapshots)?
            .first()
            .map(|newest| newest.index);
        let applied = state.applied.index;
        if newest.is_some_and(|newest| applied.is_none_or(|applied| applied < newest)) {
            tracing::warn!(
                ?newest,
                ?applied,
                "state is behind the newest snapshot, made anew"
            );
            return Ok(None);
        }
        Ok(Some((engine, state)))
    }

    /// Makes the state anew from the newest whole snapshot, or empty if there is none.
    fn rebuild(&mut self) -> Result<(Box<dyn Engine>, Opened), MachineError> {
        let mut first = None;
        for listed in snapshot::list(&self.snapshots)? {
            match self.load(&listed.path) {
                Ok(loaded) => {
                    let engine = self.switch(loaded)?;
                    return Ok((engine, Opened::FromSnapshot(listed.path)));
                }
                Err(MachineError::Snapshot(error)) if is_damage(&error) => {
                    tracing::error!(%error, "snapshot passed over");
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = first {
            return Err(error.into());
        }
        let fresh = self.fresh()?;
        Ok((self.switch(fresh)?, Opened::Empty))
    }

    /// Loads a snapshot file into a new generation, frame by frame. Until [`Place::switch`], nothing
    /// has changed.
    pub(super) fn load(&self, file: &Path) -> Result<Loaded, MachineError> {
        let mut reader = Reader::open(file)?;
        let mut loaded = self.fresh()?;
        let result = fill(loaded.engine.as_mut(), &mut reader);
        if let Err(error) = result {
            self.discard(loaded)?;
            return Err(error);
        }
        loaded.header = reader.header().clone();
        Ok(loaded)
    }

    /// An empty engine in a new generation.
    fn fresh(&self) -> Result<Loaded, MachineError> {
        let generation = self
            .generation
            .map_or(1, |generation| generation.wrapping_add(1));
        let dir = self.generation_dir(generation);
        files::remove_tree(&dir)?;
        files::create_dir(&dir)?;
        Ok(Loaded {
            generation,
            engine: self.kind.open(&dir)?,
            header: Header::default(),
        })
    }

    pub(super) fn discard(&self, loaded: Loaded) -> Result<(), MachineError> {
        let Loaded {
            generation, engine, ..
        } = loaded;
        drop(engine);
        Ok(files::remove_tree(&self.generation_dir(generation))?)
    }

    /// Makes a new generation the current one. The previous one stays until
    /// [`Place::remove_other_generations`], since its engine may still be open.
    pub(super) fn switch(&mut self, loaded: Loaded) -> Result<Box<dyn Engine>, MachineError> {
        let Loaded {
            generation,
            mut engine,
            ..
        } = loaded;
        if engine.crash_safe() {
            engine.sync()?;
        }
        files::sync_dir(&self.state)?;
        files::replace(&self.current_path(), generation.to_string().as_bytes())?;
        self.generation = Some(generation);
        Ok(engine)
    }

    /// Removes generations that are not the current one.
    pub(super) fn remove_other_generations(&self) -> Result<(), MachineError> {
        for entry in std::fs::read_dir(&self.state).map_err(because("list", &self.state))? {
            let path = entry.map_err(because("list", &self.state))?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix("gen-")?.parse::<u64>().ok());
            if number.is_some() && number != self.generation {
                files::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Says that the engine was closed cleanly with this in it.
    pub(super) fn mark_clean(&self, applied: &Applied, users: u64) -> Result<(), MachineError> {
        let Some(generation) = self.generation else {
            return Ok(());
        };
        let marker = Marker {
            generation,
            applied: applied.clone(),
            users,
        };
        let bytes =
            codec::encode(MARKER_VERSION, &marker).map_err(|source| MachineError::Value {
                space: Space::Meta,
                key: String::new(),
                source,
            })?;
        Ok(files::replace(&self.marker_path(), &bytes)?)
    }

    /// Reads the marker and removes it for good, before the engine is touched. One that cannot be read
    /// is none.
    fn take_marker(&self) -> Result<Option<Marker>, MachineError> {
        let path = self.marker_path();
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        files::remove(&path)?;
        files::sync_dir(&self.state)?;
        Ok(codec::decode(MARKER_VERSION, &bytes).ok())
    }

    fn read_current(&self) -> Result<Option<u64>, MachineError> {
        let Some(bytes) = files::read(&self.current_path())? else {
            return Ok(None);
        };
        Ok(std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok()))
    }

    fn current_path(&self) -> PathBuf {
        self.state.join("CURRENT")
    }

    fn marker_path(&self) -> PathBuf {
        self.state.join("CLEAN")
    }

    fn generation_dir(&self, generation: u64) -> PathBuf {
        self.state.join(format!("gen-{generation}"))
    }
}

/// What a start comes to.
pub(super) struct Started {
    pub(super) place: Place,
    pub(super) engine: Box<dyn Engine>,
    pub(super) state: State,
    pub(super) opened: Opened,
}

/// An engine that may be trusted, and what it holds.
type Kept = (Box<dyn Engine>, State);

/// What an engine holds, as far as it is kept in memory.
pub(super) struct State {
    pub(super) applied: Applied,
    pub(super) directory: Directory,
}

impl State {
    fn read(engine: &dyn Engine) -> Result<Self, MachineError> {
        let applied = read_applied(engine)?;
        let directory = scan_directory(engine, &applied)?;
        Ok(Self { applied, directory })
    }
}

/// A new generation that is not in use yet.
pub(super) struct Loaded {
    generation: u64,
    engine: Box<dyn Engine>,
    header: Header,
}

impl Loaded {
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }
}

fn fill(engine: &mut dyn Engine, reader: &mut Reader) -> Result<(), MachineError> {
    while let Some(items) = reader.next_items()? {
        let mut batch = Batch::default();
        for (space, key, value) in items {
            batch.put(space, key, value);
        }
        engine.commit(batch)?;
    }
    let applied = &reader.header().applied;
    let value = Meta::encode(applied).map_err(|source| MachineError::Value {
        space: Space::Meta,
        key: String::new(),
        source,
    })?;
    let mut batch = Batch::default();
    batch.put(Space::Meta, Meta::key(&()), value);
    Ok(engine.commit(batch)?)
}

/// What a panic said.
fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied())
        .unwrap_or("no text")
}

/// Whether a newer release wrote what cannot be read: making it anew would only hide that.
fn is_newer(error: &MachineError) -> bool {
    matches!(
        error,
        MachineError::Value {
            source: CodecError::UnknownVersion { .. },
            ..
        }
    )
}

/// Whether an older file may do instead: not if a newer release wrote this one.
fn is_damage(error: &SnapshotError) -> bool {
    match error {
        SnapshotError::Damaged { damage, .. } => !matches!(damage, Damage::Space(_)),
        _ => false,
    }
}
