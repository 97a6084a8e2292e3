//! Whether what the platform has of this core's users is what their accounts say, and whether each has
//! its folder (spec/platform §2.6). Other cores' users are theirs to look at.
//!
//! Platform and accounts are not read at one moment. What differs is therefore looked at again while
//! nothing changes the user, and users of whom a step is under way are left out.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use homecore_kernel::account::{Account, NO_INVITATION};
use homecore_kernel::ports::{IntegrityCheck, Unavailable};
use homecore_kernel::stream::schema::Schema;
use homecore_raft::ReadError;
use homecore_raft::records::{User, UserHoldings};
use homecore_types::{ErrorId, UserId};
use tokio::time::{Instant, timeout_at};

use super::inspect::{READ_WITHIN, READS_MAX};
use super::{Accounts, unavailable};
use crate::telemetry::chain;

/// Users read from the platform at once.
const PAGE: usize = 1_000;
/// Lines of a check; what more there is, is counted.
const ERRORS_MAX: usize = 1_000;

/// How a user, or a folder, was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// All is well.
    Same,
    /// Account and platform differ so.
    Differs(Vec<String>),
    /// A step of it is under way.
    Changing,
    /// The account cannot be read, or one of the two is not there.
    Broken(String),
    /// It is gone meanwhile.
    Gone,
    /// There was no time left.
    NotChecked,
}

/// Lines that are shown, and how many more there are.
#[derive(Debug, Default)]
struct Lines {
    shown: Vec<String>,
    more: usize,
}

impl Lines {
    fn push(&mut self, line: String) {
        if self.shown.len() < ERRORS_MAX {
            self.shown.push(line);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.shown.push(format!("{} more", self.more));
        }
        self.shown
    }
}

/// What the two checks have found so far.
#[derive(Debug, Default)]
struct Report {
    platform: usize,
    folders: usize,
    accounts: usize,
    changing: usize,
    users_not_checked: usize,
    folders_not_checked: usize,
    fields: Lines,
    index: Lines,
}

impl Report {
    fn user(&mut self, look: Look) {
        match look {
            Look::Same => self.accounts += 1,
            Look::Differs(lines) => {
                self.accounts += 1;
                lines.into_iter().for_each(|line| self.fields.push(line));
            }
            Look::Changing => self.changing += 1,
            Look::Broken(line) => {
                self.users_not_checked += 1;
                self.index.push(line);
            }
            // Whoever is gone was a user when the list was read.
            Look::Gone => {}
            Look::NotChecked => self.users_not_checked += 1,
        }
    }

    fn folder(&mut self, look: Look) {
        match look {
            Look::Broken(line) => self.index.push(line),
            Look::NotChecked => self.folders_not_checked += 1,
            Look::Same | Look::Differs(_) | Look::Changing | Look::Gone => {}
        }
    }

    fn finish(self) -> Vec<IntegrityCheck> {
        let mut compared = BTreeMap::from([
            ("usersCountOnPlatform", self.platform),
            ("usersCountOnRepository", self.folders),
        ]);
        let unusual = [
            ("usersInChange", self.changing),
            ("usersNotChecked", self.users_not_checked),
        ];
        compared.extend(unusual.into_iter().filter(|(_, count)| *count > 0));
        let mut counted = BTreeMap::from([
            ("userIdsCount", self.folders),
            ("userIdsCount-accounts", self.accounts),
        ]);
        if self.folders_not_checked > 0 {
            counted.insert("userIdsNotChecked", self.folders_not_checked);
        }
        vec![
            IntegrityCheck {
                title: "Platform DB vs users repository",
                infos: compared,
                errors: self.fields.finish(),
            },
            IntegrityCheck {
                title: "Users local index vs database",
                infos: counted,
                errors: self.index.finish(),
            },
        ]
    }
}

