//! Reading an archive.

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::crypt::{DataKey, Decrypt, Envelope, Unlock};
use crate::error::{ArchiveError, Fault, Place};
use crate::layout::{self, Section};
use crate::lines::{Lines, Records};
use crate::manifest::{FORMAT, Manifest, UserManifest};
use crate::{FOLDER_FILES_MAX, MANIFEST_BYTES_MAX, Source, USERS_MAX};

/// An archive that is complete and can be opened.
#[derive(Debug)]
pub struct Archive<S> {
    source: S,
    key: Option<DataKey>,
    manifest: Manifest,
}

impl<S: Source> Archive<S> {
    /// Opens an archive.
    ///
    /// # Errors
    /// If it is incomplete, of another format, incremental, or cannot be decrypted.
    pub fn open(source: S, unlock: &Unlock) -> Result<Self, ArchiveError> {
        let at = |path: &str, fault| ArchiveError::file(path, fault);
        let mut archive = Self {
            source,
            key: None,
            manifest: empty(),
        };
        if let Some(envelope) = archive.json::<Envelope>(layout::ENCRYPTION)? {
            let key =
                DataKey::open(&envelope, unlock).map_err(|fault| at(layout::ENCRYPTION, fault))?;
            archive.key = Some(key);
        }
        let manifest: Manifest = archive
            .json(layout::MANIFEST)?
            .ok_or_else(|| at(layout::MANIFEST, Fault::Missing))?;
        let unsupported = |what: String| Err(at(layout::MANIFEST, Fault::Unsupported(what)));
        if manifest.format_version != FORMAT {
            return unsupported(format!("format {}", manifest.format_version));
        }
        if manifest.backup_type == "incremental" {
            return unsupported(
                "an incremental archive holds only what changed; make a full one".to_owned(),
            );
        }
        if manifest.users.len() > USERS_MAX {
            let fault = Fault::TooLarge {
                most: u64::try_from(USERS_MAX).unwrap_or(u64::MAX),
                of: "users",
            };
            return Err(at(layout::MANIFEST, fault));
        }
        archive.manifest = manifest;
        Ok(archive)
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Opens a user of [`Manifest::users`]. The user's own manifest counts, if there is one.
    ///
    /// # Errors
    /// If the id is none, or the manifest is damaged.
    pub fn user(&self, listed: &UserManifest) -> Result<UserArchive<'_, S>, ArchiveError> {
        if !layout::is_safe(&listed.user_id) {
            let place = Place::file(layout::MANIFEST).field("userId");
            return Err(ArchiveError::new(place, Fault::UnsafeName));
        }
        let path = layout::user_manifest(&listed.user_id);
        let manifest = match self.json::<UserManifest>(&path)? {
            Some(own) if own.user_id != listed.user_id || own.username != listed.username => {
                let fault = Fault::Field("is not the user that manifest.json names");
                return Err(ArchiveError::new(Place::file(path).field("userId"), fault));
            }
            Some(own) => own,
            None => return Err(ArchiveError::file(path, Fault::Missing)),
        };
        Ok(UserArchive {
            archive: self,
            manifest,
        })
    }

    /// The rows of the platform that it holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn platform(&self) -> Result<Records<'_>, ArchiveError> {
        self.section(layout::PLATFORM, None)
    }

    fn section(
        &self,
        base: &str,
        expected: Option<(u64, Place)>,
    ) -> Result<Records<'_>, ArchiveError> {
        let file = self.lines_file(base)?;
        Ok(Records::new(
            file.into_iter().collect(),
            expected,
            Box::new(|path| self.lines(path)),
        ))
    }

    /// Which of the two names a file of lines has.
    fn lines_file(&self, base: &str) -> Result<Option<String>, ArchiveError> {
        let first = self.manifest.compressed != Some(false);
        for compressed in [first, !first] {
            let path = layout::lines(base, compressed);
            let there = self.source.open(&path);
            if there
                .map_err(|error| ArchiveError::io(Place::file(&path), error))?
                .is_some()
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn lines(&self, path: &str) -> Result<Lines, ArchiveError> {
        let reader = self
            .open_file(path)?
            .ok_or_else(|| ArchiveError::file(path, Fault::Missing))?;
        let is_gzip = std::path::Path::new(path)
            .extension()
            .is_some_and(|end| end == "gz");
        let reader: Box<dyn Read + Send> = if is_gzip {
            Box::new(flate2::read::MultiGzDecoder::new(reader))
        } else {
            reader
        };
        Ok(Lines::new(path.to_owned(), reader))
    }

    /// Opens a file, decrypted.
    fn open_file(&self, path: &str) -> Result<Option<Box<dyn Read + Send>>, ArchiveError> {
        let failed = |error| ArchiveError::io(Place::file(path), error);
        let Some(file) = self.source.open(path).map_err(failed)? else {
            return Ok(None);
        };
        Ok(Some(match &self.key {
            Some(key) if path != layout::ENCRYPTION => {
                Box::new(Decrypt::open(file, key).map_err(failed)?)
            }
            _ => file,
        }))
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ArchiveError> {
        let Some(file) = self.open_file(path)? else {
            return Ok(None);
        };
        let most = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| ArchiveError::io(Place::file(path), error))?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            let fault = Fault::TooLarge { most, of: "bytes" };
            return Err(ArchiveError::file(path, fault));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let line = u64::try_from(error.line()).unwrap_or(u64::MAX);
            let fault = match error.classify() {
                serde_json::error::Category::Eof => Fault::Truncated,
                serde_json::error::Category::Data => {
                    Fault::Damaged("it has not the fields of its kind".to_owned())
                }
                _ => Fault::NotAnObject {
                    column: error.column(),
                },
            };
            ArchiveError::new(Place::line(path, line), fault)
        })
    }
}

