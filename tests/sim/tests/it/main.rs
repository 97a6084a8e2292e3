//! The platform on a simulated network, clock and disk: see the README.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the exemption of tests does not reach the helpers of an integration test"
)]

mod accounts;
mod bugs;
mod chance;
mod clock;
mod disk;
mod faults;
mod invariants;
mod net;
mod oracle;
mod process;
mod registration;
mod run;
mod seeds;
mod service;
mod spite;
mod tally;
mod trace;
mod twice;
mod wire;
mod workload;
mod world;
mod zone;
