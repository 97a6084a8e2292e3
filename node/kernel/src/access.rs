//! Accesses: a credential, and what it may do (spec/pryv-api §3).

use homecore_store::{Base, Document, Entry, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::{Millis, Username};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::id::author_base;
use crate::indexes::{access_deleted_entries, creator_entry, name_entry, token_entry};
use crate::integrity;
use crate::number::seconds;
use crate::permission::{Permission, Rights, held};

pub mod alias;
pub(crate) mod cache;
pub mod check_app;
pub mod create;
pub mod delete;
pub mod error;
mod find;
pub mod get;
pub mod id;
pub mod info;
pub(crate) mod lookup;
mod permissions;
mod provide;
mod report;
pub mod token;
pub mod tracking;
pub mod update;

/// What an access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessType {
    /// The person, through one app; needs a live session.
    Personal,
    /// An app, with the permissions that the person gave it.
    App,
    /// Somebody else.
    Shared,
}

impl AccessType {
    /// The wire form.
    #[must_use]
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::App => "app",
            Self::Shared => "shared",
        }
    }
}

/// An access as it is stored; its id is the document's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredAccess {
    /// The secret. In clear, for the API shows it to whoever may manage the access.
    pub token: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: AccessType,
    /// For personal and app accesses the app's id.
    pub name: String,
    /// Only of app accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// None for personal ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
    /// Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_data: Option<Map<String, Value>>,
    /// When it was made.
    pub created: Millis,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub modified: Millis,
    /// By whom.
    pub modified_by: String,
    /// The random name that stands for the user wherever the access looks. The platform holds it as long
    /// as the access is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Username>,
    /// How often it was updated. Not told by the document's own version: a login writes that, too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub serial: u32,
    /// When it was deleted. Its document is a tombstone then, which holds all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Millis>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl StoredAccess {
    /// Reads an access document, be it a tombstone.
    ///
    /// # Errors
    /// If the body is damaged.
    pub fn decode(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("access {}: {error}", document.id),
        })
    }

    /// The document's body.
    ///
    /// # Errors
    /// Never for values of this type; the encoder's signature allows it.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::engine("encoding an access", error))
    }

    /// The keys to find it under. A deleted one is not found by what it was.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let creator = self.creator();
        if let Some(deleted) = self.deleted {
            return access_deleted_entries(creator, deleted.as_seconds());
        }
        let mut entries = vec![
            token_entry(&self.token),
            name_entry(self.kind.wire(), &self.name),
        ];
        if self.kind != AccessType::Personal {
            entries.push(creator_entry(creator));
        }
        entries
    }

    /// The id of the access that created it, whichever version of it that was.
    #[must_use]
    pub fn creator(&self) -> &str {
        author_base(&self.created_by)
    }

    /// Whether it ended by a time.
    #[must_use]
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The wire form under the id of its version, with its integrity hash, without what depends on
    /// who asks.
    #[must_use]
    pub fn to_wire(&self, id: &str) -> Map<String, Value> {
        let mut map = self.content(id);
        // What is hashed has the version as a field of its own, for the original stores it so.
        let mut hashed = map.clone();
        if self.serial > 0 {
            hashed.insert("serial".to_owned(), Value::from(self.serial));
        }
        let integrity = integrity::of_access(&hashed);
        map.insert("integrity".to_owned(), Value::from(integrity));
        if self.serial > 0 {
            map.insert("id".to_owned(), Value::from(id::version(id, self.serial)));
        }
        map
    }

    /// All but the hash, under the id that all versions share.
    fn content(&self, id: &str) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("id".to_owned(), Value::from(id));
        map.insert("token".to_owned(), Value::from(self.token.as_str()));
        map.insert("type".to_owned(), Value::from(self.kind.wire()));
        map.insert("name".to_owned(), Value::from(self.name.as_str()));
        if let Some(device) = &self.device_name {
            map.insert("deviceName".to_owned(), Value::from(device.as_str()));
        } else if self.kind == AccessType::Shared {
            map.insert("deviceName".to_owned(), Value::Null);
        }
        if let Some(permissions) = &self.permissions {
            let permissions = permissions.iter().map(Permission::to_json).collect();
            map.insert("permissions".to_owned(), Value::Array(permissions));
        }
        if let Some(expires) = self.expires {
            map.insert("expires".to_owned(), seconds(expires));
        }
        if let Some(data) = &self.client_data {
            map.insert("clientData".to_owned(), Value::Object(data.clone()));
        }
        if let Some(alias) = &self.alias {
            map.insert("alias".to_owned(), Value::from(alias.as_str()));
        }
        map.insert("created".to_owned(), seconds(self.created));
        map.insert(
            "createdBy".to_owned(),
            Value::from(self.created_by.as_str()),
        );
        map.insert("modified".to_owned(), seconds(self.modified));
        map.insert(
            "modifiedBy".to_owned(),
            Value::from(self.modified_by.as_str()),
        );
        if let Some(deleted) = self.deleted {
            map.insert("deleted".to_owned(), seconds(deleted));
        }
        map
    }
}

/// An access in use: what is stored, and its rights.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Its id.
    pub id: String,
    /// As stored.
    pub stored: StoredAccess,
    rights: Rights,
}

impl Access {
    /// Makes an access ready for use.
    #[must_use]
    pub fn new(id: impl Into<String>, stored: StoredAccess) -> Self {
        let id = id.into();
        let rights = match stored.kind {
            AccessType::Personal => Rights::Personal,
            AccessType::App | AccessType::Shared => {
                let entries = stored.permissions.as_deref().unwrap_or_default();
                Rights::limited(&held(&id, entries))
            }
        };
        Self { id, stored, rights }
    }

    /// What it may do.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether it is the person.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.stored.kind == AccessType::Personal
    }
}

/// Loads a live access by id.
///
/// # Errors
/// Of the store.
pub fn load(view: &dyn View, id: &str) -> Result<Option<StoredAccess>, StoreError> {
    match view.get(Kind::Access, id)? {
        Some(document) if !document.deleted => StoredAccess::decode(&document).map(Some),
        _ => Ok(None),
    }
}

/// What becomes of the version that a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Former {
    /// It is forgotten, those kept before stay.
    Replaced,
    /// It is kept.
    Kept,
    /// It is forgotten with all that were kept before.
    Dropped,
}

/// Writes an access, or its tombstone if it is deleted.
///
/// # Errors
/// Of the store.
pub(crate) fn put(
    tx: &mut Transaction<'_>,
    id: &str,
    access: &StoredAccess,
    former: Former,
) -> Result<(), StoreError> {
    let write = Write {
        kind: Kind::Access,
        id: id.to_owned(),
        base: Base::Any,
        body: access.encode()?.into(),
        deleted: access.deleted.is_some(),
        entries: access.entries(),
        keep_previous: former == Former::Kept,
    };
    let put = match former {
        Former::Dropped => tx.put_dropping_history(write),
        Former::Replaced | Former::Kept => tx.put(write),
    };
    match put {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("access {id}: conflict on any"),
        }),
    }
}

#[cfg(test)]
mod lifecycle;
