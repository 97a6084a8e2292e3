//! Checks of the repository itself, and what a developer runs often. `cargo xtask` lists them.

mod check;
mod edges;
mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy(false),
        ["tidy", "--update"] => tidy(true),
        ["check"] => check::run(),
        ["test"] => check::test(),
        _ => {
            say(HELP);
            return ExitCode::from(u8::from(!words.is_empty()) * 2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

const HELP: &str =
    "cargo xtask tidy [--update]   crate edges, dependencies and files against their rules
cargo xtask check             format, tidy, clippy with warnings denied
cargo xtask test              everything that CI runs: check, tests, chart, clients";

/// One line for whoever runs this.
#[expect(clippy::print_stderr, reason = "a command-line tool")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The repository's root.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .map(PathBuf::from)
        .context("this crate is not in tests/xtask")
}

pub(crate) fn tidy(update: bool) -> anyhow::Result<()> {
    let root = root()?;
    let mut problems = edges::check(&root, update)?;
    problems.extend(files::check(&root)?);
    if problems.is_empty() {
        say("tidy");
        return Ok(());
    }
    for problem in &problems {
        say(problem);
    }
    bail!("{} problems", problems.len())
}
