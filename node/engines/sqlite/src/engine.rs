//! Users' folders: made, found, listed and removed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homecore_store::engine::Reader;
use homecore_store::{Engine, Position, StoreError, UserDatabase};
use homecore_types::UserId;
use rusqlite::Connection;
use rustix::fs::FlockOperation;

use crate::check::Rebuilt;
use crate::database::SqliteDatabase;
use crate::durable::{Durability, Durable};
use crate::open_files::{Held, OpenFiles};
use crate::reader::SqliteReader;
use crate::{check, fault, files, schema};

/// The file in a user's folder.
const DATABASE: &str = "data.sqlite";
/// Where users' folders are built.
const MAKING: &str = ".making";
/// Where users' folders are taken apart.
const REMOVED: &str = ".removed";
/// Where blobs are received.
const STAGING: &str = ".uploads";
/// Held by the process that has the folder open.
const LOCK: &str = ".lock";

/// What a connection takes. There may be thousands.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Pages that a connection keeps, in bytes. The system's cache is behind it.
    pub cache_bytes: u32,
    /// How much of a database is mapped into memory; 0 for none. It spares copies, but a file
    /// that was cut short, or a bad sector, then ends the process instead of failing a request.
    pub mmap_bytes: u32,
    /// What a write-ahead log may keep of the disk when it is empty.
    pub log_bytes_kept: u32,
    /// How a checkpoint makes users' files durable.
    pub durability: Durability,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 512 * 1024,
            mmap_bytes: 0,
            // What a log has when SQLite empties it, so that one that is written all the time is not cut
            // and made longer again and again.
            log_bytes_kept: 4608 * 1024,
            durability: Durability::default(),
        }
    }
}

/// A user's database that was opened. The connection is closed before the file is let go.
pub(crate) struct Handle {
    pub(crate) connection: Connection,
    /// Whose it is, for errors.
    pub(crate) what: String,
    pub(crate) held: Held,
}

/// Users' databases, each a SQLite file in the user's folder.
#[derive(Debug)]
pub struct SqliteEngine {
    users: PathBuf,
    options: SqliteOptions,
    durable: Arc<Durable>,
    files: Arc<OpenFiles>,
    removed: AtomicU64,
    _lock: File,
}

impl SqliteEngine {
    /// Opens the folder, makes it if need be, and clears away what a crash left half made or half
    /// removed.
    ///
    /// # Errors
    /// If another process has it open, or of the disk.
    pub fn open(root: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let users = root.join("users");
        let preparing = || format!("preparing the folder {}", users.display());
        let prepare = || -> io::Result<()> {
            files::ensure_path(root)?;
            for folder in [users.clone(), users.join(MAKING), users.join(REMOVED)] {
                files::ensure_folder(&folder)?;
            }
            Ok(())
        };
        prepare().map_err(fault::io(preparing()))?;
        let lock = files::create_file(&users.join(LOCK)).map_err(fault::io(preparing()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let doing = format!(
                "taking {} (is another homecore running on it?)",
                users.display()
            );
            StoreError::engine(doing, io::Error::from(error))
        })?;
        for folder in [MAKING, REMOVED] {
            files::empty_folder(&users.join(folder)).map_err(fault::io(preparing()))?;
        }
        let files = Arc::default();
        let durable = Durable::new(options.durability, &users, &files);
        let durable = durable.map_err(fault::io(preparing()))?;
        Ok(Self {
            users,
            options,
            durable: Arc::new(durable),
            files,
            removed: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// A user's folder, whether it is there or not.
    #[must_use]
    pub fn folder(&self, user: &UserId) -> PathBuf {
        self.users.join(shard(user)).join(user.as_str())
    }

    /// A folder of this file system, for what is on its way into users' folders. It is nobody's, and
    /// not made here.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.users.join(STAGING)
    }

    /// Makes all indexes of a user anew from the documents, all or nothing: what to do where
    /// [`homecore_store::View::check`] finds that they do not agree. Nobody else has the user open.
    /// Where something is lost with them it is done only if `accept_loss`; damaged documents are set aside then,
    /// in a table that nothing else reads. Not at all where a newer release wrote something, no account would
    /// be left, or a page belongs to two things: see [`Rebuilt::refused`].
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], or of the disk.
    pub fn rebuild_indexes(&self, user: &UserId, accept_loss: bool) -> Result<Rebuilt, StoreError> {
        let mut handle = self.connect(user)?;
        check::rebuild(&mut handle.connection, &handle.what, accept_loss)
    }

    pub(crate) fn connect(&self, user: &UserId) -> Result<Handle, StoreError> {
        if !self.contains(user)? {
            return Err(StoreError::UnknownUser { user: user.clone() });
        }
        let path = self.folder(user).join(DATABASE);
        let what = format!("the database of user {user}");
        let held = self.files.hold(&path);
        let held = held.map_err(fault::io(format!("opening {what}")))?;
        let connection = schema::connect(&path, &self.options, &what)?;
        Ok(Handle {
            connection,
            what,
            held,
        })
    }

    /// Builds a database where nobody looks, durable but for its folder's name.
    fn build(&self, folder: &Path, user: &UserId, applied: Position) -> Result<(), StoreError> {
        let doing = format!("making the database of user {user}");
        let path = folder.join(DATABASE);
        files::ensure_folder(folder).map_err(fault::io(doing.clone()))?;
        let file = files::create_file(&path).map_err(fault::io(doing.clone()))?;
        let position: i64 = fault::number(applied.0, "a position")?;
        let build = || -> rusqlite::Result<()> {
            let connection = Connection::open(&path)?;
            // Nothing here needs to survive a crash before all of it is there.
            connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
            connection.execute_batch("BEGIN")?;
            connection.execute_batch(schema::TABLES)?;
            connection.execute(schema::STATE_INSERT, [position])?;
            connection.pragma_update(None, "user_version", schema::FORMAT)?;
            connection.execute_batch("COMMIT")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.close().map_err(|(_connection, error)| error)
        };
        build().map_err(fault::sql(&doing))?;
        file.sync_all()
            .and_then(|()| files::sync_folder(folder))
            .map_err(fault::io(doing))
    }
}

/// Spreads users over 256 folders: two hex digits of FNV-1a of the id. It is on disk: never
/// change it.
fn shard(user: &UserId) -> String {
    let hash = user
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{:02x}", (hash ^ (hash >> 32)) & 0xFF)
}

impl Engine for SqliteEngine {
    fn create(
        &self,
        user: &UserId,
        applied: Position,
    ) -> Result<Box<dyn UserDatabase>, StoreError> {
        let folder = self.folder(user);
        if self.contains(user)? {
            return Err(StoreError::UserExists { user: user.clone() });
        }
        let doing = format!("making the folder of user {user}");
        let making = self.users.join(MAKING).join(user.as_str());
        remove_if_any(&making).map_err(fault::io(doing.clone()))?;
        self.build(&making, user, applied)?;
        let place = || -> io::Result<()> {
            let shard = self.users.join(shard(user));
            files::ensure_folder(&shard)?;
            std::fs::rename(&making, &folder)?;
            files::sync_folder(&shard)
        };
        place().map_err(fault::io(doing))?;
        self.open(user)
    }

