//! Machines of their own on one host: network namespaces, and a wire between them that a test can cut,
//! slow down and spoil, for each direction by itself.
//!
//! A namespace lives as long as the process that holds it, which is killed with the test whatever
//! happens to the test; nothing has a name on the host, so nothing can be left behind or collide.
//! Packets pass through this process ([`Link`] says how), not through the kernel's filters: that works
//! on a host that has neither `iptables` nor `netem`, and takes effect between two packets. Needs
//! root, `/dev/net/tun`, `ip`, `unshare` and `nsenter`.

mod wire;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tappers::{Interface, Tun};
use tempfile::TempDir;
use tokio::sync::oneshot;

use self::wire::Wire;
pub use self::wire::{Link, Passed};
use crate::process::Process;
use crate::wait::wait_until;

/// How long a namespace may take to be there.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The network device in every namespace.
const DEVICE: &str = "wire0";

/// A machine of a [`Network`], as a process sees it that is to run there.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its address.
    pub address: Ipv4Addr,
    /// What comes before a command that is to run there.
    pub enter: Vec<String>,
}

/// Machines 1, 2, 3 … and, as number 0, the outside, where the clients are.
#[derive(Debug)]
pub struct Network {
    // Its threads hold devices in the namespaces: ended first.
    wire: Wire,
    machines: Vec<Machine>,
    _logs: TempDir,
}

#[derive(Debug)]
struct Machine {
    holder: Process,
    address: Ipv4Addr,
}

impl Network {
    /// Why there can be no such network on this host, as found by making one. `None` if there can.
    pub async fn why_not() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        Self::create(1, 0)
            .await
            .err()
            .map(|error| format!("{error:#}"))
    }

    /// A network of so many machines, whose wire is whole. What the wire does by chance follows from
    /// the seed.
    ///
    /// # Errors
    /// When the host does not have what it takes.
    pub async fn create(machines: u8, seed: u64) -> anyhow::Result<Self> {
        let logs = tempfile::tempdir().context("cannot make a temporary directory")?;
        let (mut made, mut ports) = (Vec::new(), Vec::new());
        for index in 0..=machines {
            let mut command = Command::new("unshare");
            command.args(["--net", "--", "sleep", "1000000"]);
            let mut holder = Process::start(&format!("machine-{index}"), command, logs.path())?;
            wait_for_namespace(&mut holder).await?;
            let machine = Machine {
                holder,
                address: Ipv4Addr::new(10, 77, 0, 10 + index),
            };
            ports.push((machine.address, machine.device()?));
            made.push(machine);
        }
        Ok(Self {
            wire: Wire::start(ports, seed)?,
            machines: made,
            _logs: logs,
        })
    }

    /// Where a machine is.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn place(&self, machine: usize) -> anyhow::Result<Place> {
        let machine = self.machines.get(machine).context("no such machine")?;
        Ok(Place {
            address: machine.address,
            enter: vec![
                "nsenter".to_owned(),
                format!("--net={}", machine.namespace()),
                "--".to_owned(),
            ],
        })
    }

    /// Sets how packets pass from one machine to another; the way back is another link.
    ///
    /// # Errors
    /// When there are fewer machines.
    pub fn set(&self, from: usize, to: usize, link: Link) -> anyhow::Result<()> {
        self.wire.set(from, to, link)
    }

    /// Sets all links among the machines of a list.
    ///
    /// # Errors
    /// When there are fewer machines.
    pub fn set_among(&self, machines: &[usize], link: Link) -> anyhow::Result<()> {
        for from in machines {
            for to in machines.iter().filter(|to| *to != from) {
                self.wire.set(*from, *to, link)?;
            }
        }
        Ok(())
    }

    /// Cuts the links between two groups, both ways.
    ///
    /// # Errors
    /// When there are fewer machines.
    pub fn part(&self, some: &[usize], others: &[usize]) -> anyhow::Result<()> {
        for one in some {
            for other in others {
                self.wire.set(*one, *other, Link::CUT)?;
                self.wire.set(*other, *one, Link::CUT)?;
            }
        }
        Ok(())
    }

    /// Makes every link whole.
    pub fn heal(&self) {
        self.wire.heal();
    }

    /// What has become of the packets so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        self.wire.passed()
    }

    /// Runs a part of a test outside: with a runtime whose threads reach the machines, and so do the
    /// commands that it starts.
    ///
    /// # Errors
    /// Those of `body`, and when there can be no such thread.
    ///
    /// # Panics
    /// If `body` does.
    pub async fn outside<T: Send + 'static, F: Future<Output = anyhow::Result<T>>>(
        &self,
        body: impl FnOnce() -> F + Send + 'static,
    ) -> anyhow::Result<T> {
        let outside = self.machines.first().context("no outside")?;
        let namespace = Arc::new(outside.open()?);
        let (ended, end) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("outside".to_owned())
            .spawn(move || {
                let _ended = ended;
                enter(&namespace)?;
                tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .worker_threads(2)
                    .on_thread_start(move || enter_or_say(&namespace))
                    .build()
                    .context("cannot start a runtime")?
                    .block_on(body())
            })
            .context("cannot start a thread")?;
        // An error is what a dropped sender gives: the end.
        drop(end.await);
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Machine {
    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn open(&self) -> anyhow::Result<File> {
        let path = self.namespace();
        File::open(&path).with_context(|| format!("cannot open {path}"))
    }

    /// Makes its network device, from a thread that goes there.
    fn device(&self) -> anyhow::Result<Tun> {
        let namespace = self.open()?;
        let address = format!("{}/24", self.address);
        let made = std::thread::spawn(move || {
            enter(&namespace)?;
            let name = Interface::new(DEVICE).context("a wrong name")?;
            let device = Tun::new_named(name).context("cannot make a TUN device")?;
            for words in [
                &["link", "set", "lo", "up"][..],
                &["address", "add", &address, "dev", DEVICE],
                &["link", "set", DEVICE, "mtu", "1400", "up"],
            ] {
                let output = Command::new("ip")
                    .args(words)
                    .output()
                    .context("cannot run ip")?;
                ensure!(
                    output.status.success(),
                    "ip {}: {}",
                    words.join(" "),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            Ok(device)
        });
        match made.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Moves this thread, and what it starts, into a namespace.
fn enter(namespace: &File) -> anyhow::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter a network namespace")
}

#[expect(
    clippy::print_stderr,
    reason = "a thread's beginning returns nothing; what it asks then reaches nobody"
)]
fn enter_or_say(namespace: &File) {
    if let Err(error) = enter(namespace) {
        eprintln!("{error:#}");
    }
}

/// Waits until the holder has left this namespace for its own.
async fn wait_for_namespace(holder: &mut Process) -> anyhow::Result<()> {
    let ours = std::fs::read_link("/proc/self/ns/net").context("no network namespaces here")?;
    let theirs = format!("/proc/{}/ns/net", holder.id());
    wait_until(TIMEOUT, "a network namespace", async || {
        ensure!(holder.exited()?.is_none(), "{}", holder.log_tail());
        Ok((std::fs::read_link(&theirs)? != ours).then_some(()))
    })
    .await
}

#[cfg(test)]
mod tests;
