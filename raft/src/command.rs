//! What may be asked of the platform store, and what it answers.
//!
//! A command is deterministic: the time, the ids and every random choice are inside it, put there by
//! the core that proposes it; applying reads nothing else. Each is one log entry and takes effect
//! whole or not at all. Each may arrive twice (a proposer that lost its answer asks again), so each
//! says in its doc what the second time does.

use std::collections::{BTreeMap, BTreeSet};

use homecore_types::{ClusterId, CoreId, Millis, NodeId, UserId, Username};
use serde::{Deserialize, Serialize};

use crate::records::{
    AccessRequest, CoreAddresses, DnsRecord, Invitation, PlatformConfig, SealedSecrets,
};

/// One change of the platform. New variants go at the end; a changed meaning is a new variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Writes what a new cluster starts from. The first of its kind in the log; again: [`Rejection::AlreadyFounded`]
    /// (or the same answer, if it is the same founding).
    Found(Founding),
    /// Takes a username and every other unique field of a new account for a core that it also
    /// chooses, or nothing. Again with the same reservation id: the same answer.
    ReserveUser(ReserveUser),
    /// Makes a reserved account a user. Again: `Done`. Expired or released: [`Rejection::ReservationGone`].
    CommitUser {
        /// The id that [`ReserveUser`] carried.
        reservation: String,
        /// When.
        at: Millis,
    },
    /// Gives a reservation's names back. Unknown or again: `Done`; committed: [`Rejection::AlreadyCommitted`].
    ReleaseUser {
        /// The id that [`ReserveUser`] carried.
        reservation: String,
    },
    /// Frees every name and field of a user. Again: [`Rejection::UnknownUser`].
    DeleteUser {
        /// Whom.
        user: UserId,
    },
    /// Records a join token, by the SHA-256 of its secret. Again: `Done`; if that one may still admit its
    /// core, the later end holds.
    PutJoinToken {
        /// Hex SHA-256 of the secret.
        id: String,
        /// The only core that it admits.
        core: CoreId,
        /// When it was made.
        at: Millis,
        /// When it ends.
        expires: Millis,
    },
    /// Makes an open token useless. Answers `Done` if there was one, else [`Rejection::UnknownToken`].
    RevokeJoinToken {
        /// Hex SHA-256 of the secret.
        id: String,
        /// When.
        at: Millis,
    },
    /// Consumes a token and admits its core under a node id drawn from the log. Again with the same
    /// token and key: the same answer, so a join that was cut off can be repeated.
    AdmitCore {
        /// Hex SHA-256 of the secret presented.
        token: String,
        /// The core that asks.
        core: CoreId,
        /// Hex SHA-256 of its public key: who may repeat the join.
        key: String,
        /// Where it can be reached.
        addresses: CoreAddresses,
        /// When.
        at: Millis,
    },
    /// A core says where it can be reached and that it serves. Again: `Done`.
    AnnounceCore {
        /// Who.
        core: CoreId,
        /// Its node id, so that a removed core of the same name cannot speak for it.
        node: NodeId,
        /// Where.
        addresses: CoreAddresses,
        /// When.
        at: Millis,
    },
    /// Whether new users may be placed on a core.
    SetCoreAvailable {
        /// Which.
        core: CoreId,
        /// Whether.
        available: bool,
    },
    /// Removes a core for good; its id and node id are never used again. With users on it:
    /// [`Rejection::CoreHasUsers`], unless they are to be abandoned.
    RemoveCore {
        /// Which.
        core: CoreId,
        /// Free the names of users that it still hosts.
        abandon_users: bool,
        /// When.
        at: Millis,
    },
    /// Sets the records of a label below the domain, whole. A label that a user or core holds:
    /// [`Rejection::LabelTaken`].
    PutDnsRecord {
        /// The label, possibly of several parts (`_acme-challenge`, `a.b`).
        label: String,
        /// What it answers.
        record: DnsRecord,
    },
    /// Removes the records of a label; none: [`Rejection::UnknownLabel`].
    DeleteDnsRecord {
        /// The label.
        label: String,
    },
    /// Adds invitation tokens. An id that exists stays as it is.
    CreateInvitations {
        /// id → invitation.
        invitations: BTreeMap<String, Invitation>,
    },
    /// Stores a new access request. Too many pending: [`Rejection::TooMany`].
    PutAccessRequest {
        /// Hex SHA-256 of its poll key.
        id: String,
        /// Its state.
        request: AccessRequest,
    },
    /// Moves a pending access request to a final state. Again with the same state: `Done`; another
    /// final state: [`Rejection::AlreadyResolved`]; unknown or expired: [`Rejection::UnknownAccessRequest`].
    ResolveAccessRequest {
        /// Hex SHA-256 of its poll key.
        id: String,
        /// The final state.
        request: AccessRequest,
        /// When.
        at: Millis,
    },
    /// Replaces the platform-wide configuration. Based on an older version than the present one:
    /// [`Rejection::StaleVersion`].
    PutConfig {
        /// The new configuration.
        config: PlatformConfig,
        /// The version that it replaces.
        base_version: u64,
        /// Only while nobody has an account, or is about to: [`Rejection::AccountsExist`]. None in logs of releases
        /// that did not count versions of fields: such an entry changes the same on every core, whenever it is
        /// applied.
        #[serde(default)]
        unless_accounts: Option<bool>,
    },
    /// Drops what has passed its deadline: reservations, access requests, join tokens. Proposed by
    /// the leader, with its clock.
    Sweep {
        /// The leader's time.
        now: Millis,
    },
    /// As [`Command::ReserveUser`], for a user whom an operator brings along with all data: onto the core
    /// that has the data, open to new users or not, and without an invitation.
    AdoptUser {
        /// What it takes. Of the core and the invitation it says nothing.
        asked: ReserveUser,
        /// Where the data is.
        core: CoreId,
    },
    /// Sets account fields of a user, all or none: unique ones are taken and their former values given
    /// back. Again: `Done`. Values that others hold: [`Rejection::Conflict`] with all of them; one that is
    /// only reserved, or nobody: [`Rejection::UnknownUser`]; judged by another declaration:
    /// [`Rejection::FieldsChanged`].
    UpdateUser {
        /// Whom.
        user: UserId,
        /// Unique fields to set, field → value as compared; others stay.
        unique: BTreeMap<String, String>,
        /// Fields that listings show to set, field → value; others stay.
        indexed: BTreeMap<String, String>,
        /// Fields of which nothing is kept but what this sets: a field may be unique no more.
        #[serde(default)]
        freed: BTreeSet<String>,
        /// As of [`ReserveUser`].
        #[serde(default)]
        fields_version: Option<u64>,
    },
    /// Gives a user another name; the former one stays its own and leads to it. Again, until the next
    /// change: the same answer. A name that somebody holds: [`Rejection::Conflict`]; something else:
    /// [`Rejection::LabelTaken`]; changed too often: [`Rejection::NameChangesUsed`]; not called `from`, or
    /// after another number of changes: [`Rejection::NameChanged`].
    RenameUser {
        /// Whom.
        user: UserId,
        /// Its name as the proposer knows it.
        from: Username,
        /// Its name from now on.
        to: Username,
        /// How often its name was changed before, as the proposer knows it: what arrives late undoes
        /// nothing, not even when the user has its former name again.
        changes: u32,
        /// How often a user's name may be changed.
        changes_max: u32,
    },
    /// Sets all addresses of a user: those that are new are taken and those left out given back. Again,
    /// until the next change of an address or of a field that it sets: `Done`. Another number of changes:
    /// [`Rejection::EmailsChanged`]; an address that somebody else has: [`Rejection::Conflict`]; too many:
    /// [`Rejection::TooMany`]; one that is only reserved, or nobody: [`Rejection::UnknownUser`]; judged by
    /// another declaration: [`Rejection::FieldsChanged`].
    SetEmails(SetEmails),
    /// Takes a random alias for a user, a name that leads to it. Again: `Done`. A name that somebody
    /// holds: [`Rejection::Conflict`] or [`Rejection::LabelTaken`]; too many: [`Rejection::TooManyAliases`];
    /// one that is only reserved, or nobody: [`Rejection::UnknownUser`].
    TakeAlias {
        /// Whose.
        user: UserId,
        /// Of the form of aliases; drawn by the proposer.
        alias: Username,
    },
    /// Frees random aliases of a user; those that it does not have are passed over. Again: `Done`.
    /// Nobody: [`Rejection::UnknownUser`].
    FreeAliases {
        /// Whose.
        user: UserId,
        /// Which.
        aliases: Vec<Username>,
    },
    /// Takes further names and addresses for a user whom an operator brings along, while it is only
    /// reserved: all of those that it does not have yet, or none. Again: `Done`. Names that somebody holds:
    /// [`Rejection::Conflict`] or [`Rejection::LabelTaken`]; too many: [`Rejection::TooManyAliases`] or
    /// [`Rejection::TooMany`]; not reserved any more: [`Rejection::ReservationGone`] or
    /// [`Rejection::AlreadyCommitted`].
    HoldNames(HoldNames),
}

