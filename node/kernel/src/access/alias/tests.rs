//! Aliases are held on the platform from before their accesses are there until after they are gone,
//! and stand for the user wherever such an access looks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homecore_types::{UserId, Username};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ATTEMPTS;
use crate::actor::Owner;
use crate::ports::{
    CallLimits, Claim, FieldChanges, NameChange, Registry, TakeError, Unavailable, UserNames,
};
use crate::testing::{json as read, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, Kernel, Method};

/// A platform of one user.
#[derive(Debug, Default)]
struct State {
    held: BTreeSet<Username>,
    /// So many draws are another's.
    taken: usize,
    down: bool,
    settled: usize,
    /// Claims that ended without being settled: the account is looked at later.
    left: usize,
}

#[derive(Debug, Default)]
struct Platform(Arc<Mutex<State>>);

#[derive(Debug)]
struct Taken(Arc<Mutex<State>>, bool);

#[async_trait]
impl Claim for Taken {
    async fn settled(mut self: Box<Self>) {
        self.1 = true;
        self.0.lock().unwrap().settled += 1;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.1 {
            self.0.lock().unwrap().left += 1;
        }
    }
}

impl Platform {
    fn claim(&self) -> Result<Box<dyn Claim>, TakeError> {
        if self.0.lock().unwrap().down {
            return Err(TakeError::Unavailable(Unavailable {
                reason: "no quorum".to_owned(),
                retry_after: Duration::from_secs(2),
            }));
        }
        Ok(Box::new(Taken(Arc::clone(&self.0), false)))
    }
}

#[async_trait]
impl Registry for Platform {
    async fn take(&self, _: &UserId, _: &FieldChanges) -> Result<Box<dyn Claim>, TakeError> {
        self.claim()
    }

    async fn rename(
        &self,
        _: &UserId,
        _: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        Err(TakeError::Reserved(owner().username))
    }

    async fn take_alias(&self, _: &UserId, alias: &Username) -> Result<Box<dyn Claim>, TakeError> {
        assert!(Username::is_alias(alias.as_str()));
        {
            let mut state = self.0.lock().unwrap();
            if !state.down && state.taken > 0 {
                state.taken -= 1;
                let taken = ("username".to_owned(), alias.to_string());
                return Err(TakeError::Taken([taken].into()));
            }
        }
        let claim = self.claim()?;
        let mut state = self.0.lock().unwrap();
        assert!(state.held.insert(alias.clone()), "drawn twice");
        Ok(claim)
    }

