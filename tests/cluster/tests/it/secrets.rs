//! Secrets stay where they belong: two cores that log everything there is to log are used in every way
//! that carries a secret, right and wrong; afterwards none of those is in what they printed, logged,
//! counted, told the system log or answered with an error, and no file of theirs is anybody else's to read.
//!
//! Mails are shown on the standard output here, as on a developer's machine, and with them the token to
//! set a new password: that one must be found, by the same search that must find nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, Http, Reply, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::{UdpSocket, UnixDatagram};

use crate::PATIENCE;

const ADMIN_KEY: &str = "the-key-of-the-secrets-test";
const JOIN_SECRET: &str = "the-join-secret-of-the-secrets-test-0123456789";
const PAGE: &str = "https://example.com/reset.html";
/// Passwords, each in its way.
const PASSWORD: &str = "first-pass-Zq81";
const CHANGED: &str = "second-pass-Zq82";
const RESET: &str = "third-pass-Zq83";
const WRONG: &str = "wrong-pass-Zq84";
/// Tokens of nobody.
const STRANGE: [&str; 3] = [
    "strange-token-Zq91",
    "strange-token-Zq92",
    "strange-token-Zq93",
];
const CONTENT: &str = "personal-content-Zq99";

/// What must not be seen, by what it is.
#[derive(Debug, Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn add(&mut self, what: impl Into<String>, secret: impl Into<String>) {
        self.0.insert(what.into(), secret.into());
    }

    /// Which of them are in a text: `what in where`.
    fn found_in(&self, place: &str, text: &str) -> Vec<String> {
        let found = self
            .0
            .iter()
            .filter(|(_, secret)| text.contains(secret.as_str()));
        found
            .map(|(what, _)| format!("{what} in {place}"))
            .collect()
    }
}

/// A client that keeps every error that it was answered.
struct Caller {
    http: Http,
    errors: String,
}

impl Caller {
    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let reply = self.http.request(method, url, token, body).await?;
        self.note(&reply);
        Ok(reply)
    }

    fn note(&mut self, reply: &Reply) {
        if !reply.status.is_success() {
            self.errors += &format!("{} {:?} {}\n", reply.url.len(), reply.headers, reply.text());
        }
    }

    async fn post(
        &mut self,
        url: &str,
        token: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Reply> {
        self.ask(Method::POST, url, token, Some(body)).await
    }

    /// With a token as a browser sends a name and a password, and with one in the address.
    async fn odd_ways(&mut self, url: &str, token: &str) -> anyhow::Result<[u16; 2]> {
        let basic = self
            .http
            .build(Method::GET, url)
            .basic_auth(token, Some(""));
        let basic = self.http.send(basic).await?;
        self.note(&basic);
        let query = self
            .ask(Method::GET, &format!("{url}?auth={token}"), None, None)
            .await?;
        Ok([basic.status.as_u16(), query.status.as_u16()])
    }
}

async fn start(dir: &Path, socket: &Path) -> anyhow::Result<Core> {
    let join_secret = dir.join("join-secret");
    std::fs::write(&join_secret, JOIN_SECRET)?;
    let mut options = CoreOptions::founder("core-a", ADMIN_KEY);
    options.domain = Some("secrets.test".to_owned());
    options.set = vec![
        "log.level=trace".to_owned(),
        "mail.mode=console".to_owned(),
        "mail.from=Platform <noreply@example.com>".to_owned(),
        format!("auth.password_reset_page_url={PAGE}"),
        format!("audit.syslog.address=unix:{}", socket.display()),
        format!("cluster.join_secret_file={}", join_secret.display()),
    ];
    let mut core = Core::prepare(dir, options)?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    Ok(core)
}

/// Joins with an invitation; a wrong one and a used one are refused.
async fn join(dir: &Path, founder: &Core, secrets: &mut Secrets) -> anyhow::Result<Core> {
    let line = founder.run(&["invite", "--id", "core-b"]).await?;
    let token = line.split_whitespace().last().context("no token")?;
    secrets.add("the join token", token);
    let mut options = CoreOptions::member("core-b");
    options.domain = Some("secrets.test".to_owned());
    options.set = vec!["log.level=trace".to_owned()];
    let mut joiner = Core::prepare(dir, options)?;
    joiner.join_with(token)?;
    joiner.wait_ready(PATIENCE).await?;
    let late = Core::prepare(&dir.join("late"), CoreOptions::member("core-b"))?;
    let refused = late.run(&["join", token, "--no-serve"]).await;
    let said = format!("{:#}", refused.err().context("a used token was taken")?);
    // The harness says which command failed; what the command said is behind it.
    let said = said
        .rsplit_once(token)
        .map_or(said.as_str(), |(_, said)| said);
    ensure!(secrets.found_in("the refusal", said).is_empty(), "{said}");
    Ok(joiner)
}

