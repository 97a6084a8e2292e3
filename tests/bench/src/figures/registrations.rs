//! Registrations on three cores. A full one hashes a password, which takes some ten milliseconds
//! of a processor on purpose: its peer is argon2 alone, with the same parameters, on all
//! processors. What the platform does for one shows where the name is taken: the refusal is decided
//! in one replicated command and hashes nothing. Its peer is a loop of write and fdatasync, since
//! a command is on the disks of two cores before it is answered; and puts of the same size at three
//! nodes of etcd, where it is installed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use argon2::{Algorithm, Argon2, Params, Version};
use homecore_harness::{Cluster, ClusterOptions};

use crate::aim::{Aim, Target};
use crate::etcd::{self, Etcd};
use crate::load::{self, Lane, Measured};
use crate::people::{self, registration};
use crate::table::{Table, or_dash, rate, ratio, span};
use crate::{Effort, disk, machine};

/// As `homecore_kernel::password`.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const CORES: usize = 3;
/// Clients of each core that register: as many as it hashes at once, and one to wait.
const REGISTERING: usize = 3;
/// Clients of each core that are refused.
const REFUSED: usize = 16;
/// The size of a platform command, about.
const COMMAND_BYTES: usize = 300;

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let mut cluster = Cluster::start(ClusterOptions::cores(CORES)).await?;
    let mut cores = Vec::new();
    let mut groups = Vec::new();
    for index in 0..CORES {
        cores.push(people::address(cluster.core(index)?)?);
        groups.push(cluster.core_mut(index)?.process()?.id());
    }
    let first = *cores.first().context("no cores")?;
    people::register(first, "taken", 1).await?;
    let mut table = Table::new(
        "registrations (three cores, leader and followers on this machine)",
        &[
            "",
            "homecore",
            "peer",
            "ratio",
            "p50",
            "p99",
            "cores' CPU each",
        ],
    );

    let peer = hashes_per_second(effort.window() / 2).await?;
    let lanes = clients(&cores, REGISTERING)
        .map(|(core, number)| newcomer(core, number))
        .collect();
    let measured = load::run(lanes, effort.window(), &groups).await?;
    add(
        &mut table,
        "registered (201); argon2 alone",
        &measured,
        peer,
    );

    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let etcd = match etcd::find() {
        Some(program) => Some(Etcd::start(&program, directory.path()).await?),
        None => None,
    };
    let data = cluster.core(0)?.data();
    for (label, each) in [
        ("refused (409), 1 client; fdatasync", None),
        ("refused (409), 48 clients; fdatasync", Some(REFUSED)),
    ] {
        let lanes = match each {
            None => vec![refused(first)],
            Some(each) => clients(&cores, each)
                .map(|(core, _)| refused(core))
                .collect(),
        };
        let time = effort.window() / 4;
        let before = disk::synced_writes_per_second(&data, COMMAND_BYTES, time).await?;
        let measured = load::run(lanes, effort.window(), &groups).await?;
        let after = disk::synced_writes_per_second(&data, COMMAND_BYTES, time).await?;
        add(&mut table, label, &measured, f64::midpoint(before, after));
        if let Some(etcd) = &etcd {
            let clients = u16::try_from(each.map_or(1, |each| each * CORES))?;
            let puts = etcd.puts(clients, COMMAND_BYTES, effort.window()).await?;
            let label = format!("the same beside {clients} of etcd's puts");
            add(&mut table, &label, &measured, puts.per_second());
            table.note(format!(
                "etcd, {clients}: p99 {}, its CPU for a put {}",
                span(puts.quantile(0.99)),
                or_dash(puts.processor_per_answer().map(span))
            ));
            puts.complaint("etcd")
                .into_iter()
                .for_each(|text| table.note(text));
            table.aim(Aim {
                what: format!("names decided, {clients} at once"),
                ours: rate(measured.per_second()),
                beside: format!("etcd's puts {}", rate(puts.per_second())),
                ratio: measured.per_second() / puts.per_second().max(f64::EPSILON),
                target: Target::AtLeast(1.5),
            });
        }
    }
    if etcd.is_none() {
        table.note("etcd is not installed: it is not beside it");
    }
    table.note(
        "a registration is two platform commands and a new user's folder; a refusal is one command",
    );
    table.print();
    Ok(vec![table])
}

fn add(table: &mut Table, label: &str, measured: &Measured, peer: f64) {
    table.row([
        label.to_owned(),
        rate(measured.per_second()),
        rate(peer),
        ratio(measured.per_second(), peer),
        span(measured.quantile(0.5)),
        span(measured.quantile(0.99)),
        or_dash(measured.processor_per_answer().map(span)),
    ]);
    if let Some(complaint) = measured.complaint(label) {
        table.note(complaint);
    }
}

/// So many clients of each core, with a number of their own.
fn clients(cores: &[SocketAddr], each: usize) -> impl Iterator<Item = (SocketAddr, usize)> {
    let clients = (0..each).flat_map(move |_| cores.iter().copied());
    clients.enumerate().map(|(number, core)| (core, number))
}

/// Registers one new name after the other.
fn newcomer(core: SocketAddr, number: usize) -> Lane {
    let mut count = 0;
    Lane {
        address: core,
        expected: 201,
        make: Box::new(move |buffer| {
            count += 1;
            let name = format!("new{number:02}x{count:06}");
            buffer.extend_from_slice(&registration(core, &name));
        }),
    }
}

/// Wants a name that is taken, again and again.
fn refused(core: SocketAddr) -> Lane {
    Lane::same(core, registration(core, "taken00000"), 409)
}

/// Passwords that all processors together hash in a second, with nothing else to do.
async fn hashes_per_second(time: Duration) -> anyhow::Result<f64> {
    let mut threads = tokio::task::JoinSet::new();
    for _ in 0..machine::processors() {
        threads.spawn_blocking(move || hash_for(time));
    }
    let mut all = 0.0;
    while let Some(rate) = threads.join_next().await {
        all += rate.context("a thread that hashes ended")??;
    }
    Ok(all)
}

fn hash_for(time: Duration) -> anyhow::Result<f64> {
    let refused = |error: argon2::Error| anyhow!("argon2: {error}");
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(refused)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let started = Instant::now();
    let (mut hashes, mut hash) = (0_u32, [0_u8; 32]);
    while started.elapsed() < time {
        argon2
            .hash_password_into(b"a-password", b"sixteen bytes...", &mut hash)
            .map_err(refused)?;
        hashes += 1;
    }
    Ok(f64::from(hashes) / started.elapsed().as_secs_f64())
}
