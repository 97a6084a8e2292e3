//! Sessions of people: a personal access works as long as its session lives, and each use lets the
//! session live on (spec/pryv-api §1.3).
//!
//! A session is stored under the id of its access. Writing it at every request would turn each
//! read into a write, so a use is written down only when the last one on record is
//! [`touch_interval`] old: a session may end that much earlier than the setting says, never later.

use std::time::Duration;

use homecore_store::{Base, Document, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::Millis;
use serde::{Deserialize, Serialize};

use crate::kernel::Context;

/// Most time that a use of a session stays unwritten.
const TOUCH_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// A live login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When the person logged in.
    pub opened: Millis,
    /// The last use on record.
    pub used: Millis,
}

/// How old the last recorded use must be before another is written: an hour, less where sessions
/// are short.
#[must_use]
pub fn touch_interval(max_age: Duration) -> Duration {
    TOUCH_INTERVAL_MAX.min(max_age / 16)
}

impl Session {
    /// Whether it has not timed out.
    #[must_use]
    pub fn is_alive(&self, now: Millis, max_age: Duration) -> bool {
        now.since(self.used) < max_age
    }

    /// Whether a use now is to be written down.
    #[must_use]
    pub fn wants_touch(&self, now: Millis, max_age: Duration) -> bool {
        now.since(self.used) >= touch_interval(max_age)
    }

    fn decode(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("session of access {}: {error}", document.id),
        })
    }
}

/// The session of a personal access; it may have timed out.
///
/// # Errors
/// Of the store.
pub fn load(view: &dyn View, access_id: &str) -> Result<Option<Session>, StoreError> {
    match view.get(Kind::Session, access_id)? {
        Some(document) if !document.deleted => Session::decode(&document).map(Some),
        _ => Ok(None),
    }
}

/// Opens a session, or lets the present one live on from now.
///
/// # Errors
/// Of the store.
pub fn open(
    tx: &mut Transaction<'_>,
    context: &Context,
    access_id: &str,
) -> Result<(), StoreError> {
    let now = tx.at();
    let present = load(tx.view(), access_id)?
        .filter(|session| session.is_alive(now, context.settings.session_max_age));
    let opened = present.map_or(now, |session| session.opened);
    put(tx, access_id, Some(Session { opened, used: now }))
}

/// Writes down that a session was used, if it is still there.
///
/// # Errors
/// Of the store.
pub fn touch(
    tx: &mut Transaction<'_>,
    context: &Context,
    access_id: &str,
) -> Result<(), StoreError> {
    let now = tx.at();
    let max_age = context.settings.session_max_age;
    match load(tx.view(), access_id)? {
        // Another request may have written it, or the person logged out, in the meantime.
        Some(session) if session.is_alive(now, max_age) && session.wants_touch(now, max_age) => {
            put(
                tx,
                access_id,
                Some(Session {
                    used: now,
                    ..session
                }),
            )
        }
        _ => Ok(()),
    }
}

/// Ends a session.
///
/// # Errors
/// Of the store.
pub fn end(tx: &mut Transaction<'_>, access_id: &str) -> Result<(), StoreError> {
    match load(tx.view(), access_id)? {
        Some(_) => put(tx, access_id, None),
        None => Ok(()),
    }
}

fn put(
    tx: &mut Transaction<'_>,
    access_id: &str,
    session: Option<Session>,
) -> Result<(), StoreError> {
    let body = match &session {
        Some(session) => serde_json::to_vec(session)
            .map_err(|error| StoreError::engine("encoding a session", error))?,
        None => Vec::new(),
    };
    let write = Write {
        kind: Kind::Session,
        id: access_id.to_owned(),
        base: Base::Any,
        body: body.into(),
        deleted: session.is_none(),
        entries: Vec::new(),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("session {access_id}: conflict on any"),
        }),
    }
}