    fn open(&self, user: &UserId) -> Result<Box<dyn UserDatabase>, StoreError> {
        let handle = self.connect(user)?;
        let durable = Arc::clone(&self.durable);
        Ok(Box::new(SqliteDatabase::new(handle, durable)?))
    }

    fn open_reader(&self, user: &UserId) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(SqliteReader::new(self.connect(user)?)?))
    }

    fn contains(&self, user: &UserId) -> Result<bool, StoreError> {
        self.folder(user)
            .try_exists()
            .map_err(fault::io(format!("looking for the folder of user {user}")))
    }

    fn remove(&self, user: &UserId) -> Result<(), StoreError> {
        let doing = || format!("removing the folder of user {user}");
        if !self.contains(user)? {
            return Ok(());
        }
        // The folder of removed users was empty at start: a number makes the name its own.
        let number = self.removed.fetch_add(1, Ordering::Relaxed);
        let removed = self.users.join(REMOVED).join(format!("{user}.{number}"));
        let remove = || -> io::Result<()> {
            std::fs::rename(self.folder(user), &removed)?;
            self.files.forget(&self.folder(user).join(DATABASE));
            files::sync_folder(&self.users.join(shard(user)))?;
            files::sync_folder(&self.users.join(REMOVED))
        };
        remove().map_err(fault::io(doing()))?;
        // It is gone for good from here on; what is left of it goes at the next start at latest.
        std::fs::remove_dir_all(&removed).map_err(fault::io(doing()))
    }

    fn users(&self) -> Result<Vec<UserId>, StoreError> {
        let list = || -> io::Result<Vec<UserId>> {
            let mut users = Vec::new();
            for shard in std::fs::read_dir(&self.users)? {
                let shard = shard?;
                if shard.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                for folder in std::fs::read_dir(shard.path())? {
                    match folder?.file_name().into_string().map(UserId::parse) {
                        Ok(Ok(user)) => users.push(user),
                        Ok(Err(_)) | Err(_) => {
                            tracing::warn!(shard = ?shard.file_name(), "something is no user's folder");
                        }
                    }
                }
            }
            users.sort();
            Ok(users)
        };
        list().map_err(fault::io(format!(
            "listing users in {}",
            self.users.display()
        )))
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.durable.flush().map_err(fault::io(format!(
            "making users in {} durable",
            self.users.display()
        )))
    }
}

fn remove_if_any(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
