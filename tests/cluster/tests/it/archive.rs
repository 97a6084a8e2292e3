//! `homecore import` and `export` with real cores: a user of the original server moves in, out,
//! and into another cluster; what fails or is cut off leaves nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, Http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::people::{Person, register, registration};

mod emails;

const USER: &str = "samplebeta1";
const ID: &str = "cku0sampleuser0000000001";
const APP: &str = "ctokenapp000000000000001";
const EVENT: &str = "cke000000000000000000002";

fn golden(kind: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/archive");
    path.join(kind).display().to_string()
}

async fn failure(core: &Core, arguments: &[&str]) -> anyhow::Result<String> {
    match core.run(arguments).await {
        Ok(printed) => anyhow::bail!("it succeeded: {printed}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Lines of a file of an archive.
fn lines(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}

/// The user's records in a file of an archive, without what may differ.
fn records(archive: &Path, file: &str) -> anyhow::Result<Vec<Value>> {
    let mut records = lines(&archive.join("users").join(ID).join(file))?;
    for record in &mut records {
        let Some(record) = record.as_object_mut() else {
            continue;
        };
        // A former version has no id of its own.
        if record.contains_key("headId") {
            record.remove("id");
        }
        // Uses are written down now and then.
        record.remove("lastUsed");
        record.remove("calls");
    }
    Ok(records)
}

async fn settled(core: &Core) -> anyhow::Result<()> {
    let (pending, users) = (core.data().join("pending"), core.data().join("users"));
    wait_until(PATIENCE, "nothing is left", async || {
        ensure!(!is_marked(&pending)?, "a mark");
        ensure!(folders(&users) == 0, "a folder");
        Ok(Some(()))
    })
    .await
    .with_context(|| core.log_tail())
}

/// Whether there is a mark: one whose writing was cut off, which has a longer name, is none.
fn is_marked(pending: &Path) -> anyhow::Result<bool> {
    let mut names = std::fs::read_dir(pending)?
        .flatten()
        .map(|it| it.file_name());
    Ok(names.any(|name| !name.to_string_lossy().contains('.')))
}

/// Users' folders on disk.
fn folders(users: &Path) -> usize {
    let inner = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    inner(users.to_owned())
        .flat_map(|shard| inner(shard.path()))
        .filter(|entry| entry.path().is_dir())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_original_server_moves_in_and_on() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let (http, core) = (Http::new()?, cluster.core(0)?);
    let archive = golden("gzip");
    let printed = core.run(&["import", &archive, "--dry-run"]).await?;
    ensure!(printed.contains("1 user can be imported"), "{printed}");
    ensure!(folders(&core.data().join("users")) == 0, "a dry run wrote");
    let printed = core.run(&["import", &archive]).await?;
    ensure!(printed.contains("samplebeta1 is here now"), "{printed}");

    let url = |core: &Core, path: &str| format!("{}{USER}/{path}", core.url());
    let app = Some(APP);
    let events = url(core, "events?state=all&limit=100");
    let found = http.get(&events, app).await?.expect(200)?;
    ensure!(
        found["events"].as_array().is_some_and(|e| e.len() == 4),
        "{found}"
    );
    let one = url(core, &format!("events/{EVENT}?includeHistory=true"));
    let found = http.get(&one, app).await?.expect(200)?;
    let contents: Vec<&Value> = found["history"]
        .as_array()
        .context("no history")?
        .iter()
        .map(|version| &version["content"])
        .collect();
    ensure!(contents == [&json!(73), &json!(74)], "{found}");
    let file = url(
        core,
        "events/cke000000000000000000003/ckf000000000000000000001",
    );
    let reply = http.get(&file, app).await?;
    ensure!(
        reply.text() == "the bytes of an attachment\n",
        "{}",
        reply.text()
    );
    let reply = http.get(&events, Some("ctokengone00000000000001")).await?;
    ensure!(reply.status.is_client_error(), "a deleted access works");

    // Again: the names are taken, and the one who has them stays.
    let said = failure(core, &["import", &archive]).await?;
    ensure!(
        said.contains("taken already: id") && said.contains("data/users"),
        "{said}"
    );
    http.get(&events, app).await?.expect(200)?;

    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let shown = out.display().to_string();
    let printed = core.run(&["export", &shown, "--no-compress"]).await?;
    ensure!(printed.contains("1 user was exported"), "{printed}");
    let said = failure(core, &["export", &shown]).await?;
    ensure!(said.contains("is not empty"), "{said}");

    // Into another cluster, encrypted this time, and out again: the same to the record.
    let key = folder.path().join("key");
    std::fs::write(&key, "a passphrase\n")?;
    let key = key.display().to_string();
    let sealed = folder.path().join("sealed").display().to_string();
    core.run(&["export", &sealed, "--user", USER, "--passphrase-file", &key])
        .await?;
    let other = Cluster::start(ClusterOptions::cores(1)).await?;
    let there = other.core(0)?;
    let said = failure(there, &["import", &sealed]).await?;
    ensure!(said.contains("a passphrase is needed"), "{said}");
    there
        .run(&["import", &sealed, "--passphrase-file", &key])
        .await?;
    let again = folder.path().join("again");
    there
        .run(&["export", &again.display().to_string(), "--no-compress"])
        .await?;
    for file in [
        "account.jsonl",
        "streams.jsonl",
        "accesses.jsonl",
        "profile.jsonl",
        "events/events-0001.jsonl",
        "audit/audit-0001.jsonl",
    ] {
        let (first, second) = (records(&out, file)?, records(&again, file)?);
        ensure!(first == second, "{file}: {first:?} became {second:?}");
    }
    let file = format!("users/{ID}/attachments/ckf000000000000000000001");
    ensure!(std::fs::read(out.join(&file))? == std::fs::read(again.join(&file))?);
    Ok(())
}

/// As one of the original server's engines names what it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn former_versions_come_along_whichever_way_they_are_named() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let (http, core) = (Http::new()?, cluster.core(0)?);
    let folder = tempfile::tempdir()?;
    copy(Path::new(&golden("plain")), folder.path())?;
    let events = format!("users/{ID}/events/events-0001.jsonl");
    let events = folder.path().join(events);
    let text = std::fs::read_to_string(&events)?;
    std::fs::write(&events, text.replace("\"headId\"", "\"head_id\""))?;
    core.run(&["import", &folder.path().display().to_string()])
        .await?;
    let one = format!("{}{USER}/events/{EVENT}?includeHistory=true", core.url());
    let found = http.get(&one, Some(APP)).await?.expect(200)?;
    let history = found["history"].as_array().context("no history")?;
    ensure!(history.len() == 2, "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_a_user_comes_along() -> anyhow::Result<()> {
    let (here, other) = (
        Cluster::start(ClusterOptions::cores(1)).await?,
        Cluster::start(ClusterOptions::cores(1)).await?,
    );
    let (http, core, there) = (Http::new()?, here.core(0)?, other.core(0)?);
    let person = Person::new(&http, &core.url(), "formername").await?;
    let change = json!({ "newUsername": "presentname" });
    http.post(
        &person.url("account/change-username"),
        Some(&person.token),
        &change,
    )
    .await?
    .expect(200)?;
    let access = json!({ "type": "app", "name": "an-app", "randomAlias": true,
        "permissions": [{ "streamId": "*", "level": "read" }] });
    let made = http
        .post(&person.url("accesses"), Some(&person.token), &access)
        .await?
        .expect(201)?;
    let text = |name: &str| made["access"][name].as_str().context("no alias");
    let (alias, token) = (text("alias")?, text("token")?);

    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out").display().to_string();
    core.run(&["export", &out]).await?;
    // One of them is another's there, and nobody is taken in.
    register(&http, &there.url(), "formername")
        .await?
        .expect(201)?;
    let said = failure(there, &["import", &out]).await?;
    ensure!(said.contains("taken already"), "{said}");
    let key = other.admin_key().expose().to_owned();
    let url = format!("{}users/formername", there.url());
    let gone = http.request(reqwest::Method::DELETE, &url, Some(&key), None);
    gone.await?.expect(200)?;

    there.run(&["import", &out]).await?;
    for name in ["formername", "presentname", alias] {
        let url = format!("{}{name}/access-info", there.url());
        let info = http.get(&url, Some(token)).await?.expect(200)?;
        ensure!(info["user"]["username"] == alias, "{info}");
        let url = format!("{}users", there.url());
        let body = registration(name, &format!("heir-of-{name}@example.com"));
        http.post(&url, None, &body).await?.expect(409)?;
    }
    let again = folder.path().join("again");
    let shown = again.display().to_string();
    there.run(&["export", &shown, "--no-compress"]).await?;
    let rows = lines(&again.join("platform/platform.jsonl"))?;
    let aliases: Vec<&Value> = rows
        .iter()
        .filter(|row| row["field"] == "alias")
        .map(|row| &row["value"])
        .collect();
    ensure!(aliases == [&json!("formername"), &json!(alias)], "{rows:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let (http, core) = (Http::new()?, cluster.core(0)?);
    // Found by the check: nothing is sent.
    let folder = tempfile::tempdir()?;
    let bad = folder.path().join("bad");
    copy(Path::new(&golden("plain")), &bad)?;
    let events = bad.join(format!("users/{ID}/events/events-0001.jsonl"));
    let text = std::fs::read_to_string(&events)?;
    std::fs::write(
        &events,
        text.replace("\"time\":1700000000.25", "\"time\":\"then\""),
    )?;
    let shown = bad.display().to_string();
    let said = failure(core, &["import", &shown]).await?;
    ensure!(
        said.contains("nothing was changed") && said.contains("field \"time\""),
        "{said}"
    );
    // An event that is there twice, too.
    let line = text.lines().next().context("no events")?;
    let twice = text.replace(line, &format!("{line}\n{line}"));
    std::fs::write(&events, twice)?;
    for manifest in ["manifest.json", &format!("users/{ID}/user-manifest.json")] {
        let path = bad.join(manifest);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, text.replace("\"events\": 8", "\"events\": 9"))?;
    }
    let said = failure(core, &["import", &shown]).await?;
    ensure!(
        said.contains("nothing was changed") && said.contains("is there twice"),
        "{said}"
    );
    settled(core).await?;
    // An export of nobody.
    let out = folder.path().join("out");
    let shown = out.display().to_string();
    let said = failure(core, &["export", &shown, "--user", "nobody1"]).await?;
    ensure!(said.contains("there is no user"), "{said}");
    ensure!(!out.try_exists()?, "an export that failed left something");
    // The names are free again, for anybody.
    register(&http, &core.url(), USER).await?.expect(201)?;
    let said = failure(core, &["import", &golden("plain")]).await?;
    ensure!(
        said.contains("taken already: email") || said.contains("username"),
        "{said}"
    );
    Ok(())
}

/// The other server's engine on PostgreSQL writes versions of accesses as if they were accesses.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stays_revoked() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let (http, core) = (Http::new()?, cluster.core(0)?);
    let folder = tempfile::tempdir()?;
    copy(Path::new(&golden("plain")), folder.path())?;
    let access = |id: &str, token: &str, more: Value| {
        let mut access = json!({ "id": id, "token": token, "type": "app", "name": token,
            "permissions": [{ "streamId": "*", "level": "manage" }], "created": 1_700_000_000,
            "createdBy": "system", "modified": 1_700_000_000, "modifiedBy": "system" });
        for (name, value) in more.as_object().into_iter().flatten() {
            access[name] = value.clone();
        }
        format!("{access}\n")
    };
    let now = json!({ "serial": 1, "modified": 1_700_000_009,
        "permissions": [{ "streamId": "weight", "level": "read" }] });
    let mut gone = now.clone();
    gone["deleted"] = json!(1_700_000_010);
    let path = folder.path().join(format!("users/{ID}/accesses.jsonl"));
    let mut text = std::fs::read_to_string(&path)?;
    text.push_str(&access("ckaold0000000000000000001", "narrowed", json!({})));
    text.push_str(&access("ckanow0000000000000000001", "narrowed", now));
    text.push_str(&access("ckaold0000000000000000002", "revoked", json!({})));
    text.push_str(&access("ckanow0000000000000000002", "revoked", gone));
    std::fs::write(&path, text)?;
    for manifest in ["manifest.json", &format!("users/{ID}/user-manifest.json")] {
        let path = folder.path().join(manifest);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, text.replace("\"accesses\": 4", "\"accesses\": 8"))?;
    }
    core.run(&["import", &folder.path().display().to_string()])
        .await?;
    let info = format!("{}{USER}/access-info", core.url());
    let found = http.get(&info, Some("narrowed")).await?.expect(200)?;
    let levels = found["permissions"].as_array().into_iter().flatten();
    let levels: Vec<&Value> = levels.map(|permission| &permission["level"]).collect();
    ensure!(
        found["id"] == "ckanow0000000000000000001" && !levels.contains(&&json!("manage")),
        "{found}"
    );
    let reply = http.get(&info, Some("revoked")).await?;
    ensure!(reply.status.is_client_error(), "a revoked token works");
    Ok(())
}

/// An outage of the platform is none of its users: they can be taken elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_exported_without_a_quorum() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(0)?.url(), "maria").await?;
    person.write(&http, 1).await?.expect(201)?;
    let home = cluster
        .cores()
        .iter()
        .position(|core| core.url() == person.home);
    let home = home.context("no core is the home")?;
    for other in (0..3).filter(|other| *other != home) {
        cluster.core_mut(other)?.kill()?;
    }
    let folder = tempfile::tempdir()?;
    let core = cluster.core(home)?;
    wait_until(PATIENCE, "the outage is known", async || {
        let out = folder.path().join("out").display().to_string();
        let printed = core
            .run(&["export", &out, "--json", "--no-compress"])
            .await?;
        let printed: Value = serde_json::from_str(&printed)?;
        if printed["platformUnreachable"].is_null() {
            std::fs::remove_dir_all(&out)?;
            return Ok(None);
        }
        Ok(Some(()))
    })
    .await?;
    let users = std::fs::read_dir(folder.path().join("out/users"))?.count();
    ensure!(users == 1, "{users} users");
    Ok(())
}

