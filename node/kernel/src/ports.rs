//! What the kernel asks of the platform. The binary implements these over the platform store;
//! tests implement them over a map.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homecore_types::{CoreId, Email, ErrorId, Millis, Secret, UserId, Username};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::AccessType;
pub use crate::account::declared::{Declared, all_of, indexed_of, unique_of};
use crate::password::NewPassword;

/// Where a user lives, as this core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// On this core.
    Here {
        /// Whose folder.
        user: UserId,
        /// The canonical name (an alias may have been asked for).
        username: Username,
    },
    /// On another core.
    Elsewhere {
        /// The canonical name (an alias may have been asked for).
        username: Username,
        /// Its base URL, ending in `/`.
        core_url: String,
    },
}

/// The platform cannot answer: no quorum, no leader, or too slow. Never to be read as "no".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the platform cannot answer now: {reason}")]
pub struct Unavailable {
    /// Why, for operators: clients are told one fixed sentence.
    pub reason: String,
    /// When it is worth asking again.
    pub retry_after: Duration,
}

/// Where users live. The only question on the hot path.
#[async_trait]
pub trait Directory: Send + Sync + std::fmt::Debug + 'static {
    /// What this core knows now, from memory. None may mean that it has not heard yet.
    fn find(&self, username: &str) -> Option<Home>;

    /// The same, current: certain that nobody of this name exists if it says none. Called only
    /// after [`Directory::find`] found nothing.
    async fn find_current(&self, username: &str) -> Result<Option<Home>, Unavailable>;
}

/// A registration, checked for form.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The name.
    pub username: Username,
    /// The password in clear; it leaves this process only for the home core, over mutual TLS.
    pub password: Secret,
    /// The address.
    pub email: Email,
    /// The app that registers; names the first personal access.
    pub app: String,
    /// ISO language code.
    pub language: String,
    /// The hosting asked for.
    pub hosting: Option<String>,
    /// The invitation given.
    pub invitation: Option<String>,
    /// Where the user came from.
    pub referer: Option<String>,
    /// Fields that the platform declares, by name.
    pub declared: BTreeMap<String, Declared>,
    /// Of the declaration by which they were checked ([`Schema::version`](crate::stream::schema::Schema::version)).
    pub fields_version: u64,
}

/// A user whom an administrator creates, checked for form (spec/platform §5.2).
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name.
    pub username: Username,
    /// To log in with.
    pub password: NewPassword,
    /// The address.
    pub email: Email,
    /// ISO language code.
    pub language: String,
    /// The app that the account is said to come from.
    pub app: Option<String>,
    /// The invitation that the account is said to come from; it is not checked, nor used up.
    pub invitation: Option<String>,
    /// Where the user came from.
    pub referer: Option<String>,
    /// Fields that the platform declares, by name.
    pub declared: BTreeMap<String, Declared>,
    /// As of [`Registration`].
    pub fields_version: u64,
}

/// A new user.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The name.
    pub username: Username,
    /// Of the first personal access.
    pub token: Secret,
    /// Base URL of the home core, ending in `/`.
    pub core_url: String,
}

/// Why somebody could not be registered.
#[derive(Clone, Debug, Error)]
pub enum RegisterError {
    /// All taken fields: field → value.
    #[error("already taken: {}", .0.keys().cloned().collect::<Vec<_>>().join(", "))]
    Taken(BTreeMap<String, String>),
    /// The invitation is missing, unknown or used.
    #[error("invalid invitation token")]
    InvalidInvitation,
    /// No such hosting.
    #[error("no hosting is called {0:?}")]
    UnknownHosting(String),
    /// The home core refused.
    #[error("{message}")]
    Refused {
        /// As the wire has it.
        id: ErrorId,
        /// As it said.
        message: String,
    },
    /// The platform declares other fields meanwhile: check them again, by what this core knows now.
    #[error("the fields of accounts are declared otherwise meanwhile")]
    FieldsChanged,
    /// Try again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// New values of account fields that the platform keeps, too; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldChanges {
    /// The addresses: nobody else may have any of them.
    pub emails: Option<EmailSet>,
    /// ISO language code.
    pub language: Option<String>,
    /// Fields that the platform declares, by name.
    pub declared: BTreeMap<String, Declared>,
    /// Of the declaration by which these were checked; none: there are none.
    pub fields_version: Option<u64>,
}

/// All addresses of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSet {
    /// The present one.
    pub present: Email,
    /// The others.
    pub others: Vec<Email>,
    /// How often they changed, once they are these.
    pub changes: u32,
}

