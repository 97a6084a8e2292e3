//! The thread on which a core takes part in consensus: openraft, what it sends to other cores and what
//! they send here.
//!
//! A command goes through a dozen short steps, most of which wake another task. On the runtime of all
//! requests each of these is a wake of another thread, which is most of what a command costs; here they are
//! turns of one. And whatever keeps the threads of requests busy holds up neither votes nor signs of life.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime with that thread. It ends with the last of these, and does not wait for its tasks.
#[derive(Clone, Debug)]
pub(crate) struct Consensus(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Consensus {
    /// Starts the thread.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("consensus")
            .enable_all()
            .build()
            .context("cannot start the thread of consensus")?;
        Ok(Self(Arc::new(Owned {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })))
    }

    /// Where to spawn what belongs there.
    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops it is often a task itself, and those may not wait for threads.
            runtime.shutdown_background();
        }
    }
}
