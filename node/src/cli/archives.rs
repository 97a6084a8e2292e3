//! What `import` and `export` share: where an archive is, and its key.

pub(super) mod check;
pub(super) mod folder;
pub(super) mod report;

use std::path::Path;

use anyhow::Context as _;
use homecore_types::Secret;

/// Reads a passphrase: the first line of a file.
pub(super) fn passphrase(file: &Path) -> anyhow::Result<Secret> {
    let text = read(file)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
