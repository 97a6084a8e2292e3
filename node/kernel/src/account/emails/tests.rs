//! Several addresses of an account: added, proved, made the present one, removed.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use homecore_types::{UserId, Username};

use super::*;
use crate::account::{self, change};
use crate::audit::Source;
use crate::method::Method;
use crate::ports::{
    Claim, Envelope, Mail, MailContent, Mails, NameChange, Registry, TakeError, Unavailable,
    UserNames,
};
use crate::testing::{TestClock, json as read, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, Kernel};

const ORIGIN: &str = "https://l.backloop.dev";

/// A platform of one user, and the mails of the core.
#[derive(Debug, Default)]
struct Platform {
    taken: Mutex<Vec<EmailSet>>,
    mails: Arc<Mutex<Vec<Mail>>>,
    /// No mails are sent.
    silent: Arc<Mutex<bool>>,
}

#[derive(Debug)]
struct Done;

#[async_trait]
impl Claim for Done {
    async fn settled(self: Box<Self>) {}
}

#[async_trait]
impl Registry for Platform {
    async fn take(&self, _: &UserId, changes: &FieldChanges) -> Result<Box<dyn Claim>, TakeError> {
        let set = changes.emails.clone();
        let taken = set.iter().flat_map(|set| &set.others);
        if let Some(email) = taken.into_iter().find(|e| e.as_str().starts_with("taken")) {
            let email = ("email".to_owned(), email.to_string());
            return Err(TakeError::Taken([email].into()));
        }
        self.taken.lock().unwrap().extend(set);
        Ok(Box::new(Done))
    }

    async fn rename(
        &self,
        _: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        Err(TakeError::Reserved(change.to.clone()))
    }

