//! Cores die while accesses with random aliases come and go: afterwards every core knows an alias as
//! long as an access has it, and no longer.

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Http, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{held, interrupt};
use crate::people::Person;
use crate::{PATIENCE, rounds};

/// The person's accesses that have an alias.
async fn aliased(http: &Http, person: &Person) -> anyhow::Result<Vec<Value>> {
    let url = person.url("accesses");
    let listed = http.get(&url, Some(&person.token)).await?.expect(200)?;
    let accesses = listed["accesses"].as_array().context("no accesses")?;
    let aliased = accesses.iter().filter(|access| access["alias"].is_string());
    Ok(aliased.cloned().collect())
}

fn text<'a>(access: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    access[name].as_str().context("an access without it")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_known_while_an_access_has_it_whoever_dies() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(2) {
        let name = format!("hidden{round}");
        let person = Person::new(&http, &cluster.core(round % 3)?.url(), &name).await?;
        let create = |name: &str| {
            json!({ "type": "app", "name": name, "randomAlias": true,
            "permissions": [{ "streamId": "*", "level": "read" }] })
        };
        let accesses = person.url("accesses");
        let first = create("first");
        let first = http.post(&accesses, Some(&person.token), &first);
        let first = first.await?.expect(201)?["access"].clone();
        let asked = (
            Method::POST,
            accesses.clone(),
            person.token.clone(),
            Some(create("second")),
        );
        let answer = interrupt(&mut cluster, &http, &person, round, asked).await?;
        let acknowledged = answer.is_some_and(|reply| reply.status == 201);
        let count = wait_until(PATIENCE, "aliases of accesses", async || {
            let all = aliased(&http, &person).await?;
            for access in &all {
                let held = held(&cluster, &http, text(access, "alias")?).await?;
                ensure!(held == 3, "{held} cores know an alias");
                let url = format!("{}{}/access-info", person.home, text(access, "alias")?);
                let info = http.get(&url, Some(text(access, "token")?)).await?;
                let info = info.expect(200)?;
                ensure!(info["user"]["username"] == access["alias"], "{info}");
                ensure!(!info.to_string().contains(&name), "{info}");
            }
            Ok(Some(all.len()))
        })
        .await
        .with_context(|| format!("round {round}"))?;
        ensure!(count == 2 || !acknowledged, "an access is gone");

        // Another core says where it is and not whose.
        let there = cluster
            .cores()
            .iter()
            .find(|core| core.url() != person.home);
        let there = there.context("one core only")?.url();
        let url = format!("{there}{}/account", text(&first, "alias")?);
        let reply = http.get(&url, None).await?;
        ensure!(!reply.text().contains(&name), "{}", reply.text());
        reply.expect(421)?;

        let url = person.url(&format!("accesses/{}", text(&first, "id")?));
        let asked = (Method::DELETE, url, person.token.clone(), None);
        let answer = interrupt(&mut cluster, &http, &person, round, asked).await?;
        let acknowledged = answer.is_some_and(|reply| reply.status == 200);
        let gone = wait_until(PATIENCE, "both or neither", async || {
            let all = aliased(&http, &person).await?;
            let is_there = all.iter().any(|access| access["id"] == first["id"]);
            let held = held(&cluster, &http, text(&first, "alias")?).await?;
            ensure!(
                held == if is_there { 3 } else { 0 },
                "{held} cores know the alias, its access is there: {is_there}"
            );
            Ok(Some(!is_there))
        })
        .await
        .with_context(|| format!("round {round}"))?;
        ensure!(gone || !acknowledged, "a deleted access is back");
    }
    Ok(())
}
