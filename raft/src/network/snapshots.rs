//! A snapshot on its way from one core to another: a header, then the file's bytes in order. Neither
//! side holds more than a chunk of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use futures_util::Stream;
use homecore_proto::raft::raft_client::RaftClient;
use homecore_proto::raft::snapshot_part::Part;
use homecore_proto::raft::{Frame, SnapshotPart};
use homecore_types::limits::SNAPSHOT_CHUNK_BYTES;
use openraft::alias::SnapshotOf;
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::ground::{self, Ground, Origin};
use crate::network::frame;
use crate::snapshot::{self, Incoming};
use crate::state_machine::{self, SnapshotFile};
use crate::types::{SnapshotMeta, TypeConfig, Vote};

/// How long the next chunk may take to arrive.
const CHUNK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What a transfer begins with.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Bytes of the file: fewer or more is no snapshot.
    pub(crate) bytes: u64,
}

/// Sends a snapshot and waits until the peer has installed it.
pub(crate) async fn send(
    ground: Arc<dyn Ground>,
    mut client: RaftClient<Channel>,
    vote: &Vote,
    snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
) -> Result<SnapshotResponse<TypeConfig>, Status> {
    let path = snapshot.snapshot.path().to_path_buf();
    let open = move || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok::<_, io::Error>((file, bytes))
    };
    let (file, bytes) = ground::blocking(&*ground, open)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Status::internal(format!("cannot read the snapshot: {error}")))?;
    let header = frame::pack(&Header {
        vote: *vote,
        meta: snapshot.meta,
        bytes,
    })?;
    let answer = client
        .install_snapshot(Request::new(parts(ground, header, file)))
        .await?;
    frame::unpack(answer.get_ref())
}

/// The header, then the file. Ends early if the file cannot be read: the peer notices what is missing.
fn parts(
    ground: Arc<dyn Ground>,
    header: Frame,
    file: File,
) -> impl Stream<Item = SnapshotPart> + Send {
    futures_util::stream::unfold((Some(header), file), move |(header, file)| {
        let ground = Arc::clone(&ground);
        async move {
            if let Some(header) = header {
                let part = Some(Part::Header(header));
                return Some((SnapshotPart { part }, (None, file)));
            }
            ground.access().await;
            let chunk = ground::blocking(&*ground, move || read_chunk(file)).await;
            match chunk.map_err(io::Error::other).flatten() {
                Ok((data, _)) if data.is_empty() => None,
                Ok((data, file)) => {
                    let part = Some(Part::Data(data.into()));
                    Some((SnapshotPart { part }, (None, file)))
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read a snapshot for a peer");
                    None
                }
            }
        }
    })
}

fn read_chunk(file: File) -> io::Result<(Vec<u8>, File)> {
    let mut data = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
    let chunk = u64::try_from(SNAPSHOT_CHUNK_BYTES).unwrap_or(u64::MAX);
    (&file).take(chunk).read_to_end(&mut data)?;
    Ok((data, file))
}

/// Receives a snapshot into the folder of snapshots, and checks it whole before openraft sees it: one
/// that fails while it is installed would stop this core.
pub(crate) async fn receive(
    ground: &dyn Ground,
    mut parts: Streaming<SnapshotPart>,
    dir: &Path,
) -> Result<(Header, SnapshotFile), Status> {
    let header: Header = match next(&mut parts).await? {
        Some(Part::Header(header)) => frame::unpack(&header)?,
        Some(Part::Data(_)) | None => {
            return Err(Status::invalid_argument(
                "a snapshot begins with its header",
            ));
        }
    };
    let folder = dir.to_path_buf();
    room(ground).await?;
    let mut incoming = blocking(ground, move || Incoming::create(&folder)).await?;
    let mut received = 0_u64;
    while let Some(part) = next(&mut parts).await? {
        let Part::Data(data) = part else {
            return Err(Status::invalid_argument("a snapshot has one header"));
        };
        received = received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if received > header.bytes {
            break;
        }
        room(ground).await?;
        incoming = blocking(ground, move || incoming.write(&data).map(|()| incoming)).await?;
    }
    if received != header.bytes {
        let expected = header.bytes;
        return Err(Status::data_loss(format!(
            "{received} of {expected} bytes of the snapshot came"
        )));
    }
    room(ground).await?;
    let file = SnapshotFile::temporary(blocking(ground, move || incoming.finish()).await?);
    let path = file.path().to_path_buf();
    let found = blocking(ground, move || snapshot::verify(&path)).await?;
    let meta = state_machine::meta(&found).map_err(|error| Status::data_loss(error.to_string()))?;
    if meta != header.meta {
        return Err(Status::data_loss(
            "the snapshot is not the one that its header describes",
        ));
    }
    Ok((header, file))
}

async fn next(parts: &mut Streaming<SnapshotPart>) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(CHUNK_TIMEOUT, parts.message()).await {
        Err(_) => Err(Status::deadline_exceeded(
            "the next part of the snapshot did not come",
        )),
        Ok(Err(status)) => Err(status),
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(SnapshotPart { part: Some(part) }))) => Ok(Some(part)),
        Ok(Ok(Some(SnapshotPart { part: None }))) => Err(Status::invalid_argument(
            "a part of the snapshot is of no known kind",
        )),
    }
}

async fn room(ground: &dyn Ground) -> Result<(), Status> {
    let room = ground.room(Origin::Received).await;
    room.map_err(|error| Status::internal(crate::report(&error)))
}

/// Runs file work off the runtime's workers.
async fn blocking<T, E>(
    ground: &dyn Ground,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Status>
where
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    match ground::blocking(ground, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Status::internal(crate::report(&error))),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}
