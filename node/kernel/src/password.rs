//! Passwords: argon2id on threads of its own; hashes of the original server, which are bcrypt, are
//! taken until the next log-in replaces them.
//!
//! A hash takes 19 MiB and some ten milliseconds of a core on purpose, so it never runs on an
//! asynchronous worker, only a few run at once, and only so many may wait: a flood of log-ins is
//! answered "busy" and does not take the core down. Hashes are PHC strings and carry their own
//! parameters, so stronger ones can be chosen later without touching the stored ones.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use homecore_types::{Entropy, ErrorId, Secret, limits};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::error::Refusal;

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// What is verified against where there is nothing to verify against, so that the answer takes as
/// long. It is the hash of a random text that nobody kept.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aG9tZWNvcmUtbm9ib2R5$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password's hash as it is stored.
pub type PasswordHashText = String;

/// What a new account is given to log in with.
#[derive(Clone, Debug)]
pub enum NewPassword {
    /// In clear; only its hash is stored.
    Clear(Secret),
    /// Its hash, as another server had stored it; see [`is_known_hash`].
    Hash(Secret),
}

impl From<Secret> for NewPassword {
    fn from(password: Secret) -> Self {
        Self::Clear(password)
    }
}

/// Why a password was not hashed.
#[derive(Debug, Error)]
pub enum HashError {
    /// Too many are waiting.
    #[error("too many passwords are being checked at this moment, please try again")]
    Busy,
    /// The threads are gone: the core is stopping.
    #[error("passwords cannot be checked now: the server is stopping")]
    Stopped,
    /// The algorithm refused.
    #[error("hashing a password failed: {0}")]
    Failed(String),
}

impl Refusal for HashError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Busy | Self::Stopped => ErrorId::ApiUnavailable,
            Self::Failed(_) => ErrorId::UnexpectedError,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Busy | Self::Stopped => self.to_string(),
            Self::Failed(_) => "Unexpected error".to_owned(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Stopped => Some(Duration::from_secs(1)),
            Self::Failed(_) => None,
        }
    }
}

enum Job {
    Hash {
        password: Secret,
        answer: oneshot::Sender<Result<PasswordHashText, HashError>>,
    },
    Verify {
        password: Secret,
        hash: Option<PasswordHashText>,
        answer: oneshot::Sender<bool>,
    },
}

/// Hashes passwords. Cloning gives another handle on the same threads, which end with the last one.
#[derive(Clone)]
pub struct Hasher {
    jobs: SyncSender<Job>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl Hasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn start(entropy: Arc<dyn Entropy>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(limits::HASH_QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..limits::HASHES_AT_ONCE_MAX {
            let (queue, entropy) = (Arc::clone(&queue), Arc::clone(&entropy));
            std::thread::Builder::new()
                .name(format!("password-{i}"))
                .spawn(move || work(&queue, entropy.as_ref()))?;
        }
        Ok(Self { jobs })
    }

    /// The hash to store for a password.
    ///
    /// # Errors
    /// If too many wait, or the core stops.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHashText, HashError> {
        let (answer, hashed) = oneshot::channel();
        self.send(Job::Hash { password, answer })?;
        hashed.await.map_err(|_gone| HashError::Stopped)?
    }

    /// The hash to store for what a new account is given.
    ///
    /// # Errors
    /// If too many wait, or the core stops.
    pub async fn hash_new(&self, password: NewPassword) -> Result<PasswordHashText, HashError> {
        match password {
            NewPassword::Clear(password) => self.hash(password).await,
            NewPassword::Hash(hash) => Ok(hash.expose().to_owned()),
        }
    }

    /// Whether a password has this hash. Without one, or with one that cannot be read, the answer
    /// is no, and takes as long.
    ///
    /// # Errors
    /// If too many wait, or the core stops.
    pub async fn verify(
        &self,
        password: Secret,
        hash: Option<PasswordHashText>,
    ) -> Result<bool, HashError> {
        let (answer, verified) = oneshot::channel();
        self.send(Job::Verify {
            password,
            hash,
            answer,
        })?;
        verified.await.map_err(|_gone| HashError::Stopped)
    }

    fn send(&self, job: Job) -> Result<(), HashError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => HashError::Busy,
            TrySendError::Disconnected(_) => HashError::Stopped,
        })
    }
}

/// One thread: takes job after job until nobody can send one any more.
fn work(queue: &Mutex<Receiver<Job>>, entropy: &dyn Entropy) {
    loop {
        // The lock is held while waiting: the threads take turns at the queue.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let unheard = match next {
            Ok(Job::Hash { password, answer }) if !answer.is_closed() => {
                answer.send(hash(&password, entropy)).is_err()
            }
            Ok(Job::Verify {
                password,
                hash,
                answer,
            }) if !answer.is_closed() => answer.send(verify(&password, hash.as_deref())).is_err(),
            Ok(_) => true,
            Err(_disconnected) => return,
        };
        if unheard {
            tracing::debug!("nobody waits for a password check any more");
        }
    }
}

