//! What the requests are about: two users with accesses of each type, and the ids of what there is.
//! What the requests destroy of it is made again.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Chance;
use super::bodies::{FORM, form_of};
use super::values::odd_text;
use super::wire::{Asked, send};

/// From where log-ins come.
pub(crate) const ORIGIN: &str = "https://fuzz.example.com";
const PASSWORD: &str = "fuzz-pass-0";
/// Ids of a kind that are remembered.
const KNOWN_MAX: usize = 24;

/// The core and what is on it.
#[derive(Clone, Debug)]
pub struct World {
    host: SocketAddr,
    admin: String,
    users: Vec<Person>,
    others: Vec<String>,
    streams: Vec<String>,
    events: Vec<String>,
    accesses: Vec<String>,
    files: Vec<(String, String)>,
    read_tokens: Vec<String>,
    keys: Vec<String>,
    invitations: Vec<String>,
    methods: Vec<String>,
    /// How often a user was made again: addresses may be taken by others meanwhile.
    repaired: u32,
}

#[derive(Clone, Debug, Default)]
struct Person {
    username: String,
    personal: String,
    app: String,
    shared: String,
}

impl World {
    /// Makes the users on a core. `methods` are what batch calls call; those that hash a password are
    /// left out, for hundreds of them in one batch are only held back by limits of rate, which are off.
    ///
    /// # Errors
    /// When the core does not let it.
    pub async fn found(
        host: SocketAddr,
        admin: &str,
        methods: Vec<String>,
    ) -> anyhow::Result<Self> {
        let person = |name: &str| Person {
            username: name.to_owned(),
            ..Person::default()
        };
        let mut world = Self {
            host,
            admin: admin.to_owned(),
            users: vec![person("fuzz-one"), person("fuzz-two")],
            others: Vec::new(),
            streams: ["diary", "diary-food", "body"].map(str::to_owned).into(),
            events: Vec::new(),
            accesses: Vec::new(),
            files: Vec::new(),
            read_tokens: Vec::new(),
            keys: Vec::new(),
            invitations: Vec::new(),
            methods: methods
                .into_iter()
                .filter(|id| !id.contains("assword"))
                .collect(),
            repaired: 0,
        };
        world.repair().await?;
        Ok(world)
    }

    /// Makes again what is gone: users, sessions, accesses, streams.
    ///
    /// # Errors
    /// When the core does not let it.
    pub async fn repair(&mut self) -> anyhow::Result<()> {
        for index in 0..self.users.len() {
            let mut person = self.users.get(index).cloned().unwrap_or_default();
            self.repair_user(&mut person)
                .await
                .with_context(|| format!("cannot repair {}", person.username))?;
            if let Some(held) = self.users.get_mut(index) {
                *held = person;
            }
        }
        Ok(())
    }

    async fn repair_user(&mut self, person: &mut Person) -> anyhow::Result<()> {
        let path = format!("/{}", person.username);
        if !self.is_good(&path, &person.personal).await? {
            person.personal = self.log_in(&person.username).await?;
        }
        for (id, parent) in [
            ("diary", None),
            ("diary-food", Some("diary")),
            ("body", None),
        ] {
            let stream = json!({ "id": id, "name": id, "parentId": parent });
            let streams = format!("{path}/streams");
            self.ask("POST", &streams, &person.personal, &stream)
                .await?;
            let restored = format!("{streams}/{id}");
            let not_trashed = json!({ "trashed": false });
            self.ask("PUT", &restored, &person.personal, &not_trashed)
                .await?;
        }
        self.add_file(&path, &person.personal).await?;
        for (kind, stream, level) in [("app", "*", "manage"), ("shared", "diary", "contribute")] {
            let token = if kind == "app" {
                &person.app
            } else {
                &person.shared
            };
            if self.is_good(&path, token).await? {
                continue;
            }
            let access = json!({
                "type": kind, "name": format!("fuzz-{kind}-{}", self.accesses.len()),
                "permissions": [{ "streamId": stream, "level": level }],
                "clientData": { "at": self.keys.len() },
            });
            let made = self
                .ask(
                    "POST",
                    &format!("{path}/accesses"),
                    &person.personal,
                    &access,
                )
                .await?;
            // The name may be taken, or the stream gone: then the old token goes on being used.
            if let Some(token) = made.1.pointer("/access/token").and_then(Value::as_str) {
                match kind {
                    "app" => token.clone_into(&mut person.app),
                    _ => token.clone_into(&mut person.shared),
                }
            }
        }
        Ok(())
    }

