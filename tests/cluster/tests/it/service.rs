//! What a cluster says of itself to apps is the same on every core, whatever a core's own file says, and changes
//! on all of them at once.

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, Http, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::PATIENCE;
use crate::people::{Person, register};

const FOUNDER: &[&str] = &[
    "service.name=Ours",
    "service.serial=\"7\"",
    "auth.default_auth_url=https://example.com/in",
    "auth.trusted_apps=cluster-tests@*",
];

/// What a core tells apps: its name, its serial, and where people sign in.
async fn told(http: &Http, core: &Core) -> anyhow::Result<[Value; 3]> {
    let url = core.url();
    let info = http.get(&format!("{url}reg/service/info"), None).await?;
    let info = info.expect(200)?;
    let asked = json!({
        "requestingAppId": "an-app",
        "requestedPermissions": [{ "streamId": "diary", "defaultName": "Diary", "level": "read" }],
    });
    let request = http.post(&format!("{url}reg/access"), None, &asked).await?;
    let request = request.expect(201)?;
    // The page gets the key of the request; what is before is ours.
    let page = request["authUrl"]
        .as_str()
        .and_then(|url| url.split('?').next());
    Ok([info["name"].clone(), info["serial"].clone(), json!(page)])
}

/// Two cores, whose files say this of it.
async fn pair(
    parent: &std::path::Path,
    [founder, second]: [&[&str]; 2],
) -> anyhow::Result<(Core, Core)> {
    let with = |options: CoreOptions, set: &[&str]| {
        let set = set.iter().map(|pair| (*pair).to_owned()).collect();
        Core::prepare(parent, CoreOptions { set, ..options })
    };
    let founding = CoreOptions::founder("core-a", "0123456789abcdef");
    let mut founder = with(founding, founder)?;
    founder.start()?;
    founder.wait_ready(PATIENCE).await?;
    let mut second = with(CoreOptions::member("core-b"), second)?;
    second.join(&founder).await?;
    second.wait_ready(PATIENCE).await?;
    Ok((founder, second))
}

/// Somebody who lives there.
async fn somebody(http: &Http, core: &Core) -> anyhow::Result<Person> {
    for name in ["alice", "bruno", "carla", "doris"] {
        let body = register(http, &core.url(), name).await?.expect(201)?;
        let person = Person::registered(name, &body)?;
        if person.home == core.url() {
            return Ok(person);
        }
    }
    anyhow::bail!("all of them live elsewhere")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_joined_says_what_the_platform_says() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (founder, second) = pair(dir.path(), [FOUNDER, &[]]).await?;
    let http = Http::new()?;
    let ours = [json!("Ours"), json!("7"), json!("https://example.com/in")];
    for core in [&founder, &second] {
        let said = told(&http, core).await?;
        ensure!(said == ours, "{}: {said:?}", core.id());
    }

    // People of the second core log in with the apps that the first one's file trusts, and no others.
    let person = somebody(&http, &second).await?;
    let log_in = async |app: &str| {
        let body = json!({ "username": person.username, "password": "a-password", "appId": app });
        http.post(&person.url("auth/login"), None, &body).await
    };
    let logged_in = log_in("cluster-tests").await?.expect(200)?;
    ensure!(logged_in["meta"]["serial"] == "7", "{logged_in}");
    log_in("another").await?.expect(401)?;

    // Keys that nobody says stay.
    let change = ["apply-config", "--set", "service.name=Theirs"];
    let change = [&change[..], &["--set", "auth.trusted_apps=another@*"]].concat();
    let said = founder.run(&change).await?;
    ensure!(said.contains("auth, service"), "{said}");
    let theirs = [json!("Theirs"), json!("7"), json!("https://example.com/in")];
    for core in [&founder, &second] {
        wait_until(PATIENCE, "the change is in effect", async || {
            let said = told(&http, core).await?;
            ensure!(said == theirs, "{}: {said:?}", core.id());
            Ok(Some(()))
        })
        .await?;
    }
    log_in("another").await?.expect(200)?;
    log_in("cluster-tests").await?.expect(401)?;

    // So do sections.
    let other = ["apply-config", "--set", "invitation_tokens=[\"x\"]"];
    let said = founder.run(&other).await?;
    ensure!(
        said.contains("changed on the platform: invitationTokens"),
        "{said}"
    );
    let said = told(&http, &second).await?;
    ensure!(said == theirs, "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_says_nothing_still_speaks_for_all() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (founder, second) = pair(dir.path(), [&[], FOUNDER]).await?;
    let http = Http::new()?;
    let defaults = [json!("homecore"), json!("2026112201"), Value::Null];
    for core in [&founder, &second] {
        let said = told(&http, core).await?;
        ensure!(said == defaults, "{}: {said:?}", core.id());
    }
    let person = somebody(&http, &second).await?;
    let body = json!({ "username": person.username, "password": "a-password", "appId": "any" });
    let log_in = http.post(&person.url("auth/login"), None, &body).await?;
    log_in.expect(200)?;
    Ok(())
}

/// The next request for a catalogue of event types, which gets an empty one.
async fn asked(publisher: &TcpListener) -> anyhow::Result<String> {
    let (stream, _peer) = publisher.accept().await?;
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    while line != "\r\n" {
        line.clear();
        let read = stream.read_line(&mut line).await?;
        ensure!(read > 0, "an unfinished request: {first}");
    }
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"types\":{}}";
    stream.write_all(answer.as_bytes()).await?;
    let path = first.split(' ').nth(1).context("no path")?;
    Ok(path.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn event_types_are_read_again_where_another_catalogue_is_named() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let publisher = TcpListener::bind("127.0.0.1:0").await?;
    let key = format!("service.event_types=http://{}", publisher.local_addr()?);
    let founder = CoreOptions {
        set: vec![format!("{key}/first")],
        ..CoreOptions::founder("core-a", "0123456789abcdef")
    };
    let mut founder = Core::prepare(dir.path(), founder)?;
    founder.start()?;
    founder.wait_ready(PATIENCE).await?;
    let next = async || tokio::time::timeout(PATIENCE, asked(&publisher)).await?;
    ensure!(next().await? == "/first");
    // Of another key nobody asks the publisher.
    let name = ["apply-config", "--set", "service.name=Theirs"];
    founder.run(&name).await?;
    let http = Http::new()?;
    wait_until(PATIENCE, "the change is in effect", async || {
        let [name, ..] = told(&http, &founder).await?;
        Ok((name == "Theirs").then_some(()))
    })
    .await?;
    let second = format!("{key}/second");
    founder.run(&["apply-config", "--set", &second]).await?;
    let path = next().await?;
    ensure!(path == "/second", "{path}");
    Ok(())
}
