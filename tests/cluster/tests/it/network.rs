//! Cores on machines of their own, whose network and processes fail while clients register, use
//! invitations, write, read and change the membership: what they were told has to have an order, a
//! minority serves its own users, and nobody waits longer than the deadline.
//!
//! Needs root, `/dev/net/tun`, `ip`, `unshare` and `nsenter`; where they are missing the tests say so
//! and pass, and CI shows it.

pub(crate) mod load;
mod membership;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Link, Network, wait_until};

use self::load::Load;
use self::membership::Membership;
use crate::{PATIENCE, rounds, skipped};

/// A minority notices within this time that it is one; until then a write may wait for a leader.
const NOTICED: Duration = Duration::from_secs(10);
/// From then on a refusal comes within this time.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn three_cores_in_a_bad_network() -> anyhow::Result<()> {
    storm("three_cores_in_a_bad_network", 3, &PHASES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn five_cores_in_a_bad_network() -> anyhow::Result<()> {
    // All of it takes minutes with five on two processors.
    let phases = if rounds(0) == 0 {
        &PHASES[..1]
    } else {
        &PHASES
    };
    storm("five_cores_in_a_bad_network", 5, phases).await
}

#[expect(clippy::print_stdout, reason = "how much was put at stake")]
async fn storm(test: &str, cores: u8, phases: &'static [Phase]) -> anyhow::Result<()> {
    if let Some(reason) = Network::why_not().await {
        skipped(test, &reason);
        return Ok(());
    }
    for round in 0..rounds(1) {
        let seed = u64::try_from(round)? + 1;
        let weather = Weather::new(cores, phases, seed).await?;
        let told = weather.run().await;
        println!(
            "round {round}: {}",
            told.with_context(|| format!("seed {seed}"))?
        );
    }
    Ok(())
}

/// The machines, and the seed of what is done to them.
struct Weather {
    network: Arc<Network>,
    cores: usize,
    phases: &'static [Phase],
    seed: u64,
}

impl Weather {
    async fn new(cores: u8, phases: &'static [Phase], seed: u64) -> anyhow::Result<Self> {
        // One more for guests.
        let network = Network::create(cores + 1, seed).await?;
        Ok(Self {
            network: Arc::new(network),
            cores: usize::from(cores),
            phases,
            seed,
        })
    }

    async fn run(self) -> anyhow::Result<String> {
        let network = Arc::clone(&self.network);
        network.outside(move || Box::pin(self.outside())).await
    }

    async fn outside(self) -> anyhow::Result<String> {
        let places: anyhow::Result<Vec<_>> =
            (1..=self.cores).map(|at| self.network.place(at)).collect();
        let cluster = Cluster::start(ClusterOptions {
            places: places?,
            ..ClusterOptions::cores(self.cores)
        })
        .await?;
        let load = Load::start(&cluster).await?;
        let guests = Membership::new(self.network.place(self.cores + 1)?);
        let mut storm = Storm {
            weather: self,
            cluster,
            load,
            guests,
            dir: tempfile::tempdir()?,
        };
        storm.all().await?;
        let Storm {
            weather,
            cluster,
            load,
            mut guests,
            ..
        } = storm;
        weather.network.heal();
        load.stop();
        wait_until(PATIENCE, "no guest is left, and all agree", async || {
            let status = cluster.core(0)?.status().await?;
            for core in status.cores.iter().filter(|c| c.id.starts_with("guest")) {
                cluster.core(0)?.run(&["remove", &core.id]).await?;
            }
            cluster.wait_settled(Duration::from_secs(5)).await.map(Some)
        })
        .await?;
        // What had no answer may have taken effect until now, and who is left out from now on is out.
        for at in 0..weather.cores {
            guests.look(&cluster, at).await?;
        }
        let told = [load.finish().await?, guests.finish()?];
        let passed = weather.network.passed();
        ensure!(passed.lost > 0, "no packet was lost: {passed:?}");
        Ok(format!("{}; {passed:?}", told.join("; ")))
    }
}

struct Storm {
    weather: Weather,
    cluster: Cluster,
    load: Load,
    guests: Membership,
    dir: tempfile::TempDir,
}

impl Storm {
    #[expect(clippy::print_stdout, reason = "where the time goes")]
    async fn all(&mut self) -> anyhow::Result<()> {
        for phase in self.weather.phases {
            let began = Instant::now();
            let done = async {
                match phase {
                    Phase::LeaderInTheMinority => self.leader_in_the_minority().await,
                    Phase::LeaderUnheard => self.one_way(false).await,
                    Phase::LeaderDeaf => self.one_way(true).await,
                    Phase::Flapping => self.flapping().await,
                    Phase::BadLines => self.bad_lines().await,
                    Phase::LeaderHangs => self.hanging().await,
                    Phase::Killed => self.killed().await,
                }
            };
            Box::pin(done).await.with_context(|| format!("{phase:?}"))?;
            self.weather.network.heal();
            let recovered = self.recovered().await;
            recovered.with_context(|| format!("after {phase:?}"))?;
            println!("{phase:?}: {:.1?}", began.elapsed());
        }
        Ok(())
    }

    /// The leader, with as many others as make no majority, is alone.
    async fn leader_in_the_minority(&mut self) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        let size = (self.weather.cores - 1) / 2;
        let few: Vec<usize> = (0..size)
            .map(|more| (leader + more) % self.weather.cores)
            .collect();
        let many = self.others(&few);
        let cut = Instant::now();
        self.weather
            .network
            .part(&machines(&few), &machines(&many))?;
        self.takes_writes(many[0]).await.context("the majority")?;
        let mut refused = BTreeSet::new();
        wait_until(NOTICED, "the minority refuses", async || {
            for at in few
                .iter()
                .filter(|at| !refused.contains(*at))
                .copied()
                .collect::<Vec<_>>()
            {
                let core = self.cluster.core(at)?.url();
                if self.load.book.register_fresh(&core).await?.status == 503 {
                    refused.insert(at);
                }
            }
            Ok((refused.len() == few.len()).then_some(()))
        })
        .await?;
        for at in &few {
            let core = self.cluster.core(*at)?.url();
            let began = Instant::now();
            let reply = self.load.book.register_fresh(&core).await?;
            let (took, status) = (began.elapsed(), reply.status);
            ensure!(status == 503, "{status} in the minority: {}", reply.text());
            ensure!(
                took < REFUSED_WITHIN,
                "a refusal in the minority took {took:?}"
            );
        }
        if self.weather.cores == 3 {
            self.change_members(few[0], many[0]).await?;
            self.change_members(many[0], many[1]).await?;
        }
        self.users_are_served(cut)
    }

    /// The leader is not heard, or hears nobody.
    async fn one_way(&mut self, deaf: bool) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        let others = self.others(&[leader]);
        let cut = Instant::now();
        for other in machines(&others) {
            let (from, to) = if deaf {
                (other, leader + 1)
            } else {
                (leader + 1, other)
            };
            self.weather.network.set(from, to, Link::CUT)?;
        }
        self.takes_writes(others[0]).await?;
        self.users_are_served(cut)
    }

    /// Links break and come back, each for a moment, now here and now there.
    async fn flapping(&mut self) -> anyhow::Result<()> {
        let (cores, began) = (self.weather.cores, Instant::now());
        for turn in 0..8 {
            let one = (turn + usize::try_from(self.weather.seed)?) % cores;
            let others = self.others(&[one]);
            self.weather
                .network
                .part(&machines(&[one]), &machines(&others))?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.weather.network.heal();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.users_are_served(began)
    }

    /// Packets are lost, late, in another order, and there twice.
    async fn bad_lines(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let all: Vec<usize> = (0..self.weather.cores).collect();
        let bad = Link {
            lost: 30,
            doubled: 50,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(30),
        };
        self.weather.network.set_among(&machines(&all), bad)?;
        for at in all {
            self.takes_writes(at).await?;
        }
        let (one, other) = (0, self.weather.cores - 1);
        self.change_members(one, other).await?;
        self.users_are_served(began)
    }

    /// The leader's machine hangs for a while, and goes on as if nothing had been.
    async fn hanging(&mut self) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        let others = self.others(&[leader]);
        self.cluster.core_mut(leader)?.pause()?;
        let taken = self.takes_writes(others[0]).await;
        self.cluster.core_mut(leader)?.resume()?;
        taken
    }

    /// A core is killed, and another one right after it is back.
    async fn killed(&mut self) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        for victim in [leader, (leader + 1) % self.weather.cores] {
            self.cluster.core_mut(victim)?.kill()?;
            let others = self.others(&[victim]);
            self.takes_writes(others[0]).await?;
            self.change_members(others[0], others[1]).await?;
            self.cluster.core_mut(victim)?.restart(PATIENCE).await?;
        }
        Ok(())
    }

    /// After the fault: every core takes platform writes, and everybody is answered.
    async fn recovered(&mut self) -> anyhow::Result<()> {
        for at in 0..self.weather.cores {
            self.takes_writes(at).await?;
        }
        let book = &self.load.book;
        let before = book.answers();
        wait_until(PATIENCE, "the clients go on", async || {
            Ok((book.answers() > before + 20).then_some(()))
        })
        .await
    }

    async fn change_members(&mut self, inviter: usize, remover: usize) -> anyhow::Result<()> {
        let by = (inviter, remover);
        self.guests.change(&self.cluster, self.dir.path(), by).await
    }

    /// Waits until a registration at a core goes through.
    async fn takes_writes(&self, at: usize) -> anyhow::Result<()> {
        let core = self.cluster.core(at)?;
        let what = format!("{} takes a registration", core.id());
        wait_until(PATIENCE, &what, async || {
            let reply = self.load.book.register_fresh(&core.url()).await?;
            ensure!(reply.status == 201, "{}: {}", reply.status, reply.text());
            Ok(Some(()))
        })
        .await
    }

    /// No core has failed its own users since a moment.
    fn users_are_served(&self, since: Instant) -> anyhow::Result<()> {
        for core in self.cluster.cores() {
            if let Some(failure) = self.load.book.failure(&core.url(), since) {
                anyhow::bail!("{} failed its users: {failure}", core.id());
            }
        }
        Ok(())
    }

    async fn leader(&self) -> anyhow::Result<usize> {
        wait_until(PATIENCE, "a leader that all agree on", async || {
            let leader = self.cluster.leader(0).await?;
            for at in 1..self.weather.cores {
                ensure!(self.cluster.leader(at).await? == leader);
            }
            Ok(Some(leader))
        })
        .await
    }

    fn others(&self, some: &[usize]) -> Vec<usize> {
        (0..self.weather.cores)
            .filter(|at| !some.contains(at))
            .collect()
    }
}

/// What is done to the cores.
#[derive(Clone, Copy, Debug)]
enum Phase {
    LeaderInTheMinority,
    LeaderUnheard,
    LeaderDeaf,
    Flapping,
    BadLines,
    LeaderHangs,
    Killed,
}

const PHASES: [Phase; 7] = [
    Phase::LeaderInTheMinority,
    Phase::LeaderUnheard,
    Phase::LeaderDeaf,
    Phase::Flapping,
    Phase::BadLines,
    Phase::LeaderHangs,
    Phase::Killed,
];

/// Cores are on the machines from 1 on.
fn machines(cores: &[usize]) -> Vec<usize> {
    cores.iter().map(|core| core + 1).collect()
}
