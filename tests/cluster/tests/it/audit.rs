//! Calls as the operator's system log is told of them, and what stays of them of a deleted user.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, Http};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

use crate::PATIENCE;
use crate::people::Person;

const KEY: &str = "the-key-of-the-audit-test";

#[tokio::test(flavor = "multi_thread")]
async fn the_system_log_is_told_and_a_deleted_users_log_is_kept() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("log");
    let log = UnixDatagram::bind(&socket)?;
    let mut options = CoreOptions::founder("single", KEY);
    options.set = vec![
        "audit.exclude=streams.create".to_owned(),
        "audit.on_user_delete=keep".to_owned(),
        format!("audit.syslog.address=unix:{}", socket.display()),
        "audit.syslog.exclude=events.create".to_owned(),
    ];
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    let (http, url) = (Http::new()?, core.url());
    let person = Person::new(&http, &url, "maria").await?;
    person.write(&http, 7).await?.expect(201)?;
    let wrong = json!({ "appId": "cluster-tests", "username": "maria", "password": "no" });
    http.post(&person.url("auth/login"), None, &wrong)
        .await?
        .expect(401)?;
    ensure!(person.numbers(&http).await? == [7]);

    // What the user's log leaves out is told, and the other way round.
    let stream = next(&log).await?;
    ensure!(stream.starts_with("<133>1 "), "{stream}");
    let head = " single homecore-audit ";
    ensure!(
        stream.contains(head) && stream.contains(" streams.create - "),
        "{stream}"
    );
    ensure!(
        stream.contains(" audit-log/pryv-api createdBy:system [\"access-"),
        "{stream}"
    );
    let refused = next(&log).await?;
    ensure!(
        refused.contains(" audit-log/pryv-api-error ") && refused.contains("127.0.0.1"),
        "{refused}"
    );
    let read = next(&log).await?;
    ensure!(
        read.contains(" events.get - ") && read.contains("\"recordCount\":1"),
        "{read}"
    );
    let metrics = http.get(&format!("{url}metrics"), None).await?.text();
    ensure!(
        metrics.contains("\nhomecore_audit_syslog_dropped_total 0\n"),
        "{metrics}"
    );
    ensure!(
        metrics.contains("\nhomecore_previews_misses_total 0\n"),
        "{metrics}"
    );

    let delete = format!("{url}users/maria");
    http.request(Method::DELETE, &delete, Some(KEY), None)
        .await?
        .expect(200)?;
    let kept = std::fs::read_dir(core.data().join("audit"))?.next();
    let kept = std::fs::read_to_string(kept.context("no file is kept")??.path())?;
    let mut lines = kept.lines().map(serde_json::from_str::<Value>);
    let head = lines.next().context("an empty file")??;
    ensure!(head["username"] == "maria", "{head}");
    let events = lines.collect::<Result<Vec<_>, _>>()?;
    let actions: Vec<&str> = events
        .iter()
        .filter_map(|e| e["content"]["action"].as_str())
        .collect();
    ensure!(
        actions.contains(&"events.create") && actions.contains(&"events.get"),
        "{actions:?}"
    );
    ensure!(!actions.contains(&"streams.create"), "{actions:?}");
    core.stop(Duration::from_secs(20)).await
}

/// The next line.
async fn next(log: &UnixDatagram) -> anyhow::Result<String> {
    let mut buffer = vec![0; 16_384];
    let length = tokio::time::timeout(PATIENCE, log.recv(&mut buffer)).await??;
    buffer.truncate(length);
    Ok(String::from_utf8(buffer)?)
}
