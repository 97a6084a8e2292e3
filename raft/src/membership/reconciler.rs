//! Takes the steps that [`plan`](super::plan) wants, on the leader.
//!
//! One at a time, with a pause between, and only on what is certain: nothing is done before this
//! leader has applied everything up to the configuration, or a core that joined just before the
//! leader changed would look like one that was removed. A change that a former leader left half done
//! is finished first.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use openraft::{ChangeMembers, ServerState};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::command::Command;
use crate::handle::{Handle, Inner, LIVE_WITHIN, PeerLiveness, peers};
use crate::membership::{Change, Facts, Standing, plan};
use crate::types::{Member, Metrics};

/// How long one step may take before the situation is looked at anew.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a removed core that answers may take to be told that it has no vote any more.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries that a learner may lack and still become a voter.
const LAG_MAX: u64 = 100;
/// How often deadlines are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Runs until the store stops or is dropped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken, every: Duration) {
    let mut leading: Option<Leading> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(every) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let handle = Handle::from_inner(inner);
        let metrics = handle.inner().metrics();
        if metrics.state != ServerState::Leader {
            leading = None;
            continue;
        }
        let now = Instant::now();
        let term = metrics.current_term;
        let leading = match &mut leading {
            Some(leading) if leading.term == term => leading,
            other => other.insert(Leading {
                term,
                since: now,
                swept: now,
                configured: (None, now),
            }),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = step(&handle, &metrics, leading) => {}
        }
    }
}

/// This core's time as leader.
struct Leading {
    term: u64,
    since: Instant,
    swept: Instant,
    /// The log index of the configuration, and when it was certain for the first time.
    configured: (Option<u64>, Instant),
}

async fn step(handle: &Handle, metrics: &Metrics, leading: &mut Leading) {
    let membership = &metrics.membership_config;
    let applied = metrics.last_applied.map(|id| id.index);
    let certain = metrics
        .last_applied
        .is_some_and(|id| id.leader_id.term == leading.term);
    let configured = membership.log_id().map(|id| id.index);
    if !certain || applied < configured {
        return;
    }
    if leading.configured.0 != configured {
        leading.configured = (configured, Instant::now());
    }
    if membership.get_joint_config().len() > 1 {
        tracing::info!("a change of voters is finished");
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        carry_out(handle, "finish a change of voters", nothing).await;
        return;
    }
    if let Some(change) = plan(&facts(handle, metrics, leading)) {
        take(handle, change).await;
    }
    let now = Instant::now();
    if now.saturating_duration_since(leading.swept) >= SWEEP_EVERY {
        leading.swept = now;
        sweep(handle).await;
    }
    handle.inner().retain_links();
}

fn facts(handle: &Handle, metrics: &Metrics, leading: &Leading) -> Facts {
    let now = Instant::now();
    let led_for = now.saturating_duration_since(leading.since);
    let last = metrics.last_log_index.unwrap_or(0);
    let seen = peers(metrics);
    let standing = |node: u64| {
        let peer = seen.iter().find(|peer| peer.node.0 == node);
        // Not heard since this core leads: it may have been heard by the leader before.
        let silent = peer
            .and_then(|peer| peer.silent)
            .unwrap_or(led_for)
            .min(led_for);
        let heard = peer
            .and_then(|peer| peer.silent)
            .is_some_and(|silent| silent <= LIVE_WITHIN);
        let close = peer
            .and_then(|peer| peer.matched)
            .is_some_and(|matched| last.saturating_sub(matched) <= LAG_MAX);
        Standing {
            silent,
            heard,
            ready: heard && close,
        }
    };
    let (configured, certain_since) = leading.configured;
    let certain_for = now.saturating_duration_since(certain_since);
    // What it answered before the configuration was certain did not tell it so.
    let untold = |node: &u64| {
        let peer = seen.iter().find(|peer| peer.node.0 == *node);
        let told = |peer: &PeerLiveness| {
            peer.matched >= configured && peer.silent.is_some_and(|silent| silent < certain_for)
        };
        certain_for < TELL_TIMEOUT && standing(*node).heard && !peer.is_some_and(told)
    };
    let directory = handle.directory();
    let membership = metrics.membership_config.membership();
    Facts {
        leader: metrics.id,
        cores: directory
            .cores()
            .map(|core| (core.node.0, standing(core.node.0)))
            .collect(),
        voters: metrics.membership_config.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        untold: membership.learner_ids().filter(untold).collect(),
        dead_after: handle.inner().dead_after(),
    }
}

async fn take(handle: &Handle, change: Change) {
    match change {
        Change::AddLearner(node) => {
            let directory = handle.directory();
            let Some(core) = directory.core_by_node(homecore_types::NodeId(node)) else {
                return;
            };
            let member = Member {
                core: core.id.to_string(),
                rpc: core.addresses.rpc.clone(),
            };
            tracing::info!(peer = node, core = %core.id, "a core begins to follow");
            let added = handle.raft().add_learner(node, member, false);
            report("add a learner", timeout(STEP_TIMEOUT, added).await);
        }
        Change::SetVoters(voters) => {
            tracing::info!(?voters, "the voters change");
            carry_out(
                handle,
                "change the voters",
                ChangeMembers::ReplaceAllVoters(voters),
            )
            .await;
        }
        Change::RemoveLearner(node) => {
            tracing::info!(peer = node, "a removed core is let go");
            let gone = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
            carry_out(handle, "remove a learner", gone).await;
        }
    }
}

/// Former voters stay as learners: those that were removed for good are let go in a step of their own.
async fn carry_out(handle: &Handle, what: &'static str, change: ChangeMembers<u64, Member>) {
    let changed = handle.raft().change_membership(change, true);
    report(what, timeout(STEP_TIMEOUT, changed).await);
}

/// A step that failed is tried again when the situation is looked at next.
fn report<T, E: std::error::Error>(
    what: &'static str,
    result: Result<Result<T, E>, tokio::time::error::Elapsed>,
) {
    match result {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot {what} yet"),
        Err(_) => tracing::warn!("to {what} takes long"),
    }
}

/// Proposes to drop what is overdue, if anything is.
async fn sweep(handle: &Handle) {
    let now = handle.inner().now();
    match handle.sweep_due(now).await {
        Ok(true) => {
            if let Err(error) = handle.write(Command::Sweep { now }).await {
                tracing::warn!(%error, "overdue items were not swept");
            }
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "cannot tell whether anything is overdue"),
    }
}