    async fn take_alias(&self, _: &UserId, _: &Username) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Done))
    }

    async fn loosen_aliases(&self, _: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        Ok(Box::new(Done))
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[derive(Debug)]
struct Paper(Arc<Mutex<Vec<Mail>>>);

impl Envelope for Paper {
    fn post(self: Box<Self>, mail: Mail) {
        self.0.lock().unwrap().push(mail);
    }
}

#[derive(Debug)]
struct Post(Arc<Mutex<Vec<Mail>>>, Arc<Mutex<bool>>);

impl Mails for Post {
    fn sends_welcomes(&self) -> bool {
        false
    }

    fn sends_resets(&self) -> bool {
        false
    }

    fn sends_verifications(&self) -> bool {
        !*self.1.lock().unwrap()
    }

    fn reserve(&self) -> Result<Box<dyn Envelope>, MailsFull> {
        Ok(Box::new(Paper(Arc::clone(&self.0))))
    }
}

struct Fixture {
    kernel: Kernel,
    clock: Arc<TestClock>,
    platform: Arc<Platform>,
    me: Actor,
}

async fn fixture() -> Fixture {
    let (kernel, clock) = kernel_with(|settings| settings.emails_max = 4);
    let platform = Arc::new(Platform::default());
    kernel.connect(&(Arc::clone(&platform) as Arc<dyn Registry>));
    let post = Post(Arc::clone(&platform.mails), Arc::clone(&platform.silent));
    kernel.connect_mails(Arc::new(post));
    let created = kernel.create_account(&owner().id, new_account()).await;
    let credential = Credential::parse(created.unwrap().expose()).unwrap();
    let me = kernel.authenticate(&owner(), credential).await.unwrap();
    Fixture {
        kernel,
        clock,
        platform,
        me,
    }
}

impl Fixture {
    async fn update(&self, changes: Value) -> Result<Value, Error> {
        let params = json!({ "update": changes });
        let reply = self.kernel.call(&self.me, Method::AccountUpdate, params);
        Ok(read(reply.await?.as_bytes())["account"].clone())
    }

    async fn edit(&self, edits: Value) -> Result<Value, Error> {
        let account = self.update(json!({ "emails": edits })).await?;
        Ok(account["emails"].clone())
    }

    /// Address, whether it is the present one, and how it was proved.
    async fn shown(&self) -> Vec<(String, bool, Option<String>)> {
        let account = self.update(json!({})).await.unwrap();
        let emails = account["emails"].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        emails
            .iter()
            .map(|email| {
                let method = text(&email["verificationMethod"]);
                assert_eq!(email["status"] == "pending", method.is_none());
                let primary = email["primary"] == true;
                assert_eq!(primary, email["value"] == account["email"]);
                (text(&email["value"]).unwrap(), primary, method)
            })
            .collect()
    }

    fn token(&self) -> String {
        let mails = self.platform.mails.lock().unwrap();
        match &mails.last().unwrap().content {
            MailContent::VerifyEmail { token } => token.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    async fn verify(&self, token: &str) -> Result<Value, Error> {
        let params = json!({ "appId": "sample-app", "token": token });
        let source = Source::default();
        let (owner, kernel) = (owner(), &self.kernel);
        let done = kernel.verify_email(&owner, &params, ORIGIN, source).await;
        Ok(read(done?.as_bytes()))
    }
}

fn refused(result: Result<Value, Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

const FIRST: &str = "samplebeta1@example.com";

#[tokio::test]
async fn an_address_is_added_proved_and_made_the_present_one() {
    let it = fixture().await;
    let shown = it
        .edit(json!({ "add": [" Two@Example.com "] }))
        .await
        .unwrap();
    assert_eq!(
        shown[1],
        json!({ "value": "two@example.com", "primary": false, "status": "pending",
            "verifiedAt": null, "verificationMethod": null })
    );
    {
        let mails = it.platform.mails.lock().unwrap();
        assert_eq!((mails.len(), mails[0].to.as_str()), (1, "two@example.com"));
        let taken = it.platform.taken.lock().unwrap();
        assert_eq!((taken[0].present.as_str(), taken[0].changes), (FIRST, 1));
        assert_eq!(taken[0].others[0].as_str(), "two@example.com");
    }
    let early = it.edit(json!({ "setPrimary": "two@example.com" })).await;
    assert_eq!(
        refused(early),
        (
            ErrorId::InvalidOperation,
            json!({ "email": "two@example.com" })
        )
    );
    let token = it.token();
    assert_eq!(
        refused(it.verify("nonsense").await).0,
        ErrorId::MissingAccessToken
    );
    let proved = it.verify(&token).await.unwrap();
    assert_eq!(proved, json!({ "email": "two@example.com" }));
    assert_eq!(
        refused(it.verify(&token).await).0,
        ErrorId::MissingAccessToken,
        "used"
    );

    let edits = json!({ "setPrimary": "two@example.com", "remove": [FIRST] });
    let shown = it.edit(edits).await.unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["verificationMethod"], "email-link");
    assert!(shown[0]["verifiedAt"].is_number());
    let taken = it.platform.taken.lock().unwrap();
    assert_eq!(taken.last().unwrap().present.as_str(), "two@example.com");
    assert_eq!(taken.last().unwrap().others, []);
}

#[tokio::test]
async fn a_link_ends_and_is_not_sent_again_at_once() {
    let it = fixture().await;
    it.edit(json!({ "add": ["two@example.com"] }))
        .await
        .unwrap();
    let resend = json!({ "resend": ["two@example.com"] });
    let soon = it.edit(resend.clone()).await.unwrap_err();
    assert_eq!(soon.id(), ErrorId::InvalidOperation);
    let wait = RESEND_PAUSE.as_secs();
    let data = json!({ "email": "two@example.com", "retryAfterSeconds": wait });
    assert_eq!(soon.data(), Some(&data));
    assert_eq!(soon.retry_after(), Some(RESEND_PAUSE));
    let first = it.token();
    it.clock.advance(RESEND_PAUSE);
    it.edit(resend).await.unwrap();
    assert_ne!(it.token(), first);
    assert_eq!(
        it.platform.taken.lock().unwrap().len(),
        1,
        "the platform has nothing of it"
    );
    assert_eq!(
        refused(it.verify(&first).await).0,
        ErrorId::MissingAccessToken
    );
    it.clock.advance(LINK_MAX_AGE);
    assert_eq!(
        refused(it.verify(&it.token()).await).0,
        ErrorId::MissingAccessToken
    );
}

#[tokio::test]
async fn what_cannot_be_done_with_addresses_is_refused_whole() {
    let it = fixture().await;
    it.edit(json!({ "add": ["two@example.com"] }))
        .await
        .unwrap();
    let before = it.shown().await;
    let email = |email: &str| json!({ "email": email });
    for (edits, id, data) in [
        (
            json!({ "remove": [FIRST] }),
            ErrorId::InvalidOperation,
            email(FIRST),
        ),
        (
            json!({ "remove": ["no@example.com"] }),
            ErrorId::InvalidOperation,
            email("no@example.com"),
        ),
        (
            json!({ "setPrimary": "no@example.com" }),
            ErrorId::InvalidOperation,
            email("no@example.com"),
        ),
        (
            json!({ "resend": [FIRST] }),
            ErrorId::InvalidOperation,
            email(FIRST),
        ),
        (
            json!({ "add": ["3@example.com", "4@example.com", "5@example.com"] }),
            ErrorId::InvalidOperation,
            json!({ "maxEmails": 4 }),
        ),
        (
            json!({ "remove": ["two@example.com"], "add": ["taken@example.com"] }),
            ErrorId::ItemAlreadyExists,
            email("taken@example.com"),
        ),
    ] {
        assert_eq!(refused(it.edit(edits.clone()).await), (id, data), "{edits}");
        assert_eq!(it.shown().await, before);
    }
    for edits in [
        json!({ "add": "two@example.com" }),
        json!({ "add": ["nothing"] }),
        json!({ "drop": [] }),
        json!(null),
        json!({ "add": vec!["a@example.com"; 21] }),
    ] {
        let (id, _) = refused(it.edit(edits.clone()).await);
        assert_eq!(id, ErrorId::InvalidParametersFormat, "{edits}");
    }
    // What is there is not added twice.
    it.edit(json!({ "add": [FIRST, "two@example.com"] }))
        .await
        .unwrap();
    assert_eq!(it.shown().await, before);
}

#[tokio::test]
async fn setting_the_address_keeps_the_former_ones_up_to_the_bound() {
    let it = fixture().await;
    let legacy = |n: u32| (format!("{n}@example.com"), false, Some("legacy".to_owned()));
    for n in 0..5 {
        let email = format!("{n}@example.com");
        it.update(json!({ "email": email })).await.unwrap();
    }
    let shown = it.shown().await;
    assert_eq!(shown.len(), 4, "no more than may be");
    assert_eq!(
        shown[0],
        ("4@example.com".to_owned(), true, Some("legacy".to_owned()))
    );
    assert_eq!(shown[1..], [legacy(3), legacy(2), legacy(1)]);
    // Back to one of them, which stays what it was.
    it.update(json!({ "email": "2@example.com" }))
        .await
        .unwrap();
    assert_eq!(it.shown().await[1..], [legacy(4), legacy(3), legacy(1)]);
    let last = it.platform.taken.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (last.present.as_str(), last.others.len(), last.changes),
        ("2@example.com", 3, 6)
    );
}

#[tokio::test]
async fn setting_the_address_pushes_out_nothing_that_was_added() {
    let it = fixture().await;
    let email = |email: &str| json!({ "email": email });
    it.edit(json!({ "add": ["2@example.com", "3@example.com"] }))
        .await
        .unwrap();
    it.update(email("new@example.com")).await.unwrap();
    let before = it.shown().await;
    assert_eq!(before.len(), 4);
    it.update(email("newer@example.com")).await.unwrap();
    let shown = it.shown().await;
    let shown: Vec<&str> = shown.iter().map(|(email, ..)| email.as_str()).collect();
    let kept = [
        "newer@example.com",
        "new@example.com",
        "2@example.com",
        "3@example.com",
    ];
    assert_eq!(
        shown, kept,
        "the one before the last was the last former one"
    );
    it.edit(json!({ "remove": ["new@example.com"], }))
        .await
        .unwrap();
    it.edit(json!({ "add": ["4@example.com"] })).await.unwrap();
    let before = it.shown().await;
    let refused = refused(it.update(email("newest@example.com")).await);
    assert_eq!(
        refused,
        (ErrorId::InvalidOperation, json!({ "maxEmails": 4 }))
    );
    assert_eq!(it.shown().await, before);
    // Where the same call makes room there is some; where one address is all there may be now, nothing is given back.
    let removed =
        json!({ "email": "newest@example.com", "emails": { "remove": ["2@example.com"] } });
    let me = owner().id;
    let account = it.kernel.read(&me, |view, _| account::load(view));
    let account = account.await.unwrap().unwrap();
    let plan = |update: Value, most| {
        let params = json!({ "update": update });
        let wanted = change::parse(&it.kernel.schema(), &params).unwrap();
        account.plan(&wanted, most, it.kernel.now())
    };
    let others = plan(removed, 4).unwrap().fields.emails.unwrap().others;
    let others: Vec<&str> = others.iter().map(Email::as_str).collect();
    assert_eq!(
        others,
        ["newer@example.com", "3@example.com", "4@example.com"]
    );
    let one = plan(email("newest@example.com"), 1);
    assert!(
        matches!(one, Err(EmailError::TooMany { most: 1 })),
        "{one:?}"
    );
    it.update(email("4@example.com")).await.unwrap();
    assert_eq!(it.shown().await.len(), 4, "it was one of them");
}

#[tokio::test]
async fn no_link_is_promised_where_none_is_sent() {
    let it = fixture().await;
    it.edit(json!({ "add": ["two@example.com"] }))
        .await
        .unwrap();
    it.clock.advance(RESEND_PAUSE);
    *it.platform.silent.lock().unwrap() = true;
    let again = it.edit(json!({ "resend": ["two@example.com"] })).await;
    assert_eq!(refused(again).0, ErrorId::InvalidOperation);
    it.edit(json!({ "add": ["3@example.com"], "resend": ["3@example.com"] }))
        .await
        .unwrap();
    assert_eq!(it.platform.mails.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_account_is_brought_up_to_what_the_platform_has() {
    let it = fixture().await;
    let email = |text: &str| Email::normalise(text).unwrap();
    let set = EmailSet {
        present: email("new@example.com"),
        others: vec![email(FIRST), email("late@example.com")],
        changes: 3,
    };
    for _ in 0..2 {
        let changes = FieldChanges {
            emails: Some(set.clone()),
            ..FieldChanges::default()
        };
        it.kernel.adopt_fields(&owner().id, changes).await.unwrap();
        let shown = it.shown().await;
        let (first, late) = (shown[1].clone(), shown[2].clone());
        assert_eq!(
            first,
            (FIRST.to_owned(), false, Some("registration".to_owned()))
        );
        assert_eq!(late, ("late@example.com".to_owned(), false, None));
    }
    // A link that was never sent can be asked for.
    it.edit(json!({ "resend": ["late@example.com"] }))
        .await
        .unwrap();
    it.verify(&it.token()).await.unwrap();
}