/// Everything that a user's secrets are used for.
async fn live(
    core: &mut Core,
    caller: &mut Caller,
    secrets: &mut Secrets,
) -> anyhow::Result<String> {
    let url = core.url();
    let register = json!({
        "appId": "cluster-tests", "username": "maria", "password": PASSWORD,
        "email": "maria@example.com", "language": "en",
    });
    let registered = caller
        .post(&format!("{url}users"), None, &register)
        .await?
        .expect(201)?;
    let endpoint = registered["apiEndpoint"]
        .as_str()
        .context("no apiEndpoint")?;
    let (_, rest) = endpoint.split_once("://").context("no URL")?;
    let (first, _) = rest.split_once('@').context("no token")?;
    secrets.add("the token of the registration", first);
    caller
        .post(&format!("{url}users"), None, &register)
        .await?
        .expect(409)?;

    let home = format!("{url}maria/");
    let at = |path: &str| format!("{home}{path}");
    let mut tokens = vec![first.to_owned()];
    for (password, status) in [(WRONG, 401), (PASSWORD, 200)] {
        let login = json!({ "appId": "cluster-tests", "username": "maria", "password": password });
        let reply = caller.post(&at("auth/login"), None, &login).await?;
        let answer = reply.expect(status)?;
        tokens.extend(answer["token"].as_str().map(str::to_owned));
    }
    let personal = tokens.last().cloned().context("no token")?;
    secrets.add("a personal token", &personal);

    ensure!(caller.odd_ways(&at("access-info"), &personal).await? == [200, 200]);
    for strange in STRANGE {
        let ways = caller.odd_ways(&at("events"), strange).await?;
        ensure!(ways == [401, 401] || ways == [403, 403], "{ways:?}");
        caller
            .ask(Method::GET, &at("events"), Some(strange), None)
            .await?;
        caller
            .ask(
                Method::GET,
                &format!("{url}maria/nowhere/{strange}?x={strange}"),
                Some(strange),
                None,
            )
            .await?;
    }
    let some = Some(personal.as_str());
    share(caller, secrets, &home, &personal).await?;
    for (old, new, status) in [(WRONG, CHANGED, 400), (PASSWORD, CHANGED, 200)] {
        let change = json!({ "oldPassword": old, "newPassword": new });
        caller
            .post(&at("account/change-password"), some, &change)
            .await?
            .expect(status)?;
    }
    let reset_token = reset(core, caller, &home).await?;
    let batch = json!([{ "method": "events.get", "params": { "limit": "x", "auth": personal } }]);
    caller.post(&home, some, &batch).await?;
    caller.post(&at("auth/logout"), some, &json!({})).await?;
    caller.ask(Method::GET, &at("events"), some, None).await?;
    Ok(reset_token)
}

/// Writes something, and lets others read it with tokens of their own.
async fn share(
    caller: &mut Caller,
    secrets: &mut Secrets,
    home: &str,
    personal: &str,
) -> anyhow::Result<()> {
    let some = Some(personal);
    let at = |path: &str| format!("{home}{path}");
    caller
        .post(&at("streams"), some, &json!({ "id": "s", "name": "S" }))
        .await?
        .expect(201)?;
    let event = json!({ "streamIds": ["s"], "type": "note/txt", "content": CONTENT });
    caller
        .post(&at("events"), some, &event)
        .await?
        .expect(201)?;
    let wrong =
        json!({ "streamIds": ["s"], "type": "mass/kg", "content": CONTENT, "nonsense": CONTENT });
    caller
        .post(&at("events"), some, &wrong)
        .await?
        .expect(400)?;

    for (kind, token) in [("shared", "a-token-of-her-own-Zq95"), ("app", "")] {
        let mut access = json!({
            "type": kind, "name": kind, "permissions": [{ "streamId": "s", "level": "read" }],
        });
        if !token.is_empty() {
            access["token"] = json!(token);
        }
        let made = caller
            .post(&at("accesses"), some, &access)
            .await?
            .expect(201)?;
        let token = made["access"]["token"]
            .as_str()
            .context("no token")?
            .to_owned();
        caller.post(&at("accesses"), some, &access).await?;
        caller
            .ask(Method::GET, &at("events"), Some(&token), None)
            .await?
            .expect(200)?;
        ensure!(caller.odd_ways(&at("access-info"), &token).await? == [200, 200]);
        // What it may not.
        caller
            .post(
                &at("streams"),
                Some(&token),
                &json!({ "id": "t", "name": "T" }),
            )
            .await?
            .expect(403)?;
        secrets.add(format!("the token of the {kind} access"), token);
    }
    Ok(())
}

