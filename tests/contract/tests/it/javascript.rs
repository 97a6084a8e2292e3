//! JavaScript clients: the official `pryv` and `@pryv/monitor` packages and the `homecore-client`
//! module. The scripts are in `tests/contract/js` and `node/client/js`; here they are given a cluster
//! and judged.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Demo, DemoOptions, run};
use serde_json::{Value, json};

/// Three starts with some twenty thousand event reads and writes each, on a busy machine.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A path of the repository, told from this crate's place in it.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Runs a program in a directory; gives what it printed, or an error with all of it.
async fn run_in(
    directory: &Path,
    program: &str,
    arguments: &[&str],
    within: Duration,
) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let output = run(command, within)
        .await
        .with_context(|| format!("{program} is needed (Node.js 20 or later, with npm)"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program} {} in {}: {}\n{printed}\n{}",
        arguments.join(" "),
        directory.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}

/// Installs the packages that the lock file names, unless they are there already.
async fn install() -> anyhow::Result<PathBuf> {
    let directory = repository("tests/contract/js");
    let lock = std::fs::read(directory.join("package-lock.json"))?;
    // `npm ci` empties the folder first: the copy is there only after it went through.
    let installed = directory.join("node_modules/.installed-lock.json");
    if std::fs::read(&installed).is_ok_and(|done| done == lock) {
        return Ok(directory);
    }
    run_in(
        &directory,
        "npm",
        &["ci", "--ignore-scripts"],
        INSTALL_TIMEOUT,
    )
    .await?;
    std::fs::write(&installed, lock).context("cannot note that npm ci went through")?;
    Ok(directory)
}

#[tokio::test]
async fn the_client_module_passes_its_own_tests() -> anyhow::Result<()> {
    let directory = repository("node/client/js");
    let mut arguments = vec!["--test".to_owned()];
    for entry in std::fs::read_dir(directory.join("test"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.js") {
            arguments.push(path.display().to_string());
        }
    }
    ensure!(
        arguments.len() > 3,
        "the module's tests are gone: {arguments:?}"
    );
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_in(&directory, "node", &arguments, SCRIPT_TIMEOUT).await?;
    Ok(())
}

/// Also shows that the script of the next test fails when one sample differs.
#[tokio::test]
async fn the_sdk_script_passes_its_own_tests() -> anyhow::Result<()> {
    let directory = install().await?;
    run_in(
        &directory,
        "node",
        &["--test", "fake.test.mjs"],
        SCRIPT_TIMEOUT,
    )
    .await?;
    Ok(())
}

/// Starts three cores and runs a script of the official SDK on them; what it printed.
async fn script(name: &str) -> anyhow::Result<(Vec<String>, Value)> {
    let directory = install().await?;
    let demo = Demo::start(DemoOptions::cores(3)).await?;
    let cores: Vec<String> = demo.cores().iter().map(|core| core.url.clone()).collect();
    let input = json!({
        "cores": cores,
        "serviceInfo": format!("{}reg/service/info", demo.core(0)?.url),
        "csv": repository("tests/golden/heart-rate-100hz.csv"),
    });
    let arguments = [name, &input.to_string()];
    let printed = run_in(&directory, "node", &arguments, SCRIPT_TIMEOUT).await;
    let printed = printed.with_context(|| demo.log_tail())?;
    let result = serde_json::from_str(&printed).with_context(|| printed.clone())?;
    Ok((cores, result))
}

#[tokio::test]
async fn an_app_is_let_in_at_one_core_and_told_at_another() -> anyhow::Result<()> {
    let (cores, result) = script("consent.mjs").await?;
    for (i, core) in cores.iter().enumerate() {
        let run = &result["runs"][i];
        assert_eq!(run["asks"], **core);
        assert_ne!(run["polls"], run["asks"]);
        assert_eq!(run["refused"], "REFUSED");
    }
    Ok(())
}

#[tokio::test]
async fn the_official_sdk_works_from_every_core() -> anyhow::Result<()> {
    let (cores, result) = script("sdk.mjs").await?;
    let expected_starts: Vec<Value> = cores.into_iter().map(Value::from).collect();
    let runs = result["runs"]
        .as_array()
        .with_context(|| result.to_string())?;
    let starts: Vec<Value> = runs.iter().map(|run| run["start"].clone()).collect();
    assert_eq!(starts, expected_starts);
    for run in runs {
        assert_ne!(run["wrong"], run["home"], "no start at a wrong core");
        assert_eq!(run["refused"]["status"], 421);
        for part in ["followed", "direct"] {
            assert_eq!(run[part]["created"], 1_000, "{part}");
            assert_eq!(run[part]["readBack"], 1_000, "{part}");
        }
        assert_eq!(run["followed"]["atWrong"], 1, "the home was not remembered");
    }
    Ok(())
}

/// The tests that the packages bring along, at each core in turn, most users being at home at another.
#[tokio::test]
async fn the_packages_pass_their_own_tests_at_every_core() -> anyhow::Result<()> {
    let directory = install().await?;
    let mut options = ClusterOptions::cores(3);
    // They want a page to sign in at, which nobody opens.
    let page = "auth.default_auth_url=https://example.com/access/access.html";
    options.set.push(page.to_owned());
    let cluster = Cluster::start(options).await?;
    for core in cluster.cores() {
        let info = format!("{}reg/service/info", core.url());
        let ran = run_in(&directory, "node", &["suite.mjs", &info], SCRIPT_TIMEOUT).await;
        ran.with_context(|| format!("at {}", core.id()))?;
    }
    Ok(())
}