    /// Makes an event with a file.
    async fn add_file(&mut self, path: &str, token: &str) -> anyhow::Result<()> {
        let event = json!({ "type": "picture/attached", "streamIds": ["diary"] });
        let file = ["a.txt", "text/plain", "some bytes"].map(str::to_owned);
        let mut asked = Asked {
            verb: "POST".to_owned(),
            target: format!("{path}/events"),
            body: form_of(&[&event], &[file.into()]),
            ..Asked::default()
        };
        asked.header("Authorization", token);
        asked.header("Content-Type", FORM);
        let answer = send(self.host, &asked).await?;
        self.learn(&asked, &answer.body);
        Ok(())
    }

    async fn is_good(&self, path: &str, token: &str) -> anyhow::Result<bool> {
        let info = self
            .ask("GET", &format!("{path}/access-info"), token, &Value::Null)
            .await?;
        Ok(!token.is_empty() && info.0 == 200)
    }

    /// Opens a session; a user of another password is made again.
    async fn log_in(&mut self, username: &str) -> anyhow::Result<String> {
        let log_in = json!({ "username": username, "password": PASSWORD, "appId": "fuzz-app" });
        let path = format!("/{username}/auth/login");
        let mut said = Vec::new();
        for attempt in 0..2 {
            let (status, body) = self.ask("POST", &path, "", &log_in).await?;
            if let (200, Some(token)) = (status, body.get("token").and_then(Value::as_str)) {
                return Ok(token.to_owned());
            }
            said.push(body);
            if attempt == 0 {
                let gone = format!("/users/{username}");
                self.ask("DELETE", &gone, &self.admin, &Value::Null).await?;
                // Once there are invitations, one is needed.
                let one = json!({ "count": 1 });
                let path = "/system/admin/invitations";
                let (_, made) = self.ask("POST", path, &self.admin, &one).await?;
                let user = json!({
                    "invitationToken": made.pointer("/invitations/0/id"),
                    "username": username, "password": PASSWORD, "appId": "fuzz-app",
                    "email": format!("{username}-{}@repair.example.com", self.repaired),
                });
                self.repaired += 1;
                said.push(self.ask("POST", "/users", "", &user).await?.1);
            }
        }
        bail!("cannot log in: {said:?}")
    }

    async fn ask(
        &self,
        verb: &str,
        target: &str,
        token: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let mut asked = Asked {
            verb: verb.to_owned(),
            target: target.to_owned(),
            ..Asked::default()
        };
        asked.header("Origin", ORIGIN);
        if !token.is_empty() {
            asked.header("Authorization", token);
        }
        if !body.is_null() {
            asked.header("Content-Type", "application/json");
            asked.body = body.to_string().into_bytes();
        }
        let answer = send(self.host, &asked).await?;
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok((answer.status, body))
    }

    /// Remembers the ids in an answer.
    pub fn learn(&mut self, asked: &Asked, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let text = |pointer: &str| body.pointer(pointer)?.as_str().map(str::to_owned);
        let mine = asked.target.starts_with("/fuzz-one");
        if mine {
            keep(&mut self.accesses, text("/accesses/0/id"));
            keep(&mut self.accesses, text("/accesses/2/id"));
            keep(&mut self.streams, text("/stream/id"));
            keep(&mut self.events, text("/event/id"));
            keep(&mut self.accesses, text("/access/id"));
            keep(&mut self.keys, text("/sharedSecret/key"));
            if let Some(event) = text("/event/id") {
                let file = text("/event/attachments/0/id").map(|file| (event, file));
                keep(&mut self.files, file);
                keep(
                    &mut self.read_tokens,
                    text("/event/attachments/0/readToken"),
                );
            }
            for list in ["events", "results"] {
                let items = body.get(list).and_then(Value::as_array);
                for item in items.into_iter().flatten().take(2) {
                    let id = item.get("id").or_else(|| item.pointer("/event/id"));
                    let id = id.and_then(Value::as_str).map(str::to_owned);
                    keep(&mut self.events, id);
                }
            }
        }
        keep(&mut self.keys, text("/key"));
        keep(
            &mut self.invitations,
            text("/invitations/0/id").or_else(|| text("/data/0/id")),
        );
        if asked.verb == "POST" && asked.target.contains("/user") {
            keep(&mut self.others, text("/username"));
        }
    }

