//! What `import` and `export` share: where an archive is, and its key.

pub(super) mod check;
pub(super) mod folder;
pub(super) mod report;

use std::path::Path;

use anyhow::Context as _;
use homecore_types::Secret;

/// So many users, as a sentence begins with them.
pub(super) fn users_were(count: usize) -> String {
    match count {
        1 => "1 user was".to_owned(),
        count => format!("{count} users were"),
    }
}

/// Reads a passphrase: the first line of a file.
pub(super) fn passphrase(file: &Path) -> anyhow::Result<Secret> {
    let text = read(file)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(users_were(0), "0 users were");
        assert_eq!(users_were(1), "1 user was");
        assert_eq!(users_were(2), "2 users were");
    }
}
