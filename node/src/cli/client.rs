//! The command line's way to a running core: its local socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use homecore_proto::membership::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::ConfigArgs;
use crate::rpc::files::DataDir;

/// An operator's call may take this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects to the core that a configuration describes.
pub(super) async fn connect(args: &ConfigArgs) -> anyhow::Result<AdminClient<Channel>> {
    let config = args.load()?;
    connect_to(&config.core.data, config.core.id.as_str()).await
}

/// Connects to the core whose data directory is given.
pub(super) async fn connect_to(data: &Path, core: &str) -> anyhow::Result<AdminClient<Channel>> {
    Ok(AdminClient::new(
        channel(data, core, Some(CALL_TIMEOUT)).await?,
    ))
}

/// A channel to the core whose data directory is given; calls may take as long as is said.
pub(super) async fn channel(
    data: &Path,
    core: &str,
    timeout: Option<Duration>,
) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from_static("http://core.local");
    if let Some(timeout) = timeout {
        endpoint = endpoint.timeout(timeout);
    }
    let socket = DataDir::at(data).admin_socket();
    let shown = socket.display().to_string();
    endpoint
        .connect_with_connector(tower::service_fn(move |_uri: Uri| {
            let socket = socket.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        }))
        .await
        .map_err(|error| anyhow!("{}", crate::telemetry::chain(&error)))
        .with_context(|| format!("cannot reach {core} at {shown}: is it running, and may this account open its socket?"))
}

/// A refusal of the core as a sentence.
pub(super) fn refused(status: &tonic::Status) -> anyhow::Error {
    anyhow!("{}", status.message())
}
