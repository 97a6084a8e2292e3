//! `homecore`: one core of a personal-data platform, and the commands that look after it.

mod accounts;
mod adapters;
mod capabilities;
mod cli;
mod cluster;
mod config;
mod consensus;
mod disk;
mod live;
mod original;
mod rpc;
mod tasks;
mod telemetry;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
