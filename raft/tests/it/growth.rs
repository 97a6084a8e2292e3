//! Clusters that grow and shrink.

use std::time::Duration;

use homecore_raft::Role;

use crate::harness::{Cluster, Settings, dns, eventually, text_of};

#[tokio::test(flavor = "multi_thread")]
async fn from_one_to_five_and_back() {
    let mut cluster = Cluster::found(Settings::default()).await;
    for (number, voters) in [(1, 1), (2, 3), (3, 3), (4, 5)] {
        let through = cluster.leader().await;
        cluster.join(&format!("core-{number}"), &through).await;
        cluster.settle_with(voters).await;
        let label = format!("with-{number}");
        cluster
            .handle(&format!("core-{number}"))
            .write(dns(&label, "kept"))
            .await
            .unwrap();
    }
    cluster.settle().await;
    cluster.assert_equal().await;
    // The leader goes first: it hands over by itself.
    for voters in [3, 3, 1, 1] {
        let gone = cluster.leader().await;
        let through = cluster.followers().await.remove(0);
        cluster.remove(&gone, &through).await;
        eventually("the removed core knows it or is let go", async || {
            let leader = cluster
                .running()
                .find(|(name, handle)| **name != gone && handle.status().role == Role::Leader);
            let Some((_, leader)) = leader else {
                return false;
            };
            let node = cluster.nodes[&gone].identity.node;
            let status = leader.status();
            !status.changing && !status.voters.contains(&node) && !status.learners.contains(&node)
        })
        .await;
        cluster.stop(&gone, true).await;
        let removed = cluster.nodes.remove(&gone).unwrap().identity;
        cluster.settle_with(voters).await;
        let left = cluster.leader().await;
        let handle = cluster.handle(&left);
        handle.write(dns("after", &gone)).await.unwrap();
        assert!(!handle.is_member(removed.node));
    }
    assert_eq!(cluster.nodes.len(), 1);
    let last = cluster.leader().await;
    for number in 1..5 {
        assert_eq!(
            text_of(cluster.handle(&last), &format!("with-{number}")).as_deref(),
            Some("kept")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_core_catches_up_from_a_snapshot() {
    let settings = Settings {
        snapshot_every: 50,
        ..Settings::default()
    };
    let mut cluster = Cluster::of(3, settings).await;
    let text = "x".repeat(10_000);
    for number in 0..300 {
        cluster
            .handle("core-0")
            .write(dns(&format!("label-{number}"), &text))
            .await
            .unwrap();
    }
    let leader = cluster.leader().await;
    eventually("the log is shortened", async || {
        let status = cluster.handle(&leader).status();
        status.purged.is_some_and(|purged| purged > 100)
    })
    .await;
    let node = cluster.join("core-3", &leader).await;
    cluster.settle().await;
    let late = cluster.handle("core-3");
    assert_eq!(late.status().role, Role::Learner);
    assert!(late.status().snapshot.is_some(), "it came by snapshot");
    assert_eq!(late.identity().node, node);
    assert_eq!(text_of(late, "label-0").as_deref(), Some(text.as_str()));
    assert_eq!(text_of(late, "label-299").as_deref(), Some(text.as_str()));
    cluster.assert_equal().await;
    // And it comes back from what it was sent.
    cluster.stop("core-3", false).await;
    cluster.start("core-3").await.unwrap();
    cluster.settle().await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voter_is_replaced_by_a_learner() {
    let settings = Settings {
        dead_after: Duration::from_secs(3),
        ..Settings::default()
    };
    let mut cluster = Cluster::of(4, settings).await;
    let leader = cluster.leader().await;
    let dead = {
        let voters = cluster.handle(&leader).status().voters;
        let (name, _) = cluster
            .nodes
            .iter()
            .find(|(name, node)| **name != leader && voters.contains(&node.identity.node))
            .unwrap();
        name.clone()
    };
    let dead_node = cluster.nodes[&dead].identity.node;
    cluster.stop(&dead, false).await;
    eventually("another votes in its place", async || {
        let status = cluster.handle(&leader).status();
        status.voters.len() == 3 && !status.voters.contains(&dead_node) && !status.changing
    })
    .await;
    // It comes back as a learner.
    cluster.start(&dead).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.handle(&dead).status().role, Role::Learner);
    cluster
        .handle(&dead)
        .write(dns("after", "kept"))
        .await
        .unwrap();
}
