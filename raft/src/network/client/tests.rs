//! What openraft may rely on when a peer is gone.

use std::sync::atomic::AtomicUsize;

use homecore_types::{ClusterId, CoreId, NodeId};
use openraft::storage::RaftLogStorage as _;
use openraft::vote::RaftLeaderId as _;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use super::*;
use crate::directory;
use crate::identity::Identity;
use crate::network::{PeerError, Peers, TOLD_LASTS};
use crate::types::LogId;

/// Channels to addresses at which nobody listens.
#[derive(Debug)]
struct Nobody;

impl Peers for Nobody {
    fn channel(&self, _node: NodeId, _core: &str, _rpc: &str) -> Result<Channel, PeerError> {
        Ok(Endpoint::from_static("http://127.0.0.1:1").connect_lazy())
    }
}

fn log(dir: &TempDir) -> LogStore {
    let ground: Arc<dyn Ground> = Arc::new(crate::ground::System);
    let identity = Identity {
        cluster: ClusterId::parse("c".repeat(24)).unwrap(),
        node: NodeId(1),
        core: CoreId::parse("core-a").unwrap(),
    };
    LogStore::open(&ground, dir.path(), &identity).unwrap()
}

async fn client(log: LogStore) -> PeerClient {
    let links = Links::new(
        Arc::new(Nobody),
        directory::view(),
        "127.0.0.1:2".to_owned(),
    );
    let member = Member {
        core: "core-b".to_owned(),
        rpc: "127.0.0.1:1".to_owned(),
    };
    Network::new(Arc::new(crate::ground::System), log, 1, links)
        .new_client(2, &member)
        .await
}

fn at(index: u64) -> LogId {
    let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(1, 1).to_committed();
    LogId::new(leader, index)
}

fn heartbeat(prev_log_id: Option<LogId>) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: openraft::Vote::new_committed(1, 1),
        prev_log_id,
        entries: Vec::new(),
        leader_commit: None,
    }
}

/// A request that openraft made waits, where it is taken, as long as the last error demands. An
/// attempt that takes none is made again at once, and again: a leader would spin.
#[tokio::test]
async fn an_attempt_on_a_peer_that_is_gone_takes_a_request_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut peer = client(log(&dir)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let request = heartbeat(None);
    let requests = futures_util::stream::iter([request]).inspect(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let option = RPCOption::new(Duration::from_secs(5));
    let Err(error) = peer.stream_append(requests, option).await else {
        panic!("somebody answered");
    };
    assert!(matches!(error, RPCError::Unreachable(_)), "{error}");
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

/// openraft's stream of entries does not notice by itself that it waits for what was purged: a peer that
/// lags would get nothing any more, for as long as its connection holds.
#[tokio::test]
async fn a_peer_that_needs_what_was_purged_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(&dir);
    log.purge(at(9)).await.unwrap();
    let mut peer = client(log).await;
    for (previous, needs_more) in [(None, true), (Some(8), true), (Some(9), false)] {
        let requests = futures_util::stream::iter([heartbeat(previous.map(at))]);
        let option = RPCOption::new(Duration::from_secs(5));
        let Err(error) = peer.stream_append(requests, option).await else {
            panic!("somebody answered");
        };
        let is_purged = matches!(error, RPCError::Network(_));
        assert_eq!(is_purged, needs_more, "{previous:?}: {error}");
    }
}

/// Remembers the addresses to which channels were asked for.
#[derive(Debug, Default)]
struct Remembering(std::sync::Mutex<Vec<String>>);

impl Peers for Remembering {
    fn channel(&self, node: NodeId, core: &str, rpc: &str) -> Result<Channel, PeerError> {
        self.0.lock().unwrap().push(rpc.to_owned());
        Nobody.channel(node, core, rpc)
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_where_it_says_until_something_younger_is_known() {
    let peers = Arc::new(Remembering::default());
    let links = Links::new(Arc::clone(&peers) as _, directory::view(), String::new());
    let at = |rpc: &str| Member {
        core: "core-b".to_owned(),
        rpc: rpc.to_owned(),
    };
    let (old, other) = (at("old:1"), at("other:1"));
    let reached = |member: &Member| {
        links.channel(2, Some(member)).unwrap();
        peers.0.lock().unwrap().last().cloned().unwrap()
    };
    assert_eq!(reached(&old), "old:1");
    links.told(2, "new:1", Some(&old));
    assert_eq!(reached(&old), "new:1");
    // Nothing is not news, nor is what nobody could be at.
    links.told(2, "", Some(&old));
    links.told(2, &"x".repeat(260), Some(&old));
    assert_eq!(reached(&old), "new:1");
    assert_eq!(reached(&other), "other:1");
    assert_eq!(reached(&old), "old:1");
    // It may have gone back while this core did not hear of it.
    links.told(2, "new:1", Some(&old));
    assert_eq!(reached(&old), "new:1");
    tokio::time::advance(TOLD_LASTS).await;
    assert_eq!(reached(&old), "old:1");
    // It went back.
    links.told(2, "new:1", Some(&old));
    links.told(2, "old:1", Some(&old));
    assert_eq!(reached(&old), "old:1");
    // Of a node that nobody knows nothing is kept.
    links.told(3, "new:1", None);
    assert!(links.told.lock().unwrap().is_empty());
}
