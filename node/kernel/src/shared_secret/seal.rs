//! The key of a shared secret, and what is kept under it.
//!
//! A key is `<id>.<random>`. Of the random half only the SHA-256 is stored, and the secret is sealed
//! under a key made from it: whoever has the disk has nothing. Where the client made the key itself
//! the core does not know it before it is presented; such a secret is sealed under a key of the platform,
//! which is not among the user's files: whoever has these (a copy, a backup) has nothing either.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homecore_store::StoreError;
use homecore_types::{Entropy, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attachment::token::ReadTokenKey;

/// Bytes of the random half of a key.
const RANDOM_BYTES: usize = 32;
/// Characters of a random half that a client made.
const RANDOM_CHARS: std::ops::RangeInclusive<usize> = 32..=128;
/// Longest id in a key.
const ID_CHARS_MAX: usize = 64;
/// What a sealing key is for.
const LABEL: &str = "homecore shared secret 1";

/// A key as it was presented.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Of which secret.
    pub(super) id: String,
    /// The half that proves something.
    pub(super) random: Secret,
}

/// What is handed over, and against what.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    /// Any JSON.
    pub(super) secret: Value,
    /// The SHA-256 of the proof that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
}

/// The document of a secret that waits.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// The access that made it.
    pub(super) access: String,
    /// Until when it waits, in seconds.
    pub(super) expires: f64,
    #[serde(flatten)]
    body: Body,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    /// Base64 of nonce, ciphertext and tag.
    Sealed(String),
    /// The same, under the platform's key.
    Platform(String),
    /// As it is, where the platform's key was not known: the JSON text of what is held. As a value it would be a level deeper here than it
    /// was in the request, and could be too deep to be read again.
    Text(String),
    /// As it is, written by earlier builds of 0.1.0.
    Open(Held),
}

impl Key {
    /// Reads a key; none if it can be no key.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, random) = text.split_once('.')?;
        let is_id = (1..=ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let is_random = RANDOM_CHARS.contains(&random.len())
            && random
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (is_id && is_random).then(|| Self {
            id: id.to_owned(),
            random: Secret::new(random),
        })
    }

    /// A new one.
    pub(super) fn draw(id: &str, entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; RANDOM_BYTES];
        entropy.fill(&mut random);
        Self {
            id: id.to_owned(),
            random: Secret::new(URL_SAFE_NO_PAD.encode(random)),
        }
    }

    /// What is stored of it.
    pub(super) fn hash(&self) -> String {
        hash(self.random.expose())
    }

    /// As it is told to its maker.
    pub(super) fn to_text(&self) -> String {
        format!("{}.{}", self.id, self.random.expose())
    }

    /// The cipher.
    fn cipher(&self) -> Result<Cipher, StoreError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.random.expose().as_bytes());
        let derived = hmac::sign(&key, format!("{LABEL}:{}", self.id).as_bytes());
        Cipher::new(&self.id, derived.as_ref())
    }
}

/// Under what a secret is sealed.
pub(super) enum Under<'a> {
    /// The key that its maker was told.
    Key(&'a Key),
    /// The platform's key.
    Platform(&'a ReadTokenKey),
}

/// The cipher of one secret. It seals once, so it never meets a nonce twice.
struct Cipher {
    id: String,
    key: LessSafeKey,
}

impl Cipher {
    fn new(id: &str, key: &[u8]) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&AES_256_GCM, key);
        Ok(Self {
            id: id.to_owned(),
            key: LessSafeKey::new(key.map_err(|_same| unsealable(id))?),
        })
    }

    /// That of the platform for a secret; none where its key is not known.
    fn of_platform(id: &str, key: &ReadTokenKey) -> Result<Option<Self>, StoreError> {
        let derived = key.derived(&format!("{LABEL}:{id}"));
        derived
            .map(|derived| Self::new(id, derived.as_ref()))
            .transpose()
    }

    fn seal(&self, text: String, entropy: &dyn Entropy) -> Result<String, StoreError> {
        let mut nonce = [0_u8; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = text.into_bytes();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(sealing, Aad::empty(), &mut sealed)
            .map_err(|_same| unsealable(&self.id))?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    fn open(&self, sealed: &str) -> Result<Held, StoreError> {
        let damaged = || unsealable(&self.id);
        let bytes = URL_SAFE_NO_PAD.decode(sealed);
        let bytes = bytes.map_err(|_base64| damaged())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_same| damaged())?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut sealed);
        let plain = opened.map_err(|_same| damaged())?;
        serde_json::from_slice(plain).map_err(|_json| damaged())
    }
}

/// The SHA-256 of a text in hex.
pub(super) fn hash(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let nibbles = hash
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xF]);
    nibbles
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .map(|digit| char::from(*digit))
        .collect()
}

/// Whether two hashes are the same, in constant time.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

impl Kept {
    /// What is kept of the secret of an id.
    ///
    /// # Errors
    /// If it cannot be sealed.
    pub(super) fn new(
        (id, access): (&str, &str),
        expires: f64,
        held: &Held,
        under: &Under<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreError> {
        let held = serde_json::to_string(held)
            .map_err(|error| StoreError::engine("encoding a shared secret", error))?;
        let body = match under {
            Under::Key(key) => Body::Sealed(key.cipher()?.seal(held, entropy)?),
            Under::Platform(key) => match Cipher::of_platform(id, key)? {
                Some(cipher) => Body::Platform(cipher.seal(held, entropy)?),
                None => Body::Text(held),
            },
        };
        Ok(Self {
            access: access.to_owned(),
            expires,
            body,
        })
    }

    /// What a key opens.
    ///
    /// # Errors
    /// If what is stored is damaged: the key was checked before.
    pub(super) fn open(self, key: &Key, platform: &ReadTokenKey) -> Result<Held, StoreError> {
        let damaged = || unsealable(&key.id);
        match self.body {
            Body::Open(held) => Ok(held),
            Body::Text(held) => serde_json::from_str(&held).map_err(|_json| damaged()),
            Body::Sealed(sealed) => key.cipher()?.open(&sealed),
            Body::Platform(sealed) => Cipher::of_platform(&key.id, platform)?
                .ok_or_else(damaged)?
                .open(&sealed),
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self)
            .map_err(|error| StoreError::engine("encoding a shared secret", error))
    }

    pub(super) fn decode(id: &str, body: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(body).map_err(|_json| unsealable(id))
    }
}

/// Nothing of what is stored may come into a message.
fn unsealable(id: &str) -> StoreError {
    StoreError::Corrupted {
        what: format!("shared secret {id}"),
    }
}
