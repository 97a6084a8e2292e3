//! Fields that begin at the platform, passwords by policy, and what is left when a step fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homecore_types::{Email, ErrorId, Secret, UserId, Username};
use serde_json::{Value, json};

use crate::access::AccessType;
use crate::account::passwords::PasswordPolicy;
use crate::method::Method;
use crate::ports::{
    Claim, Declared, EmailSet, FieldChanges, NameChange, Registry, TakeError, Unavailable,
    UserNames,
};
use crate::settings::Settings;
use crate::stream::schema::{Schema, SchemaSource};
use crate::testing::{Home, TestClock, json as read, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, Kernel};

mod events;

/// A platform of one user and of addresses that others have.
#[derive(Debug, Default)]
struct Platform {
    fields: Mutex<FieldChanges>,
    /// How often addresses changed.
    email_changes: Mutex<u32>,
    down: Mutex<bool>,
    settled: Arc<Mutex<u32>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// A declaration that this core does not know yet, and where it learns of it.
    newer: Mutex<Option<(Declaration, Arc<Schema>)>>,
}

type Declaration = Arc<Mutex<Arc<Schema>>>;

#[derive(Debug)]
struct Taken {
    settled: Arc<Mutex<u32>>,
    _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

#[async_trait]
impl Claim for Taken {
    async fn settled(self: Box<Self>) {
        *self.settled.lock().unwrap() += 1;
    }
}

#[async_trait]
impl Registry for Platform {
    async fn take(
        &self,
        _user: &UserId,
        changes: &FieldChanges,
    ) -> Result<Box<dyn Claim>, TakeError> {
        if *self.down.lock().unwrap() {
            return Err(TakeError::Unavailable(Unavailable {
                reason: "no quorum".to_owned(),
                retry_after: Duration::from_secs(2),
            }));
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(set) = &changes.emails
            && set.changes != *self.email_changes.lock().unwrap() + 1
        {
            return Err(TakeError::Changed);
        }
        let emails = changes.emails.as_ref();
        let mut emails = emails.into_iter().flat_map(|set| {
            let others = set.others.iter();
            std::iter::once(&set.present)
                .chain(others)
                .map(ToString::to_string)
        });
        if let Some(email) = emails.find(|email| email.starts_with("taken")) {
            return Err(TakeError::Taken(BTreeMap::from([(
                "email".to_owned(),
                email,
            )])));
        }
        let mut fields = self.fields.lock().unwrap();
        if changes.emails.is_some() {
            fields.emails.clone_from(&changes.emails);
            *self.email_changes.lock().unwrap() += 1;
        }
        if changes.language.is_some() {
            fields.language.clone_from(&changes.language);
        }
        fields.declared.clone_from(&changes.declared);
        fields.fields_version = changes.fields_version;
        Ok(Box::new(Taken {
            settled: Arc::clone(&self.settled),
            _turn: Some(turn),
        }))
    }

    /// Names have tests of their own.
    async fn rename(
        &self,
        _user: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        Err(TakeError::Reserved(change.to.clone()))
    }

    async fn take_alias(&self, _: &UserId, _: &Username) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Taken {
            settled: Arc::default(),
            _turn: None,
        }))
    }

    async fn loosen_aliases(&self, _: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Taken {
            settled: Arc::default(),
            _turn: None,
        }))
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        let newer = self.newer.lock().unwrap().take();
        if let Some((declared, schema)) = newer {
            *declared.lock().unwrap() = schema;
        }
        Ok(())
    }
}

struct Fixture {
    kernel: Kernel,
    clock: Arc<TestClock>,
    platform: Arc<Platform>,
    me: Actor,
}

async fn fixture(passwords: PasswordPolicy) -> Fixture {
    fixture_with(|settings| settings.passwords = passwords).await
}

async fn fixture_with(change: impl FnOnce(&mut Settings)) -> Fixture {
    let (kernel, clock) = kernel_with(change);
    let platform = Arc::new(Platform::default());
    kernel.connect(&(Arc::clone(&platform) as Arc<dyn Registry>));
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = Credential::parse(token.expose()).unwrap();
    let me = kernel.authenticate(&owner(), credential).await.unwrap();
    Fixture {
        kernel,
        clock,
        platform,
        me,
    }
}