/// What a new cluster starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Founding {
    /// Drawn by the founder.
    pub cluster: ClusterId,
    /// The first core.
    pub core: CoreId,
    /// Its node id.
    pub node: NodeId,
    /// Where it can be reached.
    pub addresses: CoreAddresses,
    /// Platform-wide configuration, version 1.
    pub config: PlatformConfig,
    /// The CA's certificate (DER) and its sealed key.
    pub ca_certificate: Vec<u8>,
    /// Secrets of the whole platform, sealed with the cluster key.
    pub secrets: SealedSecrets,
    /// When.
    pub at: Millis,
}

/// A new account, as far as the platform knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReserveUser {
    /// Drawn by the proposer; names this attempt.
    pub reservation: String,
    /// Drawn by the proposer; the id of the user if it succeeds.
    pub user: UserId,
    /// The name.
    pub username: Username,
    /// Unique account fields, field → value as compared (`email` → `a@b.c`).
    pub unique: BTreeMap<String, String>,
    /// Account fields that listings show, field → value.
    pub indexed: BTreeMap<String, String>,
    /// The hosting asked for; none: any core.
    pub hosting: Option<String>,
    /// The invitation token given.
    pub invitation: Option<String>,
    /// Cores that were alive for the leader when it proposed this. Filled in by the leader.
    pub live: Vec<CoreId>,
    /// When.
    pub at: Millis,
    /// Until when the names are held without a commit.
    pub deadline: Millis,
    /// Cores that the proposer tried in vain a moment ago: not to be chosen, whatever the leader thinks
    /// of them.
    #[serde(default)]
    pub unreached: Vec<CoreId>,
    /// Which declaration of account fields ([`PlatformConfig::fields_version`]) says which of them are unique;
    /// none: it is not known. Another than the present one: [`Rejection::FieldsChanged`].
    #[serde(default)]
    pub fields_version: Option<u64>,
}