/// A new password by mail; gives the token that the mail held.
async fn reset(core: &mut Core, caller: &mut Caller, home: &str) -> anyhow::Result<String> {
    let ask = json!({ "appId": "cluster-tests" });
    let path = format!("{home}account/request-password-reset");
    caller.post(&path, None, &ask).await?.expect(200)?;
    let begin = format!("{PAGE}?resetToken=");
    let token = wait_until(PATIENCE, "the mail is shown", async || {
        let out = core.process()?.stdout()?;
        let rest = out.split_once(&begin).map(|(_, rest)| rest);
        let end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_');
        Ok(rest.and_then(|rest| Some(rest.split_once(end)?.0.to_owned())))
    })
    .await?;
    let path = format!("{home}account/reset-password");
    for (token, status) in [
        (STRANGE[0], 401),
        (token.as_str(), 200),
        (token.as_str(), 401),
    ] {
        let reset = json!({ "appId": "cluster-tests", "resetToken": token, "newPassword": RESET });
        caller.post(&path, None, &reset).await?.expect(status)?;
    }
    Ok(token)
}

/// What an administrator does, and who pretends to be one.
async fn administer(caller: &mut Caller, url: &str) -> anyhow::Result<()> {
    let users = format!("{url}system/users/maria");
    caller
        .ask(Method::GET, &users, Some(ADMIN_KEY), None)
        .await?;
    caller
        .ask(Method::GET, &users, Some(STRANGE[1]), None)
        .await?;
    caller
        .ask(
            Method::GET,
            &format!("{url}reg/admin/users"),
            Some(ADMIN_KEY),
            None,
        )
        .await?;
    caller
        .odd_ways(&format!("{url}reg/admin/users"), ADMIN_KEY)
        .await?;
    Ok(())
}

/// A name that is there, one that is not and one that is a secret.
async fn look_up(core: &Core) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    for label in ["maria", "nobody", STRANGE[2]] {
        let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in [label, "secrets", "test"] {
            question.push(u8::try_from(label.len())?);
            question.extend(label.bytes());
        }
        question.extend(b"\0\0\x01\0\x01");
        socket.send_to(&question, core.dns()?).await?;
        let mut answer = [0; 1_500];
        tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await??;
    }
    Ok(())
}

/// Files and folders that are not their owner's alone.
fn open_to_others(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<usize> {
    let mut count = 1;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // What is written aside may have its name by now.
        let Ok(about) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let expected = if about.is_dir() { 0o700 } else { 0o600 };
        if about.permissions().mode() & 0o777 != expected {
            found.push(path.clone());
        }
        count += if about.is_dir() {
            open_to_others(&path, found)?
        } else {
            1
        };
    }
    Ok(count)
}

/// The lines of a key without its first and last, and what follows a text in base64.
fn add_keys(core: &Core, secrets: &mut Secrets) -> anyhow::Result<()> {
    let id = core.id();
    let key = std::fs::read_to_string(core.data().join("node.key"))?;
    let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    ensure!(lines.len() > 1, "node.key is no PEM");
    for (number, line) in lines.iter().enumerate() {
        secrets.add(format!("line {number} of the key of {id}"), *line);
    }
    let key = std::fs::read_to_string(core.data().join("cluster.key"))?;
    secrets.add("the cluster key", key.trim());
    Ok(())
}

