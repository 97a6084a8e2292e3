//! Every route and every kind of token: what each is answered is a table in
//! `tests/golden/tokens.txt`, so that no route is opened to anybody by accident. A new route fails this
//! test until its lines are there, read by somebody.
//!
//! `HOMECORE_GOLDEN_UPDATE=1` writes the table anew. Build the core first: `cargo build -p homecore`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_contract_tests::fuzz::{Document, Operation};
use homecore_harness::{Core, CoreOptions, Http, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const ADMIN_KEY: &str = "the-key-of-the-token-admin";
const PASSWORD: &str = "token-pass-0";
const ORIGIN: &str = "https://tokens.example.com";
/// A form with one file.
const FORM: &str = "--b0\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\
     Content-Type: text/plain\r\n\r\nbytes\r\n--b0--\r\n";

/// From who may least to who may most: what succeeds at last may destroy what it was tried on.
const KINDS: [&str; 10] = [
    "none",
    "nonsense",
    "ended",
    "expired",
    "another's",
    "elsewhere",
    "shared",
    "app",
    "personal",
    "admin",
];

fn is_update() -> bool {
    std::env::var_os("HOMECORE_GOLDEN_UPDATE").is_some()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/tokens.txt")
}

/// A core with alice, whose routes are tried, and bob.
struct World {
    http: Http,
    url: String,
    tokens: BTreeMap<&'static str, String>,
    count: u32,
}

impl World {
    async fn found(url: String) -> anyhow::Result<Self> {
        let mut world = Self {
            http: Http::new()?,
            url,
            tokens: BTreeMap::new(),
            count: 0,
        };
        for name in ["alice-t", "bobby-t"] {
            world.register(name).await?;
        }
        let personal = world.log_in("alice-t").await?;
        world.tokens.insert("personal", personal);
        let another = world.log_in("bobby-t").await?;
        world.tokens.insert("another's", another);
        world.tokens.insert("admin", ADMIN_KEY.to_owned());
        world
            .tokens
            .insert("nonsense", "no-token-of-anybody".to_owned());
        for stream in ["diary", "body"] {
            let made = json!({ "id": stream, "name": stream });
            world.made("streams", &made).await?;
        }
        for (kind, access) in [
            (
                "app",
                json!({ "type": "app", "name": "app", "permissions": [{ "streamId": "*", "level": "manage" }] }),
            ),
            (
                "shared",
                json!({ "name": "shared", "permissions": [{ "streamId": "diary", "level": "contribute" }] }),
            ),
            // May read where nothing is that is tried.
            (
                "elsewhere",
                json!({ "name": "elsewhere", "permissions": [{ "streamId": "body", "level": "read" }] }),
            ),
            (
                "ended",
                json!({ "name": "ended", "permissions": [{ "streamId": "*", "level": "manage" }] }),
            ),
            (
                "expired",
                json!({ "name": "expired", "expireAfter": 1, "permissions": [{ "streamId": "*", "level": "manage" }] }),
            ),
        ] {
            let made = world.made("accesses", &access).await?;
            let text = |field: &str| {
                made.pointer(&format!("/access/{field}"))
                    .and_then(Value::as_str)
            };
            let token = text("token").context("an access without a token")?;
            world.tokens.insert(kind, token.to_owned());
            if kind == "ended" {
                let id = text("id").context("an access without an id")?;
                let url = format!("{}alice-t/accesses/{id}", world.url);
                let personal = world.tokens.get("personal").map(String::as_str);
                world
                    .http
                    .request(Method::DELETE, &url, personal, None)
                    .await?
                    .expect(200)?;
            }
        }
        let info = format!("{}alice-t/access-info", world.url);
        let expired = world.tokens.get("expired").cloned().unwrap_or_default();
        wait_until(START_TIMEOUT, "an access expires", async || {
            let reply = world.http.get(&info, Some(&expired)).await?;
            ensure!(reply.status != 200, "it has not expired");
            Ok(Some(()))
        })
        .await?;
        Ok(world)
    }

    fn number(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    async fn register(&self, name: &str) -> anyhow::Result<()> {
        let body = json!({
            "appId": "token-tests", "username": name, "password": PASSWORD,
            "email": format!("{name}@example.com"), "language": "en",
        });
        self.http
            .post(&format!("{}users", self.url), None, &body)
            .await?
            .expect(201)?;
        Ok(())
    }

    async fn log_in(&self, name: &str) -> anyhow::Result<String> {
        let body = json!({ "username": name, "password": PASSWORD, "appId": "token-tests" });
        let url = format!("{}{name}/auth/login", self.url);
        let request = self
            .http
            .build(Method::POST, &url)
            .header("Origin", ORIGIN)
            .json(&body);
        let answer = self.http.send(request).await?.expect(200)?;
        let token = answer.get("token").and_then(Value::as_str);
        Ok(token.context("a log-in without a token")?.to_owned())
    }

    /// Makes something of alice's.
    async fn made(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}alice-t/{path}", self.url);
        let personal = self.tokens.get("personal").map(String::as_str);
        self.http.post(&url, personal, body).await?.expect(201)
    }

    /// What the placeholders of a path stand for, made anew for each request.
    async fn target(&mut self, operation: &Operation) -> anyhow::Result<String> {
        let number = self.number();
        let family = operation.id.split('.').next().unwrap_or_default();
        let mut path = operation.path.replace("{username}", "alice-t");
        if path.contains("{id}") {
            let id = match family {
                "events" => {
                    let event =
                        json!({ "streamIds": ["diary"], "type": "note/txt", "content": "x" });
                    id_of(&self.made("events", &event).await?, "/event/id")?
                }
                "streams" => {
                    let stream = json!({ "id": format!("s{number}"), "name": format!("s{number}"), "parentId": "diary" });
                    id_of(&self.made("streams", &stream).await?, "/stream/id")?
                }
                "accesses" | "system" => {
                    let access = json!({ "name": format!("a{number}"), "permissions": [{ "streamId": "diary", "level": "read" }] });
                    id_of(&self.made("accesses", &access).await?, "/access/id")?
                }
                _ => "something".to_owned(),
            };
            path = path.replace("{id}", &id);
        }
        let name = match operation.id.as_str() {
            "auth.delete" => {
                let name = format!("leaver{number}");
                self.register(&name).await?;
                name
            }
            id if id.starts_with("admin.") || id.starts_with("system.") => "bobby-t".to_owned(),
            _ => "alice-t".to_owned(),
        };
        let label = format!("label{number}");
        for (placeholder, value) in [
            ("{name}", name.as_str()),
            ("{fileId}", "nofile"),
            ("{key}", "nokey"),
            ("{subdomain}", label.as_str()),
            ("{to}", "core-z"),
            ("{file}", "nofile"),
        ] {
            path = path.replace(placeholder, value);
        }
        Ok(path)
    }

    fn body(&mut self, operation: &Operation) -> Value {
        let number = self.number();
        match operation.id.as_str() {
            "events.create" => {
                json!({ "streamIds": ["diary"], "type": "note/txt", "content": "x" })
            }
            "events.update" => json!({ "content": "y" }),
            "streams.create" => {
                json!({ "id": format!("n{number}"), "name": format!("n{number}"), "parentId": "diary" })
            }
            "streams.update" => json!({ "name": format!("m{number}") }),
            "accesses.create" => {
                json!({ "name": format!("b{number}"), "permissions": [{ "streamId": "diary", "level": "read" }] })
            }
            "accesses.checkApp" => {
                json!({ "requestingAppId": "app-t", "requestedPermissions": [{ "streamId": "diary", "level": "read", "defaultName": "diary" }] })
            }
            "callBatch" => json!([{ "method": "events.get", "params": {} }]),
            "account.changePassword" => {
                json!({ "oldPassword": "not-it", "newPassword": "another-pass-1" })
            }
            "account.changeUsername" => {
                json!({ "username": "bobby-t", "newUsername": "bobby-t", "password": "not-it" })
            }
            "auth.login" => {
                json!({ "username": "alice-t", "password": "not-it", "appId": "token-tests" })
            }
            "profile.update" | "profile.updatePublic" | "profile.updateApp" => {
                json!({ "at": number })
            }
            "system.createUser" => json!({
                "username": format!("made{number}-t"), "language": "en",
                "email": format!("made{number}-t@example.com"),
                "passwordHash": "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            }),
            "system.createInvitations" => json!({ "count": 1 }),
            "records.put" => {
                json!({ "subdomain": format!("r{number}"), "records": { "txt": ["x"] } })
            }
            "sharedSecrets.create" => json!({
                "secret": { "a": 1 }, "title": "a secret", "ttl": 60,
                "onConsumed": { "message": "it was read" },
            }),
            "sharedSecrets.getOne" | "sharedSecrets.retrieve" => json!({ "key": "no.key" }),
            "mfa.confirm" | "mfa.challenge" | "mfa.verify" => {
                json!({ "mfaToken": "none", "code": "0" })
            }
            _ => json!({}),
        }
    }

    /// What each kind of token is answered, kinds with the same answer together.
    async fn line(&mut self, operation: &Operation) -> anyhow::Result<String> {
        let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
        for kind in KINDS {
            if kind == "personal" {
                // Earlier requests may have ended the session.
                let personal = self.log_in("alice-t").await?;
                self.tokens.insert("personal", personal);
            }
            let target = self.target(operation).await?;
            let url = format!("{}{}", self.url, target.trim_start_matches('/'));
            let method = Method::from_bytes(operation.verb.to_uppercase().as_bytes())?;
            let mut request = self
                .http
                .build(method.clone(), &url)
                .header("Origin", ORIGIN);
            if let Some(token) = self.tokens.get(kind) {
                request = request.header("Authorization", token);
            }
            if operation.id == "events.addAttachments" {
                request = request
                    .header("Content-Type", "multipart/form-data; boundary=b0")
                    .body(FORM);
            } else if method != Method::GET && method != Method::DELETE {
                request = request.json(&self.body(operation));
            }
            let reply = self.http.send(request).await?;
            let id = serde_json::from_slice::<Value>(&reply.body).ok();
            let id = id
                .as_ref()
                .and_then(|body| body.pointer("/error/id")?.as_str());
            let answer = format!("{} {}", reply.status.as_u16(), id.unwrap_or_default());
            let answer = answer.trim().to_owned();
            match answers.iter_mut().find(|(held, _)| *held == answer) {
                Some((_, kinds)) => kinds.push(kind),
                None => answers.push((answer, vec![kind])),
            }
        }
        let mut text = format!(
            "{} {} {}\n",
            operation.verb.to_uppercase(),
            operation.path,
            operation.id
        );
        for (answer, kinds) in answers {
            text += &format!("    {answer}: {}\n", kinds.join(", "));
        }
        Ok(text)
    }
}

fn id_of(body: &Value, pointer: &str) -> anyhow::Result<String> {
    let id = body.pointer(pointer).and_then(Value::as_str);
    Ok(id
        .with_context(|| format!("no {pointer} in {body}"))?
        .to_owned())
}

#[tokio::test]
async fn every_route_answers_every_kind_of_token_as_the_table_says() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut options = CoreOptions::founder("single", ADMIN_KEY);
    options.set = vec![
        format!("auth.trusted_apps=*@{ORIGIN}"),
        "mfa.mode=single".to_owned(),
        // Nobody is there: a code is never sent.
        "mfa.single.url=http://127.0.0.1:9/".to_owned(),
    ];
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(START_TIMEOUT).await?;
    let document = Http::new()?
        .get(&format!("{}openapi.json", core.url()), None)
        .await?
        .expect(200)?;
    let document = Document::read(document)?;
    let mut world = World::found(core.url()).await?;
    // Once there are invitations nobody registers without one: those who are to be deleted come first.
    let mut operations: Vec<_> = document.operations().iter().collect();
    operations.sort_by_key(|operation| operation.id != "auth.delete");
    let mut lines = BTreeMap::new();
    for operation in operations {
        let line = world.line(operation).await;
        let line = line.with_context(|| format!("{} {}", operation.verb, operation.path))?;
        lines.insert((&operation.path, &operation.verb), line);
    }
    let table: String = lines.into_values().collect();
    if is_update() {
        std::fs::write(golden(), &table)?;
    }
    let expected = std::fs::read_to_string(golden())
        .with_context(|| format!("cannot read {}", golden().display()))?;
    ensure!(
        table == expected,
        "{} is not what is answered:\n{}",
        golden().display(),
        difference(&expected, &table)
    );
    core.stop(Duration::from_secs(30)).await?;
    Ok(())
}

/// The lines of one that the other does not have under the same route.
fn difference(expected: &str, found: &str) -> String {
    let of = |text: &str| {
        let mut route = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if line.starts_with(' ') {
                lines.push(format!("{route}: {}", line.trim()));
            } else {
                line.clone_into(&mut route);
            }
        }
        lines
    };
    let (expected, found) = (of(expected), of(found));
    let missing = expected.iter().filter(|line| !found.contains(line));
    let new = found.iter().filter(|line| !expected.contains(line));
    let missing = missing.map(|line| format!("- {line}"));
    let all: Vec<String> = missing.chain(new.map(|line| format!("+ {line}"))).collect();
    all.join("\n")
}
