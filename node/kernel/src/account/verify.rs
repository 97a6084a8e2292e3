//! `account.verifyEmail` (spec/pryv-api §9.2): whoever followed the link that was sent to an address has
//! proved that it is the person's.

use homecore_store::{Base, Transaction};
use homecore_types::{Email, Secret};
use serde_json::Value;

use super::Account;
use super::emails::NewLink;
use super::reset::{ResetError, ensure_trusted};
use crate::actor::Owner;
use crate::audit::entry::Draft;
use crate::audit::{self, Source};
use crate::error::{Error as AnyError, InvalidParameters};
use crate::fields::{Fields, Null};
use crate::kernel::Kernel;
use crate::ports::{Envelope, Mail, MailContent, Mails, MailsFull};
use crate::reply::Reply;

/// The method id.
const VERIFY: &str = "account.verifyEmail";

/// Parameters of `account.verifyEmail`; other fields are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct VerifyEmail {
    app_id: String,
    token: Secret,
}

impl VerifyEmail {
    pub(crate) fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["appId", "token"])?;
        let app_id = fields.text("appId", Null::Refused).unwrap_or_default();
        let token = fields.text("token", Null::Refused).unwrap_or_default();
        fields.finish()?;
        Ok(Self {
            app_id: app_id.to_owned(),
            token: Secret::new(token),
        })
    }
}

fn verify(tx: &mut Transaction<'_>, token: &Secret) -> Result<Email, ResetError> {
    let (mut account, now) = (super::load(tx.view())?, tx.at());
    let email = account.prove(token, now).ok_or(ResetError::WrongToken)?;
    super::store(tx, &account, Base::Any)?;
    Ok(email)
}

/// A link with its place among the mails that wait.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) link: NewLink,
    pub(super) envelope: Box<dyn Envelope>,
}

impl Letter {
    /// Sends it.
    pub(super) fn post(self, account: &Account) {
        self.envelope.post(Mail {
            to: self.link.to,
            username: account.username.clone(),
            language: account.language.clone(),
            content: MailContent::VerifyEmail {
                token: self.link.token,
            },
        });
    }
}

impl Kernel {
    /// Whether links are sent to addresses.
    pub(super) fn sends_links(&self) -> bool {
        self.mails().is_some_and(Mails::sends_verifications)
    }

    /// Links for addresses, where the operator has them sent.
    pub(super) fn letters(&self, to: &[Email]) -> Result<Vec<Letter>, MailsFull> {
        let mails = self.mails().filter(|mails| mails.sends_verifications());
        let Some(mails) = mails else {
            return Ok(Vec::new());
        };
        let entropy = self.context().entropy;
        let letter = |to: &Email| {
            Ok(Letter {
                envelope: mails.reserve()?,
                link: NewLink {
                    to: to.clone(),
                    token: Secret::new(homecore_types::entropy::wire_id(entropy.as_ref())),
                },
            })
        };
        to.iter().map(letter).collect()
    }

    /// `account.verifyEmail`: `{"email": …}`.
    ///
    /// # Errors
    /// As spec/pryv-api §9.2, or of the store.
    pub async fn verify_email(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<Reply, AnyError> {
        let token = match self.verifying_token(owner, params, origin).await {
            Ok(token) => token,
            Err(error) => {
                let error = AnyError::from(error);
                let draft = Draft::anonymous(&source, audit::INVALID, VERIFY, self.now());
                self.note(&owner.id, draft.refused(&error)).await;
                return Err(error);
            }
        };
        let draft = Draft::anonymous(&source, audit::EMAIL_TOKEN, VERIFY, self.now());
        let (result, ()) = self
            .write_noted(&owner.id, draft, move |writer| {
                let done = writer.attempt(|tx| verify(tx, &token));
                let reply = done.map(|email| {
                    Reply::of("email", Value::from(email.as_str()).to_string().as_bytes())
                });
                (reply.map_err(AnyError::from), ())
            })
            .await?;
        result
    }

    /// A token that proves something now. Who has none is told so before anything is written.
    async fn verifying_token(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
    ) -> Result<Secret, ResetError> {
        let asked = VerifyEmail::parse(params)?;
        ensure_trusted(&self.settings().trusted_apps.get(), &asked.app_id, origin)?;
        let mut account = self.read(&owner.id, |view, _| super::load(view)).await??;
        match account.prove(&asked.token, self.now()) {
            Some(_) => Ok(asked.token),
            None => Err(ResetError::WrongToken),
        }
    }
}
