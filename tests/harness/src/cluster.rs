//! A cluster of cores started one by one: one founds it, the others join.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use homecore_types::{Secret, SystemEntropy, entropy};
use tempfile::TempDir;

use crate::core::{Core, CoreOptions};
use crate::network::Place;
use crate::status::Status;
use crate::wait::wait_until;

/// How long one core may take to start or join.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many cores.
    pub cores: usize,
    /// The platform's domain; with it the cores answer DNS.
    pub domain: Option<String>,
    /// Further keys for every core, as for `--set`.
    pub set: Vec<String>,
    /// The binary, if it is not the usual one.
    pub binary: Option<PathBuf>,
    /// The machines of the cores, in order; those beyond run on this one's loopback address.
    pub places: Vec<Place>,
}

impl ClusterOptions {
    /// A cluster of so many cores.
    #[must_use]
    pub fn cores(cores: usize) -> Self {
        Self {
            cores,
            domain: None,
            set: Vec::new(),
            binary: None,
            places: Vec::new(),
        }
    }
}

/// A running cluster, ended when dropped. Its cores are `core-a`, `core-b` and so on.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    cores: Vec<Core>,
    admin_key: Secret,
    dir: TempDir,
}

impl Cluster {
    /// Founds a cluster, joins the other cores, and waits until it has settled.
    ///
    /// # Errors
    /// When there is no binary, or a core does not come up; with the end of its log.
    pub async fn start(options: ClusterOptions) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let admin_key = Secret::new(entropy::lower_alphanumeric(&SystemEntropy, 32));
        let count = options.cores;
        let mut cluster = Self {
            options,
            cores: Vec::new(),
            admin_key,
            dir,
        };
        for _ in 0..count {
            cluster.add().await?;
        }
        cluster.wait_settled(START_TIMEOUT).await?;
        Ok(cluster)
    }

    /// Adds a core: the first founds the cluster, others join through the first that runs.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub async fn add(&mut self) -> anyhow::Result<usize> {
        let index = self.cores.len();
        let id = core_id(index);
        let base = match index {
            0 => CoreOptions::founder(&id, self.admin_key.expose()),
            _ => CoreOptions::member(&id),
        };
        let options = CoreOptions {
            domain: self.options.domain.clone(),
            set: self.options.set.clone(),
            binary: self.options.binary.clone(),
            place: self.options.places.get(index).cloned(),
            ..base
        };
        let mut core = Core::prepare(self.dir.path(), options)?;
        match self.running() {
            Some(through) => core.join(through).await?,
            None => core.start()?,
        }
        core.wait_ready(START_TIMEOUT).await?;
        self.cores.push(core);
        Ok(index)
    }

    /// The administrators' key.
    #[must_use]
    pub fn admin_key(&self) -> &Secret {
        &self.admin_key
    }

    /// The cores, also those that do not run.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// A core.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn core(&self, index: usize) -> anyhow::Result<&Core> {
        self.cores
            .get(index)
            .with_context(|| format!("there is no core {index}"))
    }

    /// A core, to do something to it.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn core_mut(&mut self, index: usize) -> anyhow::Result<&mut Core> {
        self.cores
            .get_mut(index)
            .with_context(|| format!("there is no core {index}"))
    }

    /// The index of the core that leads, as a core sees it.
    ///
    /// # Errors
    /// When the core does not answer, or knows no leader.
    pub async fn leader(&self, asked: usize) -> anyhow::Result<usize> {
        let status = self.core(asked)?.status().await?;
        let leader = status.leader.context("there is no leader")?;
        self.cores
            .iter()
            .position(|core| core.id() == leader)
            .with_context(|| format!("the leader {leader} is not of this cluster"))
    }

    /// Waits until every core sees all cores serving and up to date, with a leader and the right
    /// number of voters.
    ///
    /// # Errors
    /// When it does not come to that in time; with the last status.
    pub async fn wait_settled(&self, within: Duration) -> anyhow::Result<Status> {
        let count = self.cores.len();
        wait_until(within, "the cluster has settled", async || {
            let mut last = None;
            for core in &self.cores {
                let status = core.status().await?;
                anyhow::ensure!(status.is_settled(count), "{} sees {status:?}", core.id());
                last = Some(status);
            }
            Ok(last)
        })
        .await
    }

    fn running(&mut self) -> Option<&Core> {
        let index = self.cores.iter_mut().position(Core::is_running)?;
        self.cores.get(index)
    }
}

/// `core-a` to `core-z`, then `core-27` and so on.
fn core_id(index: usize) -> String {
    match u8::try_from(index) {
        Ok(letter @ 0..=25) => format!("core-{}", char::from(b'a' + letter)),
        _ => format!("core-{}", index + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_have_names() {
        assert_eq!(
            [0, 2, 25, 26].map(core_id),
            ["core-a", "core-c", "core-z", "core-27"]
        );
    }
}
