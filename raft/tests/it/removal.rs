//! Voters that are removed while they run, as they must until the others have agreed to do without
//! them, and cores that died meanwhile.

use std::time::{Duration, Instant};

use homecore_raft::Role;
use homecore_types::NodeId;

use crate::harness::{Cluster, Settings, dns, eventually, text_of};

/// Waits until a core that leads has let a removed one go, and that one, which is told nothing of it,
/// knows that it may stop. Then stops it.
async fn leaves(cluster: &mut Cluster, gone: &str) {
    let node = cluster.nodes[gone].identity.node;
    eventually("the removed core is let go", async || {
        cluster
            .running()
            .filter(|(name, handle)| *name != gone && handle.status().role == Role::Leader)
            .any(|(_, handle)| {
                let status = handle.status();
                !status.changing
                    && !status.voters.contains(&node)
                    && !status.learners.contains(&node)
                    && !handle.in_consensus(node)
            })
    })
    .await;
    eventually("the removed core knows that it may stop", async || {
        !cluster.handle(gone).in_consensus(node)
    })
    .await;
    assert_eq!(cluster.handle(gone).status().role, Role::Removed);
    cluster.stop(gone, true).await;
    cluster.nodes.remove(gone);
}

fn node(cluster: &Cluster, name: &str) -> NodeId {
    cluster.nodes[name].identity.node
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_voter_of_two_leaves() {
    let mut cluster = Cluster::of(2, Settings::default()).await;
    let (a, b) = ("core-0", "core-1");
    let nodes = [a, b].map(|name| node(&cluster, name));
    for name in [a, b] {
        assert!(
            nodes
                .iter()
                .all(|node| cluster.handle(name).in_consensus(*node))
        );
        assert!(!cluster.handle(name).in_consensus(NodeId(999)));
        // Unknown, it can only have joined later than all that is known here.
        assert!(cluster.handle(name).may_be_new(NodeId(999)));
        let known = cluster.handle(name).identity().node;
        assert!(!cluster.handle(name).may_be_new(known));
    }
    cluster
        .handle(a)
        .write(dns("before", "kept"))
        .await
        .unwrap();
    cluster.remove(a, a).await;
    leaves(&mut cluster, a).await;

    let last = cluster.handle(b);
    last.write(dns("after", "kept")).await.unwrap();
    assert_eq!(text_of(last, "before").as_deref(), Some("kept"));
    let status = last.status();
    assert_eq!(status.role, Role::Leader);
    assert_eq!((status.voters, status.learners), (vec![nodes[1]], vec![]));
    // It stands by itself.
    cluster.stop(b, false).await;
    cluster.start(b).await.unwrap();
    let last = cluster.handle(b);
    last.write(dns("again", "kept")).await.unwrap();
    assert_eq!(text_of(last, "after").as_deref(), Some("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_leaves_while_another_is_dead() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let [gone, dead] = cluster.followers().await.try_into().unwrap();
    cluster.stop(&dead, false).await;
    cluster.remove(&gone, &leader).await;
    leaves(&mut cluster, &gone).await;

    let handle = cluster.handle(&leader);
    assert_eq!(handle.status().voters, [node(&cluster, &leader)]);
    handle.write(dns("after", "kept")).await.unwrap();
    cluster.start(&dead).await.unwrap();
    cluster.settle().await;
    assert_eq!(
        text_of(cluster.handle(&dead), "after").as_deref(),
        Some("kept")
    );
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_leaves_while_another_voter_is_dead() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    // The dead one has the lower node id, so that taking the first that may live would take it.
    if cluster.leader().await != "core-2" {
        let leader = cluster.leader().await;
        cluster.handle(&leader).hand_over().await;
    }
    let gone = cluster.leader().await;
    let [dead, left] = cluster.followers().await.try_into().unwrap();
    assert!(node(&cluster, &dead) < node(&cluster, &left));
    cluster.stop(&dead, false).await;
    // The survivor asks: the leader knows by then that the other is silent.
    let dead_node = node(&cluster, &dead);
    eventually("the leader misses the dead core", async || {
        let peers = cluster.handle(&gone).liveness().await.unwrap_or_default();
        peers
            .iter()
            .any(|peer| peer.node == dead_node && !peer.is_live())
    })
    .await;
    cluster.remove(&gone, &left).await;
    leaves(&mut cluster, &gone).await;
    let handle = cluster.handle(&left);
    handle.write(dns("after", "kept")).await.unwrap();
    assert_eq!(handle.status().voters, [node(&cluster, &left)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_three_leaves() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    cluster.remove(&leader, &leader).await;
    leaves(&mut cluster, &leader).await;
    cluster.settle().await;
    let next = cluster.leader().await;
    for (name, handle) in cluster.running() {
        handle.write(dns(name, "kept")).await.unwrap();
    }
    assert_eq!(
        cluster.handle(&next).status().voters,
        [node(&cluster, &next)]
    );
    cluster.settle().await;
    cluster.assert_equal().await;
}

/// The longest time for which a core counts as one that answers is three seconds: in a round that took
/// longer it is let go untold, as one that is dead is.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_hears_of_its_removal_late_is_told_before_it_is_let_go() {
    for _ in 0..10 {
        let mut cluster = Cluster::of(3, Settings::default()).await;
        let leader = cluster.leader().await;
        let gone = cluster.followers().await.remove(0);
        let gone_node = node(&cluster, &gone);
        let began = Instant::now();
        cluster.isolate(&gone);
        cluster.remove(&gone, &leader).await;
        eventually("the others do without its vote", async || {
            let status = cluster.handle(&leader).status();
            !status.changing && !status.voters.contains(&gone_node)
        })
        .await;
        // Nothing to wait for: time in which it would be let go, if nobody minded that it does not know.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(cluster.handle(&gone).in_consensus(gone_node));
        cluster.mend();
        if began.elapsed() < Duration::from_secs(2) {
            leaves(&mut cluster, &gone).await;
            return;
        }
    }
    panic!("this machine is too slow to tell");
}
