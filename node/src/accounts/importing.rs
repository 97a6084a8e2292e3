//! Taking a user in: the names first, then the data, then both become a user (node/adr/0007).
//!
//! As with a registration, a file in `pending/` says that the folder is no user yet; it names the
//! reservation, for that may be held for hours here. What a crash leaves is settled at the next
//! start: the names are released and the folder goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use homecore_kernel::account::Account;
use homecore_kernel::ports::Unavailable;
use homecore_kernel::stream::schema::Schema;
use homecore_raft::command::{Command, HoldNames, Rejection, ReserveUser, Response};
use homecore_raft::records::Reservation;
use homecore_types::{UserId, entropy};
use thiserror::Error;

use super::marks::Mark;
use super::{Accounts, CreateError, finish_creation, unavailable};
use crate::cluster::CommandError;
use crate::telemetry::chain;

/// An import may take this long; then its names are free again and it fails.
const IMPORT_TTL: Duration = Duration::from_secs(24 * 3_600);

/// How often names are tried to be taken while the declaration of account fields changes.
const TRIES_MAX: usize = 3;

/// Why a user was not taken in. Nothing is left behind.
#[derive(Debug, Error)]
pub(crate) enum ImportFailure {
    /// Somebody has a name already.
    #[error("taken already: {}", .0.iter().map(|(field, value)| format!("{field} {value:?}")).collect::<Vec<_>>().join(", "))]
    Taken(BTreeMap<String, String>),
    /// There is a folder of that id here: of a user, or what is left of one.
    #[error(
        "taken already: id {:?}, of which there is a folder below {}; if no user has this id any more, move \
         that folder away while the core is stopped",
        user.as_str(),
        below.display()
    )]
    Here {
        /// The id.
        user: UserId,
        /// Where users' folders are.
        below: PathBuf,
    },
    /// The platform declares other account fields than this core knows.
    #[error("the platform declares other account fields than this core knows; try again")]
    FieldsChanged,
    /// What was sent cannot be taken.
    #[error("{0}")]
    Refused(String),
    /// The platform or the disk cannot now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<homecore_kernel::Error> for ImportFailure {
    fn from(error: homecore_kernel::Error) -> Self {
        Self::Refused(chain(&error))
    }
}

/// A user on the way in. Ends with [`Import::finish`] or [`Import::give_up`].
#[derive(Debug)]
pub(crate) struct Import<'a> {
    accounts: &'a Accounts,
    user: UserId,
    reservation: String,
}

