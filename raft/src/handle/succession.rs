//! Following a leader whose process has ended, without waiting for its lease to run out.
//!
//! A leader that dies takes its connections with it. When a connection of another core ends, this core
//! asks the leader's machine: if nobody listens at its address any more, the process is gone and its lease
//! protects nobody. The voters then stand for election one after the other, in the order of their
//! ids, by the message that also hands leadership over (Raft dissertation, section 4.2.3): voters
//! grant it though the lease has not ended. Terms and logs decide as ever, so being wrong here
//! costs an election and never an entry. A machine that does not answer is no sign of anything: then
//! the election timeout decides.

use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::raft::TransferLeaderRequest;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::handle::{Handle, Inner};
use crate::network::Peers;

/// A machine that has not answered for so long is not waited for.
const ASK_TIMEOUT: Duration = Duration::from_millis(250);
/// How often it is asked, as long as somebody listens there …
const ASKED_TIMES: usize = 4;
/// … and the rest between.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long each voter leaves to the one before it: some times what an election takes.
const TURN: Duration = Duration::from_millis(100);

/// Held while another core is connected to this one: when it is dropped, this core looks after the
/// leader.
#[derive(Debug)]
pub struct Presence(Arc<Notify>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Handle {
    /// To be held as long as a connection of another core lasts.
    #[must_use]
    pub fn presence(&self) -> Presence {
        Presence(Arc::clone(&self.inner.parted))
    }
}

/// Looks after the leader each time that a connection of another core has ended.
pub(super) async fn watch(
    inner: Weak<Inner>,
    peers: Arc<dyn Peers>,
    parted: Arc<Notify>,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(parted.notified()).await.is_some() {
        if stop
            .run_until_cancelled(look(&inner, &*peers))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn look(inner: &Weak<Inner>, peers: &dyn Peers) {
    let Some((turn, leader, rpc, vote)) = inner.upgrade().and_then(|inner| {
        let metrics = inner.metrics();
        let leader = metrics
            .current_leader
            .filter(|leader| *leader != inner.node())?;
        let membership = metrics.membership_config.membership();
        let turn = membership
            .voter_ids()
            .filter(|voter| *voter != leader)
            .position(|voter| voter == inner.node())?;
        let rpc = membership.get_node(&leader)?.rpc.clone();
        let rpc = inner.links.address(leader).unwrap_or(rpc);
        Some((turn, leader, rpc, metrics.vote))
    }) else {
        return;
    };
    if !timeout(ASK_TIMEOUT, is_gone(peers, &rpc))
        .await
        .unwrap_or(false)
    {
        return;
    }
    sleep(TURN.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX))).await;
    // Not held while waiting: the last handle to go ends the store.
    let Some(inner) = inner.upgrade() else { return };
    if inner.metrics().vote != vote {
        return;
    }
    tracing::info!(leader, %rpc, "the leader's process is gone: standing for election");
    let request = TransferLeaderRequest::new(vote, inner.node(), None);
    match inner.raft.handle_transfer_leader(request).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "not standing for election"),
        Err(error) => tracing::warn!(%error, "cannot stand for election"),
    }
}

/// A process that ends closes what it has in any order: where it still listens, it is asked again.
async fn is_gone(peers: &dyn Peers, rpc: &str) -> bool {
    for _ in 0..ASKED_TIMES {
        if peers.is_gone(rpc).await {
            return true;
        }
        sleep(ASK_AGAIN).await;
    }
    false
}
