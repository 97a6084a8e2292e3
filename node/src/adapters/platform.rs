//! Registration, discovery and administration over the platform store.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use homecore_kernel::ports::{
    AccessInfo, AccessRequestError, AccessRequestState, CoreInfo, IntegrityCheck, InvitationInfo,
    NewUser, Platform, Records, RecordsError, RegisterError, Registered, Registration, Unavailable,
    UserInfo, all_of, indexed_of, unique_of,
};
use homecore_proto::platform::users_client::UsersClient;
use homecore_proto::platform::{CreateUserRequest, create_user_reply};
use homecore_raft::command::{Command, Rejection, ReserveUser, Response};
use homecore_raft::records::{AccessRequest, Core, CoreState, DnsRecord, Invitation, User};
use homecore_raft::{ReadError, WriteError};
use homecore_types::{CoreId, Email, ErrorId, Secret, UserId, Username, entropy, limits};

use crate::accounts::{Accounts, CreateError, NewAccount, unavailable};
use crate::cluster::{Cluster, CommandError};
use crate::rpc::secrets::{open_for_key, seal_for_key, sha256_hex};

/// A core that the leader has not heard from for this long takes no new users.
const LIVE_WITHIN: Duration = Duration::from_secs(5);
/// Creating an account on another core may take this long, hashing included.
const CREATE_TIMEOUT: Duration = Duration::from_secs(20);
/// So many cores are tried for a new user. A core that has just died is chosen until the leader misses it.
const HOMES_TRIED_MAX: usize = 3;
/// No further core is tried after this time: the client has waited long enough for an answer.
const HOMES_TRIED_WITHIN: Duration = Duration::from_secs(5);

/// The port.
#[derive(Clone, Debug)]
pub(crate) struct PlatformAdapter {
    cluster: Arc<Cluster>,
    accounts: Arc<Accounts>,
}

impl PlatformAdapter {
    /// As this core sees the platform.
    pub(crate) fn new(cluster: Arc<Cluster>, accounts: Arc<Accounts>) -> Self {
        Self { cluster, accounts }
    }

    async fn current(&self) -> Result<Arc<homecore_raft::directory::Directory>, Unavailable> {
        self.cluster.platform.current().await.map_err(read_failed)
    }

    async fn reserve(
        &self,
        registration: &Registration,
        unreached: &[CoreId],
    ) -> Result<(CoreId, UserId, String), RegisterError> {
        let now = self.cluster.clock.now();
        let reservation = entropy::wire_id(&*self.cluster.entropy);
        let mut indexed = BTreeMap::from([
            ("appId".to_owned(), registration.app.clone()),
            ("language".to_owned(), registration.language.clone()),
        ]);
        let given = [
            ("referer", &registration.referer),
            ("invitationToken", &registration.invitation),
        ];
        let given = given.into_iter();
        indexed.extend(given.filter_map(|(field, value)| Some((field.to_owned(), value.clone()?))));
        indexed.extend(indexed_of(&registration.declared));
        let mut unique = unique_of(&registration.declared);
        unique.insert("email".to_owned(), registration.email.to_string());
        let command = Command::ReserveUser(ReserveUser {
            reservation: reservation.clone(),
            user: UserId::generate(&*self.cluster.entropy),
            username: registration.username.clone(),
            unique,
            indexed,
            hosting: registration.hosting.clone(),
            invitation: registration.invitation.clone(),
            live: Vec::new(),
            at: now,
            deadline: now + limits::RESERVATION_TTL,
            unreached: unreached.to_vec(),
            fields_version: Some(registration.fields_version),
        });
        match self.cluster.platform.write(command).await {
            Ok(Response::Reserved { core, user }) => Ok((core, user, reservation)),
            Ok(Response::Rejected(Rejection::FieldsChanged { .. })) => {
                self.current().await?;
                Err(RegisterError::FieldsChanged)
            }
            Ok(Response::Rejected(rejection)) => Err(match rejection {
                Rejection::Conflict { fields } => RegisterError::Taken(fields),
                Rejection::InvalidInvitation => RegisterError::InvalidInvitation,
                Rejection::UnknownHosting { hosting } => RegisterError::UnknownHosting(hosting),
                other => unavailable(other.to_string()).into(),
            }),
            Ok(other) => Err(unavailable(format!("unexpected answer: {other}")).into()),
            Err(error) => {
                // Perhaps it is held after all, for nobody.
                self.release(reservation).await;
                Err(write_failed(error).into())
            }
        }
    }