/// All addresses of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetEmails {
    /// Whose.
    pub user: UserId,
    /// The present one, as compared.
    pub present: String,
    /// The others.
    pub others: Vec<String>,
    /// How often they changed before, as the proposer knows it.
    pub changes: u32,
    /// Fields that listings show to set, field → value; others stay.
    pub indexed: BTreeMap<String, String>,
    /// Further unique fields to set, field → value; others stay.
    #[serde(default)]
    pub unique: BTreeMap<String, String>,
    /// As of [`Command::UpdateUser`].
    #[serde(default)]
    pub freed: BTreeSet<String>,
    /// As of [`ReserveUser`].
    #[serde(default)]
    pub fields_version: Option<u64>,
}

/// Names and addresses that a user has beside its present ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldNames {
    /// The reservation that the user is held by.
    pub reservation: String,
    /// Names that it had, oldest first.
    pub former: Vec<Username>,
    /// How often its name was changed, where it says so.
    pub changes: u32,
    /// Random aliases.
    pub aliases: Vec<Username>,
    /// Addresses, as compared, in their order.
    #[serde(default)]
    pub emails: Vec<String>,
    /// How often the addresses changed, where it says so.
    #[serde(default)]
    pub email_changes: u32,
}

/// What applying a command answers. New variants go at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It took effect, or had already.
    Done,
    /// The names are held, and the account belongs on this core.
    Reserved {
        /// Where to create the account.
        core: CoreId,
        /// The user's id: of the first proposal, if this one repeated it.
        user: UserId,
    },
    /// The core is a member now.
    Admitted {
        /// Its node id for life.
        node: NodeId,
    },
    /// It did not take effect.
    Rejected(Rejection),
    /// The entry carried no command (a membership change, a blank entry).
    Nothing,
    /// The user has its new name.
    Renamed {
        /// Every other name that leads to it, oldest first.
        aliases: Vec<Username>,
        /// How often its name was changed, this time included.
        changes: u32,
    },
}

