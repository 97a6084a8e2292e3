//! What CI runs, as a person runs it.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::{root, say, tidy};

/// Format, tidy, clippy.
pub(crate) fn run() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy(false)?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

/// Everything.
#[expect(clippy::disallowed_methods, reason = "cargo's own variable")]
pub(crate) fn test() -> anyhow::Result<()> {
    run()?;
    // The process tests run the binary itself.
    cargo(&["build", "--locked", "--package", "homecore"])?;
    if succeeds("cargo", &["nextest", "--version"]) {
        cargo(&["nextest", "run", "--workspace", "--locked"])?;
    } else {
        cargo(&["test", "--workspace", "--locked"])?;
    }
    cargo(&["test", "--doc", "--workspace", "--locked"])?;
    if succeeds("node", &["--version"]) {
        step("node", &["--test", "node/client/js/"])?;
    }
    step("bash", &["deploy/check/dependencies.sh"])?;
    // The chart, and real cores under the pods' script.
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let binary = format!("HOMECORE_BIN={target}/debug/homecore");
    step("env", &[&binary, "bash", "deploy/check/chart.sh"])
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    step(env!("CARGO"), arguments)
}

fn step(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let shown = format!(
        "{} {}",
        program.rsplit('/').next().unwrap_or(program),
        arguments.join(" ")
    );
    say(&format!("--- {shown}"));
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root()?)
        .status()
        .with_context(|| shown.clone())?;
    ensure!(status.success(), "{shown}: failed");
    Ok(())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}
