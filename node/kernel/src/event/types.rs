//! The catalogue of event types: which are known, and what their contents look like
//! (spec/pryv-api §4.8). One is part of the binary; what an operator publishes is laid over it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use homecore_types::limits;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::violation::Violation;
use schema::{Compiler, Schema, SchemaError};

pub mod schema;

/// See `catalogue/README.md`.
const SHIPPED: &[u8] = include_bytes!("types/catalogue/event-types-flat.json");

/// Why a catalogue is not used.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// More bytes than a catalogue may have.
    #[error(
        "the catalogue of event types is larger than {} bytes",
        limits::EVENT_TYPES_BYTES_MAX
    )]
    TooLarge,
    /// It is not the JSON that a catalogue is.
    #[error("this is no catalogue of event types")]
    Form(#[from] serde_json::Error),
    /// The schema of a type cannot be used.
    #[error("the event type {kind:?} has no usable schema")]
    Schema {
        /// Which type.
        kind: String,
        /// What is wrong with it.
        #[source]
        source: SchemaError,
    },
}

/// Known event types, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    types: BTreeMap<String, Arc<Schema>>,
}

impl Catalogue {
    /// Reads a catalogue in its flat form: `{"types": {"class/format": schema, …}, …}`.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub fn parse(text: &[u8]) -> Result<Self, CatalogueError> {
        #[derive(Deserialize)]
        struct Flat<'a> {
            #[serde(borrow)]
            types: BTreeMap<String, &'a RawValue>,
        }
        if text.len() > limits::EVENT_TYPES_BYTES_MAX {
            return Err(CatalogueError::TooLarge);
        }
        let flat: Flat<'_> = serde_json::from_slice(text)?;
        let mut compiler = Compiler::default();
        let mut types = BTreeMap::new();
        for (kind, raw) in flat.types {
            let schema: Value = serde_json::from_str(raw.get())?;
            match compiler.compile(&schema) {
                Ok(schema) => types.insert(kind, Arc::new(schema)),
                Err(source) => return Err(CatalogueError::Schema { kind, source }),
            };
        }
        Ok(Self { types })
    }

    /// How many types it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether it knows no type.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// What is wrong with the content of an event; nothing if it fits or the type is unknown. No
    /// content is null.
    #[must_use]
    pub fn violations(&self, kind: &str, content: Option<&Value>) -> Vec<Violation> {
        self.types
            .get(kind)
            .map(|schema| schema.violations(content.unwrap_or(&Value::Null)))
            .unwrap_or_default()
    }
}

/// The catalogue in use.
#[derive(Debug)]
pub struct EventTypes {
    shipped: Catalogue,
    current: RwLock<Arc<Catalogue>>,
}

impl EventTypes {
    /// Begins with the catalogue of the binary.
    ///
    /// # Errors
    /// Never: a test reads it. The signature keeps the server free of panics.
    pub fn shipped() -> Result<Self, CatalogueError> {
        let shipped = Catalogue::parse(SHIPPED)?;
        Ok(Self {
            current: RwLock::new(Arc::new(shipped.clone())),
            shipped,
        })
    }

    /// The catalogue as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<Catalogue> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lays a catalogue over that of the binary, instead of the one laid there before, and returns
    /// how many types are known then. If it is bad, nothing changes.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub fn replace(&self, text: &[u8]) -> Result<usize, CatalogueError> {
        let mut catalogue = self.shipped.clone();
        catalogue.types.extend(Catalogue::parse(text)?.types);
        let known = catalogue.len();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
        Ok(known)
    }
}

#[cfg(test)]
mod tests;