impl Accounts {
    /// Takes the names and makes the folder, with the account in it. The wanted id is kept if
    /// nobody has it.
    pub(crate) async fn begin_import(
        &self,
        wanted: Option<UserId>,
        account: Account,
    ) -> Result<Import<'_>, ImportFailure> {
        let user = wanted.unwrap_or_else(|| UserId::generate(&*self.cluster.entropy));
        let reservation = entropy::wire_id(&*self.cluster.entropy);
        match self.kernel.users().contains(&user).await {
            Ok(false) => {}
            Ok(true) => {
                let below = self.cluster.disk.users();
                return Err(ImportFailure::Here { user, below });
            }
            Err(error) => return Err(ImportFailure::Unavailable(chain(&error))),
        }
        let begin = |schema| Box::pin(self.begin(&user, &reservation, &account, schema));
        let account = with_present_fields(|| self.kernel.schema(), begin).await?;
        let import = Import {
            accounts: self,
            user,
            reservation,
        };
        match import.create(account).await {
            Ok(()) => Ok(import),
            Err(failure) => {
                import.give_up().await;
                Err(failure)
            }
        }
    }

    /// Remembers the import and takes the names, in this order: names that nothing remembers would be
    /// held until they expire. What of the account is declared here.
    async fn begin(
        &self,
        user: &UserId,
        reservation: &str,
        account: &Account,
        schema: Arc<Schema>,
    ) -> Result<Account, ImportFailure> {
        let account = as_declared(account, &schema);
        let unavailable = |why: Unavailable| ImportFailure::Unavailable(why.reason);
        let _turn = self.turn(user).await;
        if self.is_importing(user) || self.marks.find(user).await.map_err(unavailable)?.is_some() {
            return Err(ImportFailure::Unavailable(format!(
                "an account with the id {user} is being made, changed or removed; try again"
            )));
        }
        self.importing().insert(user.clone());
        let mark = Mark::Import(reservation.to_owned());
        let begun = match self.marks.set(user, mark).await {
            Ok(()) => self.take_names(user, reservation, &account, &schema).await,
            Err(why) => Err(unavailable(why)),
        };
        if let Err(failure) = &begun {
            self.importing().remove(user);
            match failure {
                // Not known: the names may be held. What settles marks finds out.
                ImportFailure::Unavailable(_) => self.left.notify_one(),
                ImportFailure::Taken(_)
                | ImportFailure::Here { .. }
                | ImportFailure::FieldsChanged
                | ImportFailure::Refused(_) => {
                    self.marks.remove(user).await;
                }
            }
        }
        begun.map(|()| account)
    }

    async fn take_names(
        &self,
        user: &UserId,
        reservation: &str,
        account: &Account,
        schema: &Schema,
    ) -> Result<(), ImportFailure> {
        let at = self.cluster.clock.now();
        let mut indexed = BTreeMap::from([
            ("appId".to_owned(), account.app_id.clone()),
            ("language".to_owned(), account.language.clone()),
            (
                "invitationToken".to_owned(),
                account.invitation_token.clone(),
            ),
        ]);
        indexed.extend(account.referer.clone().map(|r| ("referer".to_owned(), r)));
        let mut unique = BTreeMap::from([("email".to_owned(), account.email.to_string())]);
        for (name, text) in &account.declared {
            let rules = schema.field(name).map(|stream| &stream.rules);
            if rules.is_some_and(|rules| rules.unique) {
                unique.insert(name.clone(), text.clone());
            } else if rules.is_some_and(|rules| rules.indexed) {
                indexed.insert(name.clone(), text.clone());
            }
        }
        let asked = ReserveUser {
            reservation: reservation.to_owned(),
            user: user.clone(),
            username: account.username.clone(),
            unique,
            indexed,
            hosting: None,
            invitation: None,
            live: Vec::new(),
            at,
            deadline: at + IMPORT_TTL,
            unreached: Vec::new(),
            fields_version: Some(schema.version()),
        };
        let command = Command::AdoptUser {
            asked,
            core: self.cluster.core.clone(),
        };
        match self.cluster.platform.write(command).await {
            Ok(Response::Reserved { .. }) => {}
            Ok(Response::Rejected(Rejection::Conflict { fields })) => {
                return Err(ImportFailure::Taken(fields));
            }
            Ok(Response::Rejected(Rejection::FieldsChanged { .. })) => {
                // Known here before it is tried again. Where it cannot be, this is what to tell.
                if let Err(error) = self.cluster.platform.current().await {
                    tracing::debug!(%error, "the present declaration of account fields is not known");
                }
                return Err(ImportFailure::FieldsChanged);
            }
            Ok(other) => return Err(ImportFailure::Unavailable(other.to_string())),
            Err(error) => {
                // Perhaps it is held after all, for nobody.
                self.release(reservation.to_owned()).await;
                return Err(ImportFailure::Unavailable(chain(&error)));
            }
        }
        let former = HoldNames {
            reservation: reservation.to_owned(),
            former: account.former_usernames.clone(),
            changes: account.username_changes,
            aliases: Vec::new(),
            emails: account.other_emails().map(ToString::to_string).collect(),
            email_changes: account.email_changes,
        };
        let held = self.hold_names(former).await;
        if held.is_err() {
            self.release(reservation.to_owned()).await;
        }
        held
    }

    /// Takes further names and addresses for a user that is on the way in.
    async fn hold_names(&self, names: HoldNames) -> Result<(), ImportFailure> {
        let is_empty =
            names.former.is_empty() && names.aliases.is_empty() && names.emails.is_empty();
        if is_empty && names.email_changes == 0 {
            return Ok(());
        }
        let hold = Command::HoldNames(names);
        match self.cluster.done(hold, "HoldNames").await {
            Ok(()) => Ok(()),
            Err(CommandError::Rejected(Rejection::Conflict { fields })) => {
                Err(ImportFailure::Taken(fields))
            }
            Err(CommandError::Rejected(rejection)) => {
                Err(ImportFailure::Refused(rejection.to_string()))
            }
            Err(error) => Err(ImportFailure::Unavailable(chain(&error))),
        }
    }

    pub(super) fn is_importing(&self, user: &UserId) -> bool {
        self.importing().contains(user)
    }

    fn importing(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<UserId>> {
        self.importing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what an import that a crash ended still holds. Whether there is nothing left to do, until
    /// what is held expires or goes on.
    pub(super) async fn settle_import(
        &self,
        user: &UserId,
        mark: Mark,
        held: Option<Reservation>,
    ) -> bool {
        let Mark::Import(reservation) = mark else {
            return true;
        };
        let is_its = held.is_some_and(|held| held.id == reservation);
        if !is_its || self.is_importing(user) {
            return true;
        }
        tracing::info!(%user, "removing what an interrupted import left");
        // The names go first: without them nothing can make a user of the folder.
        let release = Command::ReleaseUser { reservation };
        match self.cluster.done(release, "ReleaseUser").await {
            Ok(()) => self.discard(user).await,
            Err(error) => {
                tracing::warn!(
                    error = %chain(&error),
                    "names of an interrupted import are held still; tried again"
                );
                false
            }
        }
    }
}

impl Import<'_> {
    /// Whose.
    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    async fn create(&self, account: Account) -> Result<(), ImportFailure> {
        let kernel = &self.accounts.kernel;
        Ok(kernel.import_account(&self.user, account).await?)
    }

    /// Makes it a user.
    pub(crate) async fn finish(self) -> Result<UserId, ImportFailure> {
        if let Err(failure) = self.hold_aliases().await {
            self.give_up().await;
            return Err(failure);
        }
        let (accounts, user) = (self.accounts, self.user.clone());
        let commit = Box::pin(accounts.commit(&user, self.reservation.clone()));
        let turn = accounts.turn(&user).await;
        let committed = finish_creation(turn, &accounts.marks, &user, commit).await;
        accounts.importing().remove(&user);
        match committed {
            Ok(()) => Ok(user),
            Err(CreateError::Refused { message, .. }) => Err(ImportFailure::Refused(message)),
            Err(CreateError::Unavailable(why)) => Err(ImportFailure::Unavailable(why.reason)),
        }
    }

    /// Takes the aliases of the accesses that came.
    async fn hold_aliases(&self) -> Result<(), ImportFailure> {
        let used = self.accounts.kernel.aliases_in_use(&self.user).await?;
        let names = HoldNames {
            reservation: self.reservation.clone(),
            former: Vec::new(),
            changes: 0,
            aliases: used.into_iter().collect(),
            emails: Vec::new(),
            email_changes: 0,
        };
        self.accounts.hold_names(names).await
    }

    /// Leaves nothing.
    pub(crate) async fn give_up(self) {
        let (accounts, user) = (self.accounts, self.user);
        let release = Command::ReleaseUser {
            reservation: self.reservation,
        };
        match accounts.cluster.done(release, "ReleaseUser").await {
            Ok(()) => {
                accounts.discard(&user).await;
            }
            Err(error) => tracing::warn!(
                error = %chain(&error),
                "names of a failed import are held still; they are released later"
            ),
        }
        accounts.importing().remove(&user);
    }
}

