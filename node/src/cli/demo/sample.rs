//! Two users and a real recording, so that there is something to look at.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::cores::{Core, Plan};

/// The recording (see `demo_data/README.md`).
const RECORDING: &str = include_str!("../../demo_data/heart-rate-100hz.csv");
/// Where its first sample is put: 2016-11-24, 13:58:58 UTC.
const RECORDED_AT: f64 = 1_479_995_938.0;
/// Events in one batch call.
const BATCH: usize = 200;
/// The demo's users. Their password is no secret.
const USERS: [&str; 2] = ["alice", "bruno"];
const PASSWORD: &str = "demo-password";
const APP: &str = "homecore-demo";

/// What was loaded.
#[derive(Debug)]
pub(super) struct Sample {
    events: usize,
    homes: Vec<(String, String)>,
    token: String,
}

/// Registers the users and loads the recording, or finds them from an earlier start.
pub(super) async fn load(plans: &[Plan]) -> anyhow::Result<Sample> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()?;
    let first = plans.first().context("no cores")?.url();
    let mut homes = Vec::new();
    let mut token = String::new();
    let mut events = 0;
    for username in USERS {
        let created = register(&client, &first, username).await?;
        let home = home_of(&client, &first, username).await?;
        if username == USERS[0] {
            token = login(&client, &home, username).await?;
            if created {
                record(&client, &home, username, &token).await?;
            }
            events = RECORDING.lines().count().saturating_sub(1);
        }
        homes.push((username.to_owned(), home));
    }
    Ok(Sample {
        events,
        homes,
        token,
    })
}

/// True if the user is new.
async fn register(client: &reqwest::Client, core: &str, username: &str) -> anyhow::Result<bool> {
    let body = json!({
        "appId": APP, "username": username, "password": PASSWORD,
        "email": format!("{username}@homecore.test"), "language": "en", "hosting": "default",
    });
    let response = client
        .post(format!("{core}users"))
        .json(&body)
        .send()
        .await?;
    match response.status().as_u16() {
        201 => Ok(true),
        409 => Ok(false),
        status => bail!(
            "{username} cannot be registered ({status}): {}",
            response.text().await?
        ),
    }
}

async fn home_of(client: &reqwest::Client, core: &str, username: &str) -> anyhow::Result<String> {
    let response = client
        .get(format!("{core}reg/cores?username={username}"))
        .send()
        .await?;
    let body: Value = response.json().await?;
    let url = body.pointer("/core/url").and_then(Value::as_str);
    Ok(url
        .with_context(|| format!("no core says where {username} lives: {body}"))?
        .to_owned())
}

async fn login(client: &reqwest::Client, home: &str, username: &str) -> anyhow::Result<String> {
    let body = json!({"username": username, "password": PASSWORD, "appId": APP});
    let response = client
        .post(format!("{home}{username}/auth/login"))
        .json(&body)
        .send()
        .await?;
    let body: Value = response.json().await?;
    let token = body.get("token").and_then(Value::as_str);
    Ok(token
        .with_context(|| format!("{username} cannot log in: {body}"))?
        .to_owned())
}

async fn record(
    client: &reqwest::Client,
    home: &str,
    username: &str,
    token: &str,
) -> anyhow::Result<()> {
    let mut calls = vec![
        json!({"method": "streams.create", "params": {"id": "health", "name": "Health"}}),
        json!({"method": "streams.create", "params": {"id": "heart", "name": "Heart", "parentId": "health"}}),
    ];
    for line in RECORDING.lines().skip(1) {
        let (ms, amplitude) = line.split_once(',').context("the recording is damaged")?;
        let (ms, amplitude): (f64, f64) = (ms.parse()?, amplitude.parse()?);
        calls.push(json!({
            "method": "events.create",
            "params": {
                "streamIds": ["heart"], "type": "count/generic", "content": amplitude,
                "time": RECORDED_AT + ms / 1000.0,
            },
        }));
    }
    for batch in calls.chunks(BATCH) {
        let response = client
            .post(format!("{home}{username}/"))
            .header("Authorization", token)
            .json(&batch)
            .send()
            .await?;
        let body: Value = response.json().await?;
        let results = body.get("results").and_then(Value::as_array);
        let results = results.with_context(|| format!("the recording was refused: {body}"))?;
        let failed = results.iter().find_map(|result| result.get("error"));
        ensure!(failed.is_none(), "the recording was refused: {failed:?}");
    }
    Ok(())
}

impl Sample {
    /// A few commands to try.
    pub(super) fn tour(&self, cores: &[Core], dns: &str) -> String {
        let Some((user, home)) = self.homes.first() else {
            return String::new();
        };
        let elsewhere = cores.iter().find(|core| core.plan.url() != *home);
        let mut text = format!(
            "\nUsers (password {PASSWORD}): {}\n{user} has {} events of a real heart recording.\n\nTry:\n",
            self.homes
                .iter()
                .map(|(u, h)| format!("{u} at {h}"))
                .collect::<Vec<_>>()
                .join(", "),
            self.events,
        );
        let mut line = |what: &str, command: String| {
            text.push_str(&format!("  # {what}\n  {command}\n"));
        };
        line(
            "the latest events",
            format!(
                "curl -s '{home}{user}/events?streams=heart&limit=3&auth={}'",
                self.token
            ),
        );
        if let Some(other) = elsewhere {
            line(
                "at the wrong core: 421 with the right one",
                format!("curl -si {}{user}/events", other.plan.url()),
            );
        }
        if let Some((host, port)) = dns.split_once(':') {
            line(
                "where a user lives",
                format!(
                    "dig +noall +answer @{host} -p {port} {user}.{}",
                    super::DOMAIN
                ),
            );
        }
        if let Some(last) = cores.last().filter(|_| cores.len() > 1) {
            line(
                "kill a core; the others go on",
                format!("kill -9 {}", last.pid()),
            );
        }
        text
    }
}