/// Why a command did not take effect. New variants go at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// All unique fields that someone else holds, `username` included: field → value given.
    #[error("already taken: {}", fields.keys().cloned().collect::<Vec<_>>().join(", "))]
    Conflict {
        /// field → value.
        fields: BTreeMap<String, String>,
    },
    /// No such hosting in the platform's tree.
    #[error("no hosting is called {hosting:?}")]
    UnknownHosting {
        /// As asked.
        hosting: String,
    },
    /// No live core takes new users (of the hosting asked for).
    #[error("no core that takes new users is alive")]
    NoCore,
    /// The invitation is missing, unknown or used.
    #[error("invalid invitation token")]
    InvalidInvitation,
    /// The reservation expired, was released, or never was.
    #[error("the reservation is gone: it expired or was released")]
    ReservationGone,
    /// The reservation is a user already.
    #[error("the reservation has been committed already")]
    AlreadyCommitted,
    /// No such user.
    #[error("no user {user}")]
    UnknownUser {
        /// As asked.
        user: UserId,
    },
    /// No such core, or not with this node id.
    #[error("no core {core}")]
    UnknownCore {
        /// As asked.
        core: CoreId,
    },
    /// The core id is in use.
    #[error("a core called {core} exists already")]
    CoreExists {
        /// As asked.
        core: CoreId,
    },
    /// The core id belonged to a removed core, or the name to a user or a DNS record.
    #[error("the name {label} is taken: {holder}")]
    LabelTaken {
        /// As asked.
        label: String,
        /// By what kind of thing: `user`, `core`, `removed-core`, `dns`, `reserved`.
        holder: String,
    },
    /// The core still hosts users.
    #[error("{core} still hosts {users} users")]
    CoreHasUsers {
        /// Which.
        core: CoreId,
        /// How many.
        users: u64,
    },
    /// It is the only core.
    #[error("{core} is the last core of the cluster")]
    LastCore {
        /// Which.
        core: CoreId,
    },
    /// No join token has this secret.
    #[error("no join token with this secret was made here")]
    UnknownToken,
    /// The token ended.
    #[error("the join token expired")]
    TokenExpired,
    /// Another machine used the token.
    #[error("the join token has been used already")]
    TokenConsumed,
    /// An operator revoked the token.
    #[error("the join token was revoked")]
    TokenRevoked,
    /// The token is for a core of another name.
    #[error("the join token is for {core}")]
    TokenForOtherCore {
        /// Its core.
        core: CoreId,
    },
    /// No records at this label.
    #[error("no DNS record for {label:?}")]
    UnknownLabel {
        /// As asked.
        label: String,
    },
    /// No such access request, or it expired.
    #[error("no such access request, or it expired")]
    UnknownAccessRequest,
    /// The access request has another final state already.
    #[error("the access request has been answered already")]
    AlreadyResolved,
    /// A bound is reached.
    #[error("too many {what} (at most {most})")]
    TooMany {
        /// Of what.
        what: String,
        /// The bound.
        most: u64,
    },
    /// The configuration changed meanwhile.
    #[error("the configuration is at version {current}")]
    StaleVersion {
        /// Its version now.
        current: u64,
    },
    /// The cluster exists.
    #[error("the cluster is founded already")]
    AlreadyFounded,
    /// The cluster does not exist yet.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// The user's name was changed as often as it may be.
    #[error("the name was changed {used} times already")]
    NameChangesUsed {
        /// How often.
        used: u32,
    },
    /// The user has another name than the proposer thought.
    #[error("the name is {present} meanwhile")]
    NameChanged {
        /// Its name now.
        present: Username,
    },
    /// The user's addresses changed since the proposer looked.
    #[error("the addresses were changed {changes} times meanwhile")]
    EmailsChanged {
        /// How often by now.
        changes: u32,
    },
    /// The user has as many random aliases as there may be.
    #[error("a user can have {most} aliases, not more")]
    TooManyAliases {
        /// The bound.
        most: u64,
    },
    /// Fields of accounts are declared otherwise than the proposer knew.
    #[error("the fields of accounts are those of version {present} of the configuration meanwhile")]
    FieldsChanged {
        /// Where their declaration changed last.
        present: u64,
    },
    /// It may only be while there are no accounts.
    #[error("there are accounts, or registrations under way")]
    AccountsExist,
}