fn empty() -> Manifest {
    Manifest {
        format_version: 0,
        core_version: String::new(),
        config: crate::Config::default(),
        backup_type: String::new(),
        backup_timestamp: serde_json::Value::Null,
        snapshot_before: serde_json::Value::Null,
        users: Vec::new(),
        compressed: None,
    }
}

/// One user of an archive.
#[derive(Debug)]
pub struct UserArchive<'a, S> {
    archive: &'a Archive<S>,
    manifest: UserManifest,
}

impl<S: Source> UserArchive<'_, S> {
    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &UserManifest {
        &self.manifest
    }

    /// The records of a section; none if the archive does not have it. That the manifest's count
    /// is met is checked after the last.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn records(&self, section: Section) -> Result<Records<'_>, ArchiveError> {
        let id = &self.manifest.user_id;
        let expected = self.manifest.count(section).map(|count| {
            let place = Place::file(layout::user_manifest(id)).field(section.name());
            (count, place)
        });
        if section.is_chunked() {
            let archive = self.archive;
            return Ok(Records::new(
                self.chunks(section)?,
                expected,
                Box::new(move |path| archive.lines(path)),
            ));
        }
        let folder = section
            .folder()
            .map(|folder| format!("/{folder}"))
            .unwrap_or_default();
        let base = format!("{}{folder}/{}", layout::user(id), section.name());
        // No manifest counts it, for where there is an account there is one.
        let expected = match (section, self.archive.lines_file(&base)?) {
            (Section::Account, file) => file.map(|path| (1, Place::file(path))),
            _ => expected,
        };
        self.archive.section(&base, expected)
    }

    /// The files of a section that may have several.
    fn chunks(&self, section: Section) -> Result<Vec<String>, ArchiveError> {
        let name = section.name();
        let folder = format!("{}/{name}", layout::user(&self.manifest.user_id));
        if let Some(files) = self
            .manifest
            .chunks
            .get(name)
            .filter(|list| !list.is_empty())
        {
            if !files.iter().all(|file| layout::is_safe(file)) {
                let place = Place::file(layout::user_manifest(&self.manifest.user_id));
                return Err(ArchiveError::new(place.field("chunks"), Fault::UnsafeName));
            }
            return Ok(files
                .iter()
                .map(|file| format!("{folder}/{file}"))
                .collect());
        }
        let prefix = format!("{name}-");
        let files = self.list(&folder)?;
        Ok(files
            .into_iter()
            .filter(|file| file.starts_with(&prefix))
            .filter(|file| file.ends_with(".jsonl") || file.ends_with(".jsonl.gz"))
            .map(|file| format!("{folder}/{file}"))
            .collect())
    }

    /// Opens the bytes of an attachment; none if the archive does not have them.
    ///
    /// # Errors
    /// If the id is no name of a file, or it cannot be opened.
    pub fn attachment(&self, id: &str) -> Result<Option<Box<dyn Read + Send>>, ArchiveError> {
        let path = layout::attachment(&self.manifest.user_id, id);
        if !layout::is_safe(id) {
            return Err(ArchiveError::file(path, Fault::UnsafeName));
        }
        self.archive.open_file(&path)
    }

    /// The ids of all attachments that it has bytes of.
    ///
    /// # Errors
    /// If the folder cannot be read, or there are too many.
    pub fn attachments(&self) -> Result<Vec<String>, ArchiveError> {
        self.list(&format!(
            "{}/attachments",
            layout::user(&self.manifest.user_id)
        ))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let files = self
            .archive
            .source
            .list(folder)
            .map_err(|error| ArchiveError::io(Place::file(folder), error))?;
        if files.len() > FOLDER_FILES_MAX {
            let fault = Fault::TooLarge {
                most: u64::try_from(FOLDER_FILES_MAX).unwrap_or(u64::MAX),
                of: "files in a folder",
            };
            return Err(ArchiveError::file(folder, fault));
        }
        Ok(files)
    }
}

/// What reading the bytes of an attachment failed of.
impl ArchiveError {
    /// A failure of reading an attachment's bytes.
    #[must_use]
    pub fn attachment(user: &str, id: &str, error: std::io::Error) -> Self {
        Self::io(Place::file(layout::attachment(user, id)), error)
    }
}
