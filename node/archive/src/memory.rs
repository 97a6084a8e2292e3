//! An archive in memory, for tests.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Sink, SinkFile, Source};

/// Files by path. Cloning gives another handle on the same.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Memory {
    /// Of these files.
    #[must_use]
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            files: Arc::new(Mutex::new(files)),
        }
    }

    /// All files.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Memory {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self
            .lock()
            .get(path)
            .map(|bytes| Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read + Send>))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self
            .lock()
            .keys()
            .filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'))
            .filter(|rest| !rest.contains('/'))
            .map(str::to_owned)
            .collect())
    }
}

impl Sink for Memory {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn SinkFile>> {
        if self.lock().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(MemoryFile {
            memory: self.clone(),
            path: path.to_owned(),
            bytes: Vec::new(),
        }))
    }
}

struct MemoryFile {
    memory: Memory,
    path: String,
    bytes: Vec<u8>,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SinkFile for MemoryFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.memory.lock().insert(self.path, self.bytes);
        Ok(())
    }
}
