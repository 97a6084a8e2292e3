//! Clusters of real processes: names taken at once on every core, cores killed under load, cores
//! joining and leaving, files of cores that die, a core whose machine loses power, and what administrators
//! look up across cores.
#![expect(clippy::indexing_slicing, reason = "a missing index is a failed test")]

mod accounts;
mod aliases;
mod archive;
mod audit;
mod clocks;
mod damage;
mod disks;
mod draining;
mod dumps;
mod fields;
mod files;
mod integrity;
mod joining;
mod kills;
mod logs;
mod mail;
mod mfa;
mod moving;
mod network;
mod people;
mod power;
mod secrets;
mod service;
mod system;
mod unique;

use std::time::Duration;

/// How often a round of something random is repeated.
#[expect(clippy::disallowed_methods, reason = "the one setting of these tests")]
fn rounds(default: usize) -> usize {
    std::env::var("HOMECORE_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Long enough for anything that a healthy cluster does.
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
}
