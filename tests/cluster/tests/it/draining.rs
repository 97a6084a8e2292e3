//! A core that is drained leads no more and gets no new users, until it is started again.

use anyhow::ensure;
use homecore_harness::{Cluster, ClusterOptions, Http, wait_until};

use crate::PATIENCE;
use crate::people::Person;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_core_gets_no_new_users_until_it_is_started_again() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    cluster.wait_settled(PATIENCE).await?;
    let http = Http::new()?;
    let leader = cluster.leader(0).await?;
    let other = (leader + 1) % 3;
    let (id, url) = (
        cluster.core(leader)?.id().to_owned(),
        cluster.core(leader)?.url(),
    );
    let said = cluster.core(leader)?.run(&["drain"]).await?;
    ensure!(said.contains("takes no new users"), "{said}");
    ensure!(said.contains("does not lead"), "{said}");
    ensure!(cluster.leader(other).await? != leader);
    for number in 0..6 {
        let name = format!("person{number}");
        let person = Person::new(&http, &cluster.core(other)?.url(), &name).await?;
        ensure!(person.home != url, "{name} was sent to a drained core");
    }
    cluster.core_mut(leader)?.stop(PATIENCE).await?;
    cluster.core_mut(leader)?.restart(PATIENCE).await?;
    wait_until(PATIENCE, "it takes new users again", async || {
        let status = cluster.core(other)?.status().await?;
        Ok(status
            .find(&id)
            .is_some_and(|core| core.available)
            .then_some(()))
    })
    .await?;
    cluster.wait_settled(PATIENCE).await?;

    // Without a quorum nothing can be promised.
    for index in [leader, other] {
        cluster.core_mut(index)?.kill()?;
    }
    let left = (leader + 2) % 3;
    let said = match cluster.core(left)?.run(&["drain"]).await {
        Ok(printed) => anyhow::bail!("it was drained: {printed}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(said.contains("nothing was done"), "{said}");
    Ok(())
}