    /// Whether the reservation's names are certainly free again: no account can come of it any more.
    async fn release(&self, reservation: String) -> bool {
        let release = Command::ReleaseUser { reservation };
        match self.cluster.done(release, "ReleaseUser").await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(error = %crate::telemetry::chain(&error), "reservation not released; it will expire");
                false
            }
        }
    }

    async fn create_elsewhere(
        &self,
        core: &Core,
        account: NewAccount,
        password: &Secret,
    ) -> Result<Secret, CreateError> {
        let channel = self
            .cluster
            .peers
            .open(core.node, &core.addresses.rpc)
            .map_err(|error| unavailable(error.to_string()))?;
        let mut client = UsersClient::new(channel);
        let request = CreateUserRequest {
            reservation: account.reservation,
            user: account.user.into(),
            username: account.username.into(),
            password: password.expose().to_owned(),
            app: account.app,
            language: account.language,
            fields: account.fields.into_iter().collect(),
        };
        let reply = tokio::time::timeout(CREATE_TIMEOUT, client.create(request))
            .await
            .map_err(|_elapsed| unavailable(format!("{} did not answer in time", core.id)))?
            .map_err(|status| unavailable(format!("{}: {}", core.id, status.message())))?;
        match reply.into_inner().result {
            Some(create_user_reply::Result::Token(token)) => Ok(Secret::new(token)),
            Some(create_user_reply::Result::Refusal(refusal)) => Err(CreateError::Refused {
                id: ErrorId::ALL
                    .iter()
                    .copied()
                    .find(|id| id.wire() == refusal.id)
                    .unwrap_or(ErrorId::UnexpectedError),
                message: refusal.message,
            }),
            None => Err(unavailable(format!("{} sent an empty answer", core.id)).into()),
        }
    }

    fn info(&self, core: &Core, live: Option<&BTreeSet<u64>>) -> CoreInfo {
        CoreInfo {
            id: core.id.clone(),
            url: core.addresses.url.clone(),
            hosting: core.addresses.hosting.clone(),
            available: core.available
                && core.state == CoreState::Serving
                && live.is_none_or(|live| live.contains(&core.node.0)),
            users: core.users,
        }
    }
}