impl Accounts {
    /// Compares this core's users with what the platform has of them.
    pub(crate) async fn check_integrity(&self) -> Result<Vec<IntegrityCheck>, Unavailable> {
        let deadline = Instant::now() + READ_WITHIN;
        let platform = &self.cluster.platform;
        platform.current().await.map_err(unread)?;
        let folders = self.kernel.users().list().await;
        let folders = folders.map_err(|error| unavailable(chain(&error)))?;
        let changing: BTreeSet<UserId> = self.marks.list().await?.into_iter().collect();
        let (mut report, mut known) = (Report::default(), BTreeSet::new());
        let mut after = None;
        loop {
            let own = Some(self.cluster.core.clone());
            let page = platform.users(own, after, PAGE).await.map_err(unread)?;
            let Some(last) = page.last() else { break };
            after = Some(last.username.to_string());
            // Whoever is renamed meanwhile may come twice.
            let users: Vec<User> = page
                .into_iter()
                .filter(|user| user.reservation.is_none() && known.insert(user.id.clone()))
                .collect();
            let mut looks = stream::iter(users)
                .map(|user| self.look_at_user(user, &changing, deadline))
                .buffer_unordered(READS_MAX);
            while let Some(look) = looks.next().await {
                report.user(look);
            }
        }
        report.platform = known.len();
        report.folders = folders.len();
        let left = folders.into_iter().filter(|user| !known.contains(user));
        let mut looks = stream::iter(left)
            .map(|user| self.look_at_folder(user, deadline))
            .buffer_unordered(READS_MAX);
        while let Some(look) = looks.next().await {
            report.folder(look);
        }
        Ok(report.finish())
    }

    async fn look_at_user(
        &self,
        user: User,
        changing: &BTreeSet<UserId>,
        deadline: Instant,
    ) -> Look {
        if changing.contains(&user.id) {
            return Look::Changing;
        }
        let first = self.compare(&user, deadline).await;
        if !matches!(first, Look::Differs(_) | Look::Broken(_)) {
            return first;
        }
        let again = async {
            // Nothing changes the user meanwhile, as every change goes through its core.
            let _turn = self.turn(&user.id).await;
            if self.marks.find(&user.id).await?.is_some() {
                return Ok(Look::Changing);
            }
            match self.record_now(&user.id).await? {
                Some(record) if record.core == self.cluster.core => {
                    Ok(self.compare(&record, deadline).await)
                }
                _ => Ok::<_, Unavailable>(Look::Gone),
            }
        };
        in_time(deadline, again).await
    }

    /// A folder that belongs to none of the users that the platform has here.
    async fn look_at_folder(&self, user: UserId, deadline: Instant) -> Look {
        if Instant::now() >= deadline {
            return Look::NotChecked;
        }
        let again = async {
            let _turn = self.turn(&user).await;
            if self.marks.find(&user).await?.is_some() {
                return Ok(Look::Changing);
            }
            let held = self.record_now(&user).await?.map(|record| record.core);
            if held.as_ref() == Some(&self.cluster.core) {
                return Ok(Look::Same);
            }
            let is_there = self.kernel.users().contains(&user).await;
            Ok::<_, Unavailable>(match (is_there, held) {
                (Ok(false), _) => Look::Gone,
                (_, None) => Look::Broken(format!(
                    "there is a folder {user}, of which the platform knows no user"
                )),
                (_, Some(core)) => Look::Broken(format!(
                    "there is a folder {user}, whose user the platform has on {core}"
                )),
            })
        };
        in_time(deadline, again).await
    }

    /// What the platform has of a user now, reserved ones included.
    async fn record_now(&self, user: &UserId) -> Result<Option<User>, Unavailable> {
        let platform = &self.cluster.platform;
        platform.current().await.map_err(unread)?;
        platform.find_user_by_id(user).await.map_err(unread)
    }

