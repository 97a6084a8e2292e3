//! Cores come back at other addresses than the platform knows, also those of which it needs one to learn it.

use std::net::Ipv4Addr;

use anyhow::ensure;
use homecore_harness::{Cluster, ClusterOptions, Http, wait_until};

use crate::PATIENCE;
use crate::people::register;

/// Another machine, as far as addresses tell.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_forms_with_a_core_that_moved() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    let leader = cluster.leader(0).await?;
    let (moved, gone) = ((leader + 1) % 3, (leader + 2) % 3);
    for core in [moved, gone] {
        cluster.core_mut(core)?.kill()?;
    }
    // The leader that is left alone has more in its log than the others will have.
    let url = cluster.core(leader)?.url();
    for n in 0..3 {
        let reply = register(&http, &url, &format!("alone{n}")).await?;
        ensure!(reply.status == 503, "{}", reply.text());
    }
    let port = cluster.core(moved)?.rpc()?.port();
    let listen = format!("cluster.listen={ELSEWHERE}:{port}");
    cluster.core_mut(moved)?.start_with(&["--set", &listen])?;
    cluster.core_mut(moved)?.wait_ready(PATIENCE).await?;
    for core in [leader, moved] {
        let url = cluster.core(core)?.url();
        wait_until(PATIENCE, "two of three register people", async || {
            let reply = register(&http, &url, &format!("paired{core}")).await?;
            ensure!(
                [201, 409].contains(&reply.status.as_u16()),
                "{}",
                reply.text()
            );
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}