impl FieldChanges {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What only listings show, field → value.
    #[must_use]
    pub fn indexed(&self) -> BTreeMap<String, String> {
        let language = self.language.iter().cloned();
        let language = language.map(|code| ("language".to_owned(), code));
        language.chain(indexed_of(&self.declared)).collect()
    }

    /// What nobody else may have, beside addresses: field → value.
    #[must_use]
    pub fn unique(&self) -> BTreeMap<String, String> {
        unique_of(&self.declared)
    }

    /// Whether the platform is to have nothing of it.
    #[must_use]
    pub fn is_of_account_only(&self) -> bool {
        self.emails.is_none() && self.indexed().is_empty() && self.unique().is_empty()
    }
}

/// Why account fields were not taken.
#[derive(Clone, Debug, Error)]
pub enum TakeError {
    /// All values that others have: field → value.
    #[error("already taken: {}", .0.keys().cloned().collect::<Vec<_>>().join(", "))]
    Taken(BTreeMap<String, String>),
    /// A name that no user can have.
    #[error("the name {0} is reserved")]
    Reserved(Username),
    /// The name was changed as often as it may be.
    #[error("the name was changed {used} times, and may be {most} times")]
    ChangesUsed {
        /// How often it was.
        used: u32,
        /// How often it may be.
        most: u32,
    },
    /// The user has as many aliases as there may be.
    #[error("a user can have {most} aliases, not more")]
    TooManyAliases {
        /// How many.
        most: u64,
    },
    /// It was planned from what is so no more. The account is what the platform has by now: plan it again.
    #[error("the account changed at the same moment")]
    Changed,
    /// The platform declares other fields than those that it was checked by: again, if this core knows them by now.
    #[error("the fields of accounts are declared otherwise meanwhile")]
    FieldsChanged,
    /// Try again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Another name for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The present one.
    pub from: Username,
    /// The one to have.
    pub to: Username,
    /// How often the name was changed before.
    pub changes: u32,
    /// How often a name may be changed.
    pub changes_max: u32,
}

/// The names of a user, as the platform has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNames {
    /// The present one.
    pub present: Username,
    /// Those before it, which still lead to the user; oldest first.
    pub former: Vec<Username>,
    /// How often it was changed.
    pub changes: u32,
}

/// What the platform knows of an account, kept the same as the account by its home core.
#[async_trait]
pub trait Registry: Send + Sync + std::fmt::Debug + 'static {
    /// Takes new values on the platform: all or none. From here until the claim is settled this core
    /// remembers that the account may differ, and no other change of the same account begins.
    async fn take(
        &self,
        user: &UserId,
        changes: &FieldChanges,
    ) -> Result<Box<dyn Claim>, TakeError>;

    /// Gives a user another name on the platform; otherwise as [`Registry::take`].
    async fn rename(
        &self,
        user: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError>;

    /// Takes a random alias for a user; otherwise as [`Registry::take`]. Where no access has it when
    /// the claim ends, it is freed.
    async fn take_alias(
        &self,
        user: &UserId,
        alias: &Username,
    ) -> Result<Box<dyn Claim>, TakeError>;

    /// Remembers that accesses with aliases of a user go: from when the claim is settled, or somewhat
    /// later, those that no access has are free. No other change of the same account begins
    /// meanwhile.
    async fn loosen_aliases(&self, user: &UserId) -> Result<Box<dyn Claim>, TakeError>;

    /// Waits until this core knows of the platform what was so when it was asked, the declaration of account
    /// fields among it.
    async fn ensure_current(&self) -> Result<(), Unavailable>;
}

/// Values that the platform has and the account does not yet. Dropped without being settled, the
/// account is brought up to the platform later.
#[async_trait]
pub trait Claim: Send + Sync + std::fmt::Debug {
    /// The account has them, too.
    async fn settled(self: Box<Self>);
}

/// Where the platform has nothing of a change.
#[derive(Debug)]
pub struct NoClaim;

#[async_trait]
impl Claim for NoClaim {
    async fn settled(self: Box<Self>) {}
}

/// How often calls may do what costs or reveals something, over whichever way they come.
pub trait CallLimits: Send + Sync + std::fmt::Debug + 'static {
    /// Counts one more of the times that anybody says a user's password where the answer tells
    /// whether it is right.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    fn try_password(&self, username: &Username) -> Result<(), Duration>;

    /// Counts one more change of an account that the cores have to agree on.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    fn change_account(&self, user: &UserId) -> Result<(), Duration>;
}

/// A mail to a person. Which words it has is decided where it is sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The address.
    pub to: Email,
    /// The person.
    pub username: Username,
    /// ISO language code, as the account has it.
    pub language: String,
    /// What it is about.
    pub content: MailContent,
}

