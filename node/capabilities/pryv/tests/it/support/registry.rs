//! Account fields that the platform keeps, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use homecore_kernel::Kernel;
use homecore_kernel::ports::{
    Claim, FieldChanges, NameChange, Registry, TakeError, Unavailable, UserInfo, UserNames,
};
use homecore_kernel::stream::schema::{Schema, SchemaSource};
use homecore_types::{UserId, Username};
use serde_json::{Value, json};

use super::{Fake, State};

/// What the platform declares of account fields: what this core knows, and what is so meanwhile.
#[derive(Debug)]
pub(crate) struct Fields {
    known: Mutex<Arc<Schema>>,
    newer: Mutex<Option<Arc<Schema>>>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            known: Mutex::new(Schema::usual()),
            newer: Mutex::default(),
        }
    }
}

impl Fields {
    pub(crate) fn source(self: &Arc<Self>) -> SchemaSource {
        let fields = Arc::clone(self);
        SchemaSource::new(move || Arc::clone(&fields.known.lock().unwrap()))
    }

    /// Declares other fields, which this core knows when it asks for what is so now.
    pub(crate) fn declare(&self, version: u64, streams: &Value) {
        let declared = json!({ "systemStreams": { "account": streams } });
        let schema = Schema::parse(&declared).unwrap().of_version(version);
        *self.newer.lock().unwrap() = Some(Arc::new(schema));
    }
}

impl Fake {
    /// A name that a user had.
    pub(crate) fn add_former(&self, former: &str, present: &str) {
        let mut state = self.state.lock().unwrap();
        state.aliases.insert(former.to_owned(), present.to_owned());
    }
}

#[async_trait::async_trait]
impl Registry for Fake {
    async fn take(&self, id: &UserId, changes: &FieldChanges) -> Result<Box<dyn Claim>, TakeError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        if let Some(set) = &changes.emails {
            let texts = std::iter::once(&set.present).chain(&set.others);
            let emails: Vec<String> = texts.map(ToString::to_string).collect();
            let by_other = |email: &&String| {
                let held = state.emails.get(*email).is_some_and(|owner| owner != id);
                let mut others = state.users.values().filter(|user| user.id != *id);
                held || others.any(|user| user.unique.get("email") == Some(*email))
            };
            if let Some(taken) = emails.iter().find(by_other) {
                let taken = BTreeMap::from([("email".to_owned(), taken.clone())]);
                return Err(TakeError::Taken(taken));
            }
            state.emails.retain(|_, owner| owner != id);
            for email in emails {
                state.emails.insert(email, id.clone());
            }
        }
        let user = state.users.values_mut().find(|user| user.id == *id);
        let user = user.unwrap();
        if let Some(set) = &changes.emails {
            let present = set.present.to_string();
            user.unique.insert("email".to_owned(), present);
        }
        user.indexed.extend(changes.indexed());
        Ok(Box::new(Taken))
    }

    async fn rename(
        &self,
        id: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        let name = change.to.as_str();
        let others = |user: Option<&UserInfo>| user.is_some_and(|user| user.id != *id);
        let present = state.aliases.get(name).map_or(name, String::as_str);
        if others(state.users.get(present)) {
            let taken = BTreeMap::from([("username".to_owned(), name.to_owned())]);
            return Err(TakeError::Taken(taken));
        }
        let mut user = state.users.remove(change.from.as_str()).unwrap();
        user.username = change.to.clone();
        state.users.insert(name.to_owned(), user);
        for present in state.aliases.values_mut() {
            if *present == change.from.as_str() {
                *present = name.to_owned();
            }
        }
        state.aliases.remove(name);
        let former = change.from.to_string();
        state.aliases.insert(former, name.to_owned());
        let own = state.aliases.iter().filter(|(_, present)| *present == name);
        let own = own.filter(|(alias, _)| !Username::is_alias(alias));
        let former: Vec<Username> = own.map(|(old, _)| Username::parse(old).unwrap()).collect();
        let changes = u32::try_from(former.len()).unwrap();
        if changes > change.changes_max {
            return Err(TakeError::ChangesUsed {
                used: changes,
                most: change.changes_max,
            });
        }
        let present = change.to.clone();
        let names = UserNames {
            present,
            former,
            changes,
        };
        Ok((names, Box::new(Taken)))
    }

    async fn take_alias(&self, id: &UserId, alias: &Username) -> Result<Box<dyn Claim>, TakeError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        let user = state.users.values().find(|user| user.id == *id);
        let present = user.unwrap().username.to_string();
        state.aliases.insert(alias.to_string(), present);
        Ok(Box::new(Taken))
    }

    async fn loosen_aliases(&self, id: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        self.up()?;
        Ok(Box::new(Loosened {
            state: Arc::clone(&self.state),
            kernel: self.kernel.get().unwrap().clone(),
            user: id.clone(),
        }))
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        self.up()?;
        if let Some(newer) = self.fields.newer.lock().unwrap().take() {
            *self.fields.known.lock().unwrap() = newer;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Taken;

#[async_trait::async_trait]
impl Claim for Taken {
    async fn settled(self: Box<Self>) {}
}

/// Accesses of a user go: what none of them has is free.
#[derive(Debug)]
struct Loosened {
    state: Arc<Mutex<State>>,
    kernel: Kernel,
    user: UserId,
}

#[async_trait::async_trait]
impl Claim for Loosened {
    async fn settled(self: Box<Self>) {
        let used = self.kernel.aliases_in_use(&self.user).await.unwrap();
        let mut state = self.state.lock().unwrap();
        let State { users, aliases, .. } = &mut *state;
        aliases.retain(|alias, present| {
            let own = users.get(present).is_some_and(|user| user.id == self.user);
            let drawn = Username::is_alias(alias);
            !own || !drawn || used.iter().any(|name| name.as_str() == alias)
        });
    }
}