    async fn compare(&self, user: &User, deadline: Instant) -> Look {
        let name = &user.username;
        let read = self.in_time(deadline, self.kernel.stored_account(&user.id));
        let account = match read.await {
            Some(Ok(account)) => account,
            Some(Err(error)) if error.id() == ErrorId::UnknownResource => {
                return Look::Broken(format!(
                    "user {name:?}: there is no folder {} here",
                    user.id
                ));
            }
            // Too much is to be done just now.
            Some(Err(error)) if error.retry_after().is_some() => return Look::NotChecked,
            Some(Err(error)) => {
                let why = chain(&error);
                return Look::Broken(format!("user {name:?}: the account cannot be read: {why}"));
            }
            None => return Look::NotChecked,
        };
        let Ok(held) = self.holdings_of(&user.id).await else {
            return Look::NotChecked;
        };
        let lines = differences(&self.kernel.schema(), user, &held, &account);
        if lines.is_empty() {
            Look::Same
        } else {
            Look::Differs(lines)
        }
    }
}

/// A second look. One that does not come to an end is none.
async fn in_time(deadline: Instant, look: impl Future<Output = Result<Look, Unavailable>>) -> Look {
    match timeout_at(deadline, look).await {
        Ok(Ok(look)) => look,
        Ok(Err(_)) | Err(_) => Look::NotChecked,
    }
}

fn unread(error: ReadError) -> Unavailable {
    unavailable(chain(&error))
}

/// In what an account differs from what the platform has of its user: a line for each field.
fn differences(
    schema: &Schema,
    user: &User,
    held: &UserHoldings,
    account: &Account,
) -> Vec<String> {
    let indexed = |field: &str| user.indexed.get(field).map(String::as_str);
    let fields = [
        (
            "username",
            Some(user.username.as_str()),
            Some(account.username.as_str()),
        ),
        (
            "email",
            user.unique.get("email").map(String::as_str),
            Some(account.email.as_str()),
        ),
        (
            "language",
            indexed("language"),
            Some(account.language.as_str()),
        ),
        ("appId", indexed("appId"), Some(account.app_id.as_str())),
        (
            "invitationToken",
            // The account says so where there was none, the platform has nothing then.
            Some(indexed("invitationToken").unwrap_or(NO_INVITATION)),
            Some(account.invitation_token.as_str()),
        ),
        ("referer", indexed("referer"), account.referer.as_deref()),
    ];
    let name = &user.username;
    let declared = schema.declared().filter_map(|(name, stream)| {
        let values = match &stream.rules {
            rules if rules.unique => &user.unique,
            rules if rules.indexed => &user.indexed,
            _ => return None,
        };
        let text = |values: &'_ BTreeMap<String, String>| values.get(name).cloned();
        Some((name, text(values), text(&account.declared)))
    });
    let declared: Vec<_> = declared.collect();
    let declared = declared
        .iter()
        .map(|(name, platform, account)| (*name, platform.as_deref(), account.as_deref()));
    let mut lines: Vec<String> = fields
        .into_iter()
        .chain(declared)
        .filter(|(_, platform, account)| platform != account)
        .map(|(field, platform, account)| {
            let (platform, account) = (shown(platform), shown(account));
            format!(
                "user {name:?}: {field} is {platform} on the platform and {account} in the account"
            )
        })
        .collect();
    let sets: [(&str, BTreeSet<&str>, BTreeSet<&str>); 2] = [
        (
            "further e-mails",
            held.emails.iter().map(String::as_str).collect(),
            account.other_emails().map(AsRef::as_ref).collect(),
        ),
        (
            "former usernames",
            user.aliases.iter().map(AsRef::as_ref).collect(),
            account.former_usernames.iter().map(AsRef::as_ref).collect(),
        ),
    ];
    for (field, platform, account) in sets {
        if platform != account {
            lines.push(format!(
                "user {name:?}: {field} are {platform:?} on the platform and {account:?} in the account"
            ));
        }
    }
    lines
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| format!("{value:?}"))
}

#[cfg(test)]
mod tests;
