//! Account fields that a platform declares: asked for at registration, unique on the platform, streams and
//! events of the account, the same on every core.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, Http, Reply, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{Person, registration};

const DECLARED: &str = r#"custom.systemStreams={ account = [
    { id = "insurance", name = "Insurance", type = "identifier/string", isUnique = true, isRequiredInValidation = true, regexValidation = "^756\\." },
    { id = "phone", name = "Phone", type = "phone/string", default = "none" },
    { id = "tariff", name = "Tariff", type = "string/pryv", isIndexed = true, isEditable = false },
    { id = "secret", name = "Secret", type = "string/pryv", isShown = false },
], other = [{ id = "diary", name = "Diary", type = "note/txt" }] }"#;

struct Platform {
    cluster: Cluster,
    http: Http,
}

impl Platform {
    async fn start() -> anyhow::Result<Self> {
        let mut options = ClusterOptions::cores(3);
        options.set = vec![DECLARED.split_whitespace().collect::<Vec<_>>().join(" ")];
        Ok(Self {
            cluster: Cluster::start(options).await?,
            http: Http::new()?,
        })
    }

    async fn register(&self, core: usize, name: &str, with: &Value) -> anyhow::Result<Reply> {
        let mut body = registration(name, &format!("{name}@example.com"));
        for (field, value) in with.as_object().context("no object")? {
            body[field] = value.clone();
        }
        let url = format!("{}users", self.cluster.core(core)?.url());
        self.http.post(&url, None, &body).await
    }

    async fn account(&self, person: &Person) -> anyhow::Result<Value> {
        let url = person.url("account");
        let reply = self.http.get(&url, Some(&person.token)).await?;
        Ok(reply.expect(200)?["account"].clone())
    }

