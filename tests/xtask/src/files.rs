//! Rules that every file keeps.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Longest Rust file.
const LINES_MAX: usize = 650;

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = String::from_utf8(output.stdout)?;
    let mut problems = Vec::new();
    // What others wrote and we had to change is kept as they wrote it.
    for name in listing.lines().filter(|name| !name.contains("/vendor/")) {
        let path = root.join(name);
        if name.ends_with("/mod.rs") {
            problems.push(format!("{name}: modules are named files here, not mod.rs"));
        }
        if name.ends_with(".rs") {
            rust_file(
                name,
                &std::fs::read_to_string(&path).unwrap_or_default(),
                &mut problems,
            );
        } else if name.ends_with(".md") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            links(name, &path, &text, &mut problems);
        }
    }
    Ok(problems)
}

fn rust_file(name: &str, text: &str, problems: &mut Vec<String>) {
    if text.is_empty() {
        return;
    }
    if !text.starts_with("//!") {
        problems.push(format!("{name}: does not open with what it is for (//!)"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
    }
    for (number, line) in text.lines().enumerate() {
        let marker = ["TO", "DO"].concat();
        if line.contains(&format!("{marker}:")) || line.contains(&format!("{marker} ")) {
            problems.push(format!("{name}:{}: unfinished work", number + 1));
        }
    }
}

/// Relative links of a document must lead somewhere.
fn links(name: &str, path: &Path, text: &str, problems: &mut Vec<String>) {
    let folder = path.parent().unwrap_or(path);
    for part in text.split("](").skip(1) {
        let Some((target, _)) = part.split_once(')') else {
            continue;
        };
        let target = target.split('#').next().unwrap_or_default();
        let outside = target.contains("://") || target.starts_with("mailto:");
        if target.is_empty() || outside || target.contains(' ') {
            continue;
        }
        if !folder.join(target).try_exists().unwrap_or(false) {
            problems.push(format!("{name}: the link to {target} leads nowhere"));
        }
    }
}