/// An archive of a user with so many events that its import takes a while.
fn large(folder: &Path) -> anyhow::Result<PathBuf> {
    let archive = folder.join("large");
    copy(Path::new(&golden("plain")), &archive)?;
    let user = archive.join(format!("users/{ID}"));
    let mut lines = String::new();
    let count = 60_000;
    for i in 0..count {
        lines.push_str(&format!(
            "{{\"id\":\"e{i}\",\"streamIds\":[\"weight\"],\"type\":\"mass/kg\",\"time\":{i},\
             \"content\":{i},\"created\":1,\"createdBy\":\"x\",\"modified\":1,\"modifiedBy\":\"x\"}}\n"
        ));
    }
    std::fs::remove_file(user.join("events/events-0002.jsonl"))?;
    std::fs::write(user.join("events/events-0001.jsonl"), lines)?;
    let path = user.join("user-manifest.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    manifest["stats"]["events"] = json!(count);
    manifest["chunks"]["events"] = json!(["events-0001.jsonl"]);
    std::fs::write(&path, manifest.to_string())?;
    Ok(archive)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_dies_during_an_import_frees_the_names() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let folder = tempfile::tempdir()?;
    let archive = large(folder.path())?.display().to_string();
    let process = cluster.core_mut(0)?.process()?.id().to_string();
    let core = cluster.core(0)?;
    let marks = core.data().join("pending");
    let arguments = ["import", archive.as_str()];
    let (imported, killed) = tokio::join!(core.run(&arguments), async {
        wait_until(PATIENCE, "the import goes on", async || {
            Ok(is_marked(&marks)?.then_some(()))
        })
        .await?;
        let mut kill = std::process::Command::new("kill");
        Ok::<_, anyhow::Error>(kill.args(["-9", &process]).status()?)
    });
    ensure!(killed?.success(), "the core was not killed");
    let said = imported
        .err()
        .context("the import succeeded without a core")?;
    ensure!(
        format!("{said:#}").contains("nothing is left behind"),
        "{said:#}"
    );

    let core = cluster.core_mut(0)?;
    drop(core.kill());
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    let core = cluster.core(0)?;
    settled(core).await?;
    let printed = core.run(&["import", &golden("encrypted")]).await;
    ensure!(printed.is_err(), "without a passphrase");
    core.run(&["import", &golden("plain")]).await?;
    let url = format!("{}{USER}/events", core.url());
    Http::new()?.get(&url, Some(APP)).await?.expect(200)?;
    Ok(())
}
