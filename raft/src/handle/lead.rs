//! What the leader knows of the others, and handing leadership over.

use std::time::Duration;

use homecore_proto::platform::{LivenessRequest, NotLeader, Peer, liveness_reply};
use homecore_types::limits::PLATFORM_READ_TIMEOUT;
use homecore_types::{CoreId, NodeId};
use openraft::{Instant as _, ServerState};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Request;

use crate::handle::read::{deadline, question_end};
use crate::handle::search::Search;
use crate::handle::{Attempt, Handle, Inner, ReadError};
use crate::records::CoreState;
use crate::types::Metrics;

/// A core that the leader heard from within this time lives.
pub(crate) const LIVE_WITHIN: Duration = Duration::from_secs(3);
/// How long handing over may take: many times what it takes, unless the other core is stopping, too.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);
/// How often to look whether it happened.
const LOOK: Duration = Duration::from_millis(10);

/// A core as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLiveness {
    /// Which.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
    /// Since when it was not heard; none if it never was.
    pub silent: Option<Duration>,
    /// The last log index that it is known to hold.
    pub matched: Option<u64>,
}

impl PeerLiveness {
    /// Whether it was heard from lately.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.silent.is_some_and(|silent| silent <= LIVE_WITHIN)
    }
}

/// Whether more than half of the voters were heard from lately, the leader itself included (of which
/// [`Handle::liveness`] says that it was heard just now): without that, what looks like a leader may
/// have been replaced, and no write is acknowledged.
///
/// While the voters are being changed this counts those of before and after together.
///
/// ```
/// use homecore_raft::{PeerLiveness, has_live_quorum};
/// use homecore_types::NodeId;
/// use std::time::Duration;
///
/// let voter = |node, silent| PeerLiveness {
///     node: NodeId(node),
///     voter: true,
///     silent: Some(Duration::from_secs(silent)),
///     matched: None,
/// };
/// assert!(has_live_quorum(&[voter(1, 0), voter(2, 1), voter(3, 60)]));
/// assert!(!has_live_quorum(&[voter(1, 0), voter(2, 60), voter(3, 60)]));
/// ```
#[must_use]
pub fn has_live_quorum(peers: &[PeerLiveness]) -> bool {
    let voters = || peers.iter().filter(|peer| peer.voter);
    let live = voters().filter(|peer| peer.is_live()).count();
    live > voters().count() / 2
}

