//! The disk of one core of three is full, or takes no writes any more: the others go on, its users
//! read, their writes are refused and not lost, and with room again all is as before.
//!
//! Needs root, loop devices and ext4's tools, as the power cuts do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{
    Cluster, ClusterOptions, Core, CoreOptions, Http, LoopImage, Reply, run, wait_until,
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::people::{Person, register};
use crate::{PATIENCE, skipped};

const DISK_MEBIBYTES: u64 = 48;
/// No answer may take longer; see `network`.
const DEADLINE: Duration = Duration::from_secs(32);
/// Most writes until a disk without room is noticed.
const WRITES_MAX: u64 = 500;

/// Two cores as any, and a third with a disk of its own, where somebody lives.
struct Stage {
    // Ended before the disk is unmounted: fields are dropped in this order.
    third: Core,
    cluster: Cluster,
    disk: LoopImage,
    person: Person,
    /// Numbers that were acknowledged, and how many were sent.
    written: Vec<u64>,
    sent: u64,
    http: Http,
    _dir: TempDir,
}

impl Stage {
    async fn build() -> anyhow::Result<Self> {
        let http = Http::new()?;
        let cluster = Cluster::start(ClusterOptions::cores(2)).await?;
        let dir = tempfile::tempdir()?;
        let mut third = Core::prepare(dir.path(), CoreOptions::member("core-c"))?;
        std::fs::create_dir(third.data())?;
        let mut disk = LoopImage::create(&dir.path().join("disk"), DISK_MEBIBYTES).await?;
        disk.mount(&third.data()).await?;
        third.join(cluster.core(0)?).await?;
        third.wait_ready(PATIENCE).await?;
        wait_until(PATIENCE, "three vote", async || {
            Ok(cluster.core(0)?.status().await?.is_settled(3).then_some(()))
        })
        .await?;
        let mut found = None;
        for number in 0..9 {
            let name = format!("neighbour{number}");
            let person = Person::new(&http, &cluster.core(0)?.url(), &name).await?;
            if person.home == third.url() {
                found = Some(person);
                break;
            }
        }
        Ok(Self {
            person: found.context("nobody lives at the third core")?,
            third,
            cluster,
            disk,
            written: Vec::new(),
            sent: 0,
            http,
            _dir: dir,
        })
    }

    /// Writes an event of 50 kB.
    async fn write(&mut self) -> anyhow::Result<Reply> {
        let number = self.sent;
        self.sent += 1;
        let event = json!({
            "streamIds": ["notes"], "type": "count/generic", "content": number,
            "description": "x".repeat(50_000),
        });
        let began = Instant::now();
        let (url, token) = (self.person.url("events"), self.person.token.as_str());
        let reply = self.http.post(&url, Some(token), &event).await?;
        ensure!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        if reply.status == 201 {
            self.written.push(number);
        }
        Ok(reply)
    }

    /// Writes until a write is refused; how.
    async fn write_until_refused(&mut self) -> anyhow::Result<Reply> {
        for _ in 0..WRITES_MAX {
            let reply = self.write().await?;
            if reply.status != 201 {
                return Ok(reply);
            }
        }
        anyhow::bail!("{WRITES_MAX} writes went through")
    }

    /// Writes are refused as they should be, and everything else goes on.
    async fn refuses(&mut self) -> anyhow::Result<()> {
        let refused = self.write_until_refused().await?;
        ensure!(
            refused.status == 503,
            "{}: {}",
            refused.status,
            refused.text()
        );
        ensure!(
            refused.headers.contains_key("retry-after"),
            "{:?}",
            refused.headers
        );
        let said = refused.text();
        ensure!(
            said.contains("api-unavailable") && said.contains("no room"),
            "{said}"
        );
        ensure!(
            self.third.is_running(),
            "it ended: {}",
            self.third.log_tail()
        );
        self.reads_all().await?;
        // The disk itself may refuse before the core has looked at it again.
        let readyz = format!("{}readyz", self.third.url());
        wait_until(PATIENCE, "/readyz says that it is full", async || {
            let ready = self.http.get(&readyz, None).await?.expect(200)?;
            Ok(ready.to_string().contains("is full").then_some(()))
        })
        .await
    }

    /// What was acknowledged is read, and nothing that was never sent.
    async fn reads_all(&self) -> anyhow::Result<()> {
        let url = self.person.url("events?limit=100000&streams=[\"notes\"]");
        let request = self.http.build(Method::GET, &url);
        let request = request.header("Authorization", &self.person.token);
        let body = self.http.send(request).await?.expect(200)?;
        let events = body["events"].as_array().context("no events")?;
        let present: Vec<u64> = events
            .iter()
            .filter_map(|e| e["content"].as_u64())
            .collect();
        for number in &self.written {
            ensure!(present.contains(number), "{number} is lost");
        }
        ensure!(
            present.iter().all(|number| *number < self.sent),
            "{present:?}"
        );
        Ok(())
    }

