//! What `import` and `export` share: where an archive is, and its key.

pub(super) mod check;
pub(super) mod folder;
pub(super) mod plan;
pub(super) mod report;

use std::path::Path;

use anyhow::{Context as _, ensure};
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
    let line = text.lines().next().unwrap_or_default();
    ensure!(
        !line.is_empty(),
        "the first line of {}, which is the passphrase, is empty",
        file.display()
    );
    Ok(Secret::new(line))
}

/// Reads a text file.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder that goes with it.
    pub(super) struct Scratch(PathBuf);

    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            let name = format!("homecore-archives-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            drop(std::fs::remove_dir_all(&path));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(super) fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(users_were(0), "0 users were");
        assert_eq!(users_were(1), "1 user was");
        assert_eq!(users_were(2), "2 users were");
    }

    #[test]
    fn an_empty_passphrase_is_none() {
        let scratch = Scratch::new("passphrase");
        let file = scratch.at("file");
        for (text, is_taken) in [("", false), ("\n", false), ("\nx", false), ("x\ny", true)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(passphrase(&file).is_ok(), is_taken, "{text:?}");
        }
    }
}
