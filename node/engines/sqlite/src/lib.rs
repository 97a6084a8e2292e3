//! Users' databases and the journal in SQLite: the default engine of a core.
//!
//! ```text
//! <root>/users/<two hex digits>/<user id>/data.sqlite     a user, and all of the user
//! <root>/users/.making/   users on their way in           emptied at start
//! <root>/users/.removed/  users on their way out          emptied at start
//! <root>/users/.uploads/   blobs on their way in         the blob engine's
//! <root>/users/.lock      held while a process has the folder open
//! ```
//!
//! A user's folder appears and disappears by one rename, so a crash leaves all of it or nothing.
//!
//! **Invariant:** no SQL leaves this crate, no statement reads a whole table (`schema/plans.txt`
//! says how each is run) but those of `check`, which no request runs, and nothing here is called from an async worker but short reads of users
//! who were read lately (`Users::read_short`).

mod check;
mod database;
mod durable;
mod engine;
mod fault;
mod files;
mod journal;
mod open_files;
mod reader;
mod schema;
mod view;

pub use check::Rebuilt;
pub use durable::Durability;
pub use engine::{SqliteEngine, SqliteOptions};
pub use journal::SqliteJournal;