    /// The others take registrations, as many as fill what the third can still log.
    async fn others_go_on(&self, prefix: &str) -> anyhow::Result<()> {
        for number in 0..20 {
            let at = self.cluster.core(number % 2)?.url();
            let reply = register(&self.http, &at, &format!("{prefix}{number}")).await?;
            let status = reply.status.as_u16();
            // The third is asked to be somebody's home as long as nobody knows that it cannot.
            ensure!([201, 503].contains(&status), "{status}: {}", reply.text());
        }
        let name = format!("{prefix}last");
        let at = self.cluster.core(1)?.url();
        wait_until(PATIENCE, "the others take a registration", async || {
            let reply = register(&self.http, &at, &name).await?;
            ensure!(
                [201, 409].contains(&reply.status.as_u16()),
                "{}",
                reply.text()
            );
            Ok(Some(()))
        })
        .await
    }

    /// Everything works again, after a restart of the third core if it has ended.
    async fn recovers(&mut self) -> anyhow::Result<bool> {
        let ended = !self.third.is_running();
        if ended {
            self.third.restart(PATIENCE).await?;
        }
        let began = Instant::now();
        loop {
            let reply = self.write().await?;
            if reply.status == 201 {
                break;
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "{}: {}",
                reply.status,
                reply.text()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (http, third) = (&self.http, self.third.url());
        let name = format!("again{}", self.sent);
        wait_until(PATIENCE, "the third takes a registration", async || {
            let reply = register(http, &third, &name).await?;
            ensure!(
                [201, 409].contains(&reply.status.as_u16()),
                "{}",
                reply.text()
            );
            Ok(Some(()))
        })
        .await?;
        wait_until(PATIENCE, "the third has caught up", async || {
            let status = self.cluster.core(0)?.status().await?;
            Ok(status.is_settled(3).then_some(()))
        })
        .await?;
        self.reads_all().await?;
        Ok(ended)
    }
}

async fn possible(test: &str) -> bool {
    match LoopImage::why_not().await {
        None => true,
        Some(reason) => {
            skipped(test, &reason);
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nobody_else_and_loses_nothing() -> anyhow::Result<()> {
    if !possible("a_full_disk_stops_nobody_else_and_loses_nothing").await {
        return Ok(());
    }
    let mut stage = Stage::build().await?;
    stage.write().await?.expect(201)?;
    let mut ballast = fill(&stage.third.data(), "first").await?;
    stage.refuses().await?;
    stage.others_go_on("during").await?;
    stage.refuses().await?;
    // Some other program takes what the reserve gave back, too.
    ballast.append(&mut fill(&stage.third.data(), "second").await?);
    stage.others_go_on("still").await?;
    stage.refuses().await?;
    for file in ballast {
        std::fs::remove_file(file)?;
    }
    let ended = stage.recovers().await?;
    ensure!(!ended, "it ended: {}", stage.third.log_tail());
    // Once more from its disk alone.
    stage.third.kill()?;
    stage.third.restart(PATIENCE).await?;
    stage.reads_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_writes_stops_nobody_else_and_loses_nothing() -> anyhow::Result<()> {
    if !possible("a_disk_that_takes_no_writes_stops_nobody_else_and_loses_nothing").await {
        return Ok(());
    }
    let mut stage = Stage::build().await?;
    for _ in 0..20 {
        stage.write().await?.expect(201)?;
    }
    stage.disk.stop_writes().await?;
    let refused = stage.write_until_refused().await?;
    ensure!(refused.status.is_server_error(), "{}", refused.text());
    println!("refused with {}: {}", refused.status, refused.text());
    stage.others_go_on("during").await?;
    if stage.third.is_running() {
        stage.reads_all().await?;
        stage.third.kill()?;
    }
    // A start on such a disk says why it cannot be.
    if let Err(error) = stage.third.restart(Duration::from_secs(20)).await {
        let said = format!("{error:#}");
        ensure!(!stage.third.is_running(), "it hangs: {said}");
        ensure!(said.to_lowercase().contains("read-only"), "{said}");
    } else {
        stage.third.kill()?;
    }
    let at = stage.third.data();
    stage.disk.unmount().await?;
    stage.disk.mount(&at).await?;
    stage.recovers().await?;
    Ok(())
}

/// Takes all the room there is; the files that do.
async fn fill(directory: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut size: u64 = DISK_MEBIBYTES << 20;
    while size >= 1024 {
        let file = directory.join(format!("ballast-{name}-{}", files.len()));
        let mut command = Command::new("fallocate");
        command.arg("-l").arg(size.to_string()).arg(&file);
        let done = run(command, PATIENCE).await?;
        files.push(file);
        if !done.status.success() {
            size /= 2;
        }
    }
    let there = files
        .into_iter()
        .filter(|file| file.try_exists().unwrap_or(false));
    Ok(there.collect())
}
