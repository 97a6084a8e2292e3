//! Leaders that die, hand over, or lose their majority.

use std::time::{Duration, Instant};

use homecore_raft::command::Response;
use homecore_raft::{ReadError, Role, Timings, WriteError};

use crate::harness::{Cluster, Settings, dns, eventually, reserve, text_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_leader_is_replaced() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let through = cluster.followers().await.remove(0);
    cluster
        .handle(&through)
        .write(dns("before", "kept"))
        .await
        .unwrap();
    cluster.stop(&leader, false).await;
    let began = Instant::now();
    let answer = cluster.handle(&through).write(reserve(1, "alice")).await;
    let took = began.elapsed();
    println!("first write after the leader died: {took:?}");
    assert!(
        matches!(answer, Ok(Response::Reserved { .. })),
        "{answer:?}"
    );
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_ne!(cluster.leader().await, leader);
    assert_eq!(
        text_of(cluster.handle(&through), "before").as_deref(),
        Some("kept")
    );

    cluster.start(&leader).await.unwrap();
    eventually("the old leader follows", async || {
        cluster.handle(&leader).directory().user("alice").is_some()
    })
    .await;
    cluster.settle().await;
    assert_ne!(cluster.handle(&leader).status().role, Role::Removed);
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_process_is_gone_is_replaced_before_its_lease_ends() {
    // Nobody may stand for election by a timeout within the time of this test.
    let timings = Timings {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_secs(300),
        election_max: Duration::from_secs(301),
    };
    let settings = Settings {
        timings,
        ..Settings::default()
    };
    let mut cluster = Cluster::of(3, settings).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        let through = cluster.followers().await.remove(0);
        cluster.stop(&leader, false).await;
        eventually("another leads", async || {
            let handle = cluster.handle(&through);
            handle.write(dns("after", "kept")).await.is_ok()
        })
        .await;
        cluster.start(&leader).await.unwrap();
        cluster.settle().await;
    }
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over() {
    let cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let began = Instant::now();
    assert!(cluster.handle(&leader).hand_over().await);
    println!("handing over: {:?}", began.elapsed());
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    cluster
        .handle(&leader)
        .write(dns("after", "kept"))
        .await
        .unwrap();
    assert_eq!(
        text_of(cluster.handle(&leader), "after").as_deref(),
        Some("kept")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_of_the_leader_is_hardly_noticed() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let through = cluster.followers().await.remove(0);
    cluster.stop(&leader, true).await;
    let began = Instant::now();
    cluster
        .handle(&through)
        .write(dns("after", "kept"))
        .await
        .unwrap();
    println!(
        "first write after the leader stopped: {:?}",
        began.elapsed()
    );
    assert!(began.elapsed() < Duration::from_secs(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_answers_but_does_not_write() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    cluster
        .handle("core-0")
        .write(dns("before", "kept"))
        .await
        .unwrap();
    cluster.settle().await;
    let leader = cluster.leader().await;
    let stopped: Vec<String> = cluster.followers().await;
    for name in &stopped {
        cluster.stop(name, false).await;
    }
    let alone = cluster.handle(&leader);
    let began = Instant::now();
    let (write, repeatable, read) = tokio::join!(
        alone.write(dns("lost", "?")),
        alone.write(reserve(1, "alice")),
        alone.current()
    );
    println!("a minority said no after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    for answer in [write, repeatable] {
        let error = answer.unwrap_err();
        assert!(
            matches!(
                error,
                WriteError::Unavailable { .. } | WriteError::Unknown { .. }
            ),
            "{error}"
        );
    }
    assert!(
        matches!(read, Err(ReadError::Unavailable { .. })),
        "{read:?}"
    );
    assert_eq!(text_of(alone, "before").as_deref(), Some("kept"));
    // Who comes now is not kept waiting.
    let began = Instant::now();
    let (write, read) = tokio::join!(alone.write(reserve(2, "barbara")), alone.current());
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    let error = write.unwrap_err();
    assert!(
        matches!(error, WriteError::Unavailable { .. }),
        "nothing of it may have happened: {error}"
    );
    assert!(
        matches!(read, Err(ReadError::Unavailable { .. })),
        "{read:?}"
    );
    // One comes back: a majority again.
    cluster.start(&stopped[0]).await.unwrap();
    let alone = cluster.handle(&leader);
    eventually("writes work again", async || {
        alone.write(dns("after", "kept")).await.is_ok()
    })
    .await;
    alone.current().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_store_says_so() {
    let cluster = Cluster::of(1, Settings::default()).await;
    let handle = cluster.handle("core-0");
    handle.write(dns("before", "kept")).await.unwrap();
    handle.shutdown().await;
    assert_eq!(
        handle.write(dns("after", "?")).await,
        Err(WriteError::Stopped)
    );
    assert!(matches!(handle.current().await, Err(ReadError::Stopped)));
    assert!(handle.status().stopped);
    assert_eq!(*handle.fatal().borrow(), None, "stopping is no fault");
    assert_eq!(text_of(handle, "before").as_deref(), Some("kept"));
}
