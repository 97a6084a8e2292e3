//! Cores die in the middle of deleting an account and of changing its address or its name: afterwards
//! it is all done or nothing, and an address and a name belong to one person.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, Http, Reply, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{Person, register, registration};
use crate::{PATIENCE, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_whole_whoever_dies() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(6) {
        let name = format!("leaving{round}");
        let before = folders(&cluster)?;
        let person = Person::new(&http, &cluster.core(round % 3)?.url(), &name).await?;
        person.write(&http, 1).await?.expect(201)?;
        let folders: Vec<PathBuf> = folders(&cluster)?.difference(&before).cloned().collect();
        ensure!(!folders.is_empty(), "no folder of {name} was found");

        let url = format!("{}users/{name}", person.home);
        let key = cluster.admin_key().expose().to_owned();
        let asked = (Method::DELETE, url, key, None);
        let answer = interrupt(&mut cluster, &http, &person, round, asked).await?;
        let acknowledged = answer.is_some_and(|reply| reply.status == 200);
        let gone = wait_until(PATIENCE, "all or nothing", async || {
            let held = held(&cluster, &http, &name).await?;
            let mut left = 0;
            for folder in &folders {
                left += usize::from(folder.try_exists()?);
            }
            match held {
                0 if left == 0 => Ok(Some(true)),
                3 if left == folders.len() && marks(&cluster)?.is_empty() => {
                    let numbers = person.numbers(&http).await?;
                    ensure!(numbers == [1], "{numbers:?} is left of {name}");
                    Ok(Some(false))
                }
                _ => anyhow::bail!(
                    "{held} cores know {name}, {left} of {} folders are left, marked: {:?}",
                    folders.len(),
                    marks(&cluster)?
                ),
            }
        })
        .await
        .with_context(|| format!("round {round}: {}", logs(&cluster)))?;
        ensure!(gone || !acknowledged, "round {round}: {name} is back");
        // Whoever comes next has nothing of who went.
        let taken = register(&http, &cluster.core(0)?.url(), &name).await?;
        if gone {
            let next = Person::registered(&name, &taken.expect(201)?)?;
            next.make_stream(&http).await?;
            ensure!(next.numbers(&http).await?.is_empty(), "round {round}");
        } else {
            taken.expect(409)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_owner_whoever_dies() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(6) {
        let name = format!("moving{round}");
        let former = format!("{name}@example.com");
        let new = format!("moved{round}@example.com");
        let person = Person::new(&http, &cluster.core(round % 3)?.url(), &name).await?;

        let change = Some(json!({ "email": new }));
        let (url, token) = (person.url("account"), person.token.clone());
        let asked = (Method::PUT, url, token, change);
        let answer = interrupt(&mut cluster, &http, &person, round, asked).await?;
        let acknowledged = answer.is_some_and(|reply| reply.status == 200);
        let mine = wait_until(PATIENCE, "one address", async || {
            let url = person.url("account");
            let shown = http.get(&url, Some(&person.token)).await?.expect(200)?;
            let mine = shown["account"]["email"].as_str().context("no address")?;
            // The former one stays the person's, beside the new one.
            let changed = mine == new;
            let shown = shown["account"]["emails"].as_array().map(Vec::len);
            ensure!(shown == Some(1 + usize::from(changed)), "{shown:?}");
            let new_is = if changed { 409 } else { 200 };
            for core in cluster.cores() {
                for (email, status) in [(&former, 409), (&new, new_is)] {
                    let url = format!("{}reg/{email}/check_email", core.url());
                    http.get(&url, None).await?.expect(status)?;
                }
            }
            Ok(Some(mine.to_owned()))
        })
        .await
        .with_context(|| format!("round {round}: {}", logs(&cluster)))?;
        ensure!(
            mine == new || !acknowledged,
            "round {round}: {mine} is back"
        );
        // What is held cannot be taken, what is not or not any more can.
        let given_back = if mine == new {
            let remove = json!({ "emails": { "remove": [former] } });
            let url = person.url("account");
            let removed = http.request(Method::PUT, &url, Some(&person.token), Some(&remove));
            removed.await?.expect(200)?;
            &former
        } else {
            &new
        };
        for (email, status) in [(mine.as_str(), 409), (given_back.as_str(), 201)] {
            let body = registration(&format!("heir{round}"), email);
            let url = format!("{}users", cluster.core(0)?.url());
            http.post(&url, None, &body).await?.expect(status)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_one_owner_whoever_dies() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(6) {
        let (former, new) = (format!("former{round}"), format!("newname{round}"));
        let person = Person::new(&http, &cluster.core(round % 3)?.url(), &former).await?;
        person.write(&http, 1).await?.expect(201)?;

        let change = Some(json!({ "newUsername": new }));
        let url = person.url("account/change-username");
        let asked = (Method::POST, url, person.token.clone(), change);
        let answer = interrupt(&mut cluster, &http, &person, round, asked).await?;
        let acknowledged = answer.is_some_and(|reply| reply.status == 200);
        let renamed = wait_until(PATIENCE, "one name everywhere", async || {
            // The former name is good whatever happened; it tells the present one.
            let shown = http
                .get(&person.url("account"), Some(&person.token))
                .await?;
            let shown = shown.expect(200)?;
            let present = shown["account"]["username"].as_str().context("no name")?;
            let renamed = present == new;
            ensure!(renamed || present == former, "{present} of nowhere");
            let url = person.url("account/username-changes");
            let changes = http.get(&url, Some(&person.token)).await?.expect(200)?;
            let used = &changes["usernameChangesUsed"];
            ensure!(*used == u64::from(renamed), "{used} changes, {present}");
            let expected = if renamed { 3 } else { 0 };
            let (old, held) = (
                held(&cluster, &http, &former).await?,
                held(&cluster, &http, &new).await?,
            );
            ensure!(
                old == 3 && held == expected,
                "{old} and {held} cores know {present}"
            );
            Ok(Some(renamed))
        })
        .await
        .with_context(|| format!("round {round}"))?;
        ensure!(renamed || !acknowledged, "round {round}: {former} is back");
        ensure!(person.numbers(&http).await? == [1], "round {round}");
        if renamed {
            let moved = Person {
                username: new.clone(),
                ..person.clone()
            };
            ensure!(moved.numbers(&http).await? == [1], "round {round}");
            elsewhere(&cluster, &http, &moved).await?;
        }
        elsewhere(&cluster, &http, &person).await?;
        // Neither name is anybody else's to have, unless it never was taken.
        for (name, status) in [(&former, 409), (&new, if renamed { 409 } else { 201 })] {
            let body = registration(name, &format!("heir-{name}@example.com"));
            let url = format!("{}users", cluster.core(0)?.url());
            http.post(&url, None, &body).await?.expect(status)?;
        }
        let url = format!("{}users/{former}", person.home);
        let key = cluster.admin_key().expose().to_owned();
        let gone = http.request(Method::DELETE, &url, Some(&key), None).await?;
        gone.expect(200)?;
        register(&http, &cluster.core(1)?.url(), &former)
            .await?
            .expect(201)?;
    }
    Ok(())
}

/// Every other core says where somebody of this name is.
async fn elsewhere(cluster: &Cluster, http: &Http, person: &Person) -> anyhow::Result<()> {
    for core in cluster
        .cores()
        .iter()
        .filter(|core| core.url() != person.home)
    {
        let url = format!("{}{}/account", core.url(), person.username);
        let reply = http.get(&url, Some(&person.token)).await?;
        reply.expect(421)?;
    }
    Ok(())
}

pub(crate) type Asked = (Method, String, String, Option<Value>);

/// Asks something of a person's home core and kills a core meanwhile: the home and the leader by
/// turns, a little later each time. The answer, if there was one; all cores are up again.
pub(crate) async fn interrupt(
    cluster: &mut Cluster,
    http: &Http,
    person: &Person,
    round: usize,
    (method, url, token, body): Asked,
) -> anyhow::Result<Option<Reply>> {
    let home = cluster.cores().iter().position(|c| c.url() == person.home);
    let victim = match round % 2 {
        0 => home.context("a home that is no core")?,
        _ => cluster.leader(0).await?,
    };
    let asking = http.clone();
    let answer = tokio::spawn(async move {
        let asked = asking.request(method, &url, Some(&token), body.as_ref());
        asked.await
    });
    let moment = u64::try_from(round / 2 * 3 % 40)?;
    tokio::time::sleep(Duration::from_millis(1 + moment)).await;
    cluster.core_mut(victim)?.kill()?;
    let answer = answer.await?.ok();
    cluster.core_mut(victim)?.restart(PATIENCE).await?;
    cluster.wait_settled(PATIENCE).await?;
    Ok(answer)
}

/// The ends of all cores' logs.
fn logs(cluster: &Cluster) -> String {
    let tails = cluster.cores().iter().map(Core::log_tail);
    tails.collect::<Vec<_>>().join("\n")
}

/// How many cores say that somebody has this name.
pub(crate) async fn held(cluster: &Cluster, http: &Http, name: &str) -> anyhow::Result<usize> {
    let mut held = 0;
    for core in cluster.cores() {
        let url = format!("{}reg/cores?username={name}", core.url());
        let reply = http.get(&url, None).await?;
        ensure!(
            [200, 404].contains(&reply.status.as_u16()),
            "{}",
            reply.text()
        );
        held += usize::from(reply.status == 200);
    }
    Ok(held)
}

/// What cores remember of steps that are under way: the core, the user, and what the file says.
fn marks(cluster: &Cluster) -> anyhow::Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    for core in cluster.cores() {
        for entry in std::fs::read_dir(core.data().join("pending"))? {
            let entry = entry?;
            let user = entry.file_name().to_string_lossy().into_owned();
            // A crash may leave a mark that was being written; it says nothing, and goes in time.
            if user.starts_with('.') {
                continue;
            }
            // It may be gone by now.
            let text = std::fs::read_to_string(entry.path()).unwrap_or_else(|e| e.to_string());
            found.push((core.id().to_owned(), user, text));
        }
    }
    Ok(found)
}

/// The folders of all users on all cores.
fn folders(cluster: &Cluster) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for core in cluster.cores() {
        collect(&core.data().join("users"), &mut found)?;
    }
    Ok(found)
}

/// The innermost directories with files below one.
fn collect(directory: &Path, found: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), found)?;
        } else {
            found.insert(directory.to_owned());
        }
    }
    Ok(())
}
