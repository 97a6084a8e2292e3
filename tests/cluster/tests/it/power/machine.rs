//! A machine with one core whose disk is an image, so that its power can be cut.

use std::path::PathBuf;

use anyhow::Context as _;
use homecore_harness::{Core, CoreOptions, LoopImage, wait_until};
use tempfile::TempDir;

use crate::PATIENCE;

/// Far more than a test writes; the file takes only what is used.
const DISK_MEBIBYTES: u64 = 512;

/// As few as the configuration allows, so that snapshots are written and the log is purged all the
/// time.
const SNAPSHOT_EVERY: &str = "cluster.snapshot_every=100";

/// What a core has from its beginning to its end: who it is, its key and certificate, the cluster's.
const CREDENTIALS: [&str; 4] = [
    "node.key",
    "node.crt",
    "cluster.key",
    "platform/identity.json",
];

/// What the machine is made of.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Its name, if it is to join others and not to found a cluster.
    pub(crate) member: Option<String>,
    /// The engine under the platform's state.
    pub(crate) engine: &'static str,
    /// The binary, if it is not the usual one.
    pub(crate) binary: Option<PathBuf>,
}

impl Parts {
    /// The usual binary with an engine.
    pub(crate) fn engine(engine: &'static str) -> Self {
        Self {
            member: None,
            engine,
            binary: None,
        }
    }
}

/// A running core, and the disk that it keeps everything on.
#[derive(Debug)]
pub(crate) struct Machine {
    // Killed before the disk is unmounted: fields are dropped in this order.
    pub(crate) core: Core,
    disk: LoopImage,
    disks: usize,
    dir: TempDir,
}

impl Machine {
    /// Founds a cluster of one core on a new disk.
    pub(crate) async fn start(parts: Parts) -> anyhow::Result<Self> {
        let mut machine = Self::prepare(parts).await?;
        machine.core.start()?;
        machine.core.wait_ready(PATIENCE).await?;
        Ok(machine)
    }

    /// A core that has not been started yet, with an empty disk.
    pub(crate) async fn prepare(parts: Parts) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let base = match &parts.member {
            Some(id) => CoreOptions::member(id),
            None => CoreOptions::founder("core-a", "the-key-of-administrators"),
        };
        let options = CoreOptions {
            set: vec![
                SNAPSHOT_EVERY.to_owned(),
                format!("cluster.engine={}", parts.engine),
            ],
            binary: parts.binary,
            ..base
        };
        let core = Core::prepare(dir.path(), options)?;
        std::fs::create_dir(core.data())?;
        let mut disk = LoopImage::create(&dir.path().join("disk-0"), DISK_MEBIBYTES).await?;
        disk.mount(&core.data()).await?;
        Ok(Self {
            core,
            disk,
            disks: 1,
            dir,
        })
    }

    /// Cuts the power, and puts what the disk has received by then in the disk's place. The core is
    /// not started again. `held` is called when the core answers nothing any more, and before
    /// anybody can notice.
    pub(crate) async fn lose_power(&mut self, held: impl FnOnce()) -> anyhow::Result<()> {
        self.hold().await?;
        held();
        let file = self.dir.path().join(format!("disk-{}", self.disks));
        self.disks += 1;
        let received = self.disk.copy_received(&file).await?;
        self.core.kill()?;
        self.disk.unmount().await?;
        // The same place: a machine that starts again has the configuration that it had.
        self.disk = received;
        self.disk.mount(&self.core.data()).await
    }

    /// Puts everything on the disk, also what the core did not sync.
    pub(crate) async fn settle_disk(&mut self) -> anyhow::Result<()> {
        self.hold().await?;
        self.disk.sync().await?;
        self.core.resume()
    }

    /// Stops the core, and waits until all of its threads are out of the kernel: none is in the
    /// middle of writing while the disk is copied.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let paused = self.core.pause();
        let process = self.core.process()?;
        paused.with_context(|| process.log_tail())?;
        let tasks = format!("/proc/{}/task", process.id());
        wait_until(
            PATIENCE,
            "every thread of the core is stopped",
            async || {
                for task in std::fs::read_dir(&tasks)? {
                    let stat = std::fs::read_to_string(task?.path().join("stat"))?;
                    let (_name, rest) = stat.rsplit_once(") ").context("no state")?;
                    if !rest.starts_with('T') {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            },
        )
        .await
    }

    /// Its keys and certificates.
    pub(crate) fn credentials(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let read = |name| {
            let path = self.core.data().join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        CREDENTIALS.into_iter().map(read).collect()
    }

    /// The platform entry that the newest snapshot ends with; 0 if there is none yet.
    pub(crate) fn newest_snapshot(&self) -> anyhow::Result<u64> {
        let mut newest = 0;
        for entry in std::fs::read_dir(self.core.data().join("platform/snapshots"))? {
            let name = entry?.file_name();
            let index = name
                .to_str()
                .and_then(|name| name.strip_prefix("snapshot-")?.strip_suffix(".hcs"));
            if let Some(index) = index {
                newest = newest.max(index.parse()?);
            }
        }
        Ok(newest)
    }
}
