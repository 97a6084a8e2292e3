//! Clusters of real stores in one process, over gRPC on the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the exemption of tests does not reach the helpers of an integration test"
)]

mod cluster;
mod failover;
mod growth;
mod harness;
mod moved;
mod partition;
mod removal;
mod restart;
mod wires;
