//! The asynchronous side of second factors: codes are sent without holding anything, then what waits
//! for them goes on.

use homecore_store::Transaction;
use homecore_types::{Secret, limits};
use serde_json::{Map, Value, json};

use super::sessions::{MfaSession, Purpose};
use super::{Factor, GivenCode, MEMBER, MfaError, Recover};
use crate::account::login::{self, LoggedIn, LoginError};
use crate::account::{self, Account};
use crate::actor::{Actor, Owner};
use crate::audit::entry::Draft;
use crate::audit::{self, Source};
use crate::error::Error;
use crate::kernel::{Context, Kernel};
use crate::ports::CodeSender;
use crate::reply::Reply;
use crate::{profile, session};

const ACTIVATE: &str = "mfa.activate";
const CONFIRM: &str = "mfa.confirm";
const CHALLENGE: &str = "mfa.challenge";
const VERIFY: &str = "mfa.verify";
const DEACTIVATE: &str = "mfa.deactivate";
const RECOVER: &str = "mfa.recover";
const REMOVE: &str = "system.deactivateMfa";

impl Kernel {
    /// `mfa.activate`: sends a code with this content; the token with which it is confirmed.
    ///
    /// # Errors
    /// As spec/pryv-api §2.6.
    pub async fn mfa_activate(
        &self,
        actor: &Actor,
        content: Map<String, Value>,
    ) -> Result<Secret, Error> {
        let draft = Draft::of(actor, ACTIVATE, self.now());
        let result = self.begin_activation(actor, content).await;
        let result = result.map_err(Error::from);
        let draft = match &result {
            Ok(_) => draft,
            Err(error) => draft.refused(error),
        };
        self.note(&actor.owner.id, draft).await;
        result
    }

    async fn begin_activation(
        &self,
        actor: &Actor,
        content: Map<String, Value>,
    ) -> Result<Secret, MfaError> {
        let sender = self.codes().ok_or(MfaError::Disabled)?;
        if !actor.is_personal() {
            return Err(MfaError::PersonOnly);
        }
        let content = Value::Object(content);
        if content.to_string().len() > limits::MFA_CONTENT_BYTES_MAX {
            return Err(MfaError::TooLarge);
        }
        let Value::Object(content) = content else {
            return Err(MfaError::TooLarge);
        };
        let code = self.send_code(sender, &content).await?;
        let purpose = Purpose::Activate {
            access: actor.access.id.clone(),
        };
        self.wait_for_code(&actor.owner, purpose, content, code)
    }

    /// A log-in whose password was right: the token with which it goes on.
    pub(crate) fn await_factor(
        &self,
        owner: &Owner,
        app: &str,
        account: &Account,
        factor: Factor,
    ) -> Result<Secret, MfaError> {
        let purpose = Purpose::Login {
            app: app.to_owned(),
            password_set: account.password_set,
        };
        self.wait_for_code(owner, purpose, factor.content, None)
    }

    fn wait_for_code(
        &self,
        owner: &Owner,
        purpose: Purpose,
        content: Map<String, Value>,
        code: Option<Secret>,
    ) -> Result<Secret, MfaError> {
        let token = Secret::new(super::uuid(&*self.context().entropy));
        let session = MfaSession {
            user: owner.id.clone(),
            purpose,
            content,
            expires: self.now() + self.settings().mfa_max_age,
            code,
            tries: 0,
        };
        if self.mfa_sessions().keep(&token, session, self.now()) {
            Ok(token)
        } else {
            Err(MfaError::Busy)
        }
    }

    /// Has a code sent; the code, where it is made here.
    async fn send_code(
        &self,
        sender: &dyn CodeSender,
        content: &Map<String, Value>,
    ) -> Result<Option<Secret>, MfaError> {
        let made = (!sender.makes_codes()).then(|| super::code(&*self.context().entropy));
        let mut values = content.clone();
        if let Some(code) = &made {
            values.insert("code".to_owned(), json!(code.expose()));
        }
        let sent = sender.send(&values).await;
        sent.map_err(MfaError::Provider)?;
        Ok(made)
    }

    /// `mfa.challenge`: sends a code for what a token stands for.
    ///
    /// # Errors
    /// As spec/pryv-api §2.6.
    pub async fn mfa_challenge(
        &self,
        owner: &Owner,
        token: &Secret,
        source: Source,
    ) -> Result<Reply, Error> {
        let result = self.challenge(owner, token).await;
        let result = result.map_err(Error::from);
        self.note_factor(owner, CHALLENGE, source, result.as_ref().err())
            .await;
        result.map(|()| message("Please verify the MFA challenge."))
    }

