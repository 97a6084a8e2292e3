//! Why a method on accesses does not do what was asked.

use homecore_store::StoreError;
use homecore_types::{ErrorId, Millis, limits};
use serde_json::{Value, json};
use thiserror::Error;

use super::AccessType;
use crate::error::{InvalidParameters, InvalidStructure, Refusal};
use crate::number::seconds;

/// A refusal of a method on accesses.
#[derive(Debug, Error)]
pub enum AccessError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// See [`InvalidStructure`].
    #[error(transparent)]
    Structure(#[from] InvalidStructure),
    /// Accesses of the caller's type may not call the method at all.
    #[error("You cannot access {method} resource using the given access")]
    WrongCaller {
        /// Which method.
        method: &'static str,
    },
    /// The caller may not do this.
    #[error("The given token's access permissions do not allow this operation: {why}")]
    Forbidden {
        /// What exactly it may not.
        why: &'static str,
    },
    /// There is no such access, or none that the caller may know of.
    #[error("Unknown access \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// The client names a version that is not the present one.
    #[error("Stale access reference: fetch the access again and use its present id")]
    Stale {
        /// As given.
        provided: String,
        /// The serial of the present version.
        current: u32,
    },
    /// The chosen token means something else.
    #[error("The specified token is not allowed")]
    ReservedToken,
    /// Another access has the token.
    #[error("An access with token \"(hidden)\" already exists")]
    TokenTaken,
    /// Another access is of this type and has this name and device.
    #[error("An access with type \"{}\", name \"{name}\", deviceName \"{}\" already exists",
        kind.wire(), device.as_deref().unwrap_or("null"))]
    NameTaken {
        /// Its type.
        kind: AccessType,
        /// Its name.
        name: String,
        /// Its device.
        device: Option<String>,
    },
    /// There is no such account stream.
    #[error("Unknown account stream \"{id}\"")]
    UnknownAccountStream {
        /// As given.
        id: String,
    },
    /// Nobody gets a permission on this account stream.
    #[error("The account stream \"{id}\" is not visible")]
    HiddenAccountStream {
        /// Which.
        id: String,
    },
    /// Account streams are not managed through the API.
    #[error("The account stream \"{id}\" cannot be given with a level above \"contribute\"")]
    AccountLevel {
        /// Which.
        id: String,
    },
    /// The access would live longer than the one that manages it.
    #[error("The access would expire after the one that manages it")]
    Outlives {
        /// When the managing one ends.
        parent: Millis,
        /// When this one would.
        requested: Option<Millis>,
    },
    /// The access would have more than the one that manages it.
    #[error("The access would have permissions that the one that manages it has not")]
    ExceedsManager {
        /// Which manages it.
        manager: String,
    },
    /// Accesses that this one created would have more than it.
    #[error("Accesses that this one created would have permissions that it has not, or outlive it")]
    OffendingChildren {
        /// Which.
        children: Vec<String>,
    },
    /// A key of `clientData` that only the server sets.
    #[error("The key \"{key}\" of clientData is the server's")]
    ReservedClientData {
        /// Which.
        key: &'static str,
    },
    /// An alias has to change on the platform as well, which cannot be done from within a write.
    #[error("The alias of the access has to change, too; please try again")]
    AliasOfPlatform,
    /// A stream to be made has the name of another root.
    #[error("A stream with name \"{name}\" already exists")]
    StreamNameTaken {
        /// Which.
        name: String,
    },
    /// The user has as many streams as there may be.
    #[error("A user can have {} streams, not more", limits::STREAMS_PER_USER_MAX)]
    TooManyStreams,
    /// An access has created as many others as it may.
    #[error(
        "An access can have created {} others, not more",
        limits::ACCESSES_PER_CREATOR_MAX
    )]
    TooMany,
    /// The access is too large to be stored.
    #[error("An access can have {} bytes, not more", limits::ACCESS_BYTES_MAX)]
    TooLarge,
    /// More than can be answered at once.
    #[error("There are more accesses than can be listed at once")]
    TooManyResults,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AccessError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Structure(invalid) => invalid.id(),
            Self::WrongCaller { .. }
            | Self::Forbidden { .. }
            | Self::UnknownAccountStream { .. }
            | Self::ReservedClientData { .. } => ErrorId::Forbidden,
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::Stale { .. } => ErrorId::StaleResource,
            Self::ReservedToken => ErrorId::InvalidItemId,
            Self::TokenTaken | Self::NameTaken { .. } | Self::StreamNameTaken { .. } => {
                ErrorId::ItemAlreadyExists
            }
            Self::HiddenAccountStream { .. }
            | Self::AccountLevel { .. }
            | Self::Outlives { .. }
            | Self::ExceedsManager { .. }
            | Self::OffendingChildren { .. }
            | Self::TooManyStreams
            | Self::TooMany
            | Self::TooLarge => ErrorId::InvalidOperation,
            Self::AliasOfPlatform => ErrorId::ApiUnavailable,
            Self::TooManyResults => ErrorId::TooManyResults,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Stale { provided, current } => {
                Some(json!({ "provided": provided, "currentSerial": current }))
            }
            Self::TokenTaken => Some(json!({ "token": "(hidden)" })),
            Self::NameTaken { kind, name, device } => {
                Some(json!({ "type": kind.wire(), "name": name, "deviceName": device }))
            }
            Self::HiddenAccountStream { id } | Self::AccountLevel { id } => {
                Some(json!({ "param": id }))
            }
            Self::Outlives { parent, requested } => Some(json!({
                "parentExpires": seconds(*parent),
                "requestedExpires": requested.map(seconds),
            })),
            Self::ExceedsManager { manager } => Some(json!({ "managingAccessId": manager })),
            Self::OffendingChildren { children } => Some(json!({ "offendingChildren": children })),
            Self::ReservedClientData { key: "cmc" } => {
                Some(json!({ "id": "cmc-clientdata-cmc-forbidden" }))
            }
            Self::StreamNameTaken { name } => Some(json!({ "name": name })),
            Self::Structure(_)
            | Self::WrongCaller { .. }
            | Self::Forbidden { .. }
            | Self::Unknown { .. }
            | Self::ReservedToken
            | Self::UnknownAccountStream { .. }
            | Self::ReservedClientData { .. }
            | Self::AliasOfPlatform
            | Self::TooManyStreams
            | Self::TooMany
            | Self::TooLarge
            | Self::TooManyResults
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            Self::AliasOfPlatform => Some(std::time::Duration::from_secs(1)),
            _ => None,
        }
    }
}
