//! The asynchronous side of a log-in: the password, then a session, or the wait for a second factor.

use serde_json::Value;

use super::login::{Login, LoginParams};
use crate::actor::Owner;
use crate::audit::entry::Draft;
use crate::audit::{self, Source, page};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::mfa;

/// The method id of a login.
const LOGIN: &str = "auth.login";

impl Kernel {
    /// `auth.login`: checks who it is and opens a session, or finds the app's present one; of who has
    /// a second factor it is to be asked first. `origin` is that of the request, empty without one.
    ///
    /// # Errors
    /// In the order of spec/pryv-api §2.3.
    pub async fn log_in(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<Login, Error> {
        let result = self.check_and_open(owner, params, origin, source).await;
        if let Err(error) = &result {
            let draft = Draft::anonymous(&source, audit::INVALID, LOGIN, self.now());
            self.note(&owner.id, draft.refused(error)).await;
        }
        result
    }

    async fn check_and_open(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<Login, Error> {
        let params = LoginParams::parse(params)?;
        params.check_app(&self.settings().trusted_apps.get(), origin)?;
        let (account, factor) = self
            .read(&owner.id, |view, _| {
                Ok::<_, Error>((super::load(view)?, mfa::load(view)?))
            })
            .await??;
        params.check_name(owner, &account)?;
        let (hasher, policy) = (self.hasher(), &self.settings().passwords);
        let password = params.password.clone();
        super::login::verify(hasher, policy, &account, password, self.now()).await?;
        let rehash = super::rehash::prepare(hasher, &account, params.password.clone()).await;
        let factor = factor.filter(|_| self.codes().is_some());
        let waiting = factor
            .map(|factor| self.await_factor(owner, &params.app_id, &account, factor))
            .transpose()?;
        let context = self.context();
        let covered = self.settings().audit.covers(LOGIN);
        let set = account.password_set;
        let opened = self.write(&owner.id, move |writer| {
            writer.attempt(|tx| {
                let login = match waiting {
                    // The password is asked about once more with the code.
                    Some(token) => Login::SecondFactor(token),
                    None => Login::Done(super::login::open(tx, &context, &params.app_id, set)?),
                };
                if let Some(rehash) = rehash {
                    super::rehash::replace(tx, rehash)?;
                }
                if covered {
                    let draft = Draft::anonymous(&source, audit::VALID_PASSWORD, LOGIN, tx.at());
                    page::append(tx, &context, &[draft.finish()])?;
                }
                Ok::<_, Error>(login)
            })
        });
        let login = opened.await??;
        let draft = || Draft::anonymous(&source, audit::VALID_PASSWORD, LOGIN, self.now());
        self.tell(&owner.id, LOGIN, draft);
        Ok(login)
    }

    /// A log-in of somebody who has no second factor.
    #[cfg(test)]
    pub(crate) async fn login(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<super::login::LoggedIn, Error> {
        match self.log_in(owner, params, origin, source).await? {
            Login::Done(logged_in) => Ok(logged_in),
            Login::SecondFactor(_) => panic!("a second factor is asked for"),
        }
    }
}
