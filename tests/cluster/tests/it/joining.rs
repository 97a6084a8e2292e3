//! Becoming a member, refusals, and a cluster that grows and shrinks under writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, CoreOptions, Http, wait_until};
use tokio::net::UdpSocket;

use crate::PATIENCE;
use crate::people::{Person, register};

/// The token of an invitation for `id`.
async fn invite(core: &Core, id: &str, more: &[&str]) -> anyhow::Result<String> {
    let line = core.run(&[&["invite", "--id", id], more].concat()).await?;
    Ok(line
        .split_whitespace()
        .last()
        .context("no token")?
        .to_owned())
}

/// What `homecore join TOKEN --no-serve` says when it is refused.
async fn refusal(core: &Core, token: &str) -> anyhow::Result<String> {
    match core.run(&["join", token, "--no-serve"]).await {
        Ok(printed) => anyhow::bail!("the join went through: {printed}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_once_in_time_and_unchanged() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let founder = cluster.core(0)?;
    let dir = tempfile::tempdir()?;
    let machine =
        |name: &str, id: &str| Core::prepare(&dir.path().join(name), CoreOptions::member(id));

    // Altered: any letter.
    let token = invite(founder, "core-b", &[]).await?;
    let (body, last) = token.split_at(token.len() - 8);
    let altered = format!("{body}{}", last.chars().rev().collect::<String>());
    let first = machine("first", "core-b")?;
    ensure!(refusal(&first, &altered).await?.contains("damaged"));
    ensure!(refusal(&first, "hello").await?.contains("not a join token"));

    // Once: the same machine may repeat it, another may not.
    first.run(&["join", &token, "--no-serve"]).await?;
    first.run(&["join", &token, "--no-serve"]).await?;
    let second = machine("second", "core-b")?;
    let said = refusal(&second, &token).await?;
    ensure!(said.contains("already-consumed"), "{said}");

    // For one core only, in time, and not revoked.
    let third = machine("third", "core-c")?;
    let said = refusal(&third, &invite(founder, "core-d", &[]).await?).await?;
    ensure!(said.contains("core-d"), "{said}");
    let short = invite(founder, "core-c", &["--ttl", "1s"]).await?;
    wait_until(PATIENCE, "the token has expired", async || {
        let tokens = founder.run(&["tokens", "list", "--json"]).await?;
        Ok(tokens.contains("\"expired\"").then_some(()))
    })
    .await?;
    let said = refusal(&third, &short).await?;
    ensure!(said.contains("expired"), "{said}");
    let revoked = invite(founder, "core-e", &[]).await?;
    let tokens: serde_json::Value =
        serde_json::from_str(&founder.run(&["tokens", "list", "--json"]).await?)?;
    let id = tokens["tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|token| token["core"] == "core-e")
        .and_then(|token| token["id"].as_str())
        .context("the token is not listed")?;
    founder.run(&["tokens", "revoke", id]).await?;
    let fourth = machine("fourth", "core-e")?;
    let said = refusal(&fourth, &revoked).await?;
    ensure!(said.contains("revoked"), "{said}");

    // At the address that the token names there is another cluster by now.
    let mut gone = Cluster::start(ClusterOptions::cores(1)).await?;
    let token = invite(gone.core(0)?, "core-f", &[]).await?;
    let rpc = gone.core(0)?.rpc()?;
    gone.core_mut(0)?.stop(PATIENCE).await?;
    let set = vec![format!("cluster.listen={rpc}")];
    let _other = Cluster::start(ClusterOptions {
        set,
        ..ClusterOptions::cores(1)
    })
    .await?;
    let fifth = machine("fifth", "core-f")?;
    let said = refusal(&fifth, &token).await?;
    ensure!(said.contains("another cluster"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_cut_off_can_be_repeated() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let dir = tempfile::tempdir()?;
    let founder = cluster.core(0)?;
    let token = invite(founder, "core-b", &[]).await?;
    let machine = Core::prepare(dir.path(), CoreOptions::member("core-b"))?;
    machine.run(&["join", &token, "--no-serve"]).await?;
    // As if the answer had been lost: the key is here, what came back is not.
    std::fs::remove_dir_all(machine.data().join("platform"))?;
    std::fs::remove_file(machine.data().join("node.crt"))?;
    machine.run(&["join", &token, "--no-serve"]).await?;
    let status = founder.status().await?;
    ensure!(status.cores.len() == 2, "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_is_told_to_who_invites() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(2)).await?;
    let http = Http::new()?;
    let founder = cluster.core(0)?;
    register(&http, &founder.url(), "maria")
        .await?
        .expect(201)?;
    founder
        .run(&["remove", "core-b", "--abandon-users"])
        .await?;
    for (id, why) in [
        ("core-a", "is a core already"),
        ("core-b", "was removed"),
        ("maria", "is the name of a user"),
    ] {
        let said = match founder.run(&["invite", "--id", id]).await {
            Ok(printed) => anyhow::bail!("{id} was invited: {printed}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            said.contains(why) && said.contains("another --id"),
            "{said}"
        );
    }
    cluster.core_mut(1)?.kill()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_core_is_refused_and_the_token_stays_good() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let founder = cluster.core(0)?;
    let dir = tempfile::tempdir()?;
    let mut machine = Core::prepare(dir.path(), CoreOptions::member("core-b"))?;
    let token = invite(founder, "core-b", &[]).await?;
    let set = format!("cluster.advertise={}", founder.rpc()?);
    let said = match machine
        .run(&["join", &token, "--no-serve", "--set", &set])
        .await
    {
        Ok(printed) => anyhow::bail!("the join went through: {printed}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(said.contains("core-a is reached at"), "{said}");
    ensure!(said.contains("cluster.advertise"), "{said}");
    machine.join_with(&token)?;
    machine.wait_ready(PATIENCE).await
}

/// Who is asked of a name that exists and answers that it has no address is believed for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_ready_answers_for_the_users_of_others() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = |options: CoreOptions| CoreOptions {
        domain: Some("joining.test".to_owned()),
        ..options
    };
    let founder = CoreOptions::founder("core-a", "the-key-of-the-joining-test");
    let mut founder = Core::prepare(dir.path(), options(founder))?;
    founder.start()?;
    founder.wait_ready(PATIENCE).await?;
    let http = Http::new()?;
    register(&http, &founder.url(), "maria")
        .await?
        .expect(201)?;
    let mut joiner = Core::prepare(dir.path(), options(CoreOptions::member("core-b")))?;
    joiner.join(&founder).await?;
    joiner.wait_ready(PATIENCE).await?;
    let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in ["maria", "joining", "test"] {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend(b"\0\0\x01\0\x01");
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&question, joiner.dns()?).await?;
    let mut answer = [0; 1_500];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await??;
    // The number of answers.
    ensure!(answer[7] > 0, "no address: {:?}", &answer[..length]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_failed_leaves_no_file_in_the_way_of_the_next() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let dir = tempfile::tempdir()?;
    let founder = cluster.core(0)?;
    let machine = Core::prepare(dir.path(), CoreOptions::member("core-b"))?;
    // The file that `join` writes by itself.
    std::fs::remove_file(machine.config())?;
    let data = machine.data().display().to_string();
    let join = async |token: &str, more: &[&str]| {
        let flags = ["join", token, "--no-serve", "--json", "--data", &data];
        machine.run(&[&flags[..], more].concat()).await
    };
    let used = invite(founder, "core-c", &[]).await?;
    let first = Core::prepare(dir.path(), CoreOptions::member("core-c"))?;
    first.run(&["join", &used, "--no-serve"]).await?;
    let token = invite(founder, "core-b", &[]).await?;
    for (token, flags) in [
        (&token, ["--http-listen", "nonsense"]),
        (&token, ["--id", "core-x"]),
        (&used, ["--id", "core-c"]),
    ] {
        ensure!(join(token, &flags).await.is_err(), "{flags:?} went through");
        ensure!(
            !machine.config().try_exists()?,
            "{flags:?} left the configuration"
        );
    }
    let answer = join(&token, &["--http-listen", "127.0.0.1:1"]).await?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    ensure!(answer["member"] == true, "{answer}");
    ensure!(
        machine.config().try_exists()?,
        "the configuration is needed now"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_takes_the_domain_over_and_says_where_it_is() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let founder = CoreOptions::founder("core-a", "the-key-of-the-joining-test");
    let founder = CoreOptions {
        domain: Some("joining.test".to_owned()),
        ..founder
    };
    let mut founder = Core::prepare(dir.path(), founder)?;
    founder.start()?;
    founder.wait_ready(PATIENCE).await?;
    let answer = founder.run(&["invite", "--id", "core-b", "--json"]).await?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let warning = answer["warning"].as_str().context("it does not warn")?;
    ensure!(warning.contains("cluster.advertise"), "{warning}");
    let token = answer["token"].as_str().context("no token")?;

    let machine = Core::prepare(dir.path(), CoreOptions::member("core-b"))?;
    std::fs::remove_file(machine.config())?;
    let data = machine.data().display().to_string();
    let join = async |more: &[&str]| {
        let flags = ["join", token, "--no-serve", "--json", "--data", &data];
        machine.run(&[&flags[..], more].concat()).await
    };
    for (flags, why) in [
        (&[][..], "--ip ADDR"),
        (&["--domain", "other.test"], "is joining.test"),
    ] {
        let said = format!("{:#}", join(flags).await.err().context("it went through")?);
        ensure!(said.contains(why), "{said}");
        ensure!(!machine.config().try_exists()?, "the file is left");
    }
    join(&["--ip", "192.0.2.7"]).await?;
    let file = std::fs::read_to_string(machine.config())?;
    for line in [
        "ipv4 = [\"192.0.2.7\"]",
        "listen = \"0.0.0.0:4002\"",
        "advertise = \"192.0.2.7:4002\"",
        "domain = \"joining.test\"",
    ] {
        ensure!(file.lines().any(|it| it == line), "{line} is not in {file}");
    }
    let status = founder.status().await?;
    let urls: Vec<&str> = status.cores.iter().map(|core| core.url.as_str()).collect();
    ensure!(urls.contains(&"https://core-b.joining.test/"), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_core_to_five_and_back_under_writes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let http = Http::new()?;
    let mut people = Vec::new();
    for i in 0..50 {
        people.push(Person::new(&http, &cluster.core(0)?.url(), &format!("stays{i}")).await?);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = people
        .iter()
        .cloned()
        .map(|person| {
            let (http, stop) = (http.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut written = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let reply = person.write(&http, written).await?;
                    ensure!(reply.status == 201, "{}: {}", person.username, reply.text());
                    written += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(written)
            })
        })
        .collect();
    for _ in 0..4 {
        cluster.add().await?;
    }
    cluster.wait_settled(PATIENCE).await?;
    for removed in (1..5).rev() {
        let id = cluster.core(removed)?.id().to_owned();
        cluster.core(0)?.run(&["remove", &id]).await?;
        wait_until(PATIENCE, "the others are settled without it", async || {
            let status = cluster.core(0)?.status().await?;
            Ok(status.is_settled(removed).then_some(()))
        })
        .await?;
        wait_until(PATIENCE, "the removed core has stopped", async || {
            Ok((!cluster.core_mut(removed)?.is_running()).then_some(()))
        })
        .await?;
    }
    stop.store(true, Ordering::Relaxed);
    for (person, writer) in people.iter().zip(writers) {
        let written = writer.await??;
        ensure!(written > 0, "{} wrote nothing", person.username);
        let present = person.numbers(&http).await?;
        ensure!(
            present == (0..written).collect::<Vec<_>>(),
            "{} lost something",
            person.username
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_two_can_be_removed() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(2)).await?;
    let http = Http::new()?;
    cluster.core(1)?.run(&["remove", "core-a"]).await?;
    wait_until(PATIENCE, "the removed core has stopped", async || {
        Ok((!cluster.core_mut(0)?.is_running()).then_some(()))
    })
    .await?;
    let left = cluster.core(1)?;
    wait_until(PATIENCE, "the other leads alone", async || {
        Ok(left.status().await?.is_settled(1).then_some(()))
    })
    .await?;
    register(&http, &left.url(), "after").await?.expect(201)?;
    // Its data directory is not a member any more: it says so and stays away.
    let said = format!(
        "{:#}",
        cluster.core_mut(0)?.restart(PATIENCE).await.unwrap_err()
    );
    ensure!(said.contains("was removed"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_voter_can_be_removed_while_another_is_dead() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    cluster.core_mut(2)?.kill()?;
    cluster.core(0)?.run(&["remove", "core-b"]).await?;
    wait_until(PATIENCE, "the removed core has stopped", async || {
        Ok((!cluster.core_mut(1)?.is_running()).then_some(()))
    })
    .await?;
    let left = cluster.core(0)?.url();
    wait_until(PATIENCE, "the platform takes writes", async || {
        let reply = register(&http, &left, "after").await?;
        ensure!(
            reply.status == 201 || reply.status == 409,
            "{}",
            reply.text()
        );
        Ok(Some(()))
    })
    .await?;
    // The last core that is alive stays. The one that was killed counts as alive for a moment more;
    // until then the user is the reason.
    wait_until(PATIENCE, "the last core that is alive stays", async || {
        let refused = cluster.core(0)?.run(&["remove", "core-a"]).await;
        let said = format!("{:#}", refused.err().context("it was removed")?);
        Ok(said.contains("no other core is alive").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_directory_is_not_founded_again() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    cluster.core_mut(0)?.stop(PATIENCE).await?;
    std::fs::remove_file(cluster.core(0)?.data().join("platform/identity.json"))?;
    let said = format!(
        "{:#}",
        cluster.core_mut(0)?.restart(PATIENCE).await.unwrap_err()
    );
    ensure!(said.contains("a core was here"), "{said}");
    Ok(())
}
