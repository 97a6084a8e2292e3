//! Networks that break, and what must hold whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use homecore_raft::command::Response;
use homecore_raft::{Handle, ReadError, Role, WriteError};

use crate::harness::{Cluster, Settings, dns, eventually, reserve, text_of, user_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_acknowledges_nothing_and_reads_nothing_current() {
    let cluster = Cluster::of(3, Settings::default()).await;
    let old = cluster.leader().await;
    let others = cluster.followers().await;
    cluster
        .handle(&old)
        .write(dns("label", "before"))
        .await
        .unwrap();
    cluster.settle().await;
    cluster.isolate(&old);

    let began = Instant::now();
    let old_handle = cluster.handle(&old);
    // Sent while it still believes that it leads.
    let lost = old_handle.write(dns("label", "lost"));
    let won = async {
        let answer = cluster.handle(&others[0]).write(reserve(1, "alice")).await;
        println!("first write of the majority: {:?}", began.elapsed());
        assert!(
            matches!(answer, Ok(Response::Reserved { .. })),
            "{answer:?}"
        );
        cluster
            .handle(&others[1])
            .write(dns("label", "after"))
            .await
            .unwrap();
        // From now on an answer of the old leader would be stale.
        let read = old_handle.current().await;
        assert!(
            matches!(read, Err(ReadError::Unavailable { .. })),
            "{read:?}"
        );
    };
    let (lost, ()) = tokio::join!(lost, won);
    let error = lost.unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::Unknown { .. } | WriteError::Unavailable { .. }
        ),
        "{error}"
    );
    assert_eq!(
        text_of(old_handle, "label").as_deref(),
        Some("before"),
        "it still answers"
    );

    cluster.mend();
    eventually("the old leader follows", async || {
        text_of(old_handle, "label").as_deref() == Some("after")
    })
    .await;
    cluster.settle().await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_cut_off_does_not_unseat_the_leader() {
    let cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let away = cluster.followers().await.remove(0);
    let term = cluster.handle(&leader).status().term;
    cluster.isolate(&away);
    let missed = cluster.handle(&away);
    eventually("the follower misses the leader", async || {
        missed.status().leader.is_none() || missed.current().await.is_err()
    })
    .await;
    for number in 0..50 {
        cluster
            .handle(&leader)
            .write(dns(&format!("label-{number}"), "kept"))
            .await
            .unwrap();
    }
    // Nothing to wait for: time in which it would stand for election several times, if it did.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.mend();
    eventually("it caught up", async || {
        text_of(missed, "label-49").is_some()
    })
    .await;
    cluster.settle().await;
    let status = cluster.handle(&leader).status();
    assert_eq!((status.role, status.term), (Role::Leader, term));
}

/// What writers were told.
#[derive(Default)]
struct Told {
    /// number → name, of reservations that were acknowledged.
    held: BTreeMap<u64, String>,
    refused: u64,
    unclear: u64,
}

/// Reserves names until told to stop: one of its own each time, and one that all writers want.
async fn writer(
    writer: u64,
    handles: impl Fn() -> Vec<Handle>,
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Told {
    let mut told = Told::default();
    let mut number = writer * 1_000_000;
    while !stop.load(Ordering::Relaxed) {
        let round = rounds.load(Ordering::Relaxed);
        for name in [format!("own-{number}"), format!("wanted-{}", round / 8)] {
            number += 1;
            let handles = handles();
            let Some(handle) = handles.get(usize::try_from(writer).unwrap() % handles.len().max(1))
            else {
                continue;
            };
            match handle.write(reserve(number, &name)).await {
                Ok(Response::Reserved { user, .. }) => {
                    assert_eq!(user, user_id(number));
                    told.held.insert(number, name);
                }
                Ok(Response::Rejected(_)) => told.refused += 1,
                Ok(other) => panic!("{other:?}"),
                Err(_) => {
                    told.unclear += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// A generator good enough to pick victims, so that a run can be repeated from its seed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_whatever_happens() {
    let mut seed = 20_261_122;
    println!("seed {seed}");
    let settings = Settings {
        snapshot_every: 100,
        ..Settings::default()
    };
    let mut cluster = Cluster::of(3, settings).await;
    let live: Arc<std::sync::Mutex<Vec<Handle>>> = Arc::default();
    let publish = |cluster: &Cluster| {
        *live.lock().unwrap() = cluster
            .running()
            .map(|(_, handle)| handle.clone())
            .collect();
    };
    publish(&cluster);
    let (stop, rounds) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let live = Arc::clone(&live);
            let handles = move || live.lock().unwrap().clone();
            tokio::spawn(writer(
                number,
                handles,
                Arc::clone(&rounds),
                Arc::clone(&stop),
            ))
        })
        .collect();

    let names: Vec<String> = cluster.nodes.keys().cloned().collect();
    for _ in 0..8 {
        let victim = &names[usize::try_from(next(&mut seed)).unwrap() % names.len()];
        let pause = Duration::from_millis(200 + next(&mut seed) % 1_500);
        match next(&mut seed) % 4 {
            0 => {
                cluster.isolate(victim);
                tokio::time::sleep(pause).await;
                cluster.mend();
            }
            kind @ (1 | 2) => {
                // Its handle must not be asked while its folder is opened again.
                cluster.stop(victim, kind == 1).await;
                publish(&cluster);
                tokio::time::sleep(pause).await;
                cluster.start(victim).await.unwrap();
                publish(&cluster);
            }
            _ => {
                let leader = cluster.leader().await;
                cluster.handle(&leader).hand_over().await;
                tokio::time::sleep(pause).await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut refused, mut unclear) = (0, 0);
    for writer in writers {
        let told = writer.await.unwrap();
        (refused, unclear) = (refused + told.refused, unclear + told.unclear);
        for (number, name) in told.held {
            held.entry(name).or_default().push(number);
        }
    }
    println!("{} held, {refused} refused, {unclear} unclear", held.len());
    assert!(held.len() > 20, "the test did nothing");
    cluster.settle().await;
    cluster.assert_equal().await;
    for (_, handle) in cluster.running() {
        for (name, numbers) in &held {
            assert_eq!(numbers.len(), 1, "{name} was given to {numbers:?}");
            let user = handle.directory().user(name);
            assert_eq!(
                user.map(|user| user.id),
                Some(user_id(numbers[0])),
                "{name}"
            );
        }
    }
}