/// What of an account is declared here: it may come from a platform that declares others.
fn as_declared(account: &Account, schema: &Schema) -> Account {
    let mut account = account.clone();
    account.declared.retain(|name, text| {
        let field = schema.field(name);
        // Two who have nothing have not the same.
        field.is_some_and(|field| !(field.rules.unique && text.is_empty()))
    });
    account
}

/// Takes names by the declaration of account fields that is known, and anew where another one is known by then.
async fn with_present_fields<T, Taking>(
    known: impl Fn() -> Arc<Schema>,
    take: impl Fn(Arc<Schema>) -> Taking,
) -> Result<T, ImportFailure>
where
    Taking: Future<Output = Result<T, ImportFailure>>,
{
    let mut schema = known();
    for _ in 1..TRIES_MAX {
        match take(Arc::clone(&schema)).await {
            Err(ImportFailure::FieldsChanged) => {}
            result => return result,
        }
        let present = known();
        if present.version() == schema.version() {
            return Err(ImportFailure::FieldsChanged);
        }
        schema = present;
    }
    take(schema).await
}

/// What an import fails with when the core cannot take it at all.
impl From<homecore_store::StoreError> for ImportFailure {
    fn from(error: homecore_store::StoreError) -> Self {
        Self::Unavailable(unavailable(chain(&error)).reason)
    }
}

#[cfg(test)]
mod tests {
    //! Names are taken by the declaration of account fields that is the present one.

    use std::cell::{Cell, RefCell};
    use std::future::ready;

    use super::*;

    /// By which declarations names were tried to be taken, while what is known of them goes through `known`, and
    /// the platform has `present`.
    async fn tried(known: &[u64], present: u64) -> (Vec<u64>, Result<u64, ImportFailure>) {
        let (asked, tried) = (Cell::new(0_usize), RefCell::new(Vec::new()));
        let know = || {
            let version = known[asked.get().min(known.len() - 1)];
            asked.set(asked.get() + 1);
            Arc::new(Schema::without_fields().of_version(version))
        };
        let take = |schema: Arc<Schema>| {
            tried.borrow_mut().push(schema.version());
            ready(match schema.version() {
                version if version == present => Ok(version),
                _ => Err(ImportFailure::FieldsChanged),
            })
        };
        let taken = with_present_fields(know, take).await;
        (tried.into_inner(), taken)
    }

    #[tokio::test]
    async fn names_are_taken_anew_by_a_declaration_that_came_meanwhile_and_not_for_ever() {
        let (versions, taken) = tried(&[1], 1).await;
        assert_eq!((versions, taken.unwrap()), (vec![1], 1));
        let (versions, taken) = tried(&[1, 3], 3).await;
        assert_eq!((versions, taken.unwrap()), (vec![1, 3], 3));
        // Nothing else is known here: it would be the same again.
        let (versions, taken) = tried(&[1], 3).await;
        assert_eq!(versions, [1]);
        assert!(matches!(taken, Err(ImportFailure::FieldsChanged)));
        let (versions, taken) = tried(&[1, 2, 3, 4, 5, 6], 9).await;
        assert_eq!(versions, [1, 2, 3]);
        assert!(matches!(taken, Err(ImportFailure::FieldsChanged)));
    }
}
