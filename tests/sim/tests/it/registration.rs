//! Registration at any core, step for step as `node/src/adapters/platform.rs` has it: reserve, create at
//! the home that the platform chose, try another home if that one cannot be reached, give back.

use std::collections::BTreeMap;
use std::time::Duration;

use homecore_proto::platform::users_client::UsersClient;
use homecore_proto::platform::{CreateUserRequest, create_user_reply};
use homecore_raft::command::{Command, Rejection, ReserveUser, Response};
use homecore_raft::records::Core;
use homecore_raft::{Handle, Peers as _};
use homecore_types::{Clock as _, CoreId, UserId, Username, entropy, limits};
use tokio::time::Instant;

use crate::accounts::{Accounts, NewAccount};
use crate::bugs::Bug;
use crate::service::SimPeers;

const CREATE_TIMEOUT: Duration = Duration::from_secs(20);
const HOMES_TRIED_MAX: usize = 3;
const HOMES_TRIED_WITHIN: Duration = Duration::from_secs(5);

/// Registers at one life of a core.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    pub(crate) platform: Handle,
    pub(crate) accounts: Accounts,
    pub(crate) peers: SimPeers,
}

/// A person who registers.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: Username,
    pub(crate) email: String,
}

/// A registration that took effect.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) user: UserId,
    pub(crate) home: CoreId,
    /// From which log index on the user is there, if that is known.
    pub(crate) index: Option<u64>,
}

/// One that did not.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// Others have these.
    Taken(BTreeMap<String, String>),
    /// It may have taken effect, or not.
    Unknown(String),
}

impl Registrar {
    pub(crate) async fn register(&self, person: &Person) -> Result<Registered, Failed> {
        let began = Instant::now();
        let mut unreached = Vec::new();
        loop {
            let (core, user, reservation) = self.reserve(person, &unreached).await?;
            match self.create_at(&core, &user, &reservation, person).await {
                Ok(index) => {
                    return Ok(Registered {
                        user,
                        home: core,
                        index,
                    });
                }
                Err(why) => {
                    let is_free = self.release(reservation).await;
                    unreached.push(core);
                    if !is_free
                        || unreached.len() >= HOMES_TRIED_MAX
                        || began.elapsed() >= HOMES_TRIED_WITHIN
                    {
                        return Err(Failed::Unknown(why));
                    }
                }
            }
        }
    }

    async fn reserve(
        &self,
        person: &Person,
        unreached: &[CoreId],
    ) -> Result<(CoreId, UserId, String), Failed> {
        let now = self.accounts.clock.now();
        let chance = &self.accounts.chance;
        let reservation = entropy::wire_id(chance);
        let command = Command::ReserveUser(ReserveUser {
            reservation: reservation.clone(),
            user: UserId::generate(chance),
            username: person.username.clone(),
            unique: BTreeMap::from([("email".to_owned(), person.email.clone())]),
            indexed: BTreeMap::new(),
            hosting: None,
            invitation: None,
            live: Vec::new(),
            at: now,
            deadline: now + limits::RESERVATION_TTL,
            unreached: unreached.to_vec(),
            fields_version: None,
        });
        let reserved = self.platform.write(command).await;
        self.accounts.trace.detail(format_args!(
            "{} reserves {} ({reservation}): {reserved:?}",
            self.accounts.core, person.username
        ));
        match reserved {
            Ok(Response::Reserved { core, user }) => Ok((core, user, reservation)),
            Ok(Response::Rejected(Rejection::Conflict { fields })) => Err(Failed::Taken(fields)),
            Ok(other) => Err(Failed::Unknown(other.to_string())),
            Err(error) => {
                // Perhaps it is held after all, for nobody.
                self.release(reservation).await;
                Err(Failed::Unknown(error.to_string()))
            }
        }
    }

    async fn release(&self, reservation: String) -> bool {
        let release = Command::ReleaseUser { reservation };
        matches!(self.platform.write(release).await, Ok(Response::Done))
    }

    async fn create_at(
        &self,
        core: &CoreId,
        user: &UserId,
        reservation: &str,
        person: &Person,
    ) -> Result<Option<u64>, String> {
        if *core == self.accounts.core {
            let account = NewAccount {
                reservation: reservation.to_owned(),
                user: user.clone(),
                username: person.username.clone(),
            };
            return self.accounts.create(account).await;
        }
        let home = self.platform.directory().core(core).cloned();
        match home {
            Some(home) => {
                self.create_elsewhere(&home, user, reservation, person)
                    .await
            }
            None => Err(format!("{core} is not known here yet")),
        }
    }

    async fn create_elsewhere(
        &self,
        core: &Core,
        user: &UserId,
        reservation: &str,
        person: &Person,
    ) -> Result<Option<u64>, String> {
        let channel = self
            .peers
            .channel(core.node, core.id.as_str(), &core.addresses.rpc)
            .map_err(|error| error.to_string())?;
        let request = CreateUserRequest {
            reservation: reservation.to_owned(),
            user: user.to_string(),
            username: person.username.to_string(),
            ..CreateUserRequest::default()
        };
        let mut client = UsersClient::new(channel);
        let reply = tokio::time::timeout(CREATE_TIMEOUT, client.create(request))
            .await
            .map_err(|_| format!("{} did not answer in time", core.id))?
            .map_err(|status| status.message().to_owned())?;
        Ok(match reply.into_inner().result {
            Some(create_user_reply::Result::Token(index)) => index.parse().ok(),
            _ => None,
        })
    }

    /// Whether somebody has a name, as of now.
    pub(crate) async fn is_taken(&self, name: &str) -> Result<bool, String> {
        if self.platform.directory().user(name).is_some() {
            return Ok(true);
        }
        if self.accounts.bug == Some(Bug::StaleCheck) {
            return Ok(false);
        }
        let directory = self.platform.current().await;
        let directory = directory.map_err(|error| error.to_string())?;
        Ok(directory.user(name).is_some())
    }

    /// Deletes a user who lives here. Whether it is certain.
    pub(crate) async fn delete(&self, user: &UserId) -> Result<(), String> {
        let delete = Command::DeleteUser { user: user.clone() };
        match self.platform.write(delete).await {
            Ok(Response::Done) => self.accounts.delete(user),
            Ok(other) => Err(other.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
