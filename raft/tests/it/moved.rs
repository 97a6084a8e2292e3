//! Cores that come back at another address, and know only an old leader or none.

use std::time::Duration;

use homecore_raft::ReadError;
use homecore_raft::command::Response;
use homecore_types::CoreId;

use crate::harness::{Cluster, Settings, dns, eventually, text_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_moved_is_found_again() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let moved = cluster.followers().await.remove(0);
    cluster.stop(&moved, true).await;
    cluster.start_elsewhere(&moved).await;
    let through = cluster.leader().await;
    let core = CoreId::parse(moved.clone()).unwrap();
    let announce = cluster.announcement(&moved);
    // It cannot be reached, so another core tells for it, as an operator would.
    cluster.handle(&through).write(announce).await.unwrap();
    cluster
        .handle(&through)
        .write(dns("after", "kept"))
        .await
        .unwrap();
    eventually("it follows at its new address", async || {
        text_of(cluster.handle(&moved), "after").is_some()
    })
    .await;
    assert!(cluster.handle(&moved).directory().core(&core).is_some());
    cluster.settle().await;
}

/// Three voters and a learner that is down; the leader has changed meanwhile. The old leader, the new
/// one and the learner.
async fn a_learner_missed_a_change_of_leader() -> (Cluster, String, String, String) {
    let mut cluster = Cluster::of(4, Settings::default()).await;
    let old = cluster.leader().await;
    let voters = cluster.handle(&old).status().voters;
    let learner = cluster
        .nodes
        .iter()
        .find(|(_, node)| !voters.contains(&node.identity.node))
        .map(|(name, _)| name.clone())
        .unwrap();
    cluster.stop(&learner, true).await;
    assert!(cluster.handle(&old).hand_over().await);
    let new = cluster.leader().await;
    cluster
        .handle(&new)
        .write(dns("meanwhile", "kept"))
        .await
        .unwrap();
    (cluster, old, new, learner)
}

/// The core at a new address, where nobody finds it, says where it is.
async fn is_found_again(cluster: &Cluster, moved: &str) {
    let handle = cluster.handle(moved);
    assert!(text_of(handle, "meanwhile").is_none(), "nobody finds it");
    // Who leads is found out without being spoken to.
    let peers = handle.liveness().await.unwrap();
    assert_eq!(peers.len(), 4);
    let read = handle.current().await;
    assert!(
        matches!(&read, Err(ReadError::Unavailable { reason }) if reason.contains("caught up")),
        "{read:?}"
    );
    let announced = handle.write(cluster.announcement(moved)).await;
    assert_eq!(announced, Ok(Response::Done));
    eventually("it follows at its new address", async || {
        text_of(handle, "meanwhile").is_some()
    })
    .await;
    handle.current().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_core_is_sent_on_by_the_old_leader() {
    let (mut cluster, _, _, learner) = a_learner_missed_a_change_of_leader().await;
    cluster.start_elsewhere(&learner).await;
    is_found_again(&cluster, &learner).await;
    cluster.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_core_asks_others_when_the_old_leader_is_gone() {
    let (mut cluster, old, _, learner) = a_learner_missed_a_change_of_leader().await;
    cluster.stop(&old, false).await;
    cluster.start_elsewhere(&learner).await;
    is_found_again(&cluster, &learner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_can_take_ends_in_time() {
    let (mut cluster, old, new, learner) = a_learner_missed_a_change_of_leader().await;
    cluster.stop(&new, false).await;
    cluster.stop(&old, false).await;
    cluster.start_elsewhere(&learner).await;
    let began = std::time::Instant::now();
    let answer = cluster.handle(&learner).write(dns("lost", "?")).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(15));
}
