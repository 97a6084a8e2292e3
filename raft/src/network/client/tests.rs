//! What openraft may rely on when a peer is gone.

use std::sync::atomic::AtomicUsize;

use homecore_types::NodeId;
use tonic::transport::Endpoint;

use super::*;
use crate::directory;
use crate::network::{PeerError, Peers};

/// Channels to addresses at which nobody listens.
#[derive(Debug)]
struct Nobody;

impl Peers for Nobody {
    fn channel(&self, _node: NodeId, _core: &str, _rpc: &str) -> Result<Channel, PeerError> {
        Ok(Endpoint::from_static("http://127.0.0.1:1").connect_lazy())
    }
}

/// A request that openraft made waits, where it is taken, as long as the last error demands. An
/// attempt that takes none is made again at once, and again: a leader would spin.
#[tokio::test]
async fn an_attempt_on_a_peer_that_is_gone_takes_a_request_first() {
    let mut network = Network::new(
        Arc::new(crate::ground::System),
        1,
        Links::new(Arc::new(Nobody), directory::view()),
    );
    let member = Member {
        core: "core-b".to_owned(),
        rpc: "127.0.0.1:1".to_owned(),
    };
    let mut peer = network.new_client(2, &member).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let request = AppendEntriesRequest {
        vote: openraft::Vote::new_committed(1, 1),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
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
