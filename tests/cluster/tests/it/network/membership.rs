//! Cores are invited, join and are removed while the network fails; two machines want to join with
//! the same token each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use homecore_harness::history::{
    Claim, Claims, Entry, Members, MembersCall, Outcome, Recorder, check, claim,
};
use homecore_harness::{Cluster, Core, CoreOptions, Place};

/// The beginning of the names of cores that come and go.
const GUEST: &str = "guest";

/// What is known of the members.
#[derive(Debug)]
pub(super) struct Membership {
    members: Recorder<MembersCall>,
    tokens: Recorder<Claim>,
    /// When each core was last asked: a core's own view may be behind, but does not go back.
    seen: BTreeMap<String, u64>,
    count: u32,
    place: Place,
}

impl Membership {
    /// Guests are at a place of their own.
    pub(super) fn new(place: Place) -> Self {
        Self {
            members: Recorder::default(),
            tokens: Recorder::default(),
            seen: BTreeMap::new(),
            count: 0,
            place,
        }
    }

    /// A core is invited by one core, two machines try to be it, and it is removed by another core;
    /// all may fail. Each is followed by a look at the members.
    pub(super) async fn change(
        &mut self,
        cluster: &Cluster,
        dir: &Path,
        (inviter, remover): (usize, usize),
    ) -> anyhow::Result<()> {
        self.count += 1;
        let id = format!("{GUEST}-{}", self.count);
        let Ok(line) = cluster.core(inviter)?.run(&["invite", "--id", &id]).await else {
            return Ok(());
        };
        let token = line.split_whitespace().last().context("no token")?;
        let machine = |name: &str| {
            Core::prepare(
                &dir.join(format!("{name}-{}", self.count)),
                CoreOptions {
                    place: Some(self.place.clone()),
                    ..CoreOptions::member(&id)
                },
            )
        };
        let (one, other) = (machine("one")?, machine("other")?);
        tokio::join!(
            self.join(&one, token, 2 * self.count),
            self.join(&other, token, 2 * self.count + 1)
        );
        self.look(cluster, inviter).await?;
        let called = self.members.now();
        let call = MembersCall::Remove(id.clone());
        match cluster.core(remover)?.run(&["remove", &id]).await {
            Ok(_) => self.members.answered(called, call),
            Err(_) => self.members.unknown(called, call),
        }
        self.look(cluster, remover).await
    }

    async fn join(&self, machine: &Core, token: &str, client: u32) {
        let (joining, claiming) = (self.members.now(), self.tokens.now());
        let joined = machine.run(&["join", token, "--no-serve"]).await;
        let add = MembersCall::Add(machine.id().to_owned());
        let outcome = match joined {
            Ok(_) => {
                self.members.answered(joining, add);
                Outcome::Won
            }
            Err(error) if format!("{error:#}").contains("already-consumed") => Outcome::Taken,
            Err(_) => {
                self.members.unknown(joining, add);
                Outcome::Unknown
            }
        };
        for entry in claim(machine.id(), client, outcome, claiming, self.tokens.now()) {
            self.tokens.note(entry);
        }
    }

    /// Asks a core who the members are, if it answers.
    pub(super) async fn look(&mut self, cluster: &Cluster, at: usize) -> anyhow::Result<()> {
        let core = cluster.core(at)?;
        let Ok(status) = core.status().await else {
            return Ok(());
        };
        let guests = status
            .cores
            .iter()
            .filter(|core| core.id.starts_with(GUEST) && core.state != "removed")
            .map(|core| core.id.clone());
        let guests: BTreeSet<String> = guests.collect();
        let returned = self.members.now();
        let called = self.seen.insert(core.id().to_owned(), returned);
        self.members.note(Entry {
            call: MembersCall::Read(guests),
            called: called.unwrap_or(0),
            returned: Some(returned),
        });
        Ok(())
    }

    /// Has the histories checked; what there was.
    pub(super) fn finish(&self) -> anyhow::Result<String> {
        check::<Members>(&self.members.history()).context("the members")?;
        check::<Claims>(&self.tokens.history()).context("the join tokens")?;
        Ok(format!(
            "{} steps about members, {} about join tokens",
            self.members.history().len(),
            self.tokens.history().len()
        ))
    }
}