    async fn challenge(&self, owner: &Owner, token: &Secret) -> Result<(), MfaError> {
        let sender = self.codes().ok_or(MfaError::Disabled)?;
        let found = self.mfa_sessions().find(&owner.id, token, self.now());
        let session = found.ok_or(MfaError::UnknownToken)?;
        let code = self.send_code(sender, &session.content).await?;
        self.mfa_sessions().sent(&owner.id, token, self.now(), code);
        Ok(())
    }

    /// Takes a code for what a token stands for, which is used up with it.
    async fn take_code(
        &self,
        owner: &Owner,
        token: &Secret,
        params: &Value,
        fits: impl Fn(&Purpose) -> bool,
    ) -> Result<MfaSession, MfaError> {
        let sender = self.codes().ok_or(MfaError::Disabled)?;
        let sessions = self.mfa_sessions();
        let found = sessions.find(&owner.id, token, self.now());
        if !found.is_some_and(|session| fits(&session.purpose)) {
            return Err(MfaError::UnknownToken);
        }
        let GivenCode(given) = GivenCode::parse(params)?;
        let tried = sessions.try_code(&owner.id, token, self.now());
        let session = tried.ok_or(MfaError::UnknownToken)?;
        if sender.makes_codes() {
            let mut values = session.content.clone();
            values.insert("code".to_owned(), json!(given.expose()));
            let checked = sender.check(&values).await;
            checked.map_err(MfaError::Provider)?;
        } else {
            let sent = session.code.as_ref();
            if !sent.is_some_and(|sent| sent.matches(given.expose())) {
                return Err(MfaError::WrongCode);
            }
        }
        // Of two who come with the code at once, one.
        if sessions.end(token) {
            Ok(session)
        } else {
            Err(MfaError::UnknownToken)
        }
    }

    /// `mfa.confirm`: with the code that came, the second factor is set; its recovery codes.
    ///
    /// # Errors
    /// As spec/pryv-api §2.6.
    pub async fn mfa_confirm(
        &self,
        owner: &Owner,
        token: &Secret,
        params: &Value,
        source: Source,
    ) -> Result<Reply, Error> {
        let is_activation = |purpose: &Purpose| matches!(purpose, Purpose::Activate { .. });
        let taken = self.take_code(owner, token, params, is_activation).await;
        let (access, content) = match taken {
            Ok(MfaSession {
                purpose: Purpose::Activate { access },
                content,
                ..
            }) => (access, content),
            Ok(_) => return Err(MfaError::UnknownToken.into()),
            Err(error) => return Err(self.not_taken(owner, CONFIRM, source, error).await),
        };
        let (context, draft) = (
            self.context(),
            Draft::anonymous(&source, &access, CONFIRM, self.now()),
        );
        let (result, ()) = self
            .write_noted(&owner.id, draft, move |writer| {
                let set = writer.attempt(|tx| activate(tx, &context, &access, content));
                (set.map_err(Error::from), ())
            })
            .await?;
        result
    }

    /// `mfa.verify`: with the code that came, the log-in comes to its end.
    ///
    /// # Errors
    /// As spec/pryv-api §2.6.
    pub async fn mfa_verify(
        &self,
        owner: &Owner,
        token: &Secret,
        params: &Value,
        source: Source,
    ) -> Result<LoggedIn, Error> {
        let is_login = |purpose: &Purpose| matches!(purpose, Purpose::Login { .. });
        let taken = self.take_code(owner, token, params, is_login).await;
        let (app, password_set) = match taken.map(|session| session.purpose) {
            Ok(Purpose::Login { app, password_set }) => (app, password_set),
            Ok(Purpose::Activate { .. }) => return Err(MfaError::UnknownToken.into()),
            Err(error) => return Err(self.not_taken(owner, VERIFY, source, error).await),
        };
        let context = self.context();
        let draft = Draft::anonymous(&source, audit::VALID_PASSWORD, VERIFY, self.now());
        let (result, logged_in) = self
            .write_noted(&owner.id, draft, move |writer| {
                let opened = writer.attempt(|tx| {
                    // The password that was given may be another one now.
                    if account::load(tx.view())?.password_set != password_set {
                        return Err(MfaError::UnknownToken);
                    }
                    Ok(login::open(tx, &context, &app, password_set)?)
                });
                match opened {
                    Ok(logged_in) => (Ok(Reply::empty()), Some(logged_in)),
                    Err(error) => (Err(Error::from(error)), None),
                }
            })
            .await?;
        result?;
        logged_in.ok_or_else(|| MfaError::UnknownToken.into())
    }