    async fn loosen_aliases(&self, _: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        self.claim()
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// Lets nothing change.
#[derive(Debug)]
struct Never;

impl CallLimits for Never {
    fn try_password(&self, _: &Username) -> Result<(), Duration> {
        Ok(())
    }

    fn change_account(&self, _: &UserId) -> Result<(), Duration> {
        Err(Duration::from_secs(7))
    }
}

struct Fixture {
    kernel: Kernel,
    platform: Arc<Platform>,
    me: Actor,
}

async fn fixture() -> Fixture {
    let (kernel, _clock) = kernel_with(|_| {});
    let platform = Arc::new(Platform::default());
    kernel.connect(&(Arc::clone(&platform) as Arc<dyn Registry>));
    let token = kernel.create_account(&owner().id, new_account()).await;
    let me = enter(&kernel, token.unwrap().expose()).await.unwrap();
    Fixture {
        kernel,
        platform,
        me,
    }
}

async fn enter(kernel: &Kernel, token: &str) -> Result<Actor, Error> {
    kernel
        .authenticate(&owner(), Credential::parse(token).unwrap())
        .await
}

fn asked(kind: &str, name: &str, alias: bool) -> Value {
    json!({ "type": kind, "name": name, "randomAlias": alias,
        "permissions": [{ "streamId": "*", "level": "read" }] })
}

impl Fixture {
    async fn call(&self, actor: &Actor, method: Method, params: Value) -> Result<Value, Error> {
        let reply = self.kernel.call(actor, method, params).await?;
        Ok(read(reply.as_bytes()))
    }

    async fn create(&self, actor: &Actor, params: Value) -> Result<Value, Error> {
        let mut reply = self.call(actor, Method::AccessesCreate, params).await?;
        Ok(reply["access"].take())
    }

    async fn delete(&self, actor: &Actor, access: &Value) -> Result<Value, Error> {
        let params = json!({ "id": access["id"] });
        self.call(actor, Method::AccessesDelete, params).await
    }

    async fn through(&self, access: &Value) -> Actor {
        enter(&self.kernel, access["token"].as_str().unwrap())
            .await
            .unwrap()
    }

    async fn used(&self) -> BTreeSet<Username> {
        self.kernel.aliases_in_use(&owner().id).await.unwrap()
    }

    fn held(&self) -> BTreeSet<Username> {
        self.platform.0.lock().unwrap().held.clone()
    }

    /// Claims settled, and left to be looked at.
    fn claims(&self) -> (usize, usize) {
        let state = self.platform.0.lock().unwrap();
        (state.settled, state.left)
    }
}

fn alias(access: &Value) -> &str {
    access["alias"].as_str().unwrap()
}

#[tokio::test]
async fn an_alias_stands_for_the_user() {
    let one = fixture().await;
    let app = one.create(&one.me, asked("app", "an-app", true)).await;
    let app = app.unwrap();
    assert!(Username::is_alias(alias(&app)));
    assert_eq!(one.used().await, one.held());
    assert_eq!(one.claims(), (1, 0));

    let actor = one.through(&app).await;
    assert_eq!(actor.shown_name().as_str(), alias(&app));
    let info = one.call(&actor, Method::GetAccessInfo, json!({})).await;
    let info = info.unwrap();
    assert_eq!(info["user"], json!({ "username": alias(&app) }));
    assert_eq!(info["alias"], app["alias"]);
    let info = one.call(&one.me, Method::GetAccessInfo, json!({})).await;
    assert_eq!(info.unwrap()["user"]["username"], "samplebeta1");
    // Nothing that it is told has the name.
    for (method, params) in [
        (Method::AccessesGet, json!({ "includeDeletions": true })),
        (Method::GetAccessInfo, json!({})),
        (Method::ProfileGetPublic, json!({})),
        (Method::StreamsGet, json!({})),
        (Method::EventsGet, json!({})),
    ] {
        let told = one.call(&actor, method, params).await.unwrap();
        assert!(!told.to_string().contains("samplebeta1"), "{told}");
    }

    // What it creates looks through the same name, or through one of its own.
    let child = asked("shared", "a-child", false);
    let child = one.create(&actor, child).await.unwrap();
    assert_eq!(child["alias"], app["alias"]);
    let other = asked("shared", "another", true);
    let other = one.create(&actor, other).await.unwrap();
    assert_ne!(other["alias"], app["alias"]);
    assert_eq!(one.used().await, one.held());
    assert_eq!(one.used().await.len(), 2);

    // It stays with its access, whatever else of that changes.
    let update = json!({ "id": app["id"], "update": { "name": "renamed" } });
    let update = one.call(&one.me, Method::AccessesUpdate, update).await;
    assert_eq!(update.unwrap()["access"]["alias"], app["alias"]);

    // With the app all of them go, and the platform is told to look.
    let gone = one.delete(&one.me, &app).await.unwrap();
    assert_eq!(gone["relatedDeletions"].as_array().unwrap().len(), 2);
    assert_eq!(one.used().await, BTreeSet::new());
    assert_eq!(one.claims(), (3, 0));
}

#[tokio::test]
async fn what_is_refused_takes_no_alias() {
    let one = fixture().await;
    let app = one.create(&one.me, asked("app", "an-app", true)).await;
    let app = one.through(&app.unwrap()).await;
    let held = one.held();
    let shared = one.create(&one.me, asked("shared", "shared", false)).await;
    let shared = one.through(&shared.unwrap()).await;
    let more = json!({ "type": "shared", "name": "more", "randomAlias": true,
        "permissions": [{ "streamId": "*", "level": "manage" }] });
    for (actor, params, id) in [
        (&one.me, asked("app", "an-app", true), "item-already-exists"),
        (&one.me, asked("personal", "x", true), "forbidden"),
        (
            &one.me,
            json!({ "randomAlias": true }),
            "invalid-parameters-format",
        ),
        (
            &one.me,
            asked("nothing", "x", true),
            "invalid-parameters-format",
        ),
        (&app, more, "forbidden"),
        (&shared, asked("shared", "x", true), "forbidden"),
    ] {
        let error = one.create(actor, params).await.unwrap_err();
        assert_eq!(error.id().wire(), id);
    }
    for alias in [json!("true"), json!(1), json!({})] {
        let mut params = asked("shared", "x", true);
        params["randomAlias"] = alias;
        let error = one.create(&one.me, params).await.unwrap_err();
        assert_eq!(error.id().wire(), "invalid-parameters-format");
    }
    assert_eq!(one.held(), held);
    assert_eq!(one.claims(), (1, 0));

    // What may not be deleted begins no step either.
    let mine = json!({ "id": one.me.access.id });
    let refused = one.call(&app, Method::AccessesDelete, mine).await;
    assert_eq!(refused.unwrap_err().id().wire(), "forbidden");
    let its = json!({ "id": app.access.id });
    let refused = one.call(&shared, Method::AccessesDelete, its).await;
    assert_eq!(refused.unwrap_err().id().wire(), "forbidden");
    let stale = json!({ "id": format!("{}:7", app.access.id) });
    let refused = one.call(&one.me, Method::AccessesDelete, stale).await;
    assert_eq!(refused.unwrap_err().id().wire(), "stale-resource");
    assert_eq!(one.used().await, held);
}

#[tokio::test]
async fn draws_that_others_have_are_made_again() {
    let one = fixture().await;
    one.platform.0.lock().unwrap().taken = ATTEMPTS - 1;
    one.create(&one.me, asked("app", "lucky", true))
        .await
        .unwrap();
    assert_eq!((one.held().len(), one.used().await), (1, one.held()));
    one.platform.0.lock().unwrap().taken = ATTEMPTS;
    let error = one.create(&one.me, asked("app", "unlucky", true)).await;
    assert_eq!(error.unwrap_err().id().wire(), "api-unavailable");
    assert_eq!(one.held().len(), 1);
}

#[tokio::test]
async fn without_the_platform_nothing_with_an_alias_changes() {
    let one = fixture().await;
    let app = one.create(&one.me, asked("app", "an-app", true)).await;
    let app = app.unwrap();
    let plain = one.create(&one.me, asked("app", "plain", false)).await;
    one.platform.0.lock().unwrap().down = true;
    let error = one
        .create(&one.me, asked("app", "b", true))
        .await
        .unwrap_err();
    assert_eq!(error.id().wire(), "api-unavailable");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    let error = one.delete(&one.me, &app).await.unwrap_err();
    assert_eq!(error.id().wire(), "api-unavailable");
    assert_eq!(one.used().await, one.held());
    one.through(&app).await;
    // Others need no platform.
    one.delete(&one.me, &plain.unwrap()).await.unwrap();
    one.platform.0.lock().unwrap().down = false;
    one.delete(&one.me, &app).await.unwrap();

    one.kernel.limit_calls(Arc::new(Never));
    let error = one
        .create(&one.me, asked("app", "c", true))
        .await
        .unwrap_err();
    assert_eq!(error.id().wire(), "too-many-requests");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn batches_do_the_same() {
    let one = fixture().await;
    let create = |name: &str, alias: bool| json!({ "method": "accesses.create", "params": asked("app", name, alias) });
    let calls = json!([
        create("a", true),
        create("b", false),
        create("a", true),
        create("c", true)
    ]);
    let outcomes = one.kernel.call_batch(&one.me, calls).await.unwrap();
    let done: Vec<Option<Value>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            crate::batch::Outcome::Done(reply) => Some(read(reply.as_bytes())["access"].take()),
            _ => None,
        })
        .collect();
    assert!(done[2].is_none(), "the name is taken");
    assert_eq!(one.used().await, one.held());
    assert_eq!(one.held().len(), 2);
    let delete = |n: usize| {
        json!({ "method": "accesses.delete",
        "params": { "id": done[n].as_ref().unwrap()["id"] } })
    };
    let calls = json!([delete(0), delete(1), delete(3), delete(0)]);
    let outcomes = one.kernel.call_batch(&one.me, calls).await.unwrap();
    let refused = |outcome| matches!(outcome, &crate::batch::Outcome::Refused(_));
    let refused: Vec<bool> = outcomes.iter().map(refused).collect();
    assert_eq!(refused, [false, false, false, true]);
    assert_eq!(one.used().await, BTreeSet::new());
}

#[tokio::test]
async fn under_an_alias_only_the_alias_is_a_name() {
    let one = fixture().await;
    let alias = Username::parse("r-abcdefgh").unwrap();
    let under = Owner {
        alias: Some(alias),
        ..owner()
    };
    let account = one
        .kernel
        .read(&owner().id, |view, _| crate::account::load(view))
        .await
        .unwrap()
        .unwrap();
    for (owner, name, is) in [
        (&under, "r-abcdefgh", true),
        (&under, "R-ABCDEFGH", true),
        (&under, "samplebeta1", false),
        (&under, "r-abcdefgj", false),
        (&owner(), "samplebeta1", true),
        (&owner(), "r-abcdefgh", false),
    ] {
        assert_eq!(account.is_meant(owner, name), is, "{name}");
    }
    let log_in = |name: &str, password: &str| {
        let params = json!({ "username": name, "password": password, "appId": "app-web" });
        let (kernel, under) = (one.kernel.clone(), under.clone());
        async move {
            let source = crate::audit::Source::default();
            let origin = "https://any.backloop.dev";
            let done = kernel.log_in(&under, &params, origin, source).await;
            done.map(drop).map_err(|error| error.to_string())
        }
    };
    // Whether the name is the right one makes no difference.
    for password in ["sample-pass-1", "wrong"] {
        let (right, wrong) = (log_in("samplebeta1", password), log_in("bobby", password));
        assert_eq!(right.await.unwrap_err(), wrong.await.unwrap_err());
    }
    log_in("r-abcdefgh", "sample-pass-1").await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Create { app: bool, alias: bool, name: u8 },
    Child { of: u8, alias: bool, name: u8 },
    Delete(u8),
    Down(bool),
    Taken(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), any::<bool>(), 0..6_u8)
            .prop_map(|(app, alias, name)| Step::Create { app, alias, name }),
        4 => (any::<u8>(), any::<bool>(), 0..6_u8)
            .prop_map(|(of, alias, name)| Step::Child { of, alias, name }),
        3 => any::<u8>().prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::Down),
        1 => (0..10_u8).prop_map(Step::Taken),
    ];
    prop::collection::vec(step, 1..24)
}