#[async_trait]
impl Platform for PlatformAdapter {
    async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        // A task of its own: a client that goes away leaves nothing half done.
        let this = self.clone();
        match tokio::spawn(async move { this.register_whole(registration).await }).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a registration ended early");
                Err(unavailable("the registration ended early; try again").into())
            }
        }
    }

    async fn create_user(&self, user: NewUser) -> Result<(), RegisterError> {
        let accounts = Arc::clone(&self.accounts);
        match tokio::spawn(async move { accounts.create_user(user).await }).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "the creation of a user ended early");
                Err(unavailable("the creation ended early; try again").into())
            }
        }
    }

    async fn find_access(&self, id: &str) -> Result<Option<AccessInfo>, Unavailable> {
        super::accesses::find(&self.cluster, &self.accounts, id).await
    }

    async fn check_integrity(&self) -> Result<Vec<IntegrityCheck>, Unavailable> {
        self.accounts.check_integrity().await
    }

    async fn username_taken(&self, username: &Username) -> Result<bool, Unavailable> {
        if self.cluster.directory().user(username.as_str()).is_some() {
            return Ok(true);
        }
        let directory = self.current().await?;
        let is_core =
            CoreId::parse(username.as_str()).is_ok_and(|id| directory.core(&id).is_some());
        let is_record = directory.dns().any(|(label, _)| label == username.as_str());
        Ok(directory.user(username.as_str()).is_some() || is_core || is_record)
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<UserInfo>, Unavailable> {
        self.current().await?;
        let user = self
            .cluster
            .platform
            .find_by_unique("email", email.as_str())
            .await
            .map_err(read_failed)?;
        Ok(user.map(user_info))
    }

    async fn find_user(&self, username: &str) -> Result<Option<UserInfo>, Unavailable> {
        let Ok(username) = Username::parse(username) else {
            return Ok(None);
        };
        self.current().await?;
        let user = self
            .cluster
            .platform
            .find_user_by_name(username.as_str())
            .await
            .map_err(read_failed)?;
        Ok(user
            .filter(|user| user.reservation.is_none())
            .map(user_info))
    }

    fn core_url(&self, core: &CoreId) -> Option<String> {
        self.cluster
            .directory()
            .core(core)
            .map(|core| core.addresses.url.clone())
    }

    fn this_core(&self) -> CoreInfo {
        match self.cluster.own_record() {
            Some(core) => self.info(&core, None),
            None => CoreInfo {
                id: self.cluster.core.clone(),
                url: self.cluster.addresses.url.clone(),
                hosting: self.cluster.addresses.hosting.clone(),
                available: false,
                users: 0,
            },
        }
    }

    async fn cores(&self) -> Vec<CoreInfo> {
        let live: Option<BTreeSet<u64>> =
            self.cluster.platform.liveness().await.ok().map(|peers| {
                peers
                    .into_iter()
                    .filter(|peer| peer.silent.is_some_and(|silent| silent < LIVE_WITHIN))
                    .map(|peer| peer.node.0)
                    .collect()
            });
        self.cluster
            .directory()
            .cores()
            .map(|core| self.info(core, live.as_ref()))
            .collect()
    }

    async fn users(
        &self,
        core: Option<&CoreId>,
        after: Option<&Username>,
        limit: usize,
    ) -> Result<Vec<UserInfo>, Unavailable> {
        let mut after = after.map(ToString::to_string);
        let mut found = Vec::new();
        // Names that are only reserved are left out; a page of them is not the end.
        while found.len() < limit {
            let platform = &self.cluster.platform;
            let page = platform
                .users(core.cloned(), after, limit)
                .await
                .map_err(read_failed)?;
            let Some(last) = page.last() else { break };
            after = Some(last.username.to_string());
            found.extend(
                page.into_iter()
                    .filter(|u| u.reservation.is_none())
                    .map(user_info),
            );
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn delete_user(&self, user: &UserId) -> Result<(), Unavailable> {
        let (accounts, user) = (Arc::clone(&self.accounts), user.clone());
        match tokio::spawn(async move { accounts.delete(&user).await }).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a deletion ended early");
                Err(unavailable("the deletion ended early; it will go on"))
            }
        }
    }

    async fn invitations(&self) -> Result<Vec<InvitationInfo>, Unavailable> {
        self.current().await?;
        let invitations = self
            .cluster
            .platform
            .invitations()
            .await
            .map_err(read_failed)?;
        let mut list: Vec<InvitationInfo> = invitations
            .into_iter()
            .map(|(id, row)| invitation_info(id, row.invitation))
            .collect();
        list.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(list)
    }

    async fn create_invitations(
        &self,
        count: usize,
        created_by: &str,
        description: &str,
    ) -> Result<Vec<InvitationInfo>, Unavailable> {
        let created_at = self.cluster.clock.now();
        let invitations: BTreeMap<String, Invitation> = (0..count)
            .map(|_| {
                let invitation = Invitation {
                    created_at,
                    created_by: created_by.to_owned(),
                    description: description.to_owned(),
                    consumed_at: None,
                    consumed_by: None,
                };
                (
                    entropy::lower_alphanumeric(&*self.cluster.entropy, 16),
                    invitation,
                )
            })
            .collect();
        self.cluster
            .done(
                Command::CreateInvitations {
                    invitations: invitations.clone(),
                },
                "CreateInvitations",
            )
            .await
            .map_err(command_failed)?;
        Ok(invitations
            .into_iter()
            .map(|(id, i)| invitation_info(id, i))
            .collect())
    }

    async fn invitation_valid(&self, token: &str) -> Result<bool, Unavailable> {
        self.current().await?;
        self.cluster
            .platform
            .invitation_valid(Some(token.to_owned()))
            .await
            .map_err(read_failed)
    }

    async fn open_access_request(
        &self,
        key: &Secret,
        state: AccessRequestState,
    ) -> Result<(), AccessRequestError> {
        let request = self.sealed(key, &state)?;
        let put = Command::PutAccessRequest {
            id: request_id(key),
            request,
        };
        self.cluster
            .done(put, "PutAccessRequest")
            .await
            .map_err(request_failed)
    }

    async fn access_request(&self, key: &Secret) -> Result<AccessRequestState, AccessRequestError> {
        let find = || async {
            self.cluster
                .platform
                .access_request(&request_id(key))
                .await
                .map_err(read_failed)
        };
        let now = self.cluster.clock.now();
        let mut found = find().await?;
        if found
            .as_ref()
            .is_none_or(|request| request.status == "NEED_SIGNIN")
        {
            // It may have been opened or answered a moment ago at another core.
            self.current().await?;
            found = find().await?;
        }
        let request = found
            .filter(|request| request.deadline > now)
            .ok_or(AccessRequestError::Unknown)?;
        let payload =
            open_for_key(key, &request.payload).map_err(|_seal| AccessRequestError::Unknown)?;
        Ok(AccessRequestState {
            status: request.status,
            payload: serde_json::from_slice(&payload)
                .map_err(|_json| AccessRequestError::Unknown)?,
        })
    }

    async fn resolve_access_request(
        &self,
        key: &Secret,
        state: AccessRequestState,
    ) -> Result<(), AccessRequestError> {
        let request = self.sealed(key, &state)?;
        // Sealing draws a nonce, so that the same answer twice has different bytes: compare here.
        let present = self.access_request(key).await?;
        if present.status != "NEED_SIGNIN" {
            return if present == state {
                Ok(())
            } else {
                Err(AccessRequestError::AlreadyResolved)
            };
        }
        let at = self.cluster.clock.now();
        let resolve = Command::ResolveAccessRequest {
            id: request_id(key),
            request,
            at,
        };
        self.cluster
            .done(resolve, "ResolveAccessRequest")
            .await
            .map_err(request_failed)
    }

    async fn put_records(&self, label: &str, records: Records) -> Result<(), RecordsError> {
        let record = DnsRecord {
            a: records.a,
            aaaa: records.aaaa,
            cname: records.cname,
            txt: records.txt,
            caa: records.caa,
        };
        let put = Command::PutDnsRecord {
            label: label.to_owned(),
            record,
        };
        self.cluster
            .done(put, "PutDnsRecord")
            .await
            .map_err(records_failed)
    }

    async fn delete_records(&self, label: &str) -> Result<(), RecordsError> {
        let delete = Command::DeleteDnsRecord {
            label: label.to_owned(),
        };
        self.cluster
            .done(delete, "DeleteDnsRecord")
            .await
            .map_err(records_failed)
    }
}

