//! Which crate may depend on which, and on what from outside: compared with a golden file, so that
//! a new edge is a line that somebody reads in a diff.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

const GOLDEN: &str = "tests/golden/crate-edges.txt";

pub(crate) fn check(root: &Path, update: bool) -> anyhow::Result<Vec<String>> {
    let present = edges(root)?;
    let path = root.join(GOLDEN);
    if update {
        let text: Vec<&str> = present.iter().map(String::as_str).collect();
        std::fs::write(&path, text.join("\n") + "\n")?;
        return Ok(Vec::new());
    }
    let golden: BTreeSet<String> = std::fs::read_to_string(&path)
        .with_context(|| format!("{GOLDEN} (cargo xtask tidy --update writes it)"))?
        .lines()
        .map(str::to_owned)
        .collect();
    let new = present.difference(&golden).map(|edge| {
        format!("new edge: {edge}  (if it is meant, cargo xtask tidy --update and say why in a decision record)")
    });
    let gone = golden
        .difference(&present)
        .map(|edge| format!("edge is gone: {edge}  (cargo xtask tidy --update)"));
    Ok(new.chain(gone).collect())
}

fn edges(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut edges = BTreeSet::new();
    let packages = metadata.get("packages").and_then(Value::as_array);
    for package in packages.into_iter().flatten() {
        let name = package
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        for dependency in dependencies.into_iter().flatten() {
            let to = dependency
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let kind = dependency
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or("normal");
            edges.insert(format!("{name} -> {to} ({kind})"));
        }
    }
    Ok(edges)
}
