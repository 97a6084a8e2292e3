//! Tokens that came by mail: how long they work, how often, and what they end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use homecore_types::{ErrorId, Secret};
use serde_json::{Value, json};

use crate::account::passwords::PasswordPolicy;
use crate::audit::Source;
use crate::method::Method;
use crate::ports::{Envelope, Mail, MailContent, Mails, MailsFull};
use crate::testing::{TestClock, json as read, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, Kernel};

const ORIGIN: &str = "https://x.backloop.dev";

#[derive(Debug, Default)]
struct Posted(Arc<Mutex<Vec<Mail>>>);

#[derive(Debug)]
struct Paper(Arc<Mutex<Vec<Mail>>>);

impl Mails for Posted {
    fn sends_welcomes(&self) -> bool {
        true
    }

    fn sends_resets(&self) -> bool {
        true
    }

    fn sends_verifications(&self) -> bool {
        true
    }

    fn reserve(&self) -> Result<Box<dyn Envelope>, MailsFull> {
        Ok(Box::new(Paper(Arc::clone(&self.0))))
    }
}

impl Envelope for Paper {
    fn post(self: Box<Self>, mail: Mail) {
        self.0.lock().unwrap().push(mail);
    }
}

struct Fixture {
    kernel: Kernel,
    clock: Arc<TestClock>,
    mails: Arc<Posted>,
    token: Secret,
}

async fn fixture(passwords: PasswordPolicy) -> Fixture {
    let (kernel, clock) = kernel_with(|settings| settings.passwords = passwords);
    let mails = Arc::new(Posted::default());
    kernel.connect_mails(Arc::clone(&mails) as Arc<dyn Mails>);
    let created = kernel.create_account(&owner().id, new_account()).await;
    Fixture {
        token: created.unwrap(),
        kernel,
        clock,
        mails,
    }
}

impl Fixture {
    /// Asks for a token; the one that was sent, if one was.
    async fn request(&self) -> Option<String> {
        let before = self.mails.0.lock().unwrap().len();
        let params = json!({ "appId": "sample-app" });
        let (owner, source) = (owner(), Source::default());
        let asked = self
            .kernel
            .request_password_reset(&owner, &params, ORIGIN, source);
        asked.await.unwrap();
        let posted = self.mails.0.lock().unwrap();
        let sent = posted.get(before)?;
        match &sent.content {
            MailContent::ResetPassword { token, .. } => Some(token.expose().to_owned()),
            MailContent::Welcome | MailContent::VerifyEmail { .. } => panic!("{sent:?}"),
        }
    }

    async fn reset(&self, token: &str, new: &str) -> Result<(), Error> {
        let params = json!({ "appId": "sample-app", "resetToken": token, "newPassword": new });
        let (owner, source) = (owner(), Source::default());
        let reset = self.kernel.reset_password(&owner, &params, ORIGIN, source);
        reset.await.map(drop)
    }

    async fn me(&self) -> Result<Actor, Error> {
        let credential = Credential::parse(self.token.expose()).unwrap();
        self.kernel.authenticate(&owner(), credential).await
    }

    async fn is_password(&self, password: &str) -> bool {
        let owner = owner();
        let password = Secret::new(password);
        let verified = self.kernel.verify_password(&owner.id, password);
        verified.await.unwrap()
    }
}

fn is_wrong_token(result: Result<(), Error>) -> bool {
    result.unwrap_err().id() == ErrorId::MissingAccessToken
}

#[tokio::test]
async fn a_token_works_for_an_hour() {
    let it = fixture(PasswordPolicy::default()).await;
    let first = it.request().await.unwrap();
    it.clock.advance(Duration::from_secs(3_600));
    assert!(is_wrong_token(it.reset(&first, "sample-pass-2").await));
    let second = it.request().await.unwrap();
    it.clock.advance(Duration::from_millis(3_599_999));
    it.reset(&second, "sample-pass-2").await.unwrap();
    assert!(it.is_password("sample-pass-2").await);
}

#[tokio::test]
async fn of_two_uses_at_once_one_works() {
    let it = fixture(PasswordPolicy::default()).await;
    let token = it.request().await.unwrap();
    let (one, other) = tokio::join!(
        it.reset(&token, "sample-pass-2"),
        it.reset(&token, "sample-pass-3")
    );
    let (failed, password) = match (one, other) {
        (Ok(()), failed) => (failed, "sample-pass-2"),
        (failed, Ok(())) => (failed, "sample-pass-3"),
        both => panic!("{both:?}"),
    };
    assert!(is_wrong_token(failed));
    assert!(it.is_password(password).await);
}

