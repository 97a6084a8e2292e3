//! What the machine and its processes say: the binary, the load, memory and processor time. Where
//! there is no `/proc` the last three are not known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use homecore_harness::{BINARY_VARIABLE, find_binary};

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, which Linux gives to user space as 100 on every
/// machine that homecore is built for, whatever its own clock does.
const TICKS_PER_SECOND: u64 = 100;
const BUILD: &str = "cargo build --release -p homecore -p homecore-bench";

/// The binary to measure, which is a release build, as this program is.
///
/// # Errors
/// When either is not.
pub(crate) fn find_release_binary(allow_debug: bool) -> anyhow::Result<PathBuf> {
    let Ok(binary) = find_binary() else {
        bail!(
            "there is no release binary of homecore to measure: `{BUILD}`, or name one in {BINARY_VARIABLE}"
        );
    };
    let is_debug = binary
        .parent()
        .is_some_and(|directory| directory.ends_with("debug"));
    if allow_debug {
        return Ok(binary);
    }
    if is_debug {
        bail!(
            "target/release/homecore is missing, and {} is a debug build, whose figures mean nothing: `{BUILD}`",
            binary.display()
        );
    }
    if cfg!(debug_assertions) {
        bail!(
            "this is a debug build of homecore-bench, which is slower than what it measures: `{BUILD}`, then `target/release/homecore-bench`"
        );
    }
    Ok(binary)
}

/// What was measured on what.
pub(crate) fn describe(binary: &Path, quick: bool) -> String {
    let processors = processors();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let quick = if quick { "; quick" } else { "" };
    format!(
        "homecore-bench{quick}: {}, {processors} processors shared by cores and load, {} {}\n{}",
        binary
            .file_name()
            .map_or_else(|| "homecore".into(), |name| name.to_string_lossy()),
        std::env::consts::OS,
        kernel.trim(),
        load()
    )
}

/// Processors that this program may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average, to tell a busy machine.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    format!("load average (1, 5, 15 minutes): {}", averages.join(" "))
}

/// Memory of a process that is in RAM now, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time that process groups have used so far, those of ended children not included. The
/// harness gives every process it starts a group of its own.
pub(crate) fn processor_time(groups: &[u32]) -> Option<Duration> {
    let mut ticks = 0_u64;
    let mut found = false;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if !is_process {
            continue;
        }
        // A process may end between the listing and the reading.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some((group, used)) = parse_stat(&stat)
            && groups.contains(&group)
        {
            found = true;
            ticks = ticks.saturating_add(used);
        }
    }
    found.then(|| Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// Group, and ticks in user space and kernel.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    // The second field is a name in parentheses, which may itself hold any of both.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((
        u32::try_from(number(2)?).ok()?,
        number(11)?.checked_add(number(12)?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read() {
        let line = "77 (a) b (c) S 1 70 70 0 -1 4194560 1 2 3 4 250 31 0 0 20 0 9 0 1 2 3";
        assert_eq!(parse_stat(line), Some((70, 281)));
        assert_eq!(parse_stat("77 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory() {
        if Path::new("/proc/self/status").is_file() {
            assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        }
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
