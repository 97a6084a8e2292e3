//! A log that cannot be written, as on a full disk, is no reason to stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use homecore_harness::{Core, CoreOptions, Http, find_binary, run};

use crate::PATIENCE;
use crate::people::Person;

#[tokio::test(flavor = "multi_thread")]
async fn a_core_serves_and_stops_where_nothing_can_be_logged() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("homecore");
    let binary = find_binary()?;
    let text = format!(
        "#!/bin/sh\nexec '{}' \"$@\" >/dev/full 2>/dev/full\n",
        binary.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    let mut options = CoreOptions::founder("core-a", "the-key-of-the-logs-test");
    options.binary = Some(script.clone());
    options.set.push("log.level=trace".to_owned());
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &core.url(), "writer").await?;
    person.write(&http, 1).await?.expect(201)?;
    core.stop(PATIENCE).await?;
    // Commands fail as they do where they can say why.
    for arguments in [&["completions", "bash"][..], &["status"], &["openapi"]] {
        let mut command = Command::new(&script);
        command.args(arguments).current_dir(dir.path());
        let output = run(command, Duration::from_secs(60)).await?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
    }
    Ok(())
}
