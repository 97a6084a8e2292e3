//! Writing an archive. One file is open at a time; the manifest comes last.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use homecore_types::{Entropy, Millis};
use serde_json::Value;

use crate::crypt::{DataKey, Encrypt, Protection};
use crate::error::{ArchiveError, Fault, Place};
use crate::layout::{self, Section};
use crate::manifest::{Config, FORMAT, Manifest, UserManifest};
use crate::{CHUNK_BYTES, Sink, SinkFile};

const README: &str = "This is an encrypted archive of users. Import it with\n\n    homecore import <this folder> --passphrase-file <file>\n\nor `--private-key <file>`, as it was made. Nothing but this file and encryption.json can be read\nwithout the key.\n";

/// How an archive is written.
#[derive(Debug)]
pub struct Options {
    /// Files of lines are gzip.
    pub compressed: bool,
    /// Raw bytes after which a section is continued in another file.
    pub chunk_bytes: u64,
    /// Encrypt everything.
    pub protection: Option<Protection>,
    /// Chance for keys.
    pub entropy: Arc<dyn Entropy>,
}

impl Options {
    /// Compressed, not encrypted.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            compressed: true,
            chunk_bytes: CHUNK_BYTES,
            protection: None,
            entropy,
        }
    }
}

/// What the manifest says beside the users.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Version of the server.
    pub core_version: String,
    /// Where it comes from.
    pub config: Config,
    /// When it was made.
    pub at: Millis,
    /// When it was begun.
    pub began: Millis,
}

/// An archive on its way out.
#[derive(Debug)]
pub struct ArchiveWriter<S> {
    sink: S,
    options: Options,
    key: Option<DataKey>,
    users: Vec<UserManifest>,
}

impl<S: Sink> ArchiveWriter<S> {
    /// Begins an archive.
    ///
    /// # Errors
    /// If there is one already, or the key cannot be used.
    pub fn new(sink: S, options: Options) -> Result<Self, ArchiveError> {
        let mut writer = Self {
            sink,
            options,
            key: None,
            users: Vec::new(),
        };
        if let Some(protection) = &writer.options.protection {
            let (key, envelope) = DataKey::create(protection, &*writer.options.entropy)
                .map_err(|fault| ArchiveError::file(layout::ENCRYPTION, fault))?;
            writer.json(layout::ENCRYPTION, &envelope)?;
            writer.whole(layout::README, README.as_bytes())?;
            writer.key = Some(key);
        }
        Ok(writer)
    }

    /// Begins a user.
    ///
    /// # Errors
    /// If the id is no name of a folder.
    pub fn user(
        &mut self,
        user_id: &str,
        username: &str,
    ) -> Result<UserWriter<'_, S>, ArchiveError> {
        if !layout::is_safe(user_id) {
            return Err(ArchiveError::file(layout::user(user_id), Fault::UnsafeName));
        }
        Ok(UserWriter {
            manifest: UserManifest {
                user_id: user_id.to_owned(),
                username: username.to_owned(),
                ..UserManifest::default()
            },
            archive: self,
            current: None,
            present: None,
            counts: BTreeMap::new(),
            attachments: 0,
        })
    }

    /// Writes the rows of the platform.
    ///
    /// # Errors
    /// Of writing.
    pub fn platform(&mut self, rows: &[Value]) -> Result<(), ArchiveError> {
        let path = layout::lines(layout::PLATFORM, self.options.compressed);
        let failed = |error| ArchiveError::io(Place::file(&path), error);
        let mut file = self.lines(&path)?;
        for row in rows {
            writeln!(file, "{row}").map_err(failed)?;
        }
        file.finish().map_err(failed)
    }

    /// Completes the archive.
    ///
    /// # Errors
    /// Of writing.
    pub fn finish(mut self, finish: Finish) -> Result<S, ArchiveError> {
        let manifest = Manifest {
            format_version: FORMAT,
            core_version: finish.core_version,
            config: finish.config,
            backup_type: "full".to_owned(),
            backup_timestamp: Value::from(finish.at.0),
            snapshot_before: Value::from(finish.began.as_seconds()),
            users: std::mem::take(&mut self.users),
            compressed: Some(self.options.compressed),
        };
        self.json(layout::MANIFEST, &manifest)?;
        Ok(self.sink)
    }

    fn file(&mut self, path: &str) -> Result<Box<dyn SinkFile>, ArchiveError> {
        let failed = |error| ArchiveError::io(Place::file(path), error);
        let file = self.sink.create(path).map_err(failed)?;
        Ok(match &self.key {
            Some(key) => {
                Box::new(Encrypt::create(file, key, &*self.options.entropy).map_err(failed)?)
            }
            None => file,
        })
    }

    fn lines(&mut self, path: &str) -> Result<Box<dyn SinkFile>, ArchiveError> {
        let file = self.file(path)?;
        Ok(if self.options.compressed {
            Box::new(Gzip(GzEncoder::new(file, Compression::default())))
        } else {
            file
        })
    }

    fn whole(&mut self, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let mut file = self.file(path)?;
        file.write_all(bytes)
            .and_then(|()| file.finish())
            .map_err(|error| ArchiveError::io(Place::file(path), error))
    }

    fn json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| ArchiveError::io(Place::file(path), error.into()))?;
        self.whole(path, &bytes)
    }
}

struct Gzip(GzEncoder<Box<dyn SinkFile>>);

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl SinkFile for Gzip {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.finish()?.finish()
    }
}