impl std::fmt::Display for Command {
    /// The command's name alone: its content may be personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Found(_) => "Found",
            Self::ReserveUser(_) => "ReserveUser",
            Self::CommitUser { .. } => "CommitUser",
            Self::ReleaseUser { .. } => "ReleaseUser",
            Self::DeleteUser { .. } => "DeleteUser",
            Self::PutJoinToken { .. } => "PutJoinToken",
            Self::RevokeJoinToken { .. } => "RevokeJoinToken",
            Self::AdmitCore { .. } => "AdmitCore",
            Self::AnnounceCore { .. } => "AnnounceCore",
            Self::SetCoreAvailable { .. } => "SetCoreAvailable",
            Self::RemoveCore { .. } => "RemoveCore",
            Self::PutDnsRecord { .. } => "PutDnsRecord",
            Self::DeleteDnsRecord { .. } => "DeleteDnsRecord",
            Self::CreateInvitations { .. } => "CreateInvitations",
            Self::PutAccessRequest { .. } => "PutAccessRequest",
            Self::ResolveAccessRequest { .. } => "ResolveAccessRequest",
            Self::PutConfig { .. } => "PutConfig",
            Self::Sweep { .. } => "Sweep",
            Self::AdoptUser { .. } => "AdoptUser",
            Self::UpdateUser { .. } => "UpdateUser",
            Self::RenameUser { .. } => "RenameUser",
            Self::SetEmails(_) => "SetEmails",
            Self::TakeAlias { .. } => "TakeAlias",
            Self::FreeAliases { .. } => "FreeAliases",
            Self::HoldNames(_) => "HoldNames",
        })
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Reserved { core, .. } => write!(f, "Reserved on {core}"),
            Self::Admitted { node } => write!(f, "Admitted as {node}"),
            Self::Rejected(rejection) => write!(f, "Rejected: {rejection}"),
            Self::Nothing => f.write_str("Nothing"),
            Self::Renamed { changes, .. } => write!(f, "Renamed, {changes} times by now"),
        }
    }
}