impl Fixture {
    async fn call(&self, method: Method, params: Value) -> Result<Value, Error> {
        let reply = self.kernel.call(&self.me, method, params).await?;
        Ok(read(reply.as_bytes()))
    }

    async fn update(&self, changes: Value) -> Result<Value, Error> {
        self.call(Method::AccountUpdate, json!({ "update": changes }))
            .await
    }

    async fn account(&self) -> Value {
        self.call(Method::AccountGet, json!({})).await.unwrap()["account"].clone()
    }

    async fn change(&self, old: &str, new: &str) -> Result<Value, Error> {
        let params = json!({ "oldPassword": old, "newPassword": new });
        self.call(Method::AccountChangePassword, params).await
    }

    async fn is_password(&self, password: &str) -> bool {
        let password = Secret::new(password);
        self.kernel
            .verify_password(&owner().id, password)
            .await
            .unwrap()
    }
}

fn refused(result: Result<Value, Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

#[tokio::test]
async fn fields_change_at_the_platform_and_here() {
    let it = fixture(PasswordPolicy::default()).await;
    let before = it.account().await;
    assert_eq!(before["username"], "samplebeta1");
    assert_eq!(
        before["emails"],
        json!([{ "value": "samplebeta1@example.com", "primary": true, "status": "verified",
            "verifiedAt": null, "verificationMethod": "registration" }])
    );
    let changed = it
        .update(json!({ "email": " New@Example.com ", "language": "fr" }))
        .await;
    let changed = changed.unwrap()["account"].clone();
    assert_eq!(changed["email"], "new@example.com");
    assert_eq!(changed["language"], "fr");
    let shown = |account: &Value| -> Vec<String> {
        let emails = account["emails"].as_array().unwrap();
        let one = |email: &Value| {
            format!("{} {}", email["value"], email["verificationMethod"]).replace('"', "")
        };
        emails.iter().map(one).collect()
    };
    assert_eq!(
        shown(&changed),
        [
            "new@example.com legacy",
            "samplebeta1@example.com registration"
        ]
    );
    let taken = it.platform.fields.lock().unwrap().clone();
    assert_eq!(
        taken.emails.unwrap().present,
        Email::parse("new@example.com").unwrap()
    );
    assert_eq!(taken.language.as_deref(), Some("fr"));
    assert_eq!(*it.platform.settled.lock().unwrap(), 1);

    // Back again: it is no former one any more, and came as it came first.
    let back = it
        .update(json!({ "email": "samplebeta1@example.com" }))
        .await
        .unwrap();
    assert_eq!(
        shown(&back["account"]),
        [
            "samplebeta1@example.com registration",
            "new@example.com legacy"
        ]
    );
    for n in 0..9 {
        it.update(json!({ "email": format!("{n}@example.com") }))
            .await
            .unwrap();
    }
    assert_eq!(shown(&it.account().await).len(), 5);
    assert_eq!(
        it.update(json!({})).await.unwrap()["account"],
        it.account().await
    );
}

#[tokio::test]
async fn of_changes_at_the_same_moment_none_is_lost() {
    let it = fixture(PasswordPolicy::default()).await;
    let add = |n: u8| it.update(json!({ "emails": { "add": [format!("{n}@example.com")] } }));
    let changed = tokio::join!(add(0), add(1), add(2), add(3));
    for one in <[_; 4]>::from(changed) {
        one.unwrap();
    }
    let account = it.account().await;
    assert_eq!(account["emails"].as_array().unwrap().len(), 5, "{account}");

    // What never fits is not tried for ever, and changes nothing.
    *it.platform.email_changes.lock().unwrap() = 99;
    let late = it.update(json!({ "emails": { "remove": ["0@example.com"] } }));
    let late = late.await.unwrap_err();
    assert_eq!(late.id(), ErrorId::ApiUnavailable);
    assert!(late.retry_after().is_some());
    assert_eq!(it.account().await, account);
}

#[tokio::test]
async fn what_is_wrong_or_taken_changes_nothing() {
    let it = fixture(PasswordPolicy::default()).await;
    let before = it.account().await;
    let taken = it
        .update(json!({ "email": "taken@example.com", "language": "fr" }))
        .await;
    assert_eq!(
        refused(taken),
        (
            ErrorId::ItemAlreadyExists,
            json!({ "email": "taken@example.com" })
        )
    );
    for (changes, path) in [
        (json!({ "username": "other" }), "#/update"),
        (json!({ "email": "nope" }), "#/update/email"),
        (json!({ "email": 5 }), "#/update/email"),
        (json!({ "language": "toolong" }), "#/update/language"),
        (json!({ "language": null }), "#/update/language"),
        (json!([]), "#/update"),
    ] {
        let (id, data) = refused(it.update(changes.clone()).await);
        assert_eq!(id, ErrorId::InvalidParametersFormat, "{changes}");
        assert_eq!(data[0]["path"], path, "{changes}");
    }
    let none = it.call(Method::AccountUpdate, json!({})).await;
    assert_eq!(refused(none).0, ErrorId::InvalidParametersFormat);
    *it.platform.down.lock().unwrap() = true;
    let down = it.update(json!({ "language": "fr" })).await.unwrap_err();
    assert_eq!(down.id(), ErrorId::ApiUnavailable);
    assert_eq!(down.retry_after(), Some(Duration::from_secs(2)));
    assert_eq!(it.account().await, before);
    assert_eq!(*it.platform.settled.lock().unwrap(), 0);
}

#[tokio::test]
async fn without_a_platform_no_field_changes() {
    let mut it = fixture(PasswordPolicy::default()).await;
    it.platform = Arc::default();
    let error = it.update(json!({ "language": "fr" })).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::ApiUnavailable);
    assert_eq!(it.account().await["language"], "en");
}

