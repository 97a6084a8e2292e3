//! What a cluster says of itself to apps is the same on every core, whatever a core's own file says, and changes
//! on all of them at once.

use anyhow::ensure;
use homecore_harness::{Core, CoreOptions, Http, wait_until};
use serde_json::{Value, json};

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

/// Two cores, of which the second's file says otherwise: it counts for nothing.
async fn pair(parent: &std::path::Path) -> anyhow::Result<(Core, Core)> {
    let set = FOUNDER.iter().map(|pair| (*pair).to_owned()).collect();
    let founder = CoreOptions::founder("core-a", "0123456789abcdef");
    let mut founder = Core::prepare(parent, CoreOptions { set, ..founder })?;
    founder.start()?;
    founder.wait_ready(PATIENCE).await?;
    let mut second = CoreOptions::member("core-b");
    second.set = vec![
        "service.name=Second".to_owned(),
        "auth.trusted_auth_urls=https://second.example/".to_owned(),
    ];
    let mut second = Core::prepare(parent, second)?;
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
    let (founder, second) = pair(dir.path()).await?;
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

    // What the file leaves out of a section stays.
    let change = ["apply-config", "--set", "service.name=Theirs"];
    let change = [&change[..], &["--set", "auth.trusted_apps=another@*"]].concat();
    let said = founder.run(&change).await?;
    ensure!(said.contains("auth, service"), "{said}");
    let theirs = [json!("Theirs"), ours[1].clone(), ours[2].clone()];
    for core in [&founder, &second] {
        wait_until(PATIENCE, "the change is in effect", async || {
            let said = told(&http, core).await?;
            ensure!(said == theirs, "{}: {said:?}", core.id());
            Ok(Some(()))
        })
        .await?;
    }
    let logged_in = log_in("another").await?.expect(200)?;
    ensure!(logged_in["meta"]["serial"] == "7", "{logged_in}");
    log_in("cluster-tests").await?.expect(401)?;

    // What a file does not mention stays.
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
