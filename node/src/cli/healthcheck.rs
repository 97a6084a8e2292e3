//! `homecore healthcheck`: one question to a running core, for containers without other tools.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;

use super::{answer, block_on};

/// `homecore healthcheck`.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Base URL of the core
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Ask whether it may take traffic, not only whether it lives
    #[arg(long)]
    ready: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks `/livez`, or `/readyz`.
pub(super) fn run(args: &HealthcheckArgs) -> anyhow::Result<()> {
    block_on(async {
        let question = if args.ready { "readyz" } else { "livez" };
        let url = format!("{}/{question}", args.url.trim_end_matches('/'));
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(3))
            .no_proxy()
            .build()?;
        let response = client
            .get(&url)
            .send()
            .await
            .with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        ensure!(status.is_success(), "{url} answers {status}: {body}");
        let state = if args.ready { "ready" } else { "alive" };
        if args.json {
            return answer(&json!({ "url": args.url, "state": state }).to_string());
        }
        answer(state)
    })
}