/// A search that finds nothing proves nothing.
#[test]
fn what_is_told_or_open_is_found() -> anyhow::Result<()> {
    let mut secrets = Secrets::default();
    secrets.add("the password", PASSWORD);
    let found = secrets.found_in("the log", &format!("GET /?auth={PASSWORD}&x"));
    ensure!(found == ["the password in the log"], "{found:?}");
    ensure!(secrets.found_in("the log", "GET /?auth=***").is_empty());

    let dir = tempfile::tempdir()?;
    let inner = dir.path().join("folder");
    std::fs::create_dir(&inner)?;
    let mut open = Vec::new();
    for (path, mode) in [(inner.clone(), 0o755), (inner.join("file"), 0o640)] {
        if !path.try_exists()? {
            std::fs::write(&path, "x")?;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    ensure!(open_to_others(dir.path(), &mut open)? == 3);
    ensure!(open == [inner.clone(), inner.join("file")], "{open:?}");
    Ok(())
}

/// Gathers what the system log is told. Who does not listen all the time misses most of it: the kernel
/// keeps ten messages.
fn listen(syslog: UnixDatagram) -> Arc<Mutex<String>> {
    let told = Arc::<Mutex<String>>::default();
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        let mut datagram = vec![0; 16_384];
        while let Ok(length) = syslog.recv(&mut datagram).await {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let mut heard = lock(&heard);
            heard.push_str(&text);
            heard.push('\n');
        }
    });
    told
}

fn lock(told: &Mutex<String>) -> MutexGuard<'_, String> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_and_no_file_is_open() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("syslog");
    let told = listen(UnixDatagram::bind(&socket)?);
    let mut secrets = Secrets::default();
    for (what, secret) in [
        ("the admin key", ADMIN_KEY),
        ("the join secret", JOIN_SECRET),
        ("the password", PASSWORD),
        ("the changed password", CHANGED),
        ("the password of the reset", RESET),
        ("the wrong password", WRONG),
        ("content", CONTENT),
    ] {
        secrets.add(what, secret);
    }
    // A name that somebody looks up is no secret, whatever it is.
    for token in &STRANGE[..2] {
        secrets.add(format!("the strange token {token}"), *token);
    }
    let mut core = start(dir.path(), &socket).await?;
    let mut joiner = join(dir.path(), &core, &mut secrets).await?;
    add_keys(&core, &mut secrets)?;
    add_keys(&joiner, &mut secrets)?;
    let mut caller = Caller {
        http: Http::new()?,
        errors: String::new(),
    };
    let reset_token = live(&mut core, &mut caller, &mut secrets).await?;
    secrets.add("the reset token", reset_token);
    administer(&mut caller, &core.url()).await?;
    look_up(&core).await?;

    let mut found = Vec::new();
    let mut open = Vec::new();
    for core in [&mut core, &mut joiner] {
        let metrics = caller
            .http
            .get(&format!("{}metrics", core.url()), None)
            .await?;
        found.extend(secrets.found_in("metrics", &metrics.text()));
        let files = open_to_others(
            core.data()
                .parent()
                .context("no parent")?
                .join("data")
                .as_path(),
            &mut open,
        )?;
        ensure!(files > 10, "only {files} files");
    }
    wait_until(PATIENCE, "the system log is told of a write", async || {
        Ok(lock(&told).contains("events.create").then_some(()))
    })
    .await?;
    let told = lock(&told).clone();
    found.extend(secrets.found_in("the system log", &told));
    ensure!(
        caller.errors.len() > 2_000,
        "too few errors: {}",
        caller.errors
    );
    found.extend(secrets.found_in("an error", &caller.errors));
    for core in [&mut core, &mut joiner] {
        core.stop(Duration::from_secs(30)).await?;
        open_to_others(&core.data(), &mut open)?;
        let log = core.process()?.stderr()?;
        ensure!(
            log.contains("DEBUG") || log.contains("TRACE"),
            "the log is not verbose: {log}"
        );
        let (id, printed) = (core.id().to_owned(), core.process()?.stdout()?);
        found.extend(secrets.found_in(&format!("the log of {id}"), &log));
        found.extend(secrets.found_in(&format!("the output of {id}"), &printed));
    }
    ensure!(open.is_empty(), "open to others: {open:?}");
    ensure!(
        found == ["the reset token in the output of core-a"],
        "told: {found:?}"
    );
    Ok(())
}
