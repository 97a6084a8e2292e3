//! A name, and an e-mail address, belong to one user, whoever asks where at the same time.

use anyhow::ensure;
use futures_util::future::join_all;
use homecore_harness::{Cluster, ClusterOptions, Http};

use crate::people::registration;
use crate::rounds;

/// Registrations at once in a round.
const AT_ONCE: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_given_once() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(5) {
        let name = format!("wanted{round}");
        let bodies = (0..AT_ONCE)
            .map(|i| registration(&name, &format!("r{round}-{i}@example.com")))
            .collect();
        let winner = one_winner(&cluster, &http, bodies, "username").await?;
        // No trace of the losers: their addresses are free, the winner's is not.
        for (i, status) in [
            (winner, 409),
            ((winner + 1) % AT_ONCE, 200),
            ((winner + 99) % AT_ONCE, 200),
        ] {
            let url = format!(
                "{}reg/r{round}-{i}@example.com/check_email",
                cluster.core(i % 3)?.url()
            );
            http.get(&url, None).await?.expect(status)?;
        }
        for core in cluster.cores() {
            let url = format!("{}reg/cores?username={name}", core.url());
            http.get(&url, None).await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_given_once() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(5) {
        let email = format!("shared{round}@example.com");
        let name = |i: usize| format!("person{round}x{}", i % 2);
        let bodies = (0..AT_ONCE)
            .map(|i| registration(&name(i), &email))
            .collect();
        let winner = one_winner(&cluster, &http, bodies, "email").await?;
        // The other name is free: nobody lives there.
        let loser = name(winner + 1);
        for core in cluster.cores() {
            let url = format!("{}{loser}/events", core.url());
            http.get(&url, None).await?.expect(404)?;
        }
        let again = registration(&loser, &format!("own{round}@example.com"));
        http.post(
            &format!("{}users", cluster.core(round % 3)?.url()),
            None,
            &again,
        )
        .await?
        .expect(201)?;
    }
    Ok(())
}

/// Sends all registrations at once, spread over the cores: exactly one 201, everyone else 409 with
/// the contested field named. The index of the winner.
async fn one_winner(
    cluster: &Cluster,
    http: &Http,
    bodies: Vec<serde_json::Value>,
    field: &str,
) -> anyhow::Result<usize> {
    let mut sent = Vec::new();
    for (i, body) in bodies.into_iter().enumerate() {
        let url = format!("{}users", cluster.core(i % 3)?.url());
        let http = http.clone();
        sent.push(async move { http.post(&url, None, &body).await });
    }
    let mut winners = Vec::new();
    for (i, reply) in join_all(sent).await.into_iter().enumerate() {
        let reply = reply?;
        if reply.status == 201 {
            winners.push(i);
            continue;
        }
        let body = reply.expect(409)?;
        ensure!(body["error"]["id"] == "item-already-exists", "{body}");
        ensure!(
            !body["error"]["data"][field].is_null(),
            "{field} is not named: {body}"
        );
    }
    ensure!(winners.len() == 1, "{} winners: {winners:?}", winners.len());
    Ok(winners[0])
}