    pub(crate) fn stream(&self, chance: &mut Chance) -> String {
        if chance.one_in(8) {
            return chance.text(&[
                ":_system:email",
                ":_system:account",
                ":_audit:",
                "nosuch",
                "*",
            ]);
        }
        one_of(&self.streams, chance)
    }

    pub(crate) fn event(&self, chance: &mut Chance) -> String {
        if chance.one_in(10) {
            return chance.text(&[":_system:email", ":_system:language", ":_audit:x"]);
        }
        one_of(&self.events, chance)
    }

    pub(crate) fn access(&self, chance: &mut Chance) -> String {
        one_of(&self.accesses, chance)
    }

    /// A file with its event.
    pub(crate) fn file(&self, chance: &mut Chance) -> (String, String) {
        let unknown = || ("ckf0000000000000000000001".to_owned(), "nosuch".to_owned());
        chance.pick(&self.files).cloned().unwrap_or_else(unknown)
    }

    pub(crate) fn read_token(&self, chance: &mut Chance) -> String {
        one_of(&self.read_tokens, chance)
    }

    pub(crate) fn key(&self, chance: &mut Chance) -> String {
        one_of(&self.keys, chance)
    }

    pub(crate) fn invitation(&self, chance: &mut Chance) -> String {
        one_of(&self.invitations, chance)
    }

    pub(crate) fn method(&self, chance: &mut Chance) -> String {
        one_of(&self.methods, chance)
    }

    pub(crate) fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A user who is there, a new name, or somebody who was registered meanwhile.
    pub(crate) fn username(&self, chance: &mut Chance) -> String {
        match chance.below(4) {
            0 => format!("fuzz-{}", chance.below(100_000)),
            1 => one_of(&self.others, chance),
            _ => self.subject(chance),
        }
    }

    /// One of the users whom the requests are about, mostly the first.
    pub(crate) fn subject(&self, chance: &mut Chance) -> String {
        let index = usize::from(chance.one_in(12));
        let person = self.users.get(index);
        person
            .map(|person| person.username.clone())
            .unwrap_or_default()
    }

    pub(crate) fn email(&self, chance: &mut Chance) -> String {
        format!("{}@example.com", self.username(chance))
    }

    /// Says who asks, in one of the ways there are; which caller is chance, mostly one that may.
    pub(crate) fn sign(
        &self,
        asked: &mut Asked,
        query: &mut Vec<String>,
        chance: &mut Chance,
        security: &[String],
    ) {
        let first = self.users.first().cloned().unwrap_or_default();
        let other = self.users.get(1).cloned().unwrap_or_default();
        let wants = |name: &str| security.iter().any(|known| known == name);
        let token = if wants("adminKey") && !chance.one_in(4) {
            self.admin.clone()
        } else if security.is_empty() && !chance.one_in(6) {
            return;
        } else {
            match chance.below(40) {
                0 => return,
                1 => other.personal,
                2 => self.admin.clone(),
                3 => "nosuchtoken".to_owned(),
                4 => odd_text(chance).replace(['\r', '\n', '\0'], ""),
                5..=8 => first.shared,
                9..=17 => first.app,
                _ => first.personal,
            }
        };
        let is_plain = token.bytes().all(|b| (0x20..0x7f).contains(&b));
        match chance.below(12) {
            0 => query.push(format!("auth={}", super::requests::escaped(&token))),
            1 => asked.header("Authorization", format!("Bearer {token}")),
            2 => asked.header(
                "Authorization",
                format!("Basic {}", STANDARD.encode(format!("{token}:"))),
            ),
            3 if wants("readToken") => {
                let token = self.read_token(chance);
                query.push(format!("readToken={}", super::requests::escaped(&token)));
            }
            _ => asked.header("Authorization", token),
        }
        // Controls in a header are refused before the API sees them.
        asked.is_malformed |= !is_plain;
    }
}

fn one_of(known: &[String], chance: &mut Chance) -> String {
    let found = chance.pick(known).cloned();
    found.unwrap_or_else(|| "nosuch".to_owned())
}

fn keep<T>(known: &mut Vec<T>, found: Option<T>) {
    let Some(found) = found else { return };
    known.push(found);
    if known.len() > KNOWN_MAX {
        known.remove(0);
    }
}
