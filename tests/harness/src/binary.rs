//! Where the `homecore` binary is. It is looked for, not built: a build started by a test would
//! wait for the lock that the test run itself holds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// Names the binary to test, before any other place.
pub const BINARY_VARIABLE: &str = "HOMECORE_BIN";

/// The binary: `HOMECORE_BIN`, or the one in the target directory of the running test, of the same
/// profile before others.
///
/// # Errors
/// When there is none; the message names the command that builds it.
pub fn find_binary() -> anyhow::Result<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a tool of tests, with no configuration"
    )]
    if let Ok(named) = std::env::var(BINARY_VARIABLE) {
        let path = PathBuf::from(named);
        ensure!(
            path.is_file(),
            "{BINARY_VARIABLE} is {}, which is no file",
            path.display()
        );
        // Cores run in directories of their own.
        return path
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", path.display()));
    }
    let exe = std::env::current_exe().context("cannot tell where this program is")?;
    match find_beside(&exe) {
        Some(path) => Ok(path),
        None => bail!(
            "there is no homecore binary beside {}: build it with `cargo build -p homecore`, or name it in {BINARY_VARIABLE}",
            exe.display()
        ),
    }
}

/// `target/<profile>/deps/test-1234` and `target/<profile>/program` both have the binary in
/// `target/<profile>/`.
fn find_beside(exe: &Path) -> Option<PathBuf> {
    let directory = exe.parent()?;
    let profile = if directory.ends_with("deps") {
        directory.parent()?
    } else {
        directory
    };
    let target = profile.parent()?;
    let others = ["release", "dist", "debug"].map(|name| target.join(name));
    std::iter::once(profile.to_owned())
        .chain(others)
        .map(|directory| directory.join("homecore"))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_profile_comes_first() {
        let target = tempfile::tempdir().unwrap();
        let at = |path: &str| target.path().join(path);
        for directory in ["debug/deps", "release"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        let test = at("debug/deps/test-12");
        assert_eq!(find_beside(&test), None);
        std::fs::write(at("release/homecore"), "").unwrap();
        assert_eq!(find_beside(&test), Some(at("release/homecore")));
        std::fs::write(at("debug/homecore"), "").unwrap();
        assert_eq!(find_beside(&test), Some(at("debug/homecore")));
        assert_eq!(find_beside(&at("debug/bench")), Some(at("debug/homecore")));
    }
}