/// The file that records are written to.
struct Present {
    path: String,
    file: Box<dyn SinkFile>,
    bytes: u64,
}

/// A user on the way out.
pub struct UserWriter<'a, S> {
    archive: &'a mut ArchiveWriter<S>,
    manifest: UserManifest,
    /// The section that is being written.
    current: Option<Section>,
    present: Option<Present>,
    counts: BTreeMap<Section, u64>,
    attachments: u64,
}

impl<S> std::fmt::Debug for UserWriter<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserWriter")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl<S: Sink> UserWriter<'_, S> {
    /// Begins a section, which may stay empty; the one before is complete then.
    ///
    /// # Errors
    /// If it was written already, or of writing.
    pub fn section(&mut self, section: Section) -> Result<(), ArchiveError> {
        self.close()?;
        if self.counts.contains_key(&section) {
            let place = Place::file(layout::user(&self.manifest.user_id)).field(section.name());
            return Err(ArchiveError::new(place, Fault::Closed));
        }
        self.counts.insert(section, 0);
        self.current = Some(section);
        if !section.is_chunked() {
            self.present = Some(self.open(section)?);
        }
        Ok(())
    }

    /// Writes a record of the present or the next section: a JSON object without line breaks.
    ///
    /// # Errors
    /// If another section was begun since, or of writing.
    pub fn record(&mut self, section: Section, json: &[u8]) -> Result<(), ArchiveError> {
        if self.current != Some(section) {
            self.section(section)?;
        }
        let mut present = match self.present.take() {
            Some(present) => present,
            None => self.open(section)?,
        };
        present
            .file
            .write_all(json)
            .and_then(|()| present.file.write_all(b"\n"))
            .map_err(|error| ArchiveError::io(Place::file(&present.path), error))?;
        let length = u64::try_from(json.len()).unwrap_or(u64::MAX);
        present.bytes = present.bytes.saturating_add(length).saturating_add(1);
        let count = self.counts.entry(section).or_default();
        *count = count.saturating_add(1);
        if section.is_chunked() && present.bytes >= self.archive.options.chunk_bytes {
            finish(present)?;
        } else {
            self.present = Some(present);
        }
        Ok(())
    }

    fn open(&mut self, section: Section) -> Result<Present, ArchiveError> {
        let name = section.name();
        let mut folder = layout::user(&self.manifest.user_id);
        if let Some(inner) = section.folder() {
            folder = format!("{folder}/{inner}");
        }
        let compressed = self.archive.options.compressed;
        let path = if section.is_chunked() {
            let list = self.manifest.chunks.entry(name.to_owned()).or_default();
            let base = format!("{name}-{:04}", list.len().saturating_add(1));
            let file = layout::lines(&base, compressed);
            list.push(file.clone());
            format!("{folder}/{file}")
        } else {
            layout::lines(&format!("{folder}/{name}"), compressed)
        };
        Ok(Present {
            file: self.archive.lines(&path)?,
            path,
            bytes: 0,
        })
    }

    fn close(&mut self) -> Result<(), ArchiveError> {
        self.present.take().map_or(Ok(()), finish)
    }

    /// Begins the bytes of an attachment.
    ///
    /// # Errors
    /// If the id is no name of a file, or of writing.
    pub fn attachment(&mut self, id: &str) -> Result<AttachmentWriter, ArchiveError> {
        let path = layout::attachment(&self.manifest.user_id, id);
        if !layout::is_safe(id) {
            return Err(ArchiveError::file(path, Fault::UnsafeName));
        }
        self.attachments = self.attachments.saturating_add(1);
        Ok(AttachmentWriter {
            file: self.archive.file(&path)?,
            path,
        })
    }

    /// Says in the manifest how much is not there because it is damaged.
    pub const fn left_out(&mut self, damaged: u64) {
        self.manifest.damaged_left_out = damaged;
    }

    /// Completes the user.
    ///
    /// # Errors
    /// Of writing.
    pub fn finish(mut self, at: Millis) -> Result<UserManifest, ArchiveError> {
        self.close()?;
        let mut manifest = self.manifest;
        manifest.backup_timestamp = Value::from(at.0);
        for section in Section::ALL.iter().filter(|s| **s != Section::Account) {
            let count = self.counts.get(section).copied().unwrap_or(0);
            manifest
                .stats
                .insert(section.name().to_owned(), Value::from(count));
        }
        manifest
            .stats
            .insert("attachments".to_owned(), Value::from(self.attachments));
        let path = layout::user_manifest(&manifest.user_id);
        self.archive.json(&path, &manifest)?;
        self.archive.users.push(manifest.clone());
        Ok(manifest)
    }
}

fn finish(present: Present) -> Result<(), ArchiveError> {
    let Present { file, path, .. } = present;
    file.finish()
        .map_err(|error| ArchiveError::io(Place::file(path), error))
}

/// The bytes of an attachment on their way out.
pub struct AttachmentWriter {
    file: Box<dyn SinkFile>,
    path: String,
}

impl std::fmt::Debug for AttachmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachmentWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl AttachmentWriter {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Of writing.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.file
            .write_all(bytes)
            .map_err(|error| ArchiveError::io(Place::file(&self.path), error))
    }

    /// Completes it.
    ///
    /// # Errors
    /// Of writing.
    pub fn finish(self) -> Result<(), ArchiveError> {
        self.file
            .finish()
            .map_err(|error| ArchiveError::io(Place::file(self.path), error))
    }
}
