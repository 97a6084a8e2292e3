//! The states that a second factor goes through, and what is refused in each.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homecore_types::limits::{MFA_SESSIONS_PER_USER_MAX, MFA_TRIES_MAX};
use homecore_types::{ErrorId, UserId};

use super::sessions::{MfaSession, MfaSessions, Purpose};
use super::*;
use crate::account::login::Login;
use crate::audit::Source;
use crate::method::Method;
use crate::ports::{CodeProviderError, CodeSender};
use crate::testing::owner;
use crate::testing::{Home, NOW, TestClock, TestEntropy, json as read, kernel_with, new_account};
use crate::{Actor, Credential, Error, Kernel};

const ORIGIN: &str = "https://x.backloop.dev";
/// The code that a provider which makes its own takes.
const PROVIDERS: &str = "provider";

/// Codes go into a list.
#[derive(Debug, Default)]
struct Phone {
    makes_codes: bool,
    sent: Mutex<Vec<Map<String, Value>>>,
    broken: Mutex<bool>,
}

impl Phone {
    fn works(&self) -> Result<(), CodeProviderError> {
        let reason = "broken".to_owned();
        match *self.broken.lock().unwrap() {
            true => Err(CodeProviderError { reason }),
            false => Ok(()),
        }
    }

    fn code(&self) -> String {
        if self.makes_codes {
            return PROVIDERS.to_owned();
        }
        let sent = self.sent.lock().unwrap();
        sent.last().unwrap()["code"].as_str().unwrap().to_owned()
    }
}

#[async_trait]
impl CodeSender for Phone {
    fn makes_codes(&self) -> bool {
        self.makes_codes
    }

    async fn send(&self, values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        self.works()?;
        self.sent.lock().unwrap().push(values.clone());
        Ok(())
    }

    async fn check(&self, values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        assert!(self.makes_codes && values.contains_key("phone"));
        let reason = "another code".to_owned();
        (values["code"] == PROVIDERS)
            .then_some(())
            .ok_or(CodeProviderError { reason })
    }
}

struct Fixture {
    kernel: Kernel,
    clock: Arc<TestClock>,
    phone: Arc<Phone>,
    me: Actor,
}

async fn fixture(makes_codes: bool) -> Fixture {
    let (kernel, clock) = kernel_with(|_| {});
    let phone = Arc::new(Phone {
        makes_codes,
        ..Phone::default()
    });
    kernel.connect_codes(Arc::clone(&phone) as Arc<dyn CodeSender>);
    let owner = owner();
    let token = kernel.create_account(&owner.id, new_account()).await;
    let credential = Credential::parse(token.unwrap().expose()).unwrap();
    let me = kernel.authenticate(&owner, credential).await.unwrap();
    Fixture {
        kernel,
        clock,
        phone,
        me,
    }
}

impl Fixture {
    async fn begin(&self) -> Result<Secret, Error> {
        let content = Map::from_iter([("phone".to_owned(), json!("123"))]);
        self.kernel.mfa_activate(&self.me, content).await
    }

    async fn confirm(&self, token: &Secret, code: &str) -> Result<Value, Error> {
        let (owner, params) = (owner(), json!({ "code": code }));
        let source = Source::default();
        let confirmed = self.kernel.mfa_confirm(&owner, token, &params, source);
        Ok(read(confirmed.await?.as_bytes()))
    }

    async fn activate(&self) -> Vec<String> {
        let token = self.begin().await.unwrap();
        let codes = self.confirm(&token, &self.phone.code()).await.unwrap();
        serde_json::from_value(codes["recoveryCodes"].clone()).unwrap()
    }

    async fn log_in(&self, password: &str) -> Login {
        let params =
            json!({ "username": "samplebeta1", "password": password, "appId": "sample-app" });
        let (owner, source) = (owner(), Source::default());
        let login = self.kernel.log_in(&owner, &params, ORIGIN, source);
        login.await.unwrap()
    }

    async fn wait(&self) -> Secret {
        match self.log_in("sample-pass-1").await {
            Login::SecondFactor(token) => token,
            Login::Done(_) => panic!("a password alone opened a session"),
        }
    }

