//! Cores that come back, cleanly or not, with all of their folder or not.

use homecore_raft::engine::EngineKind;
use homecore_raft::{LogError, Role, StartError};

use crate::harness::{Cluster, Settings, dns, eventually, text_of};

async fn a_core_alone_comes_back(engine: EngineKind, clean: bool) {
    // Snapshots in between, so that some of it is only in one and some only in the log.
    let settings = Settings {
        engine,
        snapshot_every: 20,
        ..Settings::default()
    };
    let mut cluster = Cluster::found(settings).await;
    for round in 0..3 {
        for number in 0..25 {
            let label = format!("label-{round}-{number}");
            cluster
                .handle("core-0")
                .write(dns(&label, "kept"))
                .await
                .unwrap();
        }
        let before = cluster.handle("core-0").state_hash().await.unwrap();
        cluster.stop("core-0", clean).await;
        cluster.start("core-0").await.unwrap();
        let handle = cluster.handle("core-0");
        handle.current().await.unwrap();
        assert_eq!(handle.status().role, Role::Leader);
        for number in 0..25 {
            assert_eq!(
                text_of(handle, &format!("label-{round}-{number}")).as_deref(),
                Some("kept")
            );
        }
        assert_eq!(handle.state_hash().await.unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_on_sled_comes_back_from_a_clean_stop() {
    a_core_alone_comes_back(EngineKind::Sled, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_on_sled_comes_back_from_a_crash() {
    a_core_alone_comes_back(EngineKind::Sled, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_on_redb_comes_back_from_a_crash() {
    a_core_alone_comes_back(EngineKind::Redb, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_in_memory_comes_back() {
    a_core_alone_comes_back(EngineKind::Memory, true).await;
    a_core_alone_comes_back(EngineKind::Memory, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_crashed_catches_up() {
    let settings = Settings {
        snapshot_every: 30,
        ..Settings::default()
    };
    let mut cluster = Cluster::of(3, settings).await;
    for round in 0..3 {
        let away = cluster.followers().await.remove(0);
        let through = cluster.leader().await;
        cluster.stop(&away, round % 2 == 0).await;
        for number in 0..70 {
            let label = format!("label-{round}-{number}");
            cluster
                .handle(&through)
                .write(dns(&label, "kept"))
                .await
                .unwrap();
        }
        cluster.start(&away).await.unwrap();
        cluster.settle().await;
        assert_eq!(
            text_of(cluster.handle(&away), &format!("label-{round}-69")).as_deref(),
            Some("kept")
        );
        cluster.assert_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_cluster_comes_back() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    cluster
        .handle("core-1")
        .write(dns("label", "kept"))
        .await
        .unwrap();
    let names: Vec<String> = cluster.nodes.keys().cloned().collect();
    for name in &names {
        cluster.stop(name, false).await;
    }
    for name in &names {
        cluster.start(name).await.unwrap();
    }
    cluster.settle().await;
    for name in &names {
        assert_eq!(
            text_of(cluster.handle(name), "label").as_deref(),
            Some("kept")
        );
    }
    cluster
        .handle("core-2")
        .write(dns("label", "changed"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_without_its_log_does_not_start() {
    let mut cluster = Cluster::of(3, Settings::default()).await;
    let victim = cluster.followers().await.remove(0);
    cluster.stop(&victim, true).await;
    let dir = cluster.nodes[&victim].dir.path().to_path_buf();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("log.sqlite")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = cluster.start(&victim).await.unwrap_err();
    assert!(
        matches!(error, StartError::Log(LogError::Behind { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains("join again under a new id"),
        "{error}"
    );
    // The others go on, and take it in under another id.
    let leader = cluster.leader().await;
    cluster.remove(&victim, &leader).await;
    cluster.nodes.remove(&victim);
    cluster.join("core-9", &leader).await;
    cluster.settle().await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_used_by_one_process() {
    let mut cluster = Cluster::found(Settings::default()).await;
    let handle = cluster.handle("core-0").clone();
    let node = cluster.nodes.get_mut("core-0").unwrap();
    let identity = node.identity.clone();
    let error = crate::harness::start_in(&identity, node.dir.path())
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::InUse { .. }), "{error}");
    drop(handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_every_handle_frees_the_folder() {
    let cluster = Cluster::found(Settings::default()).await;
    cluster
        .handle("core-0")
        .write(dns("label", "kept"))
        .await
        .unwrap();
    let (identity, dir) = cluster.drop_handles();
    let mut again = None;
    eventually("the folder is free", async || {
        again = crate::harness::start_in(&identity, dir.path()).await.ok();
        again.is_some()
    })
    .await;
    let again = again.unwrap();
    again.current().await.unwrap();
    assert_eq!(text_of(&again, "label").as_deref(), Some("kept"));
}

/// What a leader had sent to others and not yet on its own disk is gone when it comes back: in the same
/// term it would give the same log index to something else, and nobody could tell the two apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_crashed_leads_again_only_in_another_term() {
    for size in [1, 3] {
        let mut cluster = Cluster::of(size, Settings::default()).await;
        for round in 0..3 {
            let leader = cluster.leader().await;
            let before = cluster.handle(&leader).status().term;
            cluster.stop(&leader, false).await;
            // At once: the others have not missed it yet.
            cluster.start(&leader).await.unwrap();
            let label = format!("label-{round}");
            cluster
                .handle(&leader)
                .write(dns(&label, "kept"))
                .await
                .unwrap();
            let after = cluster.handle(&leader).status().term;
            assert!(after > before, "{size} cores: {after} follows {before}");
        }
    }
}