/// What a mail is about.
#[derive(Clone, Debug)]
pub enum MailContent {
    /// The account was made.
    Welcome,
    /// A new password can be set.
    ResetPassword {
        /// With this.
        token: Secret,
        /// From when on it does not work.
        expires: Millis,
        /// Is told if the mail was not sent and another one may be.
        sender: Arc<dyn Sender>,
    },
    /// Whoever reads the address proves it.
    VerifyEmail {
        /// With this.
        token: Secret,
    },
}

/// Who has to know that a mail did not go out.
#[async_trait]
pub trait Sender: Send + Sync + std::fmt::Debug + 'static {
    /// The mail was given up: it has not arrived, and another one may.
    async fn given_up(&self);
}

/// Too many mails wait to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("too many mails are waiting to be sent, please try again")]
pub struct MailsFull {
    /// When it is worth asking again.
    pub retry_after: Duration,
}

/// Writes to people. Nothing waits for a mail to be sent.
pub trait Mails: Send + Sync + std::fmt::Debug + 'static {
    /// Whether new users are welcomed.
    fn sends_welcomes(&self) -> bool;

    /// Whether tokens to reset passwords are sent.
    fn sends_resets(&self) -> bool;

    /// Whether links to prove addresses are sent.
    fn sends_verifications(&self) -> bool;

    /// Takes a place among the mails that wait.
    ///
    /// # Errors
    /// If there is none.
    fn reserve(&self) -> Result<Box<dyn Envelope>, MailsFull>;
}

/// A place among the mails that wait; dropped, it is free again.
pub trait Envelope: Send + std::fmt::Debug {
    /// Hands the mail over.
    fn post(self: Box<Self>, mail: Mail);
}

/// Names that nobody can have beside those that the platform knows of.
pub trait ReservedNames: Send + Sync + std::fmt::Debug + 'static {
    /// Whether a name is one of them.
    fn is_reserved(&self, name: &Username) -> bool;
}

/// The provider through which codes are sent did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the provider of codes: {reason}")]
pub struct CodeProviderError {
    /// Why, for operators.
    pub reason: String,
}

/// Sends people the codes that a log-in asks for.
#[async_trait]
pub trait CodeSender: Send + Sync + std::fmt::Debug + 'static {
    /// Whether the provider makes and checks the codes itself; else they are made here.
    fn makes_codes(&self) -> bool;

    /// Sends a code. `values` are the person's, and the code where it is made here.
    async fn send(
        &self,
        values: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), CodeProviderError>;

    /// Whether the provider takes a code, which is among the values.
    async fn check(
        &self,
        values: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), CodeProviderError>;
}

/// A core as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreInfo {
    /// Its name.
    pub id: CoreId,
    /// Its base URL, ending in `/`.
    pub url: String,
    /// Its hosting.
    pub hosting: Option<String>,
    /// Whether new users may be placed there: the operator lets it, and it is alive.
    pub available: bool,
    /// Users that live there.
    pub users: u64,
}

/// A user as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The internal id.
    pub id: UserId,
    /// The name.
    pub username: Username,
    /// The home core.
    pub core: CoreId,
    /// Unique fields (`email`).
    pub unique: BTreeMap<String, String>,
    /// Indexed fields (`language`, `appId`, …).
    pub indexed: BTreeMap<String, String>,
}

/// Whose an access is, as administrators see it: nothing of what it may do, nor its token.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessInfo {
    /// The access, without a version.
    pub id: String,
    /// Whose it is.
    pub username: Username,
    /// Where its user lives.
    pub core: CoreId,
    /// What it is.
    pub kind: AccessType,
    /// When it ends.
    pub expires: Option<Millis>,
    /// When it was made.
    pub created: Millis,
    /// When it was last changed.
    pub modified: Millis,
    /// When it was deleted.
    pub deleted: Option<Millis>,
}

/// What one check of this core's users against the platform found (spec/platform §2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrityCheck {
    /// What was compared.
    pub title: &'static str,
    /// How many of what were looked at.
    pub infos: BTreeMap<&'static str, usize>,
    /// What differs, for people: at most a thousand lines, and one that says how many more there are.
    pub errors: Vec<String>,
}

/// An invitation as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationInfo {
    /// The token.
    pub id: String,
    /// When it was made.
    pub created_at: Millis,
    /// By whom.
    pub created_by: String,
    /// Free text.
    pub description: String,
    /// When it was used.
    pub consumed_at: Option<Millis>,
    /// By which username.
    pub consumed_by: Option<String>,
}

/// A pending or answered access request: the whole state as JSON (spec/platform §3.7).
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRequestState {
    /// `NEED_SIGNIN`, `ACCEPTED`, `REFUSED`, `ERROR`, `REDIRECTED`.
    pub status: String,
    /// Everything else, as the capability made it.
    pub payload: serde_json::Value,
}

