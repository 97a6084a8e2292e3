//! The core as it would be if it synced nothing: the same binary with `fsync` and its like replaced
//! by functions that do nothing and say that they succeeded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{find_binary, run};

/// For the compiler.
const TIMEOUT: Duration = Duration::from_secs(60);

const SOURCE: &str = "\
int fsync(int file) { (void)file; return 0; }
int fdatasync(int file) { (void)file; return 0; }
int syncfs(int file) { (void)file; return 0; }
int msync(void *at, unsigned long size, int flags)
{ (void)at; (void)size; (void)flags; return 0; }
int sync_file_range(int file, long long from, long long size, unsigned flags)
{ (void)file; (void)from; (void)size; (void)flags; return 0; }
";

/// Makes a program in `dir` that runs the core so. `Err` is why that is not possible here.
pub(crate) async fn binary(dir: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    let (source, library) = (dir.join("swallow.c"), dir.join("swallow.so"));
    std::fs::write(&source, SOURCE)?;
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-fno-builtin", "-o"])
        .arg(&library)
        .arg(&source);
    let output = match run(compile, TIMEOUT).await {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("there is no C compiler: {error:#}"))),
    };
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = dir.join("homecore-that-syncs-nothing");
    let script = format!(
        "#!/bin/sh\nLD_PRELOAD={} exec {} \"$@\"\n",
        library.to_str().context("a path that is no text")?,
        find_binary()?.to_str().context("a path that is no text")?,
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(Ok(path))
}
