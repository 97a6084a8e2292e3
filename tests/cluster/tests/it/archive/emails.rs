//! A user with several e-mail addresses moves into another cluster.

use std::path::Path;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, Http, Reply};
use reqwest::Method;
use serde_json::{Value, json};

use super::{failure, lines};
use crate::people::{Person, registration};

async fn change(http: &Http, person: &Person, change: &Value) -> anyhow::Result<Reply> {
    let url = person.url("account");
    http.request(Method::PUT, &url, Some(&person.token), Some(change))
        .await
}

/// The addresses as the person sees them.
async fn emails(http: &Http, person: &Person) -> anyhow::Result<Value> {
    let shown = http
        .get(&person.url("account"), Some(&person.token))
        .await?;
    Ok(shown.expect(200)?["account"]["emails"].clone())
}

async fn is_free(http: &Http, core: &Core, email: &str) -> anyhow::Result<()> {
    let url = format!("{}reg/{email}/check_email", core.url());
    http.get(&url, None).await?.expect(200).map(drop)
}

async fn login(http: &Http, core: &Core, person: &Person) -> anyhow::Result<Person> {
    let login = json!({
        "username": person.username, "password": "a-password", "appId": "cluster-tests",
    });
    let url = format!("{}{}/auth/login", core.url(), person.username);
    let login = http.post(&url, None, &login).await?.expect(200)?;
    Ok(Person {
        home: core.url(),
        token: login["token"].as_str().context("no token")?.to_owned(),
        ..person.clone()
    })
}

/// What the record of the one account of an archive says of addresses.
fn said(archive: &Path) -> anyhow::Result<[Value; 2]> {
    let user = std::fs::read_dir(archive.join("users"))?.flatten().next();
    let user = user.context("no user")?.path();
    let account = lines(&user.join("account.jsonl"))?.pop();
    let account = account.context("no account")?;
    Ok([account["emails"].clone(), account["emailChanges"].clone()])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_a_user_comes_along() -> anyhow::Result<()> {
    let (here, other) = (
        Cluster::start(ClusterOptions::cores(1)).await?,
        Cluster::start(ClusterOptions::cores(1)).await?,
    );
    let (http, core, there) = (Http::new()?, here.core(0)?, other.core(0)?);
    let person = Person::new(&http, &core.url(), "manyletters").await?;
    for asked in [
        json!({ "email": "second@example.com" }),
        json!({ "emails": { "add": ["third@example.com", "fourth@example.com"] } }),
    ] {
        change(&http, &person, &asked).await?.expect(200)?;
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let shown = out.display().to_string();
    core.run(&["export", &shown, "--no-compress"]).await?;
    let rows = lines(&out.join("platform/platform.jsonl"))?;
    let is_email = |row: &&Value| row["field"] == "email" && row["isUnique"] == true;
    ensure!(rows.iter().filter(is_email).count() == 4, "{rows:?}");

    // One of them is another's there: nobody is taken in, and the others stay free.
    let users = format!("{}users", there.url());
    let body = registration("letterbox", "fourth@example.com");
    http.post(&users, None, &body).await?.expect(201)?;
    let refused = failure(there, &["import", &shown]).await?;
    ensure!(
        refused.contains("taken already: email \"fourth@example.com\""),
        "{refused}"
    );
    for email in ["manyletters", "second", "third"] {
        is_free(&http, there, &format!("{email}@example.com")).await?;
    }
    let key = other.admin_key().expose().to_owned();
    let gone = format!("{users}/letterbox");
    let gone = http.request(Method::DELETE, &gone, Some(&key), None);
    gone.await?.expect(200)?;

    // Then it is there as it was, and comes out as it came in.
    there.run(&["import", &shown]).await?;
    let moved = login(&http, there, &person).await?;
    let (before, after) = (emails(&http, &person).await?, emails(&http, &moved).await?);
    ensure!(before == after, "{before} became {after}");
    let count = after.as_array().map(Vec::len);
    ensure!(count == Some(4), "{after}");
    let again = folder.path().join("again");
    let shown = again.display().to_string();
    there.run(&["export", &shown, "--no-compress"]).await?;
    let second = lines(&again.join("platform/platform.jsonl"))?;
    ensure!(second == rows, "{rows:?} became {second:?}");
    let (first, second) = (said(&out)?, said(&again)?);
    ensure!(first == second, "{first:?} became {second:?}");
    ensure!(!first.contains(&Value::Null), "{first:?}");

    // All are held there, and change from there.
    for (email, status) in [("third@example.com", 409), ("fifth@example.com", 201)] {
        let body = registration(&format!("heir{status}"), email);
        http.post(&users, None, &body).await?.expect(status)?;
    }
    let asked = json!({ "emails": {
        "setPrimary": "manyletters@example.com", "remove": ["third@example.com"],
    } });
    change(&http, &moved, &asked).await?.expect(200)?;
    is_free(&http, there, "third@example.com").await
}
