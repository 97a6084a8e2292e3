//! What `import` and `export` share: where an archive is, and its key.

pub(super) mod check;
pub(super) mod folder;
pub(super) mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use homecore_types::Secret;

/// Reads a passphrase: the first line of a file, or the environment's.
pub(super) fn passphrase(file: Option<&PathBuf>) -> anyhow::Result<Option<Secret>> {
    let text = match file {
        Some(path) => read(path)?,
        None => match std::env::var("PRYV_BACKUP_PASSPHRASE") {
            Ok(text) => text,
            Err(_) => return Ok(None),
        },
    };
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(Secret::new(line)))
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
