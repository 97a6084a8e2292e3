//! The accounts of a crowd: each user's folder with a database of its own, made by the store and the
//! kernel's import, one durable creation after the other as registrations would. Only the password's
//! hash is the same for all, since nobody logs in with it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use homecore_engine_sqlite::{SqliteEngine, SqliteJournal, SqliteOptions};
use homecore_kernel::account::emails::Origin;
use homecore_kernel::account::{self, Account};
use homecore_kernel::archive::event::EventRecord;
use homecore_kernel::archive::import::{Item, put};
use homecore_kernel::archive::{access, event, stream};
use homecore_store::{Base, Transaction, Users, users};
use homecore_types::{Email, Millis, SystemClock, Username};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::{Crowd, digits, email, mixed};
use crate::people::STREAM;

/// Accounts made at once.
const AT_ONCE: u64 = 64;
/// Databases held open meanwhile: nobody comes back to one.
const OPEN_MAX: usize = 64;
/// Events that everybody has.
const EVENTS: u32 = 5;
/// Of a password that nobody gives.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcy4uLg$\
                    YmVuY2htYXJrIGJlbmNobWFyayBiZW5jaG1hcmshISE";

/// What goes into one account.
struct Contents {
    account: Account,
    items: Vec<Item>,
}

impl Crowd {
    /// The token of one's first access.
    pub(crate) fn token(&self, number: u64) -> String {
        format!("t{}{}", digits(number, 8), digits(mixed(number ^ 0x55), 12))
    }

    /// Makes all their accounts in the data of a core that is stopped.
    ///
    /// # Errors
    /// When one cannot be made.
    pub(crate) async fn move_in(&self, data: &Path) -> anyhow::Result<()> {
        let place = data.to_owned();
        let users = tokio::task::spawn_blocking(move || open(&place)).await??;
        let mut lanes = JoinSet::new();
        for lane in 0..AT_ONCE.min(self.count) {
            let (crowd, users) = (self.clone(), users.clone());
            lanes.spawn(async move {
                let mut number = lane;
                while number < crowd.count {
                    crowd.make(&users, number).await?;
                    number += AT_ONCE;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = lanes.join_next().await {
            ended.context("the making of accounts ended")??;
        }
        users.shutdown().await;
        Ok(())
    }

    async fn make(&self, users: &Users, number: u64) -> anyhow::Result<()> {
        let id = self.id(number)?;
        let contents = self.contents(number)?;
        let made = users.create(&id, move |writer| {
            writer.attempt(|tx| fill(tx, contents).map_err(homecore_kernel::Error::from))
        });
        let made = made.await.with_context(|| format!("making {id}"))?;
        Ok(made?)
    }

    fn contents(&self, number: u64) -> anyhow::Result<Contents> {
        let username = self.username(number);
        let (_, address) = email(&username);
        let account = Account {
            username: Username::parse(username)?,
            former_usernames: Vec::new(),
            username_changes: 0,
            password_hash: HASH.to_owned(),
            password_set: self.made,
            email: Email::parse(address)?,
            email_origin: Origin::Registration,
            email_verified: None,
            emails: Vec::new(),
            email_changes: 0,
            former_passwords: Vec::new(),
            resets: Vec::new(),
            language: "en".to_owned(),
            app_id: "homecore-bench".to_owned(),
            invitation_token: "no-token".to_owned(),
            referer: None,
            declared: [].into(),
            created: self.made,
            event_indexes: homecore_kernel::indexes::EVENTS_BY_TYPE,
        };
        let id = |kind: &str, more: u32| {
            let text = digits(mixed(number.wrapping_mul(64) + u64::from(more)), 12);
            format!("c{kind}{text}{}", digits(number, 8))
        };
        let mut items = vec![
            access_item(id("acc", 0), self.token(number), self.made)?,
            stream_item(self.made)?,
        ];
        for event in 0..EVENTS {
            items.push(event_item(id("eve", event + 1), event, self.made)?);
        }
        Ok(Contents { account, items })
    }
}

fn open(data: &Path) -> anyhow::Result<Users> {
    let engine = SqliteEngine::open(data, SqliteOptions::default())?;
    let journal = SqliteJournal::open(&data.join("journal.sqlite"))?;
    let options = users::Options {
        open_users_max: OPEN_MAX,
        written_once_max: OPEN_MAX,
        ..users::Options::default()
    };
    let (engine, journal) = (Arc::new(engine), Arc::new(journal));
    Ok(Users::start(
        engine,
        journal,
        Arc::new(SystemClock),
        options,
    )?)
}

fn fill(
    tx: &mut Transaction<'_>,
    contents: Contents,
) -> Result<(), homecore_kernel::archive::import::ImportError> {
    account::store(tx, &contents.account, Base::Absent)?;
    contents
        .items
        .into_iter()
        .try_for_each(|item| put(tx, item))
}

fn authored(at: Millis, mut record: Value) -> Map<String, Value> {
    let mut map = record
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    for (when, who) in [("created", "createdBy"), ("modified", "modifiedBy")] {
        map.insert(when.to_owned(), Value::from(at.as_seconds()));
        map.insert(who.to_owned(), Value::from("system"));
    }
    map
}

fn access_item(id: String, token: String, at: Millis) -> anyhow::Result<Item> {
    let record = json!({
        "id": id, "token": token, "type": "app", "name": "homecore-bench",
        "permissions": [{ "streamId": "*", "level": "manage" }],
    });
    let taken = access::read(&authored(at, record));
    Ok(Item::Access(taken.map_err(unusable)?.item))
}

fn stream_item(at: Millis) -> anyhow::Result<Item> {
    let record = json!({ "id": STREAM, "name": "Bench" });
    let taken = stream::read(&authored(at, record));
    Ok(Item::Stream(taken.map_err(unusable)?.item))
}

fn event_item(id: String, number: u32, at: Millis) -> anyhow::Result<Item> {
    let record = json!({
        "id": id, "streamIds": [STREAM], "type": "count/generic", "content": number,
        "time": at.as_seconds() - f64::from(number),
    });
    match event::read(authored(at, record)).map_err(unusable)?.item {
        EventRecord::Event(event) => Ok(Item::Event(event.seal().map_err(unusable)?)),
        other => bail!("no event: {other:?}"),
    }
}

fn unusable(error: homecore_kernel::archive::Unusable) -> anyhow::Error {
    anyhow::anyhow!("a record of the crowd cannot be read: {error:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accounts_are_there_and_found_by_their_token() {
        let directory = tempfile::tempdir().unwrap();
        let crowd = Crowd::new("core-a", 3).unwrap();
        crowd.move_in(directory.path()).await.unwrap();
        let users = open(directory.path()).unwrap();
        assert_eq!(users.list().await.unwrap().len(), 3);
        let id = crowd.id(2).unwrap();
        let found = users.read(&id, |view| account::load(view)).await;
        let account = found.unwrap().unwrap();
        assert_eq!(account.username.as_str(), crowd.username(2));
        users.shutdown().await;
    }
}