    /// `mfa.deactivate`: the person has no second factor any more, if there was one.
    ///
    /// # Errors
    /// If another access asks, or of the store.
    pub async fn mfa_deactivate(&self, actor: &Actor) -> Result<Reply, Error> {
        let draft = Draft::of(actor, DEACTIVATE, self.now());
        if !actor.is_personal() {
            let error = Error::from(MfaError::PersonOnly);
            return Err(self.refused(actor, draft, error).await);
        }
        let (result, ()) = self
            .write_noted(&actor.owner.id, draft, |writer| {
                let removed = writer.attempt(remove);
                let done = || message("MFA is deactivated.");
                (removed.map(|()| done()).map_err(Error::from), ())
            })
            .await?;
        result
    }

    /// `system.deactivateMfa`: an administrator removes a person's second factor.
    ///
    /// # Errors
    /// Of the store.
    pub async fn mfa_remove(&self, owner: &Owner, source: Source) -> Result<(), Error> {
        let draft = Draft::anonymous(&source, audit::ADMIN, REMOVE, self.now());
        let (result, ()) = self
            .write_noted(&owner.id, draft, |writer| {
                let removed = writer.attempt(remove);
                (removed.map(|()| Reply::empty()).map_err(Error::from), ())
            })
            .await?;
        result.map(drop)
    }

    /// `mfa.recover`: with the password and a recovery code, the second factor is removed.
    ///
    /// # Errors
    /// As spec/pryv-api §2.6.
    pub async fn mfa_recover(
        &self,
        owner: &Owner,
        params: &Value,
        source: Source,
    ) -> Result<Reply, Error> {
        let code = match self.recovery_code(owner, params).await {
            Ok(code) => code,
            Err(error) => return Err(self.not_taken(owner, RECOVER, source, error).await),
        };
        let draft = Draft::anonymous(&source, audit::VALID_PASSWORD, RECOVER, self.now());
        let (result, ()) = self
            .write_noted(&owner.id, draft, move |writer| {
                let removed = writer.attempt(|tx| recover(tx, &code));
                let done = || message("MFA is deactivated.");
                (removed.map(|()| done()).map_err(Error::from), ())
            })
            .await?;
        result
    }

    /// The recovery code of somebody who knows the password.
    async fn recovery_code(&self, owner: &Owner, params: &Value) -> Result<Secret, MfaError> {
        let asked = Recover::parse(params)?;
        let account = self
            .read(&owner.id, |view, _| account::load(view))
            .await??;
        if !account.is_meant(owner, &asked.username) {
            return Err(LoginError::OtherUser.into());
        }
        let hash = Some(account.password_hash);
        let verified = self.hasher().verify(asked.password, hash).await;
        if !verified.map_err(LoginError::from)? {
            return Err(LoginError::WrongPassword.into());
        }
        Ok(asked.code)
    }

    /// Notes that a call without an access was refused, and hands the error on.
    async fn not_taken(
        &self,
        owner: &Owner,
        method: &str,
        source: Source,
        error: MfaError,
    ) -> Error {
        let error = Error::from(error);
        self.note_factor(owner, method, source, Some(&error)).await;
        error
    }

    async fn note_factor(
        &self,
        owner: &Owner,
        method: &str,
        source: Source,
        error: Option<&Error>,
    ) {
        let access = match error {
            Some(_) => audit::INVALID,
            None => audit::VALID_PASSWORD,
        };
        let draft = Draft::anonymous(&source, access, method, self.now());
        let draft = match error {
            Some(error) => draft.refused(error),
            None => draft,
        };
        self.note(&owner.id, draft).await;
    }
}

fn message(text: &str) -> Reply {
    Reply::of("message", json!(text).to_string().as_bytes())
}

/// Sets the second factor, if who asked is still logged in.
fn activate(
    tx: &mut Transaction<'_>,
    context: &Context,
    access: &str,
    content: Map<String, Value>,
) -> Result<Reply, MfaError> {
    let (now, max_age) = (tx.at(), context.settings.session_max_age);
    let present = session::load(tx.view(), access)?;
    if !present.is_some_and(|session| session.is_alive(now, max_age)) {
        return Err(MfaError::UnknownToken);
    }
    let (factor, codes) = Factor::new(content, context.entropy.as_ref());
    profile::set_private(tx, MEMBER, factor.to_json())?;
    Ok(Reply::of(
        "recoveryCodes",
        json!(codes).to_string().as_bytes(),
    ))
}

fn remove(tx: &mut Transaction<'_>) -> Result<(), MfaError> {
    if super::load(tx.view())?.is_some() {
        profile::set_private(tx, MEMBER, Value::Null)?;
    }
    Ok(())
}

fn recover(tx: &mut Transaction<'_>, code: &Secret) -> Result<(), MfaError> {
    let factor = super::load(tx.view())?.ok_or(MfaError::NotActive)?;
    if !factor.knows(code) {
        return Err(MfaError::WrongRecoveryCode);
    }
    remove(tx)
}