impl PlatformAdapter {
    /// Registers at the first chosen core that can be reached.
    async fn register_whole(
        &self,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        let began = Instant::now();
        let mut unreached = Vec::new();
        loop {
            let (core, user, reservation) = self.reserve(&registration, &unreached).await?;
            match self
                .create_at(&core, user, &reservation, &registration)
                .await
            {
                Ok(registered) => return Ok(registered),
                Err(CreateError::Refused { id, message }) => {
                    return Err(RegisterError::Refused { id, message });
                }
                Err(CreateError::Unavailable(why)) => {
                    // Either this frees the names, or the home core's commit came first and the user
                    // exists: the log's order decides, and nobody is left half done.
                    let is_free = self.release(reservation).await;
                    unreached.push(core);
                    if !is_free
                        || unreached.len() >= HOMES_TRIED_MAX
                        || began.elapsed() >= HOMES_TRIED_WITHIN
                    {
                        return Err(why.into());
                    }
                    tracing::info!(reason = why.reason, "a new user's home is chosen anew");
                }
            }
        }
    }

    async fn create_at(
        &self,
        core: &CoreId,
        user: UserId,
        reservation: &str,
        registration: &Registration,
    ) -> Result<Registered, CreateError> {
        let mut fields = BTreeMap::from([("email".to_owned(), registration.email.to_string())]);
        fields.extend(
            registration
                .referer
                .clone()
                .map(|r| ("referer".to_owned(), r)),
        );
        fields.extend(
            registration
                .invitation
                .clone()
                .map(|i| ("invitationToken".to_owned(), i)),
        );
        fields.extend(all_of(&registration.declared));
        let account = NewAccount {
            reservation: reservation.to_owned(),
            user,
            username: registration.username.clone(),
            password: registration.password.clone().into(),
            app: registration.app.clone(),
            language: registration.language.clone(),
            fields,
        };
        let home = self.cluster.directory().core(core).cloned();
        let core_url = home
            .as_ref()
            .map(|home| home.addresses.url.clone())
            .unwrap_or_default();
        let token = match home {
            _ if *core == self.cluster.core => self.accounts.create(account).await?,
            Some(home) => {
                self.create_elsewhere(&home, account, &registration.password)
                    .await?
            }
            None => return Err(unavailable(format!("{core} is not known here yet")).into()),
        };
        Ok(Registered {
            username: registration.username.clone(),
            token,
            core_url,
        })
    }

