//! A child process with everything it starts: logs in files, signals by process id, and an end that
//! is sure to come.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group,
    prlimit, waitid,
};

use crate::wait::wait_until;

/// How much of a log is shown when something fails: enough for a panic with its backtrace.
const TAIL_LINES: usize = 200;

/// Kills the group given to it when its input ends: when the process that started it is gone, or
/// says so. Rust runs no destructor when a test runner kills a test that takes too long.
const GUARDIAN: &str = r#"read -r _; kill -s KILL -- "-$1""#;

/// A process that is killed, with its whole group, when this value is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    guardian: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command in a group of its own. What it prints is appended to `{name}.out` and
    /// `{name}.err` in `logs`.
    ///
    /// # Errors
    /// When the command or its guardian cannot be started.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        let program = PathBuf::from(command.get_program());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(append(&stdout)?)
            .stderr(append(&stderr)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pid = Pid::from_child(&child);
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the test's group, which a test runner kills as a whole.
            .process_group(0)
            .spawn();
        let guardian = match guardian {
            Ok(guardian) => guardian,
            Err(error) => {
                end(pid, &mut child).context("cannot end a child that has no guardian")?;
                return Err(error).context("cannot start a guardian with sh");
            }
        };
        Ok(Self {
            name: name.to_owned(),
            child,
            pid,
            guardian,
            stdout,
            stderr,
            ended: None,
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stdout(&self) -> anyhow::Result<String> {
        read(&self.stdout)
    }

    /// What it logged so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stderr(&self) -> anyhow::Result<String> {
        read(&self.stderr)
    }

    /// The end of what it logged, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail_of(&self.stderr)
    }

    /// Sends a signal to the process itself.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} has ended ({status}) and takes no signal", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Stops it in its tracks (SIGSTOP), as a machine that hangs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills it and its group (SIGKILL), as a power cut.
    ///
    /// # Errors
    /// When its end cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.ended.is_none() {
            self.ended = Some(end(self.pid, &mut self.child).context("cannot wait for a child")?);
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it has not ended in time; it goes on then.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        let what = format!("the end of {} after SIGTERM", self.name);
        let ended = wait_until(within, &what, async || self.exited()).await;
        ended.with_context(|| self.log_tail())
    }

    /// Lets it crash (SIGABRT), with no limit on what the system may write of its memory, and waits.
    ///
    /// # Errors
    /// When the limit cannot be raised, or it has not ended in time.
    pub async fn crash(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        prlimit(Some(self.pid), Resource::Core, unlimited)
            .with_context(|| format!("cannot raise the limit of {}", self.name))?;
        self.signal(Signal::ABORT)?;
        let what = format!("the end of {} after SIGABRT", self.name);
        wait_until(within, &what, async || self.exited()).await
    }

    /// How it ended, if it has. What it had started is killed then.
    ///
    /// # Errors
    /// When its state cannot be asked.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            // Looked at without reaping: until it is reaped its id, which is its group's, cannot
            // become another process's.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let state = waitid(WaitId::Pid(self.pid), options)
                .with_context(|| format!("cannot ask for the state of {}", self.name))?;
            if state.is_some_and(|state| state.exited() || state.killed() || state.dumped()) {
                self.kill()?;
            }
        }
        Ok(self.ended)
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test belongs to its output"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
        // The guardian last: until here it stands in for us.
        if let Err(error) = self.guardian.kill().and_then(|()| self.guardian.wait()) {
            eprintln!("the guardian of {}: {error}", self.name);
        }
    }
}

/// Kills a group, whose leader is not reaped yet, and reaps the leader.
fn end(pid: Pid, child: &mut Child) -> std::io::Result<ExitStatus> {
    match kill_process_group(pid, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => child.wait(),
        Err(error) => Err(error.into()),
    }
}

/// Runs a command to its end, in a group of its own, and gives back what it printed.
///
/// # Errors
/// When it cannot be started or takes too long; it is killed then.
pub async fn run(command: Command, within: Duration) -> anyhow::Result<Output> {
    let shown = format!("{command:?}");
    let logs = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut process = Process::start("command", command, logs.path())?;
    let status = wait_until(within, &format!("the end of {shown}"), async || {
        process.exited()
    })
    .await
    .with_context(|| process.log_tail())?;
    Ok(Output {
        status,
        stdout: process.stdout()?.into_bytes(),
        stderr: process.stderr()?.into_bytes(),
    })
}

/// The end of a log, under its name.
pub(crate) fn tail_of(path: &Path) -> String {
    let log = read(path).unwrap_or_else(|error| format!("{error:#}"));
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(TAIL_LINES)..)
        .unwrap_or_default();
    format!(
        "--- end of {} ---\n{}\n---",
        path.display(),
        tail.join("\n")
    )
}

fn append(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
