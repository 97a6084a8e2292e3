//! What waits for a code: log-ins whose password was right, and second factors that are being set.
//! They are in memory, die with the core, and are bounded in number, time and tries.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use homecore_types::limits::{MFA_SESSIONS_MAX, MFA_SESSIONS_PER_USER_MAX, MFA_TRIES_MAX};
use homecore_types::{Millis, Secret, UserId};
use serde_json::{Map, Value};

/// What is done when the code comes.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The second factor is set, if the session of this access lives.
    Activate {
        /// Through which the person asked.
        access: String,
    },
    /// An app's session is opened, if the password is still the one that was given.
    Login {
        /// The app.
        app: String,
        /// When the password was set.
        password_set: Millis,
    },
}

/// Something that waits for a code.
#[derive(Clone, Debug)]
pub(crate) struct MfaSession {
    /// Whose.
    pub(crate) user: UserId,
    /// What for.
    pub(crate) purpose: Purpose,
    /// What codes are sent with.
    pub(crate) content: Map<String, Value>,
    /// When it ends.
    pub(crate) expires: Millis,
    /// The code that was sent, where it was made here.
    pub(crate) code: Option<Secret>,
    /// Codes that were tried.
    pub(crate) tries: u8,
}

/// All of a core, by token.
#[derive(Debug, Default)]
pub(crate) struct MfaSessions(Mutex<BTreeMap<String, MfaSession>>);

impl MfaSessions {
    /// Keeps one under a new token; whether there is room. The oldest of a user who has too many ends.
    pub(crate) fn keep(&self, token: &Secret, session: MfaSession, now: Millis) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MFA_SESSIONS_MAX {
            all.retain(|_, session| now < session.expires);
        }
        let own = || all.iter().filter(|(_, other)| other.user == session.user);
        if own().count() >= MFA_SESSIONS_PER_USER_MAX {
            let oldest = own().min_by_key(|(_, other)| other.expires);
            if let Some(oldest) = oldest.map(|(token, _)| token.clone()) {
                all.remove(&oldest);
            }
        }
        let is_room = all.len() < MFA_SESSIONS_MAX;
        if is_room {
            all.insert(token.expose().to_owned(), session);
        }
        is_room
    }

    /// A live one of a user.
    pub(crate) fn find(&self, user: &UserId, token: &Secret, now: Millis) -> Option<MfaSession> {
        self.with(user, token, now, |session| session.clone())
    }

    /// The same, of which a code is tried now. With one too many it ends.
    pub(crate) fn try_code(
        &self,
        user: &UserId,
        token: &Secret,
        now: Millis,
    ) -> Option<MfaSession> {
        let tried = self.with(user, token, now, |session| {
            session.tries = session.tries.saturating_add(1);
            session.clone()
        })?;
        if tried.tries > MFA_TRIES_MAX {
            self.end(token);
            return None;
        }
        Some(tried)
    }

    /// Notes the code that was sent.
    pub(crate) fn sent(&self, user: &UserId, token: &Secret, now: Millis, code: Option<Secret>) {
        self.with(user, token, now, |session| session.code = code);
    }

    /// Ends one; whether it was there. Of two who use it at once one is told so.
    pub(crate) fn end(&self, token: &Secret) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(token.expose()).is_some()
    }

    fn with<T>(
        &self,
        user: &UserId,
        token: &Secret,
        now: Millis,
        work: impl FnOnce(&mut MfaSession) -> T,
    ) -> Option<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get_mut(token.expose())?;
        if session.expires <= now {
            all.remove(token.expose());
            return None;
        }
        (session.user == *user).then(|| work(session))
    }
}
