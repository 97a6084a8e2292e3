//! Mails of a core as a developer runs it: worded by the operator, shown on the standard output.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, Http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::people::register;

const PAGE: &str = "https://example.com/reset.html";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_reset_with_the_operators_words() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut options = CoreOptions::founder("single", "the-key-of-the-mail-test");
    options.set = vec![
        "mail.mode=console".to_owned(),
        "mail.from=Platform <noreply@example.com>".to_owned(),
        format!("auth.password_reset_page_url={PAGE}"),
    ];
    let mut core = Core::prepare(dir.path(), options)?;
    core.start()?;
    core.wait_ready(PATIENCE).await?;

    let text = dir.path().join("reset.txt");
    let file = text.display().to_string();
    let set = [
        "mail-template",
        "set",
        "reset-password",
        "en",
        "--subject",
        "New one",
        "--text",
        &file,
    ];
    std::fs::write(&text, "no link")?;
    let refused = core.run(&set).await;
    let refused = refused
        .err()
        .context("a template without a link was taken")?;
    ensure!(format!("{refused:#}").contains("RESET_LINK"), "{refused:#}");
    std::fs::write(&text, "For {{ USERNAME }} only:\n{{ RESET_LINK }}\n")?;
    core.run(&set).await?;
    let shown = core
        .run(&["mail-template", "get", "reset-password", "en", "--json"])
        .await?;
    let shown: Value = serde_json::from_str(&shown)?;
    ensure!(
        shown["subject"] == "New one" && shown["shipped"] == false,
        "{shown}"
    );

    let (http, url) = (Http::new()?, core.url());
    register(&http, &url, "maria").await?.expect(201)?;
    let ask = json!({ "appId": "cluster-tests" });
    http.post(
        &format!("{url}maria/account/request-password-reset"),
        None,
        &ask,
    )
    .await?
    .expect(200)?;
    let begin = format!("For maria only:\n{PAGE}?resetToken=");
    let token = wait_until(PATIENCE, "both mails are shown", async || {
        let out = core.process()?.stdout()?;
        let found = out.split_once(&begin).map(|(_, rest)| rest);
        let token = found.and_then(|rest| rest.split_once('\n'));
        let welcomed = out.contains("Subject: Welcome to homecore");
        Ok(token
            .filter(|_| welcomed)
            .map(|(token, _)| token.to_owned()))
    })
    .await?;
    ensure!(
        !core.process()?.stderr()?.contains(&token),
        "the token is in the log"
    );

    let reset =
        json!({ "appId": "cluster-tests", "resetToken": token, "newPassword": "another-one" });
    let path = format!("{url}maria/account/reset-password");
    http.post(&path, None, &reset).await?.expect(200)?;
    http.post(&path, None, &reset).await?.expect(401)?;
    let login = json!({ "appId": "cluster-tests", "username": "maria", "password": "another-one" });
    http.post(&format!("{url}maria/auth/login"), None, &login)
        .await?
        .expect(200)?;

    core.run(&["mail-template", "unset", "reset-password", "en"])
        .await?;
    let list = core.run(&["mail-template", "list"]).await?;
    ensure!(!list.contains("New one"), "{list}");
    core.stop(Duration::from_secs(20)).await
}
