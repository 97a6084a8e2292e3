//! Creating a user on this core for an administrator: as a registration, but neither the invitation nor
//! the core is the platform's to decide.

use std::collections::BTreeMap;

use homecore_kernel::ports::{NewUser, RegisterError, all_of, indexed_of, unique_of};
use homecore_raft::command::{Command, Rejection, ReserveUser, Response};
use homecore_types::{UserId, entropy, limits};

use super::{Accounts, CreateError, NewAccount, unavailable};
use crate::telemetry::chain;

/// The app of an account that came with none, as of one that is imported.
const NO_APP: &str = "unknown";

impl Accounts {
    /// Takes the names, makes the account, and makes it a user. To be run as a task of its own: what is
    /// dropped in between is only gone on with when the reservation has expired.
    pub(crate) async fn create_user(&self, new: NewUser) -> Result<(), RegisterError> {
        let user = UserId::generate(&*self.cluster.entropy);
        let reservation = entropy::wire_id(&*self.cluster.entropy);
        let app = new.app.clone().unwrap_or_else(|| NO_APP.to_owned());
        self.take_names_of_new(&new, &user, &reservation, &app)
            .await?;
        let mut fields = given(&new);
        fields.insert("email".to_owned(), new.email.into());
        fields.extend(all_of(&new.declared));
        let account = NewAccount {
            reservation: reservation.clone(),
            user,
            username: new.username,
            password: new.password,
            app,
            language: new.language,
            fields,
        };
        match self.place(account).await {
            Ok(()) => Ok(()),
            Err(CreateError::Refused { id, message }) => {
                Err(RegisterError::Refused { id, message })
            }
            Err(CreateError::Unavailable(why)) => {
                // Either this frees the names, or the commit came first and the user exists: the log's
                // order decides.
                self.release(reservation).await;
                Err(why.into())
            }
        }
    }

    async fn take_names_of_new(
        &self,
        new: &NewUser,
        user: &UserId,
        reservation: &str,
        app: &str,
    ) -> Result<(), RegisterError> {
        let at = self.cluster.clock.now();
        let mut indexed = given(new);
        indexed.insert("appId".to_owned(), app.to_owned());
        indexed.insert("language".to_owned(), new.language.clone());
        indexed.extend(indexed_of(&new.declared));
        let mut unique = unique_of(&new.declared);
        unique.insert("email".to_owned(), new.email.to_string());
        let asked = ReserveUser {
            reservation: reservation.to_owned(),
            user: user.clone(),
            username: new.username.clone(),
            unique,
            indexed,
            hosting: None,
            invitation: None,
            live: Vec::new(),
            at,
            deadline: at + limits::RESERVATION_TTL,
            unreached: Vec::new(),
            fields_version: Some(new.fields_version),
        };
        let command = Command::AdoptUser {
            asked,
            core: self.cluster.core.clone(),
        };
        match self.cluster.platform.write(command).await {
            Ok(Response::Reserved { .. }) => Ok(()),
            Ok(Response::Rejected(Rejection::Conflict { fields })) => {
                Err(RegisterError::Taken(fields))
            }
            Ok(Response::Rejected(Rejection::FieldsChanged { .. })) => {
                let current = self.cluster.platform.current().await;
                current.map_err(|error| unavailable(chain(&error)))?;
                Err(RegisterError::FieldsChanged)
            }
            Ok(other) => Err(unavailable(other.to_string()).into()),
            Err(error) => {
                // Perhaps it is held after all, for nobody.
                self.release(reservation.to_owned()).await;
                Err(unavailable(chain(&error)).into())
            }
        }
    }
}

/// What the platform and the account have of where the user came from.
fn given(new: &NewUser) -> BTreeMap<String, String> {
    let referer = new.referer.clone().map(|r| ("referer".to_owned(), r));
    let invitation = new.invitation.clone();
    let invitation = invitation.map(|i| ("invitationToken".to_owned(), i));
    referer.into_iter().chain(invitation).collect()
}
