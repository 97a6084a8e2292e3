//! A name changes at the platform and here; what was the name before still leads to the account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homecore_types::{ErrorId, Secret, UserId, Username};
use serde_json::{Value, json};

use crate::audit::Source;
use crate::ports::{
    Claim, FieldChanges, NameChange, Registry, ReservedNames, TakeError, Unavailable, UserNames,
};
use crate::testing::{json as read, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, Kernel, Method};

/// A platform of one user and of names that others have.
#[derive(Debug)]
struct Platform {
    names: Mutex<UserNames>,
    down: Mutex<bool>,
}

#[derive(Debug)]
struct Taken;

#[async_trait]
impl Claim for Taken {
    async fn settled(self: Box<Self>) {}
}

#[derive(Debug)]
struct Words;

impl ReservedNames for Words {
    fn is_reserved(&self, name: &Username) -> bool {
        name.as_str() == "security"
    }
}

#[async_trait]
impl Registry for Platform {
    async fn take(&self, _: &UserId, _: &FieldChanges) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Taken))
    }

    async fn rename(
        &self,
        _user: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        if *self.down.lock().unwrap() {
            return Err(TakeError::Unavailable(Unavailable {
                reason: "no quorum".to_owned(),
                retry_after: Duration::from_secs(2),
            }));
        }
        let mut names = self.names.lock().unwrap();
        assert_eq!(names.present, change.from);
        let to = change.to.clone();
        if to.as_str() == "taken" {
            let taken = BTreeMap::from([("username".to_owned(), to.to_string())]);
            return Err(TakeError::Taken(taken));
        }
        if names.changes >= change.changes_max {
            return Err(TakeError::ChangesUsed {
                used: names.changes,
                most: change.changes_max,
            });
        }
        names.former.retain(|former| *former != to);
        let former = std::mem::replace(&mut names.present, to);
        names.former.push(former);
        names.changes += 1;
        Ok((names.clone(), Box::new(Taken)))
    }

    async fn take_alias(&self, _: &UserId, _: &Username) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Taken))
    }

    async fn loosen_aliases(&self, _: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Taken))
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

struct Fixture {
    kernel: Kernel,
    platform: Arc<Platform>,
    me: Actor,
}

async fn fixture() -> Fixture {
    let (kernel, _clock) = kernel_with(|_| {});
    let platform = Arc::new(Platform {
        names: Mutex::new(UserNames {
            present: owner().username,
            former: Vec::new(),
            changes: 0,
        }),
        down: Mutex::new(false),
    });
    kernel.connect(&(Arc::clone(&platform) as Arc<dyn Registry>));
    kernel.reserve_names(Arc::new(Words));
    let token = kernel.create_account(&owner().id, new_account()).await;
    let me = enter(&kernel, &token.unwrap()).await;
    Fixture {
        kernel,
        platform,
        me,
    }
}

async fn enter(kernel: &Kernel, token: &Secret) -> Actor {
    let credential = Credential::parse(token.expose()).unwrap();
    kernel.authenticate(&owner(), credential).await.unwrap()
}

impl Fixture {
    async fn change(&self, name: &str) -> Result<Value, Error> {
        let params = json!({ "newUsername": name });
        self.call(Method::AccountChangeUsername, params).await
    }

    async fn call(&self, method: Method, params: Value) -> Result<Value, Error> {
        let reply = self.kernel.call(&self.me, method, params).await?;
        Ok(read(reply.as_bytes()))
    }

    async fn left(&self) -> Value {
        let changes = self.call(Method::AccountUsernameChanges, json!({})).await;
        changes.unwrap()["usernameChangesRemaining"].clone()
    }

    async fn may_log_in_as(&self, name: &str) -> bool {
        let params =
            json!({ "username": name, "password": "sample-pass-1", "appId": "sample-app" });
        let origin = "https://l.backloop.dev";
        let source = Source::default();
        let entered = self.kernel.login(&owner(), &params, origin, source).await;
        entered.is_ok()
    }
}

