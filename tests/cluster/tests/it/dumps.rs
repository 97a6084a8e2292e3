//! A core that crashes leaves nothing of its memory behind.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use anyhow::ensure;
use homecore_harness::{Core, CoreOptions, Process};

use crate::{PATIENCE, skipped};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_writes_no_memory() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    // Something else, to know that this system dumps what crashes.
    let mut sleep = Command::new("sleep");
    sleep.arg("600").current_dir(dir.path());
    let mut other = Process::start("other", sleep, dir.path())?;
    let writes = match other.crash(PATIENCE).await {
        Ok(status) => status.core_dumped(),
        Err(error) => {
            skipped("a_crash_writes_no_memory", &format!("{error:#}"));
            return Ok(());
        }
    };
    if !writes {
        skipped("a_crash_writes_no_memory", "this system writes no dumps");
        return Ok(());
    }
    let mut core = Core::prepare(
        dir.path(),
        CoreOptions::founder("core-a", "the-key-of-the-dumps-test"),
    )?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    let status = core.process()?.crash(PATIENCE).await?;
    ensure!(status.signal().is_some(), "{status}");
    ensure!(!status.core_dumped(), "its memory was written");
    Ok(())
}
