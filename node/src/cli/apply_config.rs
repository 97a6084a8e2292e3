//! `homecore apply-config`: brings what the file says of the whole platform to the platform store, of which the
//! founding core's file was the beginning only.

use anyhow::bail;
use homecore_proto::membership::ApplySectionsRequest;
use homecore_proto::membership::platform_sections_client::PlatformSectionsClient;
use serde_json::json;

use super::client::{channel, refused};
use super::operate::PlainArgs;
use super::{answer, block_on};

/// How long the call may take.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Does it.
pub(super) fn run(args: &PlainArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let sections = config.platform.clone();
    if sections.is_empty() {
        bail!(
            "the configuration says nothing of the whole platform: there is no [service], [hostings], \
             invitation_tokens or [custom], and [auth] has no trusted_apps, default_auth_url or trusted_auth_urls"
        );
    }
    block_on(async {
        let core = config.core.id.as_str();
        let channel = channel(&config.core.data, core, Some(CALL_TIMEOUT)).await?;
        let request = ApplySectionsRequest {
            sections: sections.into_iter().collect(),
        };
        let reply = PlatformSectionsClient::new(channel).apply(request).await;
        let changed = reply
            .map_err(|status| refused(&status))?
            .into_inner()
            .changed;
        if args.json {
            return answer(&json!({ "changed": changed }).to_string());
        }
        answer(&if changed.is_empty() {
            "the platform says the same already".to_owned()
        } else {
            format!("changed on the platform: {}", changed.join(", "))
        })
    })
}
