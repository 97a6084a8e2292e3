//! What SQLite and the file system report, as errors of the store.

use std::io;

use homecore_store::StoreError;
use rusqlite::ErrorCode;

/// Wraps a failure of SQLite with what was being done.
pub(crate) fn sql(doing: &str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupted {
            what: format!("{doing}: {error}"),
        },
        Some(ErrorCode::DiskFull) => StoreError::Full {
            doing: doing.to_owned(),
        },
        _ => StoreError::engine(doing, error),
    }
}

/// Wraps a failure of the file system with what was being done.
pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::file_system(doing, error)
}

/// A number from or for SQLite, which has only signed ones, and none of ours is negative.
pub(crate) fn number<N: TryFrom<F>, F: Copy + std::fmt::Display>(
    number: F,
    what: &str,
) -> Result<N, StoreError> {
    N::try_from(number).map_err(|_out_of_range| StoreError::Corrupted {
        what: format!("{what} is {number}"),
    })
}
