//! Clocks jump, forwards and back, on one core and then on another, while clients register, use
//! invitations, write and read: what they are told has an order all the same.
//!
//! The product knows no other clock than its machine's. A library put before the C library's shifts
//! what the machine says, by what stands in a file in the core's directory; so it needs a C compiler.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, find_binary, run, wait_until};

use crate::network::load::Load;
use crate::{PATIENCE, skipped};

/// Only the time of day: what measures spans goes on as it does when a clock is set.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now)
{
    long done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) {
        char text[32] = {0};
        int file = open("clock-offset", O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0)
                now->tv_sec += atol(text);
            close(file);
        }
    }
    return (int)done;
}
"#;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_change_no_answer() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let binary = match shifted(dir.path()).await? {
        Ok(binary) => binary,
        Err(reason) => {
            skipped("clocks_that_jump_change_no_answer", &reason);
            return Ok(());
        }
    };
    let cluster = Cluster::start(ClusterOptions {
        binary: Some(binary),
        ..ClusterOptions::cores(3)
    })
    .await?;
    let load = Load::start(&cluster).await?;
    let began = Instant::now();
    let leader = cluster.leader(0).await?;
    // A certificate is good from an hour before it was made.
    for (core, offset) in [
        (leader, 2 * HOUR),
        ((leader + 1) % 3, -50 * MINUTE),
        (leader, -50 * MINUTE),
        ((leader + 2) % 3, 48 * HOUR),
        ((leader + 1) % 3, 0),
        (leader, 48 * HOUR),
        ((leader + 2) % 3, 0),
        (leader, 0),
    ] {
        let core = cluster.core(core)?;
        let file = core.config().with_file_name("clock-offset");
        // In one step: nobody reads half of it.
        let aside = file.with_extension("new");
        std::fs::write(&aside, offset.to_string())?;
        std::fs::rename(&aside, &file)?;
        let shown = shown(&load, &core.url()).await?;
        ensure!(
            (shown - offset).abs() < 9,
            "it is {shown} s ahead and should be {offset}"
        );
        for at in cluster.cores() {
            let what = format!("{} takes a registration", at.id());
            wait_until(PATIENCE, &what, async || {
                let reply = load.book.register_fresh(&at.url()).await?;
                ensure!(reply.status == 201, "{}: {}", reply.status, reply.text());
                Ok(Some(()))
            })
            .await?;
        }
        for at in cluster.cores() {
            if let Some(failure) = load.book.failure(&at.url(), began) {
                anyhow::bail!("{} failed its users: {failure}", at.id());
            }
        }
    }
    println!("{}", load.finish().await?);
    Ok(())
}

/// How many seconds a core's clock is ahead.
async fn shown(load: &Load, core: &str) -> anyhow::Result<i64> {
    let reply = load.book.ask(&format!("{core}service/info")).await?;
    let shown = reply["meta"]["serverTime"].as_f64().context("no time")?;
    let now = homecore_types::Clock::now(&homecore_types::SystemClock).0;
    #[expect(clippy::cast_possible_truncation, reason = "seconds of this century")]
    let shown = shown.round() as i64;
    Ok(shown - now / 1000)
}

/// A program that runs the core with a clock that can be shifted. `Err` is why there can be none.
async fn shifted(dir: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    std::fs::write(&source, SOURCE)?;
    let mut compile = Command::new("cc");
    compile
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    let output = match run(compile, PATIENCE).await {
        Ok(output) => output,
        Err(error) => return Ok(Err(format!("there is no C compiler: {error:#}"))),
    };
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = dir.join("homecore-with-a-clock");
    let script = format!(
        "#!/bin/sh\nLD_PRELOAD={} exec {} \"$@\"\n",
        library.display(),
        find_binary()?.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(Ok(path))
}