#[tokio::test]
async fn few_tokens_live_at_once_and_none_is_pushed_out() {
    let it = fixture(PasswordPolicy::default()).await;
    let first = it.request().await.unwrap();
    it.clock.advance(Duration::from_secs(60));
    for _ in 0..4 {
        assert!(it.request().await.is_some());
    }
    assert_eq!(it.request().await, None);
    it.reset(&first, "sample-pass-2").await.unwrap();
    assert!(it.request().await.is_some(), "a reset uses all of them up");
    for _ in 0..4 {
        it.request().await.unwrap();
    }
    assert_eq!(it.request().await, None);
    it.clock.advance(Duration::from_secs(3_600));
    assert!(it.request().await.is_some());
}

#[tokio::test]
async fn a_token_that_was_not_sent_is_in_the_way_of_no_other() {
    let it = fixture(PasswordPolicy::default()).await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(it.request().await.unwrap());
    }
    assert_eq!(it.request().await, None);
    let posted = it.mails.0.lock().unwrap()[1].content.clone();
    let MailContent::ResetPassword { sender, .. } = posted else {
        panic!("{posted:?}");
    };
    sender.given_up().await;
    assert!(is_wrong_token(it.reset(&tokens[1], "sample-pass-2").await));
    assert!(it.request().await.is_some());
    assert_eq!(it.request().await, None, "the others count as before");
    sender.given_up().await;
    assert_eq!(it.request().await, None, "once");
    it.reset(&tokens[0], "sample-pass-2").await.unwrap();
}

#[tokio::test]
async fn a_reset_ends_sessions_and_a_changed_password_ends_tokens() {
    let it = fixture(PasswordPolicy::default()).await;
    let token = it.request().await.unwrap();
    let me = it.me().await.unwrap();
    let change = json!({ "oldPassword": "sample-pass-1", "newPassword": "sample-pass-2" });
    let method = Method::AccountChangePassword;
    it.kernel.call(&me, method, change).await.unwrap();
    assert!(is_wrong_token(it.reset(&token, "sample-pass-3").await));
    assert!(it.me().await.is_ok());
    let token = it.request().await.unwrap();
    it.reset(&token, "sample-pass-3").await.unwrap();
    let ended = it.me().await.unwrap_err();
    assert_eq!(ended.id(), ErrorId::InvalidAccessToken);
}

#[tokio::test]
async fn a_young_password_waits_and_the_token_stays() {
    let it = fixture(PasswordPolicy {
        age_min: Some(Duration::from_secs(60)),
        ..PasswordPolicy::default()
    })
    .await;
    let token = it.request().await.unwrap();
    let young = it.reset(&token, "sample-pass-2").await.unwrap_err();
    assert_eq!(young.id(), ErrorId::InvalidOperation);
    it.clock.advance(Duration::from_secs(60));
    it.reset(&token, "sample-pass-2").await.unwrap();
}

#[tokio::test]
async fn only_hashes_are_stored_and_calls_are_in_the_audit_log() {
    let it = fixture(PasswordPolicy::default()).await;
    let token = it.request().await.unwrap();
    let owner = owner();
    let stored = it
        .kernel
        .read(&owner.id, |view, _| super::super::load(view));
    let stored = stored.await.unwrap().unwrap();
    let text = serde_json::to_string(&stored).unwrap();
    assert!(text.contains("resets") && !text.contains(&token));
    assert!(it.reset("nope", "sample-pass-2").await.is_err());
    it.reset(&token, "sample-pass-2").await.unwrap();
    let params = json!({ "username": "samplebeta1", "password": "sample-pass-2", "appId": "a" });
    let logged_in = it
        .kernel
        .login(&owner, &params, ORIGIN, Source::default())
        .await
        .unwrap();
    let credential = Credential::parse(logged_in.token.expose()).unwrap();
    let me = it.kernel.authenticate(&owner, credential).await.unwrap();
    let query = json!({ "streams": [{ "any": [":_audit:accesses"] }], "limit": 10 });
    let found = it.kernel.call(&me, Method::EventsGet, query).await.unwrap();
    let found = read(found.as_bytes());
    let of = |event: &Value| {
        let action = event["content"]["action"].clone();
        (event["streamIds"][0].clone(), action)
    };
    let entries: Vec<(Value, Value)> = found["events"].as_array().unwrap().iter().map(of).collect();
    for (access, action) in [
        ("password-reset-request", "account.requestPasswordReset"),
        ("invalid", "account.resetPassword"),
        ("password-reset-token", "account.resetPassword"),
    ] {
        let entry = (json!(format!(":_audit:access-{access}")), json!(action));
        assert!(entries.contains(&entry), "{entries:?}");
    }
    assert!(!found.to_string().contains(&token));
}
