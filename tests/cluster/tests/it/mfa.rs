//! A second factor of a real core, through a provider that speaks HTTP: this test.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, Http, Reply};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::PATIENCE;
use crate::people::{Person, register};

/// A provider of text messages that takes one request a connection.
struct Provider(TcpListener);

impl Provider {
    /// The next request: head and body.
    async fn next(&self) -> anyhow::Result<(String, Value)> {
        tokio::time::timeout(PATIENCE, self.take()).await?
    }

    async fn take(&self) -> anyhow::Result<(String, Value)> {
        let (mut stream, _) = self.0.accept().await?;
        let mut text = String::new();
        let mut buffer = [0; 4_096];
        loop {
            let read = stream.read(&mut buffer).await?;
            ensure!(read > 0, "an unfinished request: {text}");
            text.push_str(std::str::from_utf8(&buffer[..read])?);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let Ok(body) = serde_json::from_str(body) else {
                continue;
            };
            let head = head.to_owned();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await?;
            return Ok((head, body));
        }
    }

    /// The code that was sent to a number.
    async fn code(&self, number: &str) -> anyhow::Result<String> {
        let (head, body) = self.next().await?;
        let begin = "POST /send HTTP/1.1\r\n";
        ensure!(head.starts_with(begin), "{head}");
        ensure!(head.contains("Bearer key-of-the-provider"), "{head}");
        ensure!(body["to"] == number, "{body}");
        Ok(body["code"].as_str().context("no code")?.to_owned())
    }
}

/// Asks something of the second factor while the provider waits for a code to send.
async fn with_code(
    provider: &Provider,
    asked: impl Future<Output = anyhow::Result<Reply>>,
) -> anyhow::Result<(Reply, String)> {
    let (reply, code) = tokio::join!(asked, provider.code("+41 79 000 00 00"));
    Ok((reply?, code?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_asks_for_the_code_that_was_sent() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider = Provider(TcpListener::bind("127.0.0.1:0").await?);
    let mut options = CoreOptions::founder("single", "the-key-of-the-mfa-test");
    let url = format!("http://{}/send", provider.0.local_addr()?);
    options.set = vec![
        "mfa.mode=single".to_owned(),
        format!("mfa.single.url={url}"),
        "mfa.single.headers=[\"Authorization: Bearer key-of-the-provider\"]".to_owned(),
        "mfa.single.body='{\"to\":\"{{ phone }}\",\"code\":\"{{ code }}\"}'".to_owned(),
    ];
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;
    let http = Http::new()?;
    let body = register(&http, &core.url(), "maria").await?.expect(201)?;
    let person = Person::registered("maria", &body)?;

    let ask = |call: &str, token: &str, body: Value| {
        let (http, url, token) = (http.clone(), person.url(call), token.to_owned());
        async move { http.post(&url, Some(&token), &body).await }
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
    let phone = json!({ "phone": "+41 79 000 00 00" });
    let activate = ask("mfa/activate", &person.token, phone);
    let (begun, code) = with_code(&provider, activate).await?;
    let begun = begun.expect(302)?;
    ensure!(code.len() == 4, "{code}");
    let waiting = text(&begun["mfaToken"])?;
    let confirmed = ask("mfa/confirm", &waiting, json!({ "code": code })).await?;
    let codes = confirmed.expect(200)?;
    ensure!(
        codes["recoveryCodes"].as_array().map(Vec::len) == Some(10),
        "{codes}"
    );

    // The factor is on disk: it is asked for after a stop, too.
    core.stop(Duration::from_secs(20)).await?;
    core.restart(PATIENCE).await?;
    let login = json!({ "appId": "cluster-tests", "username": "maria", "password": "a-password" });
    let begun = http.post(&person.url("auth/login"), None, &login).await?;
    let begun = begun.expect(200)?;
    ensure!(begun["token"].is_null(), "{begun}");
    let waiting = text(&begun["mfaToken"])?;
    let challenge = ask("mfa/challenge", &waiting, json!({}));
    let (sent, code) = with_code(&provider, challenge).await?;
    sent.expect(200)?;
    let wrong = if code == "0000" { "0001" } else { "0000" };
    let refused = ask("mfa/verify", &waiting, json!({ "code": wrong })).await?;
    ensure!(refused.status.is_client_error(), "{}", refused.text());
    let opened = ask("mfa/verify", &waiting, json!({ "code": code })).await?;
    let token = text(&opened.expect(200)?["token"])?;
    http.get(&person.url("access-info"), Some(&token))
        .await?
        .expect(200)?;
    let log = core.process()?.stderr()?;
    ensure!(
        !log.contains("key-of-the-provider") && !log.contains("+41 79"),
        "the log tells of the provider's key or of the person"
    );

    // One of the recovery codes does without.
    let recovery = text(&codes["recoveryCodes"][0])?;
    let recover =
        json!({ "username": "maria", "password": "a-password", "recoveryCode": recovery });
    let url = person.url("mfa/recover");
    http.post(&url, None, &recover).await?.expect(200)?;
    let opened = http.post(&person.url("auth/login"), None, &login).await?;
    ensure!(opened.expect(200)?["token"].is_string(), "no token");
    core.stop(Duration::from_secs(20)).await
}
