//! `homecore check-integrity` over the data of a core that ran, was killed, and was tampered with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, Http, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::PATIENCE;
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

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_event_is_named_and_set_aside_and_the_rest_can_be_used() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    person.write(&http, 1).await?.expect(201)?;
    let damaged = person.write(&http, 987_654_321).await?.expect(201)?;
    let damaged = damaged["event"]["id"].as_str().context("no id")?.to_owned();
    person.write_with_file(&http, 3).await?.expect(201)?;
    let core = cluster.core_mut(0)?;
    core.stop(PATIENCE).await?;
    // Out of the write-ahead log, whose end SQLite would take the damage for.
    let database = databases(&core.data())?.pop().context("no database")?;
    rusqlite::Connection::open(database)?.query_row(
        "PRAGMA wal_checkpoint(TRUNCATE)",
        [],
        |_row| Ok(()),
    )?;
    ensure!(forge(&core.data())? > 0, "the note is in no file");
    core.restart(PATIENCE).await?;

    // A list says what is wrong with it, and so does the log.
    let list = http.get(&person.url("events"), Some(&person.token)).await?;
    let told = list.expect(500)?["error"]["message"].to_string();
    ensure!(
        told.contains("damaged") && !told.contains(&damaged),
        "{told}"
    );
    ensure!(core.log_tail().contains(&damaged), "{}", core.log_tail());

    // Out of the core only if asked for, and not silently.
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out").display().to_string();
    let said = failure(core, &["export", &out]).await?;
    ensure!(
        said.contains(&damaged) && said.contains("--leave-out-damaged"),
        "{said}"
    );
    let printed = core.run(&["export", &out, "--leave-out-damaged"]).await?;
    ensure!(
        printed.contains("not whole: 1 damaged left out"),
        "{printed}"
    );
    let again = folder.path().join("again").display().to_string();
    let printed = core
        .run(&["export", &again, "--leave-out-damaged", "--json"])
        .await?;
    let told: Value = serde_json::from_str(printed.trim())?;
    ensure!(
        told["damagedLeftOut"] == 1 && told["firstLeftOut"] == json!([format!("event {damaged}")]),
        "{told}"
    );
    let printed = core.run(&["import", &out, "--dry-run"]).await?;
    ensure!(
        printed.contains("2 events")
            && printed.contains("not whole: 1 damaged were left out of it"),
        "{printed}"
    );

    // New indexes do not help; setting it aside does.
    core.stop(PATIENCE).await?;
    let said = failure(core, &["check-integrity", "--repair-indexes"]).await?;
    ensure!(said.contains("--accept-loss"), "{said}");
    let repair = ["check-integrity", "--repair-indexes", "--accept-loss"];
    let printed = core.run(&repair).await?;
    ensure!(
        printed.contains(&format!(
            "Event {damaged} is not what it was: it was set aside"
        )) && printed.contains("everything is in order"),
        "{printed}"
    );
    core.restart(PATIENCE).await?;
    ensure!(
        person.numbers(&http).await? == [1, 3],
        "others are not there"
    );
    person.write(&http, 4).await?.expect(201)?;
    ensure!(
        person.numbers(&http).await? == [1, 3, 4],
        "nothing can be written"
    );
    // What was set aside is in no archive.
    let last = folder.path().join("last").display().to_string();
    let core = cluster.core_mut(0)?;
    let printed = core.run(&["export", &last]).await?;
    ensure!(
        printed.contains("not whole: 1 set aside earlier"),
        "{printed}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_ends_an_export_or_is_left_out_and_named() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    person.write_with_file(&http, 5).await?.expect(201)?;
    let written = person.write_with_file(&http, 6).await?.expect(201)?;
    let event = written["event"]["id"].as_str().context("no id")?;
    let file = written["event"]["attachments"][0]["id"].as_str();
    let file = file.context("no file")?;
    let core = cluster.core(0)?;
    let content = person.file(6);
    let mut blob = blobs(&core.data())?;
    blob.retain(|path| std::fs::read_to_string(path).is_ok_and(|it| it == content));
    let blob = blob.pop().context("no file on the disk")?;

    let folder = tempfile::tempdir()?;
    let archive = |number: usize| folder.path().join(number.to_string()).display().to_string();
    for (number, (damaged, fault)) in [
        (Some(content.replace('6', "7")), "cannot be read"),
        (Some(format!("{content}6")), "has another size"),
        (Some(String::new()), "has another size"),
        (None, "is missing"),
    ]
    .into_iter()
    .enumerate()
    {
        match &damaged {
            Some(bytes) => std::fs::write(&blob, bytes)?,
            None => std::fs::remove_file(&blob)?,
        }
        let out = folder.path().join("failed");
        let said = failure(core, &["export", &out.display().to_string()]).await?;
        let told = format!("file {file} of event {event} {fault}");
        ensure!(
            said.contains(&told) && said.contains("with --leave-out-damaged"),
            "{damaged:?}: {said}"
        );
        ensure!(!out.try_exists()?, "part of an archive is left");
        let arguments = ["export", &archive(number), "--leave-out-damaged", "--json"];
        let told: Value = serde_json::from_str(core.run(&arguments).await?.trim())?;
        let first = told["firstLeftOut"][0].as_str().unwrap_or_default();
        let named = format!("file {file} of event {event}, which {fault}");
        ensure!(
            told["damagedLeftOut"] == 1 && first.starts_with(&named),
            "{told}"
        );
    }

    // Where it is taken in, that is said.
    let other = Cluster::start(ClusterOptions::cores(1)).await?;
    let printed = other
        .core(0)?
        .run(&["import", &archive(3), "--json"])
        .await?;
    let told: Value = serde_json::from_str(printed.trim())?;
    ensure!(told["ok"] == true && told["damagedLeftOut"] == 1, "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_what_was_set_aside_stay() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    let mut ids = Vec::new();
    for number in [5, 5, 6] {
        let written = person.write_with_file(&http, number).await?.expect(201)?;
        let id = written["event"]["id"].as_str().context("no id")?;
        ids.push(id.to_owned());
    }
    let core = cluster.core_mut(0)?;
    core.stop(PATIENCE).await?;
    let database = databases(&core.data())?.pop().context("no database")?;
    let changed = rusqlite::Connection::open(database)?.execute(
        "UPDATE document SET written_at = written_at + 1 WHERE id = ?1",
        [&ids[0]],
    )?;
    ensure!(changed == 1, "the event is not there");
    core.run(&["check-integrity", "--repair-indexes", "--accept-loss"])
        .await?;
    core.restart(PATIENCE).await?;
    // The others go: first into the trash, then for good.
    for id in &ids[1..] {
        for _ in 0..2 {
            let request = http.build(Method::DELETE, &person.url(&format!("events/{id}")));
            let request = request.header("Authorization", &person.token);
            http.send(request).await?.expect(200)?;
        }
    }
    let left = wait_until(PATIENCE, "a file that nobody names is gone", async || {
        let left = blobs(&core.data())?;
        Ok((left.len() == 1).then_some(left))
    })
    .await?;
    ensure!(
        std::fs::read_to_string(&left[0])? == person.file(5),
        "the other is gone"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_interrupted_leaves_nothing() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    let core = cluster.core_mut(0)?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    // It waits for a core that does not answer.
    core.pause()?;
    let mut export = core
        .command(&["export", &out.display().to_string()])
        .spawn()?;
    wait_until(PATIENCE, "the export begins", async || {
        Ok(out.try_exists()?.then_some(()))
    })
    .await?;
    let number = export.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &number])
        .status()?;
    ensure!(killed.success(), "no signal was sent");
    let ended = wait_until(PATIENCE, "the export ends", async || Ok(export.try_wait()?)).await?;
    core.resume()?;
    ensure!(
        ended.code() == Some(1),
        "it was not ended by itself: {ended}"
    );
    ensure!(!out.try_exists()?, "part of an archive is left");
    Ok(())
}

