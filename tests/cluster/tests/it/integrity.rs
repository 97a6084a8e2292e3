//! `homecore check-integrity` over the data of a core that ran, was killed, and was tampered with.

use std::path::Path;

use anyhow::ensure;
use homecore_harness::{Cluster, ClusterOptions, Core, Http};
use serde_json::{Value, json};

use crate::people::Person;

/// What the note says, and what it is made to say.
const WRITTEN: &[u8] = b"987654321";
const FORGED: &[u8] = b"987654322";

/// Why the command fails.
async fn failure(core: &Core, arguments: &[&str]) -> anyhow::Result<String> {
    match core.run(arguments).await {
        Ok(printed) => anyhow::bail!("nothing was found: {printed}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Replaces a text in all files of users below a directory; how often it was there.
fn forge(directory: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            count += forge(&path)?;
        } else if entry.file_type()?.is_file()
            && !entry.file_name().to_string_lossy().starts_with("journal")
        {
            let mut bytes = std::fs::read(&path)?;
            let places: Vec<usize> = bytes
                .windows(WRITTEN.len())
                .enumerate()
                .filter(|(_, window)| *window == WRITTEN)
                .map(|(place, _)| place)
                .collect();
            for place in &places {
                bytes[*place..place + FORGED.len()].copy_from_slice(FORGED);
            }
            if !places.is_empty() {
                std::fs::write(&path, bytes)?;
            }
            count += places.len();
        }
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_behind_the_core_is_found() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    person.write(&http, 987_654_321).await?.expect(201)?;
    let core = cluster.core_mut(0)?;
    let said = failure(core, &["check-integrity"]).await?;
    ensure!(said.contains("stop the core first"), "{said}");

    // What is only in the journal counts.
    core.kill()?;
    let printed = core.run(&["check-integrity", "--json"]).await?;
    let found: Value = serde_json::from_str(printed.trim())?;
    ensure!(
        found["ok"] == true && found["username"] == "anna1",
        "{found}"
    );
    ensure!(found["events"] == 1 && found["accesses"] == 1, "{found}");
    ensure!(found["mismatches"] == json!([]), "{found}");
    let printed = core.run(&["check-integrity"]).await?;
    ensure!(printed.contains("everything is in order"), "{printed}");

    ensure!(forge(&core.data())? > 0, "the note is in no file");
    let said = failure(core, &["check-integrity"]).await?;
    ensure!(said.contains("exit status: 1"), "{said}");
    ensure!(said.contains("1 users could not be read"), "{said}");
    Ok(())
}
