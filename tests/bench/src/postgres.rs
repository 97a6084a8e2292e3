//! The peer of event writes by many users: PostgreSQL with its default durability, one row for one
//! event, each insert a transaction of its own, driven by its own pgbench. Used where it is installed,
//! never downloaded.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use homecore_harness::{Ports, Process, fatal, wait_until};
use tempfile::TempDir;

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian makes for it: it does not run as root.
const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of its programs, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    programs
        .filter(|bin| {
            ["initdb", "postgres", "pgbench", "psql"]
                .iter()
                .all(|name| bin.join(name).is_file())
        })
        .max()
}

/// One that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    process: Process,
    ports: Ports,
    /// Its own, since its user owns it.
    directory: TempDir,
    identity: Option<(u32, u32)>,
}

impl Postgres {
    /// Starts one with an empty table of events.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(programs: &Path, record: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let identity = other_user()?;
        if let Some((user, group)) = identity {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group))
                .context("cannot give PostgreSQL its directory")?;
        }
        let ports = Ports::lease(1)?;
        let data = directory.path().join("data");
        let mut made = command(&programs.join("initdb"), identity);
        made.current_dir(directory.path())
            .arg("-D")
            .arg(&data)
            .args([
                "--auth=trust",
                "--username=bench",
                "--encoding=UTF8",
                "--no-locale",
            ]);
        finished(made).await.context("initdb")?;
        let mut server = command(&programs.join("postgres"), identity);
        server
            .current_dir(directory.path())
            .arg("-D")
            .arg(&data)
            .arg("-p")
            .arg(ports.address(0)?.port().to_string())
            .arg("-k")
            .arg(directory.path())
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=600",
            ])
            .args(["-c", "shared_buffers=256MB"]);
        let mut process = Process::start("postgres", server, directory.path())?;
        let script = format!(
            "INSERT INTO event (owner, at, content) VALUES (:client_id, clock_timestamp(), '{}');\n",
            "x".repeat(record)
        );
        std::fs::write(directory.path().join("insert.sql"), script)?;
        let ready = PgClient {
            programs,
            port: ports.address(0)?.port(),
            identity,
        };
        wait_until(PATIENCE, "PostgreSQL answers", async || {
            if let Some(status) = process.exited()? {
                return Err(fatal(format!("it ended: {status}: {}", process.log_tail())));
            }
            ready.sql("SELECT 1").await.map(Some)
        })
        .await?;
        ready
            .sql("CREATE TABLE event (id bigserial PRIMARY KEY, owner int, at timestamptz, content text)")
            .await?;
        ready.sql("CREATE INDEX ON event (owner, at)").await?;
        Ok(Self {
            programs: programs.to_owned(),
            process,
            ports,
            directory,
            identity,
        })
    }

    /// Inserts a second by so many clients.
    ///
    /// # Errors
    /// When pgbench fails.
    pub(crate) async fn inserts_per_second(
        &self,
        clients: usize,
        time: Duration,
    ) -> anyhow::Result<f64> {
        ensure!(self.process.id() > 0, "PostgreSQL is not running");
        let mut bench = command(&self.programs.join("pgbench"), self.identity);
        bench
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "bench",
                "-n",
                "-M",
                "prepared",
                "-p",
            ])
            .arg(self.ports.address(0)?.port().to_string())
            .arg("-c")
            .arg(clients.to_string())
            .arg("-j")
            .arg(clients.min(2).to_string())
            .arg("-T")
            .arg(time.as_secs().max(1).to_string())
            .arg("-f")
            .arg(self.directory.path().join("insert.sql"))
            .arg("postgres");
        rate(&finished(bench).await.context("pgbench")?)
    }
}

struct PgClient<'a> {
    programs: &'a Path,
    port: u16,
    identity: Option<(u32, u32)>,
}

impl PgClient<'_> {
    async fn sql(&self, statement: &str) -> anyhow::Result<()> {
        let mut psql = command(&self.programs.join("psql"), self.identity);
        psql.args([
            "-h",
            "127.0.0.1",
            "-U",
            "bench",
            "-q",
            "-c",
            statement,
            "-p",
        ])
        .arg(self.port.to_string())
        .arg("postgres");
        finished(psql).await.map(|_output| ())
    }
}

/// What pgbench measured.
fn rate(output: &str) -> anyhow::Result<f64> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .with_context(|| format!("pgbench told no rate: {output}"))?;
    let number = line.split_whitespace().next().unwrap_or_default();
    number.parse().with_context(|| format!("{line} is no rate"))
}

fn command(program: &Path, identity: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = identity {
        command.uid(user).gid(group);
    }
    command
}

/// Runs a command to its end: what it printed.
async fn finished(mut command: Command) -> anyhow::Result<String> {
    let ended =
        tokio::task::spawn_blocking(move || command.stdin(File::open("/dev/null")?).output());
    let output = ended.await??;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// User and group to run as: those of Debian's `postgres` if this program is run by root, who may not.
fn other_user() -> anyhow::Result<Option<(u32, u32)>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1))
        == Some("0");
    if !is_root {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let found = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_it = fields.first() == Some(&USER);
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
        is_it.then(|| number(2).zip(number(3))).flatten()
    });
    found
        .map(Some)
        .with_context(|| format!("PostgreSQL does not run as root, and there is no user {USER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read() {
        let output = "latency average = 1 ms\ntps = 1234.5 (without initial connection time)\n";
        assert!((rate(output).unwrap() - 1234.5).abs() < 0.01);
        assert!(rate("no").is_err());
    }
}