/// Files below a directory whose path is as it is wanted.
fn files(directory: &Path, wanted: fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, wanted)?);
        } else if wanted(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The database files of users.
fn databases(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files(directory, |path| path.ends_with("data.sqlite"))
}

/// Attached files of users.
fn blobs(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files(directory, |path| {
        path.components().any(|part| part.as_os_str() == "blobs")
            && path.file_name().is_some_and(|name| name.len() == 64)
    })
}

/// The name of the stream stands in the events' keys, and in nothing else that the core compares.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_hides_an_event_is_found_and_made_anew() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "anna1").await?;
    person.write_with_file(&http, 1).await?.expect(201)?;
    let core = cluster.core_mut(0)?;
    core.kill()?;
    let printed = core.run(&["check-integrity"]).await?;
    ensure!(printed.contains("1 files, 0 mismatches"), "{printed}");

    // An entry of an index: kind of key, the stream, its end, the state.
    let key = b"notes\0\0\0";
    let database = databases(&core.data())?.pop().context("no database")?;
    let bytes = std::fs::read(&database)?;
    let places: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(key))
        .collect();
    ensure!(!places.is_empty(), "the key is nowhere");
    // It stands in the document's row and in the index: which is which is told by whether it can be made anew.
    let mut repaired = 0;
    for place in places {
        let mut damaged = bytes.clone();
        damaged[place] = b'm';
        std::fs::write(&database, &damaged)?;
        let said = failure(core, &["check-integrity"]).await?;
        ensure!(said.contains("--repair-indexes"), "{said}");
        if let Ok(printed) = core.run(&["check-integrity", "--repair-indexes"]).await {
            ensure!(printed.contains("the indexes were made anew"), "{printed}");
            ensure!(printed.contains("everything is in order"), "{printed}");
            repaired += 1;
        }
        std::fs::write(&database, &bytes)?;
    }
    ensure!(repaired > 0, "no damage could be repaired");

    // A file that was changed, and one that is gone.
    let file = blobs(&core.data())?.pop().context("no file")?;
    let content = std::fs::read(&file)?;
    std::fs::write(&file, vec![b'x'; content.len()])?;
    let said = failure(core, &["check-integrity"]).await?;
    ensure!(said.contains("1 files missing or changed"), "{said}");
    std::fs::remove_file(&file)?;
    let said = failure(core, &["check-integrity"]).await?;
    ensure!(said.contains("1 files missing or changed"), "{said}");
    std::fs::write(&file, content)?;
    core.run(&["check-integrity"]).await?;
    Ok(())
}
