//! Whether an event's type is known and its content fits it: the one place that decides so, for new
//! events and for changed ones as they will be (spec/pryv-api §4.7 checks 4 to 6, §4.9).

use homecore_types::ErrorId;
use serde_json::{Value, json};
use thiserror::Error;

use crate::error::Refusal;
use crate::kernel::Context;
use crate::shared_secret;
use crate::violation::Violation;

/// Type and content do not go together.
#[derive(Debug, Error)]
pub enum TypeError {
    /// A series, which this server does not keep: clients are told so beforehand (`features.noHF`).
    #[error("Event type \"{kind}\" is of a series, and this server keeps none")]
    Series {
        /// As given.
        kind: String,
    },
    /// Only homecore writes events of this type.
    #[error("Events of type \"{kind}\" are not written by clients")]
    Reserved {
        /// As given.
        kind: String,
    },
    /// The content is not what the type says.
    #[error("The event content's format is invalid.")]
    Content(Vec<Violation>),
}

impl Refusal for TypeError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Series { .. } => ErrorId::InvalidEventType,
            Self::Reserved { .. } => ErrorId::Forbidden,
            Self::Content(_) => ErrorId::InvalidParametersFormat,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Series { kind } => Some(json!({ "type": kind })),
            Self::Reserved { .. } => Some(json!({ "id": "shared-secret-forbidden" })),
            Self::Content(violations) => Some(Violation::list(violations)),
        }
    }
}

/// Checks the type and content of an event as it is to be stored; no content is none or null. A type
/// that the catalogue does not have is free.
///
/// # Errors
/// See [`TypeError`].
pub fn of_type(context: &Context, kind: &str, content: Option<&Value>) -> Result<(), TypeError> {
    if is_series(kind) {
        // Whatever its element: an event whose points nobody can write would be a trap for later.
        return Err(TypeError::Series {
            kind: kind.to_owned(),
        });
    }
    if shared_secret::is_item_type(kind) {
        return Err(TypeError::Reserved {
            kind: kind.to_owned(),
        });
    }
    let violations = context.types.violations(kind, content);
    if violations.is_empty() {
        Ok(())
    } else {
        Err(TypeError::Content(violations))
    }
}

/// Whether a type is that of a series.
#[must_use]
pub fn is_series(kind: &str) -> bool {
    kind.starts_with("series:")
}
