//! What administrators create and look up across cores: users, whose an access is, and whether every core
//! has what the platform knows of its users.

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Http, Reply};
use reqwest::Method;
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::people::Person;

/// What another server had stored of the password `U*U`.
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn body(name: &str) -> Value {
    json!({
        "username": name, "passwordHash": HASH, "email": format!("{name}@example.com"),
        "language": "fr", "referer": "elsewhere",
    })
}

/// Creates somebody on a core, logs in there, and tells the id of the access of that log-in.
async fn create(
    http: &Http,
    key: &str,
    core: &str,
    name: &str,
) -> anyhow::Result<(Person, String)> {
    let url = format!("{core}system/create-user");
    let made = http.post(&url, Some(key), &body(name)).await?.expect(201)?;
    ensure!(made.as_object().is_some_and(|o| o.len() == 1), "{made}");
    let login = json!({ "username": name, "password": "U*U", "appId": "cluster-tests" });
    let request = http
        .build(Method::POST, &format!("{core}{name}/auth/login"))
        .header("Origin", "https://any.backloop.dev")
        .json(&login);
    let answer = http.send(request).await?.expect(200)?;
    let token = answer["token"].as_str().context("no token")?;
    let person = Person {
        username: name.to_owned(),
        home: core.to_owned(),
        token: token.to_owned(),
    };
    let listed = http.get(&person.url("accesses"), Some(token)).await?;
    let listed = listed.expect(200)?;
    let id = listed["accesses"][0]["id"].as_str().context("no access")?;
    Ok((person, id.to_owned()))
}

async fn find(http: &Http, key: &str, core: &str, id: &str) -> anyhow::Result<Reply> {
    let url = format!("{core}system/accesses/{id}");
    http.get(&url, Some(key)).await
}

/// That a core has exactly its users, as the platform knows them.
async fn ensure_clean(http: &Http, key: &str, core: &str, users: usize) -> anyhow::Result<()> {
    let url = format!("{core}system/check-platform-integrity");
    let checks = http.get(&url, Some(key)).await?.expect(200)?;
    let expected = json!([
        {
            "title": "Platform DB vs users repository",
            "infos": { "usersCountOnPlatform": users, "usersCountOnRepository": users },
            "errors": [],
        },
        {
            "title": "Users local index vs database",
            "infos": { "userIdsCount": users, "userIdsCount-accounts": users },
            "errors": [],
        },
    ]);
    ensure!(checks["checks"] == expected, "{core}: {checks}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_create_users_and_look_across_cores() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    let key = cluster.admin_key().expose().to_owned();
    let cores: Vec<String> = cluster.cores().iter().map(|core| core.url()).collect();
    let mut made = Vec::new();
    for (index, core) in cores.iter().enumerate() {
        made.push(create(&http, &key, core, &format!("maria{index}")).await?);
    }
    let taken = format!("{}system/create-user", cores[1]);
    let taken = http.post(&taken, Some(&key), &body("maria0")).await?;
    let taken = taken.expect(409)?;
    let fields = json!({ "username": "maria0", "email": "maria0@example.com" });
    ensure!(taken["error"]["data"] == fields, "{taken}");

    for (index, (person, id)) in made.iter().enumerate() {
        for core in &cores {
            let found = find(&http, &key, core, id).await?.expect(200)?;
            let found = &found["accessIndex"];
            ensure!(found["username"] == person.username.as_str(), "{found}");
            let home = cluster.core(index)?.id();
            ensure!(found["core"] == home, "{found}");
            ensure!(found["type"] == "personal", "{found}");
        }
    }
    let nobody = find(&http, &key, &cores[0], "cnobodysaccess").await?;
    nobody.expect(404)?;

    // What registers and changes fields writes both sides alike.
    let registered = Person::new(&http, &cores[0], "josef").await?;
    let counts = cores
        .iter()
        .map(|core| 1 + usize::from(*core == registered.home));
    let counts: Vec<usize> = counts.collect();
    for person in made.iter().map(|(person, _)| person).chain([&registered]) {
        let name = &person.username;
        let change = json!({ "email": format!("new-{name}@example.com"), "language": "de" });
        let url = person.url("account");
        let changed = http.request(Method::PUT, &url, Some(&person.token), Some(&change));
        changed.await?.expect(200)?;
        let rename = json!({ "newUsername": format!("the-{name}") });
        let url = person.url("account/change-username");
        let renamed = http.post(&url, Some(&person.token), &rename).await?;
        renamed.expect(200)?;
    }
    for (core, users) in cores.iter().zip(counts) {
        ensure_clean(&http, &key, core, users).await?;
    }

    // A core that cannot be asked leaves it open whose an access is, unless another one has it.
    cluster.core_mut(2)?.kill()?;
    let (_, known) = &made[1];
    find(&http, &key, &cores[0], known).await?.expect(200)?;
    let (_, unknown) = &made[2];
    let open = find(&http, &key, &cores[0], unknown).await?.expect(503)?;
    let why = open["error"]["message"].as_str().unwrap_or_default();
    let named = why.contains("core-c could not be asked") && !why.contains("core-b");
    ensure!(named, "{open}");
    cluster.core_mut(2)?.restart(PATIENCE).await?;
    cluster.wait_settled(PATIENCE).await?;
    find(&http, &key, &cores[0], unknown).await?.expect(200)?;
    ensure_clean(&http, &key, &cores[2], 1).await?;
    Ok(())
}