fn algorithm() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| HashError::Failed(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &Secret, entropy: &dyn Entropy) -> Result<PasswordHashText, HashError> {
    let mut salt = [0_u8; SALT_BYTES];
    entropy.fill(&mut salt);
    let hash: PasswordHash = algorithm()?
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(|error| HashError::Failed(error.to_string()))?;
    Ok(hash.to_string())
}

/// Costs of bcrypt that are taken: the original server has 10; each more doubles the time.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// Whether this is a hash of bcrypt, of a cost that is taken.
fn is_bcrypt(hash: &str) -> bool {
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|p| hash.starts_with(p));
    known
        && hash
            .parse::<bcrypt::HashParts>()
            .is_ok_and(|parts| BCRYPT_COSTS.contains(&parts.get_cost()))
}

/// Whether passwords can be verified against this hash.
#[must_use]
pub fn is_known_hash(hash: &str) -> bool {
    is_bcrypt(hash) || PasswordHash::new(hash).is_ok()
}

/// Whether a hash is to be replaced as soon as the password is known.
#[must_use]
pub fn is_outdated(hash: &str) -> bool {
    is_bcrypt(hash)
}

fn verify(password: &Secret, stored: Option<&str>) -> bool {
    if let Some(hash) = stored.filter(|hash| is_bcrypt(hash)) {
        return bcrypt::verify(password.expose(), hash).unwrap_or(false);
    }
    let stored_hash = stored.and_then(|text| match PasswordHash::new(text) {
        Ok(hash) => Some(hash),
        Err(error) => {
            tracing::error!(%error, "a stored password hash cannot be read");
            None
        }
    });
    let known = stored_hash.is_some();
    let Some(hash) = stored_hash.or_else(|| PasswordHash::new(NOBODY).ok()) else {
        return false;
    };
    let Ok(argon2) = algorithm() else {
        return false;
    };
    let matched = argon2
        .verify_password(password.expose().as_bytes(), &hash)
        .is_ok();
    matched && known
}

#[cfg(test)]
mod tests {
    use super::*;
    use homecore_types::SystemEntropy;

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let hasher = Hasher::start(Arc::new(SystemEntropy)).unwrap();
        let hash = hasher.hash(Secret::new("correct horse")).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let again = hasher.hash(Secret::new("correct horse")).await.unwrap();
        assert_ne!(hash, again, "each hash has its own salt");
        let verify = |password: &str, hash: &str| {
            hasher.verify(Secret::new(password), Some(hash.to_owned()))
        };
        assert!(verify("correct horse", &hash).await.unwrap());
        assert!(!verify("correct horsE", &hash).await.unwrap());
        assert!(!verify("", &hash).await.unwrap());
        assert!(!verify("x", "garbage").await.unwrap());
        assert!(!hasher.verify(Secret::new("x"), None).await.unwrap());
    }

    #[test]
    fn hashes_of_the_original_server_are_taken() {
        const VECTOR: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let is = |password: &str, hash: &str| verify(&Secret::new(password), Some(hash));
        assert!(is("U*U", VECTOR) && !is("U*u", VECTOR) && !is("", VECTOR));
        assert!(is_known_hash(VECTOR) && is_outdated(VECTOR));
        assert!(is_known_hash(NOBODY) && !is_outdated(NOBODY));
        // One that would take hours is none.
        let endless = VECTOR.replace("$05$", "$31$");
        assert!(!is_known_hash(&endless) && !is("U*U", &endless));
        for bad in ["", "$2a$05$short", "$1$x$y", "plain"] {
            assert!(!is_known_hash(bad) && !is("plain", bad), "{bad}");
        }
    }

    #[test]
    fn what_stands_for_nobody_can_be_verified_against() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        assert!(
            hash.salt.is_some() && hash.hash.is_some(),
            "else the answer would come at once"
        );
    }

    #[tokio::test]
    async fn a_full_queue_is_answered_busy() {
        let (jobs, _kept) = sync_channel(1);
        let hasher = Hasher { jobs };
        let (answer, _wait) = oneshot::channel();
        hasher
            .send(Job::Verify {
                password: Secret::new("x"),
                hash: None,
                answer,
            })
            .unwrap();
        let refused = hasher.hash(Secret::new("y")).await.unwrap_err();
        assert!(matches!(refused, HashError::Busy));
        assert_eq!(refused.id(), ErrorId::ApiUnavailable);
    }
}