impl Handle {
    /// How the cores look from the leader, asked of it from any core.
    ///
    /// # Errors
    /// Without a leader that answers.
    pub async fn liveness(&self) -> Result<Vec<PeerLiveness>, ReadError> {
        let until = deadline(PLATFORM_READ_TIMEOUT);
        let mut reason = "no core leads the platform".to_owned();
        let mut search = Search::default();
        loop {
            if self.inner.has_stopped() {
                return Err(ReadError::Stopped);
            }
            if let Some(peers) = self.liveness_here() {
                return Ok(peers);
            }
            let asked = search.next(&self.inner);
            // If this core were the leader it would have answered by itself.
            if let Some(choice) = asked.filter(|choice| choice.node != self.inner.node()) {
                let attempt = self
                    .inner
                    .liveness_at(choice.node, question_end(until))
                    .await;
                let at_once = search.note(choice, &attempt, self.inner.node());
                match attempt {
                    Attempt::Done(peers) => return Ok(peers),
                    Attempt::Stopped => return Err(ReadError::Stopped),
                    Attempt::Refused { reason: why }
                    | Attempt::Unreachable { reason: why }
                    | Attempt::Unknown { reason: why }
                    | Attempt::Incompatible { reason: why } => reason = why,
                    Attempt::NotLeader { .. } => {}
                }
                if at_once {
                    continue;
                }
            }
            if self.inner.outage.is_certain() || Instant::now() >= until {
                return Err(ReadError::Unavailable { reason });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How the cores look, if this core leads.
    pub(crate) fn liveness_here(&self) -> Option<Vec<PeerLiveness>> {
        let metrics = self.inner.metrics();
        (metrics.state == ServerState::Leader).then(|| peers(&metrics))
    }

    /// Makes the voter that is furthest the leader, if this core leads and another voter lives.
    /// True if another core leads when this returns.
    pub async fn hand_over(&self) -> bool {
        let inner = &self.inner;
        let metrics = inner.metrics();
        if metrics.state != ServerState::Leader {
            return metrics
                .current_leader
                .is_some_and(|leader| leader != inner.node());
        }
        let next = peers(&metrics)
            .into_iter()
            .filter(|peer| peer.voter && peer.node.0 != inner.node() && peer.is_live())
            .max_by_key(|peer| peer.matched);
        let Some(next) = next else { return false };
        if let Err(error) = inner.raft.trigger().transfer_leader(next.node.0).await {
            tracing::warn!(%error, peer = %next.node, "cannot hand leadership over");
            return false;
        }
        let until = deadline(HAND_OVER_TIMEOUT);
        while Instant::now() < until {
            let leader = inner.metrics().current_leader;
            if leader.is_some_and(|leader| leader != inner.node()) {
                return true;
            }
            sleep(LOOK).await;
        }
        false
    }
}

impl Inner {
    /// Cores that the leader, which this one is, may place users on now.
    pub(super) fn live_cores(&self) -> Vec<CoreId> {
        let directory = self.view.load();
        let metrics = self.metrics();
        peers(&metrics)
            .iter()
            .filter(|peer| peer.node.0 == self.node() || peer.is_live())
            .filter_map(|peer| directory.core_by_node(peer.node))
            .filter(|core| core.state != CoreState::Removed)
            .map(|core| core.id.clone())
            .collect()
    }

    async fn liveness_at(&self, leader: u64, until: Instant) -> Attempt<Vec<PeerLiveness>> {
        let unreachable = |reason: &str| Attempt::Unreachable {
            reason: reason.to_owned(),
        };
        let mut client = match self.platform(leader) {
            Ok(client) => client,
            Err(error) => return unreachable(&crate::report(&error)),
        };
        let mut request = Request::new(LivenessRequest {});
        request.set_timeout(until.saturating_duration_since(Instant::now()));
        let reply = match timeout_at(until, client.liveness(request)).await {
            Err(_) => return unreachable("the leader did not answer in time"),
            Ok(Err(status)) => return unreachable(status.message()),
            Ok(Ok(reply)) => reply.into_inner().result,
        };
        match reply {
            Some(liveness_reply::Result::Liveness(liveness)) => {
                Attempt::Done(liveness.peers.iter().map(received).collect())
            }
            Some(liveness_reply::Result::NotLeader(NotLeader { leader })) => {
                Attempt::NotLeader { leader }
            }
            None => unreachable("the leader's answer is empty"),
        }
    }
}

fn received(peer: &Peer) -> PeerLiveness {
    PeerLiveness {
        node: NodeId(peer.node),
        voter: peer.voter,
        silent: peer.silent_ms.map(Duration::from_millis),
        matched: peer.matched,
    }
}

/// Every node of the configuration, as the leader's metrics show it.
pub(crate) fn peers(metrics: &Metrics) -> Vec<PeerLiveness> {
    let membership = &metrics.membership_config;
    let voters: Vec<u64> = membership.voter_ids().collect();
    let peer = |node: u64| {
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|heard| heard.get(&node).copied().flatten());
        let matched = metrics
            .replication
            .as_ref()
            .and_then(|held| held.get(&node).copied().flatten());
        let this = node == metrics.id;
        PeerLiveness {
            node: NodeId(node),
            voter: voters.contains(&node),
            silent: if this {
                Some(Duration::ZERO)
            } else {
                heard.map(|heard| heard.elapsed())
            },
            matched: if this {
                metrics.last_log_index
            } else {
                matched.map(|id| id.index)
            },
        }
    };
    membership.nodes().map(|(node, _)| peer(*node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: u64, voter: bool, silent: Option<u64>) -> PeerLiveness {
        PeerLiveness {
            node: NodeId(node),
            voter,
            silent: silent.map(Duration::from_millis),
            matched: None,
        }
    }

    #[test]
    fn a_quorum_is_more_than_half_of_the_voters_heard_lately() {
        let (now, late, never) = (Some(0), Some(3_001), None);
        for (voters, learners, expected) in [
            (&[][..], &[][..], false),
            (&[], &[now, now], false),
            (&[now], &[], true),
            (&[now, late], &[], false),
            (&[now, Some(3_000)], &[], true),
            (&[now, now, late], &[], true),
            (&[now, late, never], &[], false),
            (&[now, late, never], &[now, now], false),
            (&[now, now, now, late, never], &[], true),
            (&[now, now, late, late], &[], false),
        ] {
            let group = |voter, silent: &[Option<u64>]| -> Vec<PeerLiveness> {
                let silent = silent.iter().copied();
                silent.map(|silent| peer(1, voter, silent)).collect()
            };
            let peers = [group(true, voters), group(false, learners)].concat();
            assert_eq!(has_live_quorum(&peers), expected, "{peers:?}");
        }
    }
}