    async fn challenge(&self, token: &Secret) -> Result<(), Error> {
        let (owner, source) = (owner(), Source::default());
        let sent = self.kernel.mfa_challenge(&owner, token, source).await;
        sent.map(drop)
    }

    async fn verify(&self, token: &Secret, code: &str) -> Result<Secret, Error> {
        let (owner, params) = (owner(), json!({ "code": code }));
        let source = Source::default();
        let verified = self.kernel.mfa_verify(&owner, token, &params, source);
        Ok(verified.await?.token)
    }

    async fn recover(&self, password: &str, code: &str) -> Result<(), Error> {
        let params = json!({
            "username": "samplebeta1", "password": password, "recoveryCode": code,
        });
        let (owner, source) = (owner(), Source::default());
        let recovered = self.kernel.mfa_recover(&owner, &params, source);
        recovered.await.map(drop)
    }
}

fn id<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorId {
    result.unwrap_err().id()
}

fn data<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().unwrap()["id"].clone())
}

#[tokio::test]
async fn a_log_in_ends_with_the_code_that_was_sent() {
    for makes_codes in [false, true] {
        let it = fixture(makes_codes).await;
        assert!(matches!(it.log_in("sample-pass-1").await, Login::Done(_)));
        assert_eq!(it.activate().await.len(), 10);
        let token = it.wait().await;
        it.challenge(&token).await.unwrap();
        let code = it.phone.code();
        let session = it.verify(&token, &code).await.unwrap();
        let credential = Credential::parse(session.expose()).unwrap();
        assert!(it.kernel.authenticate(&owner(), credential).await.is_ok());
        // Once.
        assert_eq!(
            id(it.verify(&token, &code).await),
            ErrorId::MissingAccessToken
        );
        assert_eq!(id(it.challenge(&token).await), ErrorId::MissingAccessToken);
        it.kernel.mfa_deactivate(&it.me).await.unwrap();
        assert!(matches!(it.log_in("sample-pass-1").await, Login::Done(_)));
        it.kernel.mfa_deactivate(&it.me).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_codes_are_few() {
    let it = fixture(false).await;
    it.activate().await;
    let token = it.wait().await;
    let wrong = (ErrorId::InvalidParametersFormat, json!("invalid-mfa-code"));
    // None was sent yet.
    assert_eq!(data(it.verify(&token, "").await), wrong);
    it.challenge(&token).await.unwrap();
    for _ in 1..MFA_TRIES_MAX {
        assert_eq!(data(it.verify(&token, "none").await), wrong);
    }
    // Asking for another code gives no more tries.
    it.challenge(&token).await.unwrap();
    let ended = it.verify(&token, &it.phone.code()).await;
    assert_eq!(id(ended), ErrorId::MissingAccessToken);

    let it = fixture(true).await;
    it.activate().await;
    let token = it.wait().await;
    let refused = (ErrorId::InvalidOperation, json!("mfa-sms-provider-error"));
    for _ in 0..MFA_TRIES_MAX {
        assert_eq!(data(it.verify(&token, "none").await), refused);
    }
    let ended = it.verify(&token, PROVIDERS).await;
    assert_eq!(id(ended), ErrorId::MissingAccessToken);
}

#[tokio::test]
async fn tokens_are_for_one_user_one_purpose_and_half_an_hour() {
    let it = fixture(false).await;
    let activation = it.begin().await.unwrap();
    let code = it.phone.code();
    assert_eq!(
        id(it.verify(&activation, &code).await),
        ErrorId::MissingAccessToken
    );
    it.confirm(&activation, &code).await.unwrap();
    let token = it.wait().await;
    it.challenge(&token).await.unwrap();
    let code = it.phone.code();
    assert_eq!(
        id(it.confirm(&token, &code).await),
        ErrorId::MissingAccessToken
    );
    let mut other = owner();
    other.id = UserId::parse("u00000000000000000000000").unwrap();
    let source = Source::default();
    let params = json!({ "code": code });
    let foreign = it.kernel.mfa_verify(&other, &token, &params, source).await;
    assert_eq!(id(foreign), ErrorId::MissingAccessToken);
    let unknown = Secret::new("nope");
    assert_eq!(
        id(it.challenge(&unknown).await),
        ErrorId::MissingAccessToken
    );
    it.clock.advance(Duration::from_secs(1_800));
    assert_eq!(
        id(it.verify(&token, &code).await),
        ErrorId::MissingAccessToken
    );
}

#[tokio::test]
async fn another_password_or_a_log_out_ends_what_waits() {
    let it = fixture(false).await;
    it.activate().await;
    let token = it.wait().await;
    it.challenge(&token).await.unwrap();
    let code = it.phone.code();
    it.clock.advance(Duration::from_secs(1));
    let change = json!({ "oldPassword": "sample-pass-1", "newPassword": "sample-pass-2" });
    let method = Method::AccountChangePassword;
    it.kernel.call(&it.me, method, change).await.unwrap();
    assert_eq!(
        id(it.verify(&token, &code).await),
        ErrorId::MissingAccessToken
    );

    let token = it.begin().await.unwrap();
    let code = it.phone.code();
    it.kernel.logout(&it.me).await.unwrap();
    assert_eq!(
        id(it.confirm(&token, &code).await),
        ErrorId::MissingAccessToken
    );
}

#[tokio::test]
async fn a_recovery_code_and_the_password_remove_the_second_factor() {
    let it = fixture(false).await;
    let inactive = it.recover("sample-pass-1", "x").await;
    assert_eq!(id(inactive), ErrorId::InvalidOperation);
    let codes = it.activate().await;
    let wrong = it.recover("nope", &codes[3]).await;
    assert_eq!(id(wrong), ErrorId::InvalidCredentials);
    let wrong = it.recover("sample-pass-1", "nope").await;
    assert_eq!(id(wrong), ErrorId::InvalidParametersFormat);
    it.wait().await;
    it.recover("sample-pass-1", &codes[3]).await.unwrap();
    assert!(matches!(it.log_in("sample-pass-1").await, Login::Done(_)));
    let source = Source::default();
    let owner = owner();
    for params in [
        json!({}),
        json!({ "username": "samplebeta1", "password": "x", "recoveryCode": 1 }),
    ] {
        let refused = it.kernel.mfa_recover(&owner, &params, source).await;
        assert_eq!(id(refused), ErrorId::InvalidParametersFormat);
    }
    let other = json!({ "username": "other", "password": "x", "recoveryCode": "x" });
    let refused = it.kernel.mfa_recover(&owner, &other, source).await;
    assert_eq!(id(refused), ErrorId::InvalidOperation);
}

#[tokio::test]
async fn only_the_person_sets_it_and_only_with_a_code_that_was_sent() {
    let it = fixture(false).await;
    let app = Home::new().app(Vec::new());
    let refused = it.kernel.mfa_activate(&app, Map::new()).await;
    assert_eq!(id(refused), ErrorId::Forbidden);
    assert_eq!(id(it.kernel.mfa_deactivate(&app).await), ErrorId::Forbidden);
    let long = Map::from_iter([("x".to_owned(), json!("x".repeat(5_000)))]);
    let refused = it.kernel.mfa_activate(&it.me, long).await;
    assert_eq!(id(refused), ErrorId::InvalidParametersFormat);
    *it.phone.broken.lock().unwrap() = true;
    let refused = (ErrorId::InvalidOperation, json!("mfa-sms-provider-error"));
    assert_eq!(data(it.begin().await), refused);
    *it.phone.broken.lock().unwrap() = false;
    let token = it.begin().await.unwrap();
    let wrong = it.confirm(&token, "none").await;
    assert_eq!(id(wrong), ErrorId::InvalidParametersFormat);
    let source = Source::default();
    let owner = owner();
    let missing = it
        .kernel
        .mfa_confirm(&owner, &token, &json!({}), source)
        .await;
    assert_eq!(id(missing), ErrorId::InvalidParametersFormat);
    assert!(matches!(it.log_in("sample-pass-1").await, Login::Done(_)));
}

#[tokio::test]
async fn the_profile_has_hashes_and_codes_of_imported_users_are_taken() {
    let it = fixture(false).await;
    let codes = it.activate().await;
    let asked = json!({ "id": "private" });
    let profile = it.kernel.call(&it.me, Method::ProfileGet, asked).await;
    let profile = read(profile.unwrap().as_bytes())["profile"]["mfa"].clone();
    assert_eq!(profile["content"], json!({ "phone": "123" }));
    assert!(!profile.to_string().contains(&codes[0]));
    let set = |mfa: Value| {
        let params = json!({ "id": "private", "update": { "mfa": mfa } });
        it.kernel.call(&it.me, Method::ProfileUpdate, params)
    };
    let imported = json!({ "content": { "phone": "4" }, "recoveryCodes": ["in-clear", 5] });
    set(imported).await.unwrap();
    it.wait().await;
    // What stands for a code is none.
    let hash = profile["recoveryCodes"][0].as_str().unwrap();
    set(profile.clone()).await.unwrap();
    assert!(it.recover("sample-pass-1", hash).await.is_err());
    // One that nobody can read is not as if there were none.
    set(json!("broken")).await.unwrap();
    it.wait().await;
    set(json!({ "content": {}, "recoveryCodes": ["in-clear"] }))
        .await
        .unwrap();
    it.recover("sample-pass-1", "in-clear").await.unwrap();
}

#[tokio::test]
async fn without_a_way_to_send_codes_a_password_is_enough_and_nothing_else_works() {
    let (kernel, _) = kernel_with(|_| {});
    let owner = owner();
    let token = kernel.create_account(&owner.id, new_account()).await;
    let credential = Credential::parse(token.unwrap().expose()).unwrap();
    let me = kernel.authenticate(&owner, credential).await.unwrap();
    let (token, source) = (Secret::new("x"), Source::default());
    let params = json!({ "code": "x" });
    let off = ErrorId::ApiUnavailable;
    assert_eq!(id(kernel.mfa_activate(&me, Map::new()).await), off);
    assert_eq!(id(kernel.mfa_challenge(&owner, &token, source).await), off);
    assert_eq!(
        id(kernel.mfa_confirm(&owner, &token, &params, source).await),
        off
    );
    assert_eq!(
        id(kernel.mfa_verify(&owner, &token, &params, source).await),
        off
    );
    kernel.mfa_deactivate(&me).await.unwrap();
    let update = json!({ "id": "private", "update": { "mfa": { "content": {} } } });
    kernel
        .call(&me, Method::ProfileUpdate, update)
        .await
        .unwrap();
    let login = json!({ "username": "samplebeta1", "password": "sample-pass-1", "appId": "a" });
    let login = kernel.log_in(&owner, &login, ORIGIN, source).await.unwrap();
    assert!(matches!(login, Login::Done(_)));
}

#[test]
fn sessions_of_one_user_are_few_and_the_oldest_goes() {
    let sessions = MfaSessions::default();
    let session = |user: &str, at: i64| MfaSession {
        user: UserId::parse(user).unwrap(),
        purpose: Purpose::Activate {
            access: "a".to_owned(),
        },
        content: Map::new(),
        expires: homecore_types::Millis(NOW.0 + at),
        code: None,
        tries: 0,
    };
    let (mine, other) = ("u00000000000000000000000", "u11111111111111111111111");
    assert!(sessions.keep(&Secret::new("other"), session(other, 1), NOW));
    let most = i64::try_from(MFA_SESSIONS_PER_USER_MAX).unwrap();
    for n in 0..=most {
        let token = Secret::new(format!("{n}"));
        assert!(sessions.keep(&token, session(mine, n + 1), NOW));
    }
    let has = |user: &str, token: &str| {
        let user = UserId::parse(user).unwrap();
        sessions.find(&user, &Secret::new(token), NOW).is_some()
    };
    assert!(!has(mine, "0") && has(mine, "1") && has(mine, &format!("{most}")));
    assert!(has(other, "other") && !has(mine, "other"));
}

#[test]
fn tokens_are_uuids_and_codes_digits() {
    let entropy = TestEntropy::default();
    for _ in 0..200 {
        let uuid = uuid(&entropy);
        let parts: Vec<&str> = uuid.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']));
        let code = code(&entropy);
        assert_eq!(code.expose().len(), DIGITS);
        assert!(code.expose().bytes().all(|b| b.is_ascii_digit()));
    }
}
