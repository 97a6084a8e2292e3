//! Registering, logging in and writing, as the tests do it over and over.

use std::collections::BTreeMap;

use anyhow::Context as _;
use homecore_harness::{Http, Reply};
use reqwest::Method;
use serde_json::{Value, json};

/// The body of a registration.
pub(crate) fn registration(username: &str, email: &str) -> Value {
    json!({
        "appId": "cluster-tests", "username": username, "password": "a-password",
        "email": email, "language": "en",
    })
}

/// Registers somebody at a core.
pub(crate) async fn register(http: &Http, core: &str, username: &str) -> anyhow::Result<Reply> {
    let body = registration(username, &format!("{username}@example.com"));
    http.post(&format!("{core}users"), None, &body).await
}

/// Somebody who can write.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: String,
    /// Base URL of the home core.
    pub(crate) home: String,
    pub(crate) token: String,
}

impl Person {
    /// Registers at a core and makes a stream to write into.
    pub(crate) async fn new(http: &Http, core: &str, username: &str) -> anyhow::Result<Self> {
        let body = register(http, core, username).await?.expect(201)?;
        let person = Self::registered(username, &body)?;
        person.make_stream(http).await?;
        Ok(person)
    }

    /// Somebody whose registration was answered so.
    pub(crate) fn registered(username: &str, body: &Value) -> anyhow::Result<Self> {
        let endpoint = body["apiEndpoint"].as_str().context("no apiEndpoint")?;
        let (scheme, rest) = endpoint
            .split_once("://")
            .context("apiEndpoint is no URL")?;
        let (token, place) = rest.split_once('@').context("apiEndpoint has no token")?;
        let place = place
            .strip_suffix(&format!("{username}/"))
            .context("apiEndpoint is of another")?;
        Ok(Self {
            username: username.to_owned(),
            home: format!("{scheme}://{place}"),
            token: token.to_owned(),
        })
    }

    /// Makes the stream for notes.
    pub(crate) async fn make_stream(&self, http: &Http) -> anyhow::Result<()> {
        let stream = json!({"id": "notes", "name": "Notes"});
        http.post(&self.url("streams"), Some(&self.token), &stream)
            .await?
            .expect(201)?;
        Ok(())
    }

    /// A URL of this person at home.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}/{path}", self.home, self.username)
    }

    /// Writes a numbered note.
    pub(crate) async fn write(&self, http: &Http, number: u64) -> anyhow::Result<Reply> {
        let event = json!({"streamIds": ["notes"], "type": "count/generic", "content": number});
        http.post(&self.url("events"), Some(&self.token), &event)
            .await
    }

    /// Writes a numbered note with a file.
    pub(crate) async fn write_with_file(&self, http: &Http, number: u64) -> anyhow::Result<Reply> {
        let event = json!({"streamIds": ["notes"], "type": "count/generic", "content": number});
        let body = format!(
            "--X\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n{event}\r\n--X\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n{}\r\n--X--\r\n",
            self.file(number)
        );
        let request = http
            .build(Method::POST, &self.url("events"))
            .header("Authorization", &self.token)
            .header("Content-Type", "multipart/form-data; boundary=X")
            .body(body);
        http.send(request).await
    }

    /// What the file of a numbered note says.
    pub(crate) fn file(&self, number: u64) -> String {
        format!("note {number} of {}; ", self.username).repeat(200)
    }

    /// The numbers of all notes that have a file, and its address.
    pub(crate) async fn files(&self, http: &Http) -> anyhow::Result<BTreeMap<u64, String>> {
        let url = self.url("events?limit=100000&streams=[\"notes\"]");
        let body = http.get(&url, Some(&self.token)).await?.expect(200)?;
        let events = body["events"].as_array().context("no events")?;
        let files = events.iter().filter_map(|event| {
            let file = event["attachments"][0]["id"].as_str()?;
            let address = self.url(&format!("events/{}/{file}", event["id"].as_str()?));
            Some((event["content"].as_u64()?, address))
        });
        Ok(files.collect())
    }

    /// The numbers of all notes, in order.
    pub(crate) async fn numbers(&self, http: &Http) -> anyhow::Result<Vec<u64>> {
        let url = self.url("events?limit=100000&streams=[\"notes\"]");
        let body = http.get(&url, Some(&self.token)).await?.expect(200)?;
        let events = body["events"].as_array().context("no events")?;
        let mut numbers: Vec<u64> = events
            .iter()
            .filter_map(|e| e["content"].as_u64())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