async fn run(steps: Vec<Step>) {
    let one = fixture().await;
    let mut made: Vec<Value> = Vec::new();
    for step in steps {
        let result = match step {
            Step::Create { app, alias, name } => {
                let kind = if app { "app" } else { "shared" };
                one.create(&one.me, asked(kind, &format!("n{name}"), alias))
                    .await
            }
            Step::Child { of, alias, name } => {
                let apps: Vec<&Value> = made.iter().filter(|a| a["type"] == "app").collect();
                let Some(app) = apps.get(usize::from(of) % apps.len().max(1)) else {
                    continue;
                };
                let Ok(app) = enter(&one.kernel, app["token"].as_str().unwrap()).await else {
                    continue;
                };
                let child = one
                    .create(&app, asked("shared", &format!("c{name}"), alias))
                    .await;
                if let Ok(child) = &child {
                    let own = app.access.stored.alias.as_ref().map(Username::as_str);
                    assert!(alias || child["alias"].as_str() == own);
                    assert!(
                        own.is_none() || child["alias"].is_string(),
                        "it would see more"
                    );
                }
                child
            }
            Step::Delete(which) => match made.get(usize::from(which) % made.len().max(1)) {
                Some(access) => one.delete(&one.me, &access.clone()).await,
                None => continue,
            },
            Step::Down(down) => {
                one.platform.0.lock().unwrap().down = down;
                continue;
            }
            Step::Taken(taken) => {
                one.platform.0.lock().unwrap().taken = usize::from(taken);
                continue;
            }
        };
        if let Ok(access) = result
            && access["token"].is_string()
        {
            made.push(access);
        }
        // Whatever was refused or ended early: what an access has, the platform holds.
        let (used, mut held) = (one.used().await, one.held());
        assert!(used.is_subset(&held));
        assert_eq!(one.claims().1, 0, "nothing was left to be looked at");
        // What a look would free is only what deleted accesses had.
        held.retain(|alias| !used.contains(alias));
        let gone: BTreeSet<&str> = made.iter().filter_map(|a| a["alias"].as_str()).collect();
        assert!(held.iter().all(|alias| gone.contains(alias.as_str())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_accesses_have_is_held(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
