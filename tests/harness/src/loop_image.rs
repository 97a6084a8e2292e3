//! A disk that can lose power: an ext4 image in a file, mounted through a loop device.
//!
//! What a process wrote but nobody synced is in the page cache of the file system *inside* the image,
//! above the loop device; the file below holds only what the device was given. So a copy of that file
//! is what a disk would hold if the power went at that moment, and mounting the copy replays the
//! file system's journal as a machine does that starts again. The loop device writes through the page
//! cache of the file system outside, which the copy reads too, so direct I/O would change nothing.
//!
//! The mount makes little durable by itself: the journal commits every ten minutes only
//! (`commit=600`), and files replaced by rename or truncation are not flushed as a favour
//! (`noauto_da_alloc`). Not simulated: a disk that loses or reorders what it was given before a flush.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::process::run;

/// Long enough for a copy on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

const OPTIONS: &str = "loop,data=ordered,commit=600,noauto_da_alloc,noatime";

/// Unmounts when its input ends: when the process that mounted is gone without having dropped
/// anything. Lazily, because what used the mount is being killed at the same time. The loop device
/// goes with its last mount.
const GUARDIAN: &str = r#"read -r _; umount --lazy -- "$1""#;

/// A disk in a file. Unmounted and removed when dropped.
#[derive(Debug)]
pub struct LoopImage {
    file: PathBuf,
    mount: Option<Mount>,
}

impl LoopImage {
    /// Why this machine cannot mount images, as found by mounting one: it needs root, loop devices
    /// and ext4's tools. `None` if it can.
    pub async fn why_not() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("mounting an image needs root".to_owned());
        }
        let attempt = async {
            let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
            let at = dir.path().join("mount");
            std::fs::create_dir(&at).with_context(|| format!("cannot make {}", at.display()))?;
            let mut image = Self::create(&dir.path().join("image"), 16).await?;
            image.mount(&at).await?;
            image.unmount().await
        };
        attempt.await.err().map(|error| format!("{error:#}"))
    }

    /// Makes an empty disk of so many MiB; the file takes only what is used.
    ///
    /// # Errors
    /// When there is such a file, or `mkfs.ext4` fails.
    pub async fn create(file: &Path, mebibytes: u64) -> anyhow::Result<Self> {
        std::fs::File::create_new(file)
            .and_then(|created| created.set_len(mebibytes << 20))
            .with_context(|| format!("cannot make {}", file.display()))?;
        let image = Self {
            file: file.to_owned(),
            mount: None,
        };
        // Nothing is left to be initialised behind the test's back.
        let mut command = Command::new("mkfs.ext4");
        command
            .args(["-q", "-F", "-m", "0"])
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(file);
        done(command).await?;
        Ok(image)
    }

    /// Mounts it at a directory, replaying its journal if it was not unmounted before.
    ///
    /// # Errors
    /// When it is mounted already, or `mount` fails.
    pub async fn mount(&mut self, at: &Path) -> anyhow::Result<()> {
        ensure!(
            self.mount.is_none(),
            "{} is mounted already",
            self.file.display()
        );
        // The guardian first: there is no moment without one.
        let guardian = Mount {
            guardian: guardian(at)?,
            at: at.to_owned(),
            mounted: false,
        };
        let mount = self.mount.insert(guardian);
        let mut command = Command::new("mount");
        command
            .args(["-t", "ext4", "-o", OPTIONS])
            .arg(&self.file)
            .arg(at);
        mount.mounted = true;
        let mounted = done(command).await;
        if mounted.is_err() {
            mount.mounted = false;
            self.mount = None;
        }
        mounted
    }

    /// Unmounts it. What was not synced is written now, as when a machine is shut down.
    ///
    /// # Errors
    /// When something still uses it; it stays mounted then.
    pub async fn unmount(&mut self) -> anyhow::Result<()> {
        let Some(mount) = &mut self.mount else {
            return Ok(());
        };
        let mut command = Command::new("umount");
        command.arg(&mount.at);
        done(command).await?;
        mount.mounted = false;
        self.mount = None;
        Ok(())
    }

    /// Writes everything that its file system holds to the device.
    ///
    /// # Errors
    /// When it is not mounted, or `sync` fails.
    pub async fn sync(&self) -> anyhow::Result<()> {
        let mount = self
            .mount
            .as_ref()
            .with_context(|| format!("{} is not mounted", self.file.display()))?;
        let mut command = Command::new("sync");
        command.arg("--file-system").arg(&mount.at);
        done(command).await
    }

    /// Makes it take no writes any more, from one moment to the next, as a file system does that has met
    /// an error of its disk. Mounting it anew makes it as before, without what was not written.
    ///
    /// # Errors
    /// When it is not mounted, or `mount` fails.
    pub async fn stop_writes(&self) -> anyhow::Result<()> {
        let mount = self
            .mount
            .as_ref()
            .with_context(|| format!("{} is not mounted", self.file.display()))?;
        let mut command = Command::new("mount");
        command.args(["-o", "remount,abort"]).arg(&mount.at);
        done(command).await
    }

    /// The disk as it would be if the power went now: a copy of what the device was given. What
    /// writes to it has to be stopped, and out of the kernel, while the copy is made.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub async fn copy_received(&self, to: &Path) -> anyhow::Result<Self> {
        let copy = Self {
            file: to.to_owned(),
            mount: None,
        };
        let mut command = Command::new("cp");
        command
            .args(["--reflink=auto", "--sparse=always"])
            .arg(&self.file)
            .arg(to);
        done(command).await?;
        Ok(copy)
    }
}

impl Drop for LoopImage {
    #[expect(
        clippy::print_stderr,
        reason = "what is left behind must be known, and a destructor returns nothing"
    )]
    fn drop(&mut self) {
        // Before the file: its device ends with the mount.
        self.mount = None;
        if let Err(error) = std::fs::remove_file(&self.file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{} is left behind: {error}", self.file.display());
        }
    }
}

/// A mounted image. Unmounted when dropped.
#[derive(Debug)]
struct Mount {
    guardian: Child,
    at: PathBuf,
    mounted: bool,
}

impl Drop for Mount {
    #[expect(
        clippy::print_stderr,
        reason = "what is left behind must be known, and a destructor returns nothing"
    )]
    fn drop(&mut self) {
        if self.mounted {
            let ended = Command::new("umount").arg("--lazy").arg(&self.at).status();
            if !matches!(&ended, Ok(status) if status.success()) {
                eprintln!("{} stays mounted: {ended:?}", self.at.display());
            }
        }
        // The guardian last: until here it stands in for us.
        if let Err(error) = self.guardian.kill().and_then(|()| self.guardian.wait()) {
            eprintln!("the guardian of {}: {error}", self.at.display());
        }
    }
}

fn guardian(at: &Path) -> anyhow::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    Command::new("sh")
        .args(["-c", GUARDIAN, "guardian"])
        .arg(at)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not in the test's group, which a test runner kills as a whole.
        .process_group(0)
        .spawn()
        .context("cannot start a guardian with sh")
}

/// Runs a command that has to succeed.
async fn done(command: Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let output = run(command, COMMAND_TIMEOUT).await?;
    ensure!(
        output.status.success(),
        "{shown}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests;
