//! Brings the operator's catalogue of event types (`service.event_types`) to the kernel: what was
//! fetched last time at once, what is published now as soon as it answers, and again each day and when the
//! operator named another one.
//!
//! A core starts and works without: the binary has a catalogue of its own. What is fetched is bounded
//! in size and time, is kept only if the kernel takes it, and no proxy of the environment is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use homecore_kernel::Kernel;
use homecore_kernel::event::types::EventTypes;
use homecore_types::limits;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::ServiceConfig;
use crate::live::Live;
use crate::rpc::files;
use crate::telemetry::chain;

/// Between two looks at what is published.
const INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// After a look that failed.
const RETRY: Duration = Duration::from_secs(3_600);
/// One download, from the first byte sent to the last received.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs until the core stops. `cache` is the file of what was fetched last.
pub(crate) async fn keep(
    kernel: Kernel,
    service: Live<ServiceConfig>,
    cache: PathBuf,
    stop: CancellationToken,
) {
    if let Err(error) = from_cache(kernel.event_types(), &cache).await {
        tracing::warn!(error = %chain(error.as_ref()), "the kept catalogue of event types is not used");
    }
    loop {
        let url = service.get().event_types.clone();
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = look(kernel.event_types(), &url, &cache) => looked,
        };
        let pause = match looked {
            Ok(known) => {
                tracing::info!(known, "the catalogue of event types was read");
                INTERVAL
            }
            Err(error) => {
                tracing::warn!(url, error = %chain(error.as_ref()), "the catalogue of event types is not used; the present one stays");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = service.wait_until(|now| now.event_types != url) => {}
        }
    }
}

async fn from_cache(types: &EventTypes, cache: &Path) -> anyhow::Result<()> {
    let path = cache.to_owned();
    let kept = tokio::task::spawn_blocking(move || files::read(&path)).await??;
    if let Some(text) = kept {
        types.replace(&text)?;
    }
    Ok(())
}

/// Reads what is published and returns how many types are known then.
async fn look(types: &EventTypes, url: &str, cache: &Path) -> anyhow::Result<usize> {
    let url = Url::parse(url).context("service.event_types is no URL")?;
    let text = match url.scheme() {
        "http" | "https" => fetch(url).await?,
        "file" => {
            let Ok(path) = url.to_file_path() else {
                bail!("service.event_types names no local file");
            };
            return read_file(types, path).await;
        }
        other => bail!("service.event_types cannot be fetched by {other}"),
    };
    let known = types.replace(&text)?;
    let path = cache.to_owned();
    tokio::task::spawn_blocking(move || files::write(&path, &text)).await??;
    Ok(known)
}

async fn read_file(types: &EventTypes, path: PathBuf) -> anyhow::Result<usize> {
    let text = tokio::task::spawn_blocking(move || files::read(&path)).await??;
    let text = text.context("there is no such file")?;
    Ok(types.replace(&text)?)
}

async fn fetch(url: Url) -> anyhow::Result<Vec<u8>> {
    let client = reqwest::Client::builder()
        .timeout(DEADLINE)
        .no_proxy()
        .build()?;
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let mut text = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if text.len() + part.len() > limits::EVENT_TYPES_BYTES_MAX {
            bail!("it is larger than {} bytes", limits::EVENT_TYPES_BYTES_MAX);
        }
        text.extend_from_slice(&part);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
