//! What a healthy cluster does.

use std::time::Duration;

use homecore_raft::Role;
use homecore_raft::command::{Command, Rejection, Response};
use homecore_raft::engine::EngineKind;

use crate::harness::{Cluster, Settings, dns, eventually, now, reserve, text_of, user_id};

async fn three_cores_agree(engine: EngineKind) {
    let cluster = Cluster::of(
        3,
        Settings {
            engine,
            ..Settings::default()
        },
    )
    .await;
    for (number, (name, handle)) in cluster.running().enumerate() {
        let label = format!("label-{number}");
        assert_eq!(
            handle.write(dns(&label, name)).await.unwrap(),
            Response::Done
        );
        // Read your writes: no wait.
        assert_eq!(text_of(handle, &label).as_ref(), Some(name));
    }
    cluster.settle().await;
    cluster.assert_equal().await;
    let leader = cluster.leader().await;
    let status = cluster.handle(&leader).status();
    assert_eq!((status.voters.len(), status.learners.len()), (3, 0));
    for name in cluster.followers().await {
        let status = cluster.handle(&name).status();
        assert_eq!(status.role, Role::Voter);
        assert_eq!(status.leader, Some(cluster.handle(&leader).identity().node));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_cores_agree_on_sled() {
    three_cores_agree(EngineKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_cores_agree_on_redb() {
    three_cores_agree(EngineKind::Redb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_cores_agree_in_memory() {
    three_cores_agree(EngineKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_wanted_by_three_cores_at_once_goes_to_one() {
    let cluster = Cluster::of(3, Settings::default()).await;
    for round in 0..10_u64 {
        let name = format!("alice-{round}");
        let writes = cluster.running().enumerate().map(|(number, (_, handle))| {
            let number = round * 10 + u64::try_from(number).unwrap();
            handle.write(reserve(number, &name))
        });
        let answers = futures_util::future::join_all(writes).await;
        let won = answers
            .iter()
            .filter(|answer| matches!(answer, Ok(Response::Reserved { .. })));
        assert_eq!(won.count(), 1, "{answers:?}");
        let lost = answers.iter().filter(|answer| {
            matches!(answer, Ok(Response::Rejected(Rejection::Conflict { fields })) if fields.contains_key("username"))
        });
        assert_eq!(lost.count(), 2, "{answers:?}");
    }
    cluster.settle().await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_placed_on_a_core_that_lives() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let gone = cluster.followers().await.remove(0);
    cluster.stop(&gone, false).await;
    let through = cluster.followers().await.remove(0);
    let leader = cluster.leader().await;
    let gone_node = cluster.nodes[&gone].identity.node;
    eventually("the leader misses the core", async || {
        let peers = cluster.handle(&leader).liveness().await.unwrap();
        peers
            .iter()
            .any(|peer| peer.node == gone_node && !peer.is_live())
    })
    .await;
    for number in 0..6 {
        let answer = cluster
            .handle(&through)
            .write(reserve(number, &format!("user-{number}")))
            .await;
        let Ok(Response::Reserved { core, user }) = answer else {
            panic!("{answer:?}")
        };
        assert_ne!(core.as_str(), gone);
        assert_eq!(user, user_id(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_read_anywhere_sees_what_was_acknowledged_elsewhere() {
    let cluster = Cluster::of(4, Settings::default()).await;
    let names: Vec<String> = cluster.nodes.keys().cloned().collect();
    for round in 0..20 {
        let writer = cluster.handle(&names[round % names.len()]);
        let value = format!("value-{round}");
        writer.write(dns("shared", &value)).await.unwrap();
        let reads = names.iter().map(|name| {
            let handle = cluster.handle(name);
            // Many at once share a question.
            futures_util::future::join_all((0..10).map(move |_| handle.current()))
        });
        for answers in futures_util::future::join_all(reads).await {
            for directory in answers {
                let directory = directory.unwrap();
                assert_eq!(
                    directory.dns_record("shared").unwrap().txt,
                    std::slice::from_ref(&value)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_on_every_core() {
    let cluster = Cluster::of(3, Settings::default()).await;
    let leader = cluster.leader().await;
    let answer = cluster
        .handle(&leader)
        .write(reserve(1, "alice"))
        .await
        .unwrap();
    assert!(matches!(answer, Response::Reserved { .. }), "{answer:?}");
    let commit = Command::CommitUser {
        reservation: format!("r{:023}", 1),
        at: now(),
    };
    assert_eq!(
        cluster.handle(&leader).write(commit).await.unwrap(),
        Response::Done
    );
    for (_, handle) in cluster.running() {
        handle.current().await.unwrap();
        let user = handle.find_user_by_id(&user_id(1)).await.unwrap().unwrap();
        assert_eq!(user.username.as_str(), "alice");
        let same = handle
            .find_by_unique("email", "alice@example.com")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(same, user);
        assert_eq!(handle.users(None, None, 10).await.unwrap(), [user]);
        assert!(handle.directory().user("alice").unwrap().active);
        assert!(handle.is_member(handle.identity().node));
        assert!(!handle.is_member(homecore_types::NodeId(999)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_too_large_is_refused_before_it_is_sent() {
    let cluster = Cluster::found(Settings::default()).await;
    let error = cluster
        .handle("core-0")
        .write(dns("big", &"x".repeat(2_000_000)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, homecore_raft::WriteError::TooLarge { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_on_every_core_lose_nothing() {
    let cluster = Cluster::of(3, Settings::default()).await;
    let writes = cluster.running().flat_map(|(name, handle)| {
        (0..100).map(move |number| {
            let label = format!("{name}-{number}");
            async move { (handle.write(dns(&label, "here")).await, label) }
        })
    });
    let began = std::time::Instant::now();
    let written = futures_util::future::join_all(writes).await;
    println!("300 writes from three cores: {:?}", began.elapsed());
    cluster.settle().await;
    for (answer, label) in written {
        assert_eq!(answer.unwrap(), Response::Done);
        for (_, handle) in cluster.running() {
            assert_eq!(text_of(handle, &label).as_deref(), Some("here"));
        }
    }
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overdue_is_swept() {
    let cluster = Cluster::found(Settings::default()).await;
    let handle = cluster.handle("core-0");
    let Command::ReserveUser(mut overdue) = reserve(1, "alice") else {
        unreachable!()
    };
    overdue.deadline = overdue.at + Duration::from_millis(1);
    handle.write(Command::ReserveUser(overdue)).await.unwrap();
    assert!(handle.directory().user("alice").is_some());
    eventually("the reservation is swept", async || {
        handle.directory().user("alice").is_none()
    })
    .await;
}
