//! Whom a core believes where another one is.

use homecore_types::{Clock as _, ClusterId, CoreId, SystemClock};
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::command::Founding;
use crate::engine::EngineKind;
use crate::network::{PeerError, Peers};
use crate::records::{CoreAddresses, PlatformConfig, SealedSecrets};
use crate::{Identity, Options, Timings};

#[derive(Debug)]
struct Nobody;

impl Peers for Nobody {
    fn channel(&self, _node: NodeId, _core: &str, _rpc: &str) -> Result<Channel, PeerError> {
        Ok(Endpoint::from_static("http://127.0.0.1:1").connect_lazy())
    }
}

/// A platform of one core, whose node is 1.
async fn founded(dir: &tempfile::TempDir) -> Handle {
    let identity = Identity {
        cluster: ClusterId::parse("c".repeat(24)).unwrap(),
        node: NodeId(1),
        core: CoreId::parse("core-a").unwrap(),
    };
    let options = Options {
        dir: dir.path().to_path_buf(),
        engine: EngineKind::Memory,
        identity: identity.clone(),
        timings: Timings::default(),
        dead_after: Options::DEAD_AFTER,
        snapshot_every: Options::SNAPSHOT_EVERY,
        clock: Arc::new(SystemClock),
        peers: Arc::new(Nobody),
        rpc: "old:1".to_owned(),
    };
    let handle = Handle::start(options).await.unwrap();
    let founding = Founding {
        cluster: identity.cluster,
        core: identity.core,
        node: identity.node,
        addresses: CoreAddresses {
            rpc: "old:1".to_owned(),
            url: "http://old/".to_owned(),
            ..CoreAddresses::default()
        },
        config: PlatformConfig {
            version: 1,
            domain: None,
            sections: std::collections::BTreeMap::new(),
            fields_version: 0,
        },
        ca_certificate: Vec::new(),
        secrets: SealedSecrets {
            envelope: Vec::new(),
        },
        at: SystemClock.now(),
    };
    handle.found(founding).await.unwrap();
    handle
}

/// The question of the first node for a vote, by whoever sends it.
fn question(from: &str, caller: Option<u64>) -> Request<Frame> {
    let message: VoteRequest<TypeConfig> = VoteRequest::new(openraft::Vote::new(9, 1), None);
    let mut packed = frame::pack(&message).unwrap();
    from.clone_into(&mut packed.from);
    let mut request = Request::new(packed);
    if let Some(node) = caller {
        request.extensions_mut().insert(Caller(NodeId(node)));
    }
    request
}

#[tokio::test]
async fn nobody_says_where_another_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let handle = founded(&dir).await;
    let service = RaftService {
        handle: handle.clone(),
        receiving: Arc::default(),
        warned: Arc::default(),
    };
    let reached = || handle.address(1).unwrap();
    for caller in [Some(2), None] {
        service.question(&question("elsewhere:1", caller)).unwrap();
        assert_eq!(reached(), "old:1", "said by {caller:?}");
    }
    assert!(service.warned.load(Ordering::Relaxed));
    service.question(&question("new:1", Some(1))).unwrap();
    assert_eq!(reached(), "new:1");
    handle.shutdown().await;
}
