//! `homecore serve`: runs this machine's core until it is told to stop.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{ConfigArgs, answer};
use crate::config::Config;
use crate::original::Accepted;
use crate::{telemetry, wiring};

/// A clean stop may take this long; then the process ends all the same.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// `homecore serve`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line, which do not depend on each other"
)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Found a new cluster, if the data directory is empty: for the first core, the first time
    #[arg(long)]
    found: bool,
    /// Start from a data directory that was restored or moved: only if this core is alone in its cluster, or
    /// nothing ran on the original after the copy was made
    #[arg(long)]
    restored: bool,
    /// When ready, say so in one JSON line on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Runs a core.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    if args.with_parent {
        end_with_parent()?;
    }
    let mut config = args.config.load()?;
    config.cluster.found |= args.found;
    telemetry::start(&config.log)?;
    let accepted = if args.restored {
        Accepted::Copy
    } else {
        Accepted::Original
    };
    serve(config, accepted, args.json)
}

/// Asks the kernel to end this process when its parent ends, however that happens.
pub(super) fn end_with_parent() -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("cannot follow the parent process")
}

/// Runs a core with a configuration; in JSON, says on standard output when it is ready.
pub(super) fn serve(config: Config, accepted: Accepted, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("homecore")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let ready = json!({
            "ready": true, "core": config.core.id.as_str(), "url": config.core.url,
            "pid": std::process::id(),
        });
        // Before anything answers: whoever sees this core answer may stop it, and cleanly.
        let mut stop = pin!(stop_signal()?);
        let running = tokio::select! {
            started = Box::pin(wiring::start(config, accepted)) => started?,
            // Nothing is served yet, and what was begun is begun again, as after a crash.
            () = &mut stop => {
                tracing::info!("told to stop before it served");
                return Ok(());
            }
        };
        if json && let Err(error) = answer(&ready.to_string()) {
            tracing::error!(%error, "standard output does not take that this core is ready");
        }
        let why = running.wait_for_end(stop).await;
        running.stop(STOP_TIMEOUT).await;
        why
    });
    // Everything is closed. What may still block a thread is a look-up of a name, which nobody waits for.
    runtime.shutdown_timeout(Duration::from_millis(250));
    result
}

/// Listens for SIGINT and SIGTERM from now on; what is returned completes at the first.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