    async fn change(&self, person: &Person, changes: &Value) -> anyhow::Result<Reply> {
        let url = person.url("account");
        self.http
            .request(Method::PUT, &url, Some(&person.token), Some(changes))
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_fields_are_fields_like_any_other() -> anyhow::Result<()> {
    let it = Platform::start().await?;
    let people = registered(&it).await?;
    let alice = people.first().context("nobody")?;
    let account = it.account(alice).await?;
    ensure!(
        account["insurance"] == "756.0"
            && account["phone"] == "none"
            && account["tariff"] == "basic",
        "{account}"
    );
    ensure!(account.get("secret").is_none(), "{account}");

    changed(&it, alice).await?;
    shown(&it, alice).await?;
    // The platform and the accounts agree.
    for core in it.cluster.cores() {
        let url = format!("{}system/check-platform-integrity", core.url());
        let checks = it
            .http
            .get(&url, Some(it.cluster.admin_key().expose()))
            .await?
            .expect(200)?;
        for check in checks["checks"].as_array().context("no checks")? {
            ensure!(check["errors"] == json!([]), "{checks}");
        }
    }
    Ok(())
}

/// Three people, after what a registration is refused for; whom each core registers lives where the platform
/// says.
async fn registered(it: &Platform) -> anyhow::Result<Vec<Person>> {
    let missing = it.register(0, "alice", &json!({})).await?.expect(400)?;
    ensure!(
        missing["error"]["data"][0]["code"] == "missing-required-field",
        "{missing}"
    );
    let wrong = it
        .register(0, "alice", &json!({ "insurance": "1" }))
        .await?
        .expect(400)?;
    ensure!(wrong["error"]["data"][0]["param"] == "insurance", "{wrong}");
    let mut people = Vec::new();
    for (core, name) in ["alice", "bruno", "carla"].iter().enumerate() {
        let fields =
            json!({ "insurance": format!("756.{core}"), "tariff": "basic", "secret": "s" });
        let body = it.register(core, name, &fields).await?.expect(201)?;
        people.push(Person::registered(name, &body)?);
    }
    let taken = json!({ "insurance": "756.0" });
    let clash = it.register(1, "doris", &taken).await?.expect(409)?;
    ensure!(
        clash["error"]["data"] == json!({ "insurance": "756.0" }),
        "{clash}"
    );

    Ok(people)
}

async fn changed(it: &Platform, alice: &Person) -> anyhow::Result<()> {
    // Changed through the account, and through its event.
    let changed = it
        .change(alice, &json!({ "phone": "+41 1", "insurance": "756.9" }))
        .await?;
    let changed = changed.expect(200)?;
    ensure!(changed["account"]["insurance"] == "756.9", "{changed}");
    let clash = it
        .change(alice, &json!({ "insurance": "756.1" }))
        .await?
        .expect(409)?;
    ensure!(clash["error"]["id"] == "item-already-exists", "{clash}");
    let fixed = it
        .change(alice, &json!({ "tariff": "gold" }))
        .await?
        .expect(400)?;
    ensure!(fixed["error"]["data"]["field"] == "tariff", "{fixed}");
    let event = json!({ "streamIds": [":system:phone"], "type": "x/y", "content": "+41 2" });
    let made = it
        .http
        .post(&alice.url("events"), Some(&alice.token), &event)
        .await?;
    let made = made.expect(201)?;
    ensure!(made["event"]["type"] == "phone/string", "{made}");
    let event = json!({ "content": "756.2" });
    let url = alice.url("events/:system:insurance");
    let clash = it
        .http
        .request(Method::PUT, &url, Some(&alice.token), Some(&event))
        .await?;
    let clash = clash.expect(409)?;
    ensure!(
        clash["error"]["data"] == json!({ "insurance": "756.2" }),
        "{clash}"
    );
    ensure!(it.account(alice).await?["phone"] == "+41 2");

    // Both at once: an address and a unique field, or neither.
    let both = json!({ "email": "new@example.com", "insurance": "756.1" });
    it.change(alice, &both).await?.expect(409)?;
    ensure!(it.account(alice).await?["email"] == "alice@example.com");
    let both = json!({ "email": "new@example.com", "insurance": "756.7" });
    it.change(alice, &both).await?.expect(200)?;
    let account = it.account(alice).await?;
    ensure!(
        account["email"] == "new@example.com" && account["insurance"] == "756.7",
        "{account}"
    );
    // What she had is free.
    let free = json!({ "insurance": "756.9" });
    it.register(2, "erika", &free).await?.expect(201)?;

    Ok(())
}

async fn shown(it: &Platform, alice: &Person) -> anyhow::Result<()> {
    // The streams, with the one that every account begins with.
    let streams = it
        .http
        .get(&alice.url("streams"), Some(&alice.token))
        .await?
        .expect(200)?;
    let text = streams.to_string();
    for (stream, is_there) in [
        (":system:phone", true),
        (":system:insurance", true),
        (":system:secret", false),
        ("diary", true),
    ] {
        let found = text.contains(&format!("\"id\":\"{stream}\""));
        ensure!(found == is_there, "{stream}: {text}");
    }
    // An app sees what it is given, and nobody is given what is hidden.
    let app = json!({ "name": "app", "type": "app", "permissions": [
        { "streamId": ":system:phone", "level": "read" },
    ] });
    let made = it
        .http
        .post(&alice.url("accesses"), Some(&alice.token), &app)
        .await?;
    let token = made.expect(201)?["access"]["token"].clone();
    let token = token.as_str().context("no token")?;
    let events = it
        .http
        .get(&alice.url("events"), Some(token))
        .await?
        .expect(200)?;
    ensure!(
        events["events"]
            .as_array()
            .is_some_and(|events| events.len() == 1)
            && events["events"][0]["content"] == "+41 2",
        "{events}"
    );
    let hidden = json!({ "name": "spy", "type": "app", "permissions": [
        { "streamId": ":system:secret", "level": "read" },
    ] });
    it.http
        .post(&alice.url("accesses"), Some(&alice.token), &hidden)
        .await?
        .expect(400)?;

    Ok(())
}

/// A platform that declared nothing when it was founded.
#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_may_come_later() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(2)).await?;
    let http = Http::new()?;
    let person = Person::new(&http, &cluster.core(1)?.url(), "alice").await?;
    let set = r#"custom.systemStreams={ account = [{ id = "phone", name = "Phone", type = "phone/string" }] }"#;
    let core = cluster.core_mut(0)?;
    let nothing = core.run(&["apply-config"]).await;
    let said = format!("{:#}", nothing.err().context("it did something")?);
    ensure!(
        said.contains("says nothing of the whole platform"),
        "{said}"
    );
    let said = core.run(&["apply-config", "--set", set]).await?;
    ensure!(said.contains("changed on the platform: custom"), "{said}");
    let said = core.run(&["apply-config", "--set", set]).await?;
    ensure!(said.contains("says the same already"), "{said}");
    // Her core has it when it has applied it.
    let phone = json!({ "phone": "+41 1" });
    let url = person.url("account");
    let changed = wait_until(
        Duration::from_secs(20),
        "a field that came later",
        async || {
            let token = Some(person.token.as_str());
            let reply = http.request(Method::PUT, &url, token, Some(&phone)).await?;
            reply.expect(200).map(Some)
        },
    );
    let changed = changed.await?;
    ensure!(changed["account"]["phone"] == "+41 1", "{changed}");
    Ok(())
}

/// Brings another declaration of one field to the platform.
async fn declare(core: &mut Core, unique: bool) -> anyhow::Result<String> {
    let set = format!(
        r#"custom.systemStreams={{ account = [{{ id = "insurance", name = "Insurance", type = "string/pryv", isUnique = {unique} }}] }}"#
    );
    core.run(&["apply-config", "--set", &set]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_may_be_unique_no_more_but_not_again() -> anyhow::Result<()> {
    let mut options = ClusterOptions::cores(1);
    options.set = vec![
        r#"custom.systemStreams={ account = [{ id = "insurance", name = "Insurance", type = "string/pryv", isUnique = true }] }"#.to_owned(),
    ];
    let mut it = Platform {
        cluster: Cluster::start(options).await?,
        http: Http::new()?,
    };
    let insurance = |value: &str| json!({ "insurance": value });
    let body = it.register(0, "alice", &insurance("X1")).await?;
    let alice = Person::registered("alice", &body.expect(201)?)?;

    let said = declare(it.cluster.core_mut(0)?, false).await?;
    ensure!(said.contains("changed on the platform: custom"), "{said}");
    it.change(&alice, &insurance("Y1")).await?.expect(200)?;
    it.register(0, "bruno", &insurance("Y1"))
        .await?
        .expect(201)?;
    // Two have the same value: nobody may say that there is one of each.
    let refused = declare(it.cluster.core_mut(0)?, true).await;
    let said = format!("{:#}", refused.err().context("it became unique")?);
    ensure!(
        said.contains("insurance") && said.contains("was not unique before"),
        "{said}"
    );
    // Nor may what they have go unseen.
    let core = it.cluster.core_mut(0)?;
    let none = "custom.systemStreams={ account = [] }";
    let refused = core.run(&["apply-config", "--set", none]).await;
    let said = format!("{:#}", refused.err().context("the field went")?);
    ensure!(said.contains("is declared no more"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_once_no_value_is_shown_that_is_not_held() -> anyhow::Result<()> {
    let mut options = ClusterOptions::cores(1);
    options.set = vec![DECLARED.split_whitespace().collect::<Vec<_>>().join(" ")];
    let it = Platform {
        cluster: Cluster::start(options).await?,
        http: Http::new()?,
    };
    let body = it
        .register(0, "alice", &json!({ "insurance": "756.0" }))
        .await?;
    let alice = Person::registered("alice", &body.expect(201)?)?;
    for round in 0..20 {
        let change = |which: u8| json!({ "email": format!("{round}@example.com"), "insurance": format!("756.{round}.{which}") });
        let (one, other) = (change(1), change(2));
        let (one, other) = tokio::join!(it.change(&alice, &one), it.change(&alice, &other));
        // The later of two that were planned from the same state is planned anew.
        for reply in [one?, other?] {
            reply.expect(200)?;
        }
        let shown = it.account(&alice).await?["insurance"].clone();
        let taken = it
            .register(0, "bruno", &json!({ "insurance": shown }))
            .await?;
        ensure!(taken.status.as_u16() == 409, "{shown}: {taken:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_is_wrong_is_refused_with_its_key() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let core = cluster.core_mut(0)?;
    let set = r#"custom.systemStreams={ account = [{ id = "email", name = "E", type = "email/string" }] }"#;
    let error = core.run(&["check-config", "--set", set]).await;
    let said = format!("{:#}", error.err().context("it was taken")?);
    ensure!(
        said.contains("custom.systemStreams.account[0].id"),
        "{said}"
    );
    ensure!(said.contains("email is built in"), "{said}");
    Ok(())
}

/// A field is declared while people register with a value for it: those before it have none, and of those
/// after it one has the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_one_persons_from_when_its_field_is_declared() -> anyhow::Result<()> {
    let it = Platform {
        cluster: Cluster::start(ClusterOptions::cores(3)).await?,
        http: Http::new()?,
    };
    let set = r#"custom.systemStreams={ account = [{ id = "badge", name = "Badge", type = "string/pryv", isUnique = true }] }"#;
    let register = async |core: usize, round: usize| {
        let name = format!("person{core}{round}");
        let reply = it.register(core, &name, &json!({ "badge": "1" })).await?;
        match reply.status.as_u16() {
            201 => Person::registered(&name, &reply.expect(201)?).map(Some),
            _ => reply.expect(409).map(|_taken| None),
        }
    };
    let registering = async |core: usize| {
        let (mut people, mut refused) = (Vec::new(), 0_usize);
        // Until it is known here for certain.
        for round in 0..200 {
            match register(core, round).await? {
                Some(person) => people.push(person),
                None => refused += 1,
            }
            if refused >= 3 {
                return Ok(people);
            }
        }
        anyhow::bail!("core {core} does not know the field after 200 registrations")
    };
    let applying = async {
        let core = it.cluster.core(0)?;
        core.run(&["apply-config", "--set", set]).await
    };
    let (said, zero, one, two) =
        tokio::try_join!(applying, registering(0), registering(1), registering(2))?;
    ensure!(said.contains("changed on the platform: custom"), "{said}");
    let mut with_badge = Vec::new();
    for person in [zero, one, two].concat() {
        let account = it.account(&person).await?;
        if account.get("badge").is_some() {
            with_badge.push(account);
        }
    }
    ensure!(with_badge.len() == 1, "{with_badge:?}");
    Ok(())
}