    fn sealed(
        &self,
        key: &Secret,
        state: &AccessRequestState,
    ) -> Result<AccessRequest, AccessRequestError> {
        let plain = serde_json::to_vec(&state.payload)
            .map_err(|error| AccessRequestError::TooMuch(error.to_string()))?;
        if plain.len() > limits::ACCESS_REQUEST_BYTES_MAX / 2 {
            return Err(AccessRequestError::TooMuch(format!(
                "an access request may hold {} bytes, this one has {}",
                limits::ACCESS_REQUEST_BYTES_MAX / 2,
                plain.len()
            )));
        }
        let payload = seal_for_key(key, &plain, &*self.cluster.entropy)
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(AccessRequest {
            status: state.status.clone(),
            payload,
            deadline: self.cluster.clock.now() + limits::ACCESS_REQUEST_TTL,
        })
    }
}

/// The store knows a request by the hash of its poll key only.
fn request_id(key: &Secret) -> String {
    sha256_hex(key.expose().as_bytes())
}

fn user_info(user: User) -> UserInfo {
    UserInfo {
        id: user.id,
        username: user.username,
        core: user.core,
        unique: user.unique,
        indexed: user.indexed,
    }
}

fn invitation_info(id: String, invitation: Invitation) -> InvitationInfo {
    InvitationInfo {
        id,
        created_at: invitation.created_at,
        created_by: invitation.created_by,
        description: invitation.description,
        consumed_at: invitation.consumed_at,
        consumed_by: invitation.consumed_by,
    }
}

/// A read that the platform could not answer.
pub(super) fn read_failed(error: ReadError) -> Unavailable {
    unavailable(crate::telemetry::chain(&error))
}

fn write_failed(error: WriteError) -> Unavailable {
    unavailable(crate::telemetry::chain(&error))
}

fn command_failed(error: CommandError) -> Unavailable {
    unavailable(crate::telemetry::chain(&error))
}

fn request_failed(error: CommandError) -> AccessRequestError {
    match error {
        CommandError::Rejected(Rejection::UnknownAccessRequest) => AccessRequestError::Unknown,
        CommandError::Rejected(Rejection::AlreadyResolved) => AccessRequestError::AlreadyResolved,
        CommandError::Rejected(rejection @ Rejection::TooMany { .. }) => {
            AccessRequestError::TooMuch(rejection.to_string())
        }
        other => command_failed(other).into(),
    }
}

fn records_failed(error: CommandError) -> RecordsError {
    match error {
        CommandError::Rejected(Rejection::LabelTaken { label, holder }) => {
            RecordsError::Taken { label, holder }
        }
        CommandError::Rejected(Rejection::UnknownLabel { label }) => RecordsError::Unknown(label),
        other => command_failed(other).into(),
    }
}
