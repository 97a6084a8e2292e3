//! Clusters of real processes, for tests and benches: finds the `homecore` binary, starts cores and
//! demos on ports of their own, stops, pauses and kills them by process id, waits for conditions
//! with a deadline, and asks over HTTP.
//!
//! What it starts, it ends: when the value that stands for a process is dropped, its process group
//! is killed; when the test's own process ends without dropping anything, a guardian does it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use homecore_harness::{Cluster, ClusterOptions, wait_until};
//!
//! let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
//! cluster.core_mut(0)?.kill()?;
//! wait_until(Duration::from_secs(20), "another leader", async || {
//!     let status = cluster.core(1)?.status().await?;
//!     Ok(status.leader.filter(|leader| leader != "core-a"))
//! })
//! .await?;
//! # Ok(()) }
//! ```

mod binary;
mod cluster;
mod core;
mod demo;
pub mod history;
mod http;
mod loop_image;
mod network;
mod ports;
mod process;
mod status;
mod wait;

pub use binary::{BINARY_VARIABLE, find_binary};
pub use cluster::{Cluster, ClusterOptions};
pub use core::{Core, CoreOptions};
pub use demo::{Demo, DemoCore, DemoOptions};
pub use http::{Http, Reply};
pub use loop_image::LoopImage;
pub use network::{Link, Network, Passed, Place};
pub use ports::{PORTS_AT_ONCE_MAX, Ports};
pub use process::{Process, run};
pub use rustix::process::Signal;
pub use status::{CoreStatus, Status};
pub use wait::{fatal, wait_until};
