//! A user's data: what it is made of, how it is written, and what an engine must do.
//!
//! One primitive writes ([`transaction::Transaction::put`]); what it decides is a set of
//! [`mutation::Mutation`]s, plain final states, which is journaled, applied and fed to listeners,
//! and later sent to replicas. Nothing is written any other way.
//!
//! **Invariant:** facades and the kernel see documents and index ranges, never SQL; this crate
//! knows no protocol and no document's meaning.

pub mod blob;
pub mod document;
pub mod engine;
pub mod error;
pub mod index;
pub mod journal;
pub mod memory;
pub mod mutation;
pub mod room;
pub mod suite;
pub mod transaction;
pub mod users;

pub use blob::{BlobHash, BlobStore, Blobs};
pub use document::{Document, Kind, Rev, Seq};
pub use engine::{Engine, Reader, UserDatabase, View};
pub use error::StoreError;
pub use index::{Entry, Index, Scan};
pub use journal::{Journal, Position};
pub use mutation::{Commit, Mutation};
pub use room::Room;
pub use transaction::{Base, PutError, Transaction, Write};
pub use users::{Change, Users, Writer};
