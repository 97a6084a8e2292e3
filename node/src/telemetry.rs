//! Logs: for people on a terminal, as JSON lines otherwise. Always on standard error, so that
//! standard output stays a command's answer. A line that cannot be written (a full disk) is lost, and
//! nothing else with it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, Logging};

/// Starts logging as configured. Libraries speak from `warn` on.
pub(crate) fn start(logging: &Logging) -> anyhow::Result<()> {
    let level = &logging.level;
    let filter = EnvFilter::try_new(format!(
        "warn,homecore={level},homecore_raft={level},homecore_dns={level},homecore_store={level},\
         homecore_engine_sqlite={level},homecore_kernel={level},homecore_http={level},\
         homecore_capability_pryv={level},openraft=error"
    ))?;
    let json = match logging.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Those are printed to standard error, too: with a panic, where that is what failed.
        .log_internal_errors(false);
    if json {
        builder.json().flatten_event(true).finish().try_init()?;
    } else {
        builder.compact().with_target(false).finish().try_init()?;
    }
    Ok(())
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&next_text) {
            write!(text, ": {next_text}").unwrap_or_default();
        }
        cause = next.source();
    }
    text
}
