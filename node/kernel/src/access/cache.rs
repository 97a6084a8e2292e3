//! Accesses by token, kept between requests, so that a request does not look its access up anew.
//!
//! What is kept holds only while the user's stamp ([`homecore_store::Users::stamp_of_credentials`]) is the
//! one that was taken before it was read: any commit of that user that changes an access or a session
//! makes it void before anybody is told of the commit. So nothing else that is stored may be kept here.
//! Time is looked at on each use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use homecore_types::{Millis, Secret, UserId};

use super::Access;
use crate::session::Session;

/// Accesses kept; of more, all are looked up anew.
const KEPT_MAX: usize = 16_384;

/// Tokens are not kept, and comparing digests tells nothing of them.
type Key = (UserId, [u8; 32]);

/// An access as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Itself.
    pub(crate) access: Arc<Access>,
    /// Its session, if it is personal.
    pub(crate) session: Option<Session>,
}

impl Known {
    /// Whether it opens something now without anything to be written down. If not, the store is asked,
    /// which also knows why.
    fn is_plain(&self, now: Millis, max_age: std::time::Duration) -> bool {
        let expired = self.access.stored.expires.is_some_and(|at| at <= now);
        let session = match &self.session {
            Some(session) => session.is_alive(now, max_age) && !session.wants_touch(now, max_age),
            None => !self.access.is_personal(),
        };
        !expired && session
    }
}

/// Known accesses of all users.
#[derive(Debug, Default)]
pub(crate) struct AccessCache {
    kept: Mutex<BTreeMap<Key, (u64, Known)>>,
}

impl AccessCache {
    /// The access of a token, if it is known as of the user's present stamp and plainly in force.
    pub(crate) fn find(
        &self,
        user: &UserId,
        token: &Secret,
        stamp: u64,
        now: Millis,
        max_age: std::time::Duration,
    ) -> Option<Arc<Access>> {
        let key = key(user, token);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (known_at, known) = kept.get(&key)?;
        (*known_at == stamp && known.is_plain(now, max_age)).then(|| Arc::clone(&known.access))
    }

    /// Keeps what was read after the stamp was taken.
    pub(crate) fn keep(&self, user: &UserId, token: &Secret, stamp: u64, known: Known) {
        let key = key(user, token);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(&key) {
            kept.clear();
        }
        kept.insert(key, (stamp, known));
    }
}

fn key(user: &UserId, token: &Secret) -> Key {
    let hashed = digest(&SHA256, token.expose().as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hashed.as_ref());
    (user.clone(), bytes)
}

#[cfg(test)]
mod tests;