fn refused(result: Result<Value, Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_name_changes_and_the_former_one_is_still_good() {
    let it = fixture().await;
    let changed = it.change("NewName").await.unwrap();
    assert_eq!(changed["usernameChangesRemaining"], 1);
    assert_eq!(changed["account"]["username"], "newname");
    assert!(changed["account"].get("emails").is_none());
    let account = it.call(Method::AccountGet, json!({})).await.unwrap();
    assert_eq!(account["account"]["username"], "newname");
    for (name, good) in [("newname", true), ("SampleBeta1", true), ("other", false)] {
        assert_eq!(it.may_log_in_as(name).await, good, "{name}");
    }
    let changes = it.call(Method::AccountUsernameChanges, json!({})).await;
    assert_eq!(
        changes.unwrap(),
        json!({ "usernameChangesUsed": 1, "usernameChangesLimit": 2,
            "usernameChangesRemaining": 1 })
    );
    // Back to a name that was its own; then it is enough.
    it.change("samplebeta1").await.unwrap();
    assert_eq!(it.left().await, 0);
    // The platform is not asked for that.
    *it.platform.down.lock().unwrap() = true;
    assert_eq!(
        refused(it.change("third").await),
        (
            ErrorId::InvalidOperation,
            json!({ "usernameChangesUsed": 2, "usernameChangesLimit": 2 })
        )
    );
}

#[tokio::test]
async fn what_is_wrong_reserved_or_taken_changes_nothing() {
    let it = fixture().await;
    for name in ["abc", "with space", "-dash", "dash-", "under_score"] {
        let (id, data) = refused(it.change(name).await);
        assert_eq!(id, ErrorId::InvalidParametersFormat, "{name}");
        assert_eq!(data[0]["path"], "#/newUsername");
    }
    for params in [
        json!({}),
        json!({ "newUsername": 1 }),
        json!({ "newUsername": "fine1", "x": 1 }),
    ] {
        let wrong = it.call(Method::AccountChangeUsername, params).await;
        assert_eq!(refused(wrong).0, ErrorId::InvalidParametersFormat);
    }
    for name in ["samplebeta1", "security"] {
        assert_eq!(
            refused(it.change(name).await).0,
            ErrorId::InvalidOperation,
            "{name}"
        );
    }
    assert_eq!(
        refused(it.change("taken").await),
        (ErrorId::ItemAlreadyExists, json!({ "username": "taken" }))
    );
    *it.platform.down.lock().unwrap() = true;
    assert_eq!(
        refused(it.change("newname").await).0,
        ErrorId::ApiUnavailable
    );
    assert_eq!(it.left().await, 2);
}

#[tokio::test]
async fn only_the_person_may() {
    let it = fixture().await;
    let asked = json!({ "type": "app", "name": "app",
        "permissions": [{ "streamId": "*", "level": "manage" }] });
    let app = it.call(Method::AccessesCreate, asked).await.unwrap();
    let token = Secret::new(app["access"]["token"].as_str().unwrap());
    let app = enter(&it.kernel, &token).await;
    for (method, params) in [
        (
            Method::AccountChangeUsername,
            json!({ "newUsername": "newname" }),
        ),
        (Method::AccountUsernameChanges, json!({})),
    ] {
        let refused = it.kernel.call(&app, method, params).await.unwrap_err();
        assert_eq!(refused.id(), ErrorId::Forbidden);
    }
}

#[tokio::test]
async fn names_that_the_platform_has_are_taken_over() {
    let it = fixture().await;
    let names = UserNames {
        present: Username::parse("newname").unwrap(),
        former: vec![owner().username],
        changes: 1,
    };
    for _ in 0..2 {
        it.kernel
            .adopt_names(&owner().id, names.clone())
            .await
            .unwrap();
        assert_eq!(it.left().await, 1);
        assert!(it.may_log_in_as("newname").await);
    }
}
