//! Users for a load: registered, each with a stream to write into.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use homecore_harness::Core;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::wire::{Connection, request};

/// Registrations at once: more than a core hashes passwords at once, fewer than it lets wait.
const AT_ONCE: usize = 8;
/// How often a core that is busy is asked again.
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// The stream that everybody has.
pub(crate) const STREAM: &str = "bench";
/// The 20 latest events, asked for so that they are read each time: an answer with a window in time is not
/// kept.
pub(crate) const READ: &str = "events?limit=20&fromTime=1&toTime=9000000000";
/// The password that everybody has.
pub(crate) const PASSWORD: &str = "a-password";

/// Somebody who can write.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: String,
    /// The home core.
    pub(crate) home: SocketAddr,
    pub(crate) token: String,
}

/// The bytes of a registration.
pub(crate) fn registration(core: SocketAddr, username: &str) -> Vec<u8> {
    let body = json!({
        "appId": "homecore-bench", "username": username, "password": PASSWORD,
        "email": format!("{username}@example.com"), "language": "en",
    });
    request("POST", "/users", core, None, Some(&body.to_string()))
}

/// Where a core listens.
///
/// # Errors
/// When its URL is none of an address.
pub(crate) fn address(core: &Core) -> anyhow::Result<SocketAddr> {
    address_of(&core.url())
}

fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    let place = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next());
    let place = place.with_context(|| format!("{url} is no plain HTTP address"))?;
    place
        .parse()
        .with_context(|| format!("{url} is not of an IP address"))
}

/// Registers people named after `prefix` through one core, and makes them a stream.
///
/// # Errors
/// When one is refused.
pub(crate) async fn register(
    through: SocketAddr,
    prefix: &str,
    count: usize,
) -> anyhow::Result<Vec<Person>> {
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE.min(count) {
        let names: Vec<String> = (first..count)
            .step_by(AT_ONCE)
            .map(|number| format!("{prefix}{number:05}"))
            .collect();
        tasks.spawn(async move {
            let mut people = Vec::new();
            for name in names {
                let registered = register_one(through, &name).await;
                people.push(registered.with_context(|| format!("registering {name}"))?);
            }
            anyhow::Ok(people)
        });
    }
    let mut all = Vec::new();
    while let Some(people) = tasks.join_next().await {
        all.extend(people.context("a registration ended")??);
    }
    all.sort_by(|a, b| a.username.cmp(&b.username));
    Ok(all)
}

async fn register_one(through: SocketAddr, username: &str) -> anyhow::Result<Person> {
    let mut connection = Connection::open(through).await?;
    let body = insist(&mut connection, &registration(through, username)).await?;
    let person = Person::of(username, &body)?;
    let stream = json!({ "id": STREAM, "name": "Bench" }).to_string();
    let path = format!("/{username}/streams");
    let create = request(
        "POST",
        &path,
        person.home,
        Some(&person.token),
        Some(&stream),
    );
    let mut connection = Connection::open(person.home).await?;
    insist(&mut connection, &create).await?;
    Ok(person)
}

/// Asks until something was created; only "busy" is asked again.
async fn insist(connection: &mut Connection, request: &[u8]) -> anyhow::Result<Value> {
    for _ in 0..TRIES_MAX {
        let answer = connection.ask(request).await?;
        if answer.status != 503 {
            return answer.expect(201);
        }
        sleep(PAUSE).await;
    }
    bail!("busy, {TRIES_MAX} times");
}

impl Person {
    /// From the answer to a registration.
    fn of(username: &str, registered: &Value) -> anyhow::Result<Self> {
        let endpoint = registered
            .get("apiEndpoint")
            .and_then(Value::as_str)
            .context("a registration without apiEndpoint")?;
        let (scheme, rest) = endpoint
            .split_once("://")
            .context("apiEndpoint is no URL")?;
        let (token, place) = rest.split_once('@').context("apiEndpoint has no token")?;
        ensure!(
            place.ends_with(&format!("/{username}/")),
            "apiEndpoint is of another: {place}"
        );
        Ok(Self {
            username: username.to_owned(),
            home: address_of(&format!("{scheme}://{place}"))?,
            token: token.to_owned(),
        })
    }

    /// The request that writes the event with this number.
    pub(crate) fn event(&self, number: u64) -> Vec<u8> {
        let body =
            format!(r#"{{"streamIds":["{STREAM}"],"type":"count/generic","content":{number}}}"#);
        let path = format!("/{}/events", self.username);
        request("POST", &path, self.home, Some(&self.token), Some(&body))
    }

    /// Writes so many events.
    ///
    /// # Errors
    /// When one is refused.
    pub(crate) async fn write_events(&self, count: u64) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.home).await?;
        for number in 0..count {
            insist(&mut connection, &self.event(number)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_read_from_the_endpoint() {
        let body = json!({ "apiEndpoint": "http://tok@127.0.0.1:3000/alice/" });
        let alice = Person::of("alice", &body).unwrap();
        assert_eq!(alice.home.port(), 3000);
        assert_eq!(alice.token, "tok");
        assert!(Person::of("bobby", &body).is_err());
        let event = String::from_utf8(alice.event(7)).unwrap();
        assert!(
            event.starts_with("POST /alice/events HTTP/1.1\r\n"),
            "{event}"
        );
        assert!(event.ends_with(r#""content":7}"#), "{event}");
    }
}