#[tokio::test]
async fn only_the_person_sees_and_changes_an_account() {
    let it = fixture(PasswordPolicy::default()).await;
    let app = Home::new().app(Vec::new());
    assert_eq!(app.access.stored.kind, AccessType::App);
    for (method, params) in [
        (Method::AccountGet, json!({})),
        (Method::AccountUpdate, json!({ "update": { "nope": 1 } })),
        (Method::AccountChangePassword, json!({})),
    ] {
        let error = it.kernel.call(&app, method, params).await.unwrap_err();
        assert_eq!(error.id(), ErrorId::Forbidden, "{}", method.id());
    }
}

#[tokio::test]
async fn events_of_account_fields_go_the_same_way() {
    let it = fixture(PasswordPolicy::default()).await;
    let update = |content: Value| json!({ "id": ":system:email", "update": { "content": content, "type": "note/txt" } });
    let changed = it
        .call(Method::EventsUpdate, update(json!("New@Example.com")))
        .await
        .unwrap();
    assert_eq!(changed["event"]["content"], "new@example.com");
    assert_eq!(changed["event"]["type"], "email/string");
    let made = json!({ "streamIds": [":_system:language"], "type": "a/b", "content": "fr" });
    let made = it.call(Method::EventsCreate, made).await.unwrap();
    assert_eq!(made["event"]["content"], "fr");
    assert_eq!(made["event"]["type"], "language/iso-639-1");
    let one = json!({ "id": ":_system:language" });
    let one = it.call(Method::EventsGetOne, one).await.unwrap();
    assert_eq!(one["event"]["content"], "fr");
    assert_eq!(it.account().await["email"], "new@example.com");
    assert_eq!(
        it.platform.fields.lock().unwrap().language.as_deref(),
        Some("fr")
    );
    assert_eq!(*it.platform.settled.lock().unwrap(), 2);

    let taken = it
        .call(Method::EventsUpdate, update(json!("taken@example.com")))
        .await;
    assert_eq!(refused(taken).0, ErrorId::ItemAlreadyExists);
    let wrong = it
        .call(Method::EventsUpdate, update(json!("no address")))
        .await;
    assert_eq!(refused(wrong).0, ErrorId::InvalidOperation);
    let untouched = json!({ "id": ":_system:language", "update": { "time": 1 } });
    let untouched = it.call(Method::EventsUpdate, untouched).await.unwrap();
    assert_eq!(untouched["event"]["content"], "fr");
    assert_eq!(*it.platform.settled.lock().unwrap(), 2);
}