/// Why an access request could not be answered.
#[derive(Clone, Debug, Error)]
pub enum AccessRequestError {
    /// Unknown or expired.
    #[error("unknown or expired access key")]
    Unknown,
    /// It has another final state.
    #[error("the access request has been answered already")]
    AlreadyResolved,
    /// Too many are pending on the platform, or this one is too large.
    #[error("{0}")]
    TooMuch(String),
    /// Try again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// DNS records of one label, as `/reg/records` has them (spec/platform §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// A: IPv4 addresses.
    pub a: Vec<std::net::Ipv4Addr>,
    /// AAAA: IPv6 addresses.
    pub aaaa: Vec<std::net::Ipv6Addr>,
    /// CNAME: a host name.
    pub cname: Option<String>,
    /// TXT: one string each.
    pub txt: Vec<String>,
    /// CAA: flags, tag, value.
    pub caa: Vec<(u8, String, String)>,
}

/// Why records could not be set.
#[derive(Clone, Debug, Error)]
pub enum RecordsError {
    /// A user, a core or the zone itself holds the label.
    #[error("the name {label} is taken: {holder}")]
    Taken {
        /// As asked.
        label: String,
        /// What holds it.
        holder: String,
    },
    /// Nothing is there to delete.
    #[error("no DNS record for {0:?}")]
    Unknown(String),
    /// Try again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The platform, for everything that is not on the hot path.
#[async_trait]
pub trait Platform: Send + Sync + std::fmt::Debug + 'static {
    /// Registers somebody: reserves every unique field, creates the account on its home core, and
    /// makes it known, or leaves no trace.
    async fn register(&self, registration: Registration) -> Result<Registered, RegisterError>;

    /// Creates a user on this core, invited or not; nobody is logged in to it.
    async fn create_user(&self, user: NewUser) -> Result<(), RegisterError>;

    /// Whose an access is, wherever on the platform its user lives. Every core reads the users it has:
    /// of many thousands that takes its time.
    async fn find_access(&self, id: &str) -> Result<Option<AccessInfo>, Unavailable>;

    /// Compares this core's users with what the platform has of them.
    async fn check_integrity(&self) -> Result<Vec<IntegrityCheck>, Unavailable>;

    /// Whether a username is taken on the platform (current).
    async fn username_taken(&self, username: &Username) -> Result<bool, Unavailable>;

    /// Who holds an e-mail address (current).
    async fn find_by_email(&self, email: &Email) -> Result<Option<UserInfo>, Unavailable>;

    /// A user by name, wherever it lives (current).
    async fn find_user(&self, username: &str) -> Result<Option<UserInfo>, Unavailable>;

    /// Base URL of a user's home core, ending in `/`, as known here.
    fn core_url(&self, core: &CoreId) -> Option<String>;

    /// This core.
    fn this_core(&self) -> CoreInfo;

    /// Every core, in the order of ids.
    async fn cores(&self) -> Vec<CoreInfo>;

    /// Users, in the order of names: of one core or of all, after a name, at most `limit`.
    async fn users(
        &self,
        core: Option<&CoreId>,
        after: Option<&Username>,
        limit: usize,
    ) -> Result<Vec<UserInfo>, Unavailable>;

    /// Deletes an account of this core: its data, then its names. Again, it goes on where it ended.
    async fn delete_user(&self, user: &UserId) -> Result<(), Unavailable>;

    /// Every invitation, oldest first.
    async fn invitations(&self) -> Result<Vec<InvitationInfo>, Unavailable>;

    /// Makes `count` invitations and returns them.
    async fn create_invitations(
        &self,
        count: usize,
        created_by: &str,
        description: &str,
    ) -> Result<Vec<InvitationInfo>, Unavailable>;

    /// Whether somebody may register with this invitation token (current).
    async fn invitation_valid(&self, token: &str) -> Result<bool, Unavailable>;

    /// Stores a new access request under a poll key.
    async fn open_access_request(
        &self,
        key: &Secret,
        state: AccessRequestState,
    ) -> Result<(), AccessRequestError>;

    /// The state of an access request (current; pollable at any core).
    async fn access_request(&self, key: &Secret) -> Result<AccessRequestState, AccessRequestError>;

    /// Gives a pending access request its final state.
    async fn resolve_access_request(
        &self,
        key: &Secret,
        state: AccessRequestState,
    ) -> Result<(), AccessRequestError>;

    /// Sets the DNS records of a label.
    async fn put_records(&self, label: &str, records: Records) -> Result<(), RecordsError>;

    /// Removes the DNS records of a label.
    async fn delete_records(&self, label: &str) -> Result<(), RecordsError>;
}