#[tokio::test]
async fn calls_of_a_batch_see_the_fields_that_calls_before_them_set() {
    let it = fixture(PasswordPolicy::default()).await;
    let calls = json!([
        { "method": "events.update",
            "params": { "id": ":_system:language", "update": { "content": "fr" } } },
        { "method": "events.getOne", "params": { "id": ":_system:language" } },
        { "method": "account.update", "params": { "update": { "language": "de" } } },
        { "method": "account.get", "params": {} },
    ]);
    let outcomes = it.kernel.call_batch(&it.me, calls).await.unwrap();
    let results: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match outcome {
            crate::batch::Outcome::Done(reply) => read(reply.as_bytes()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(results[1]["event"]["content"], "fr");
    assert_eq!(results[3]["account"]["language"], "de");
}

#[tokio::test]
async fn a_field_inside_another_hides_nothing_of_it() {
    let declared = json!({ "systemStreams": { "account": [
        { "id": "contact", "name": "Contact", "type": "string/pryv", "children": [
            { "id": "phone", "name": "Phone", "type": "string/pryv" },
        ] },
    ] } });
    let it = fixture_with(|settings| settings.account_schema = source(&declared)).await;
    let given = json!({ "contact": "main", "phone": "123" });
    it.update(given).await.unwrap();
    let account = it.account().await;
    assert_eq!(account["contact"], "main");
    assert_eq!(account["phone"], "123");
    // What is shown can be sent back.
    let again = json!({ "contact": account["contact"], "phone": account["phone"] });
    it.update(again).await.unwrap();
}

#[tokio::test]
async fn a_hidden_field_is_neither_set_nor_shown() {
    let declared = json!({ "systemStreams": { "account": [
        { "id": "secret", "name": "Secret", "type": "string/pryv", "isShown": false },
        { "id": "fixed", "name": "Fixed", "type": "string/pryv", "isEditable": false },
    ] } });
    let it = fixture_with(|settings| settings.account_schema = source(&declared)).await;
    let stored = |name: &str| Declared {
        text: format!("stored {name}"),
        unique: false,
        indexed: false,
    };
    let changes = FieldChanges {
        declared: ["secret", "fixed"]
            .map(|name| (name.to_owned(), stored(name)))
            .into(),
        ..FieldChanges::default()
    };
    it.kernel.adopt_fields(&owner().id, changes).await.unwrap();
    assert_eq!(it.account().await["fixed"], "stored fixed");
    let access = json!({ "name": "app", "type": "app", "permissions": [
        { "streamId": ":_system:account", "level": "contribute" },
    ] });
    let made = it.call(Method::AccessesCreate, access).await.unwrap();
    let token = made["access"]["token"].as_str().unwrap();
    let credential = Credential::parse(token).unwrap();
    let app = it.kernel.authenticate(&owner(), credential).await.unwrap();
    for (actor, stream) in [&it.me, &app]
        .into_iter()
        .flat_map(|actor| [(actor, ":system:secret"), (actor, ":system:fixed")])
    {
        let new = json!({ "streamIds": [stream], "type": "string/pryv", "content": "x" });
        let (described, set) = (json!({ "description": "x" }), json!({ "content": "x" }));
        for (method, params) in [
            (Method::EventsCreate, new),
            (
                Method::EventsUpdate,
                json!({ "id": stream, "update": described }),
            ),
            (Method::EventsUpdate, json!({ "id": stream, "update": set })),
        ] {
            let refused = it.kernel.call(actor, method, params).await.unwrap_err();
            assert_eq!(
                refused.id(),
                ErrorId::InvalidOperation,
                "{stream}: {refused}"
            );
            assert!(!format!("{refused:?}").contains("stored"), "{refused:?}");
        }
    }
    let error = it.update(json!({ "secret": "x" })).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::InvalidOperation);
}

/// What a platform declares.
fn source(declared: &Value) -> SchemaSource {
    let schema = Arc::new(Schema::parse(declared).unwrap().of_version(7));
    SchemaSource::new(move || Arc::clone(&schema))
}

#[tokio::test]
async fn what_the_platform_is_to_have_goes_there_equal_or_not() {
    let declared = json!({ "systemStreams": { "account": [
        { "id": "insurance", "name": "Insurance", "type": "string/pryv", "isUnique": true },
        { "id": "tariff", "name": "Tariff", "type": "string/pryv", "isIndexed": true },
        { "id": "phone", "name": "Phone", "type": "string/pryv" },
    ] } });
    let it = fixture_with(|settings| settings.account_schema = source(&declared)).await;
    let given = json!({ "insurance": "1", "tariff": "gold", "phone": "2" });
    for asked in [
        &["insurance", "phone", "tariff"][..],
        &["insurance", "tariff"],
    ] {
        it.update(given.clone()).await.unwrap();
        let taken = it.platform.fields.lock().unwrap().declared.clone();
        assert!(taken.keys().eq(asked), "{taken:?}");
        let version = it.platform.fields.lock().unwrap().fields_version;
        assert_eq!(version, Some(7));
    }
    let account = it.account().await;
    assert_eq!(
        (&account["insurance"], &account["phone"]),
        (&json!("1"), &json!("2"))
    );
}

#[tokio::test]
async fn what_the_platform_has_is_adopted() {
    let it = fixture(PasswordPolicy::default()).await;
    let changes = FieldChanges {
        emails: Some(EmailSet {
            present: Email::parse("new@example.com").unwrap(),
            others: Vec::new(),
            changes: 1,
        }),
        language: Some("it".to_owned()),
        ..FieldChanges::default()
    };
    for _ in 0..2 {
        it.kernel
            .adopt_fields(&owner().id, changes.clone())
            .await
            .unwrap();
        let account = it.account().await;
        assert_eq!(account["email"], "new@example.com");
        assert_eq!(account["language"], "it");
        assert_eq!(account["emails"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let it = fixture(PasswordPolicy::default()).await;
    let wrong = it.change("nope-nope", "sample-pass-2").await;
    assert_eq!(refused(wrong).0, ErrorId::InvalidOperation);
    for (new, code, bound) in [
        ("abc", "MIN_LENGTH", 6),
        (&*"x".repeat(101), "MAX_LENGTH", 100),
    ] {
        let (id, data) = refused(it.change("sample-pass-1", new).await);
        assert_eq!(id, ErrorId::InvalidParametersFormat);
        assert_eq!(data[0]["code"], code);
        assert_eq!(data[0]["params"], json!([bound]));
        assert_eq!(data[0]["path"], "#/newPassword");
    }
    let missing = it
        .call(Method::AccountChangePassword, json!({ "newPassword": 5 }))
        .await;
    assert_eq!(refused(missing).0, ErrorId::InvalidParametersFormat);
    assert!(it.is_password("sample-pass-1").await);

    assert_eq!(
        it.change("sample-pass-1", "sample-pass-2").await.unwrap(),
        json!({})
    );
    assert!(it.is_password("sample-pass-2").await);
    assert!(!it.is_password("sample-pass-1").await);
    it.account().await;
}

#[tokio::test]
async fn passwords_follow_the_policy() {
    let day = Duration::from_secs(24 * 3_600);
    let it = fixture(PasswordPolicy {
        chars_min: 8,
        categories_min: 3,
        age_min: Some(day),
        history: 2,
        ..PasswordPolicy::default()
    })
    .await;
    let first = "sample-pass-1";
    for (new, part) in [
        ("Short-1", "7 characters"),
        ("lowercase-only", "2 categories"),
    ] {
        let (id, data) = refused(it.change(first, new).await);
        assert_eq!(id, ErrorId::InvalidParametersFormat);
        assert!(data[0].as_str().unwrap().contains(part), "{data}");
    }
    let (id, data) = refused(it.change(first, "sample-pass-2").await);
    assert_eq!(id, ErrorId::InvalidOperation);
    assert!(data["passwordCanBeChanged"].is_number());
    it.clock.advance(day);
    let same = it.change(first, first).await;
    assert_eq!(refused(same).0, ErrorId::InvalidOperation);
    it.change(first, "sample-pass-2").await.unwrap();
    it.clock.advance(day);
    let used = it.change("sample-pass-2", first).await;
    assert_eq!(refused(used).0, ErrorId::InvalidOperation);
    it.change("sample-pass-2", "sample-pass-3").await.unwrap();
    it.clock.advance(day);
    it.change("sample-pass-3", first).await.unwrap();
    assert!(it.is_password(first).await);
}

#[tokio::test]
async fn a_removed_account_leaves_nothing() {
    let it = fixture(PasswordPolicy::default()).await;
    it.account().await;
    for _ in 0..2 {
        it.kernel.remove_account(&owner().id).await.unwrap();
    }
    assert!(!it.kernel.users().contains(&owner().id).await.unwrap());
    assert!(it.kernel.pending().users().is_empty());
    let gone = it.kernel.call(&it.me, Method::AccountGet, json!({})).await;
    assert_eq!(gone.unwrap_err().id(), ErrorId::UnknownResource);
    it.kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    assert_eq!(it.account().await["language"], "en");
}
