//! What the cluster keeps to itself: the key that every member holds on its disk, and what is
//! sealed under it in the platform store.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_raft::records::SealedSecrets;
use homecore_types::{Entropy, Secret};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of the envelope: AES-256-GCM, nonce of 12 bytes, label as associated data.
const ENVELOPE: u8 = 1;

/// Why something sealed could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SealError {
    /// Not one of our envelopes, or of a newer version.
    #[error("a sealed value has a format that this version does not know")]
    Format,
    /// The key is another, or the bytes were changed.
    #[error("a sealed value does not open with this core's cluster key")]
    Key,
}

/// The symmetric key of a cluster.
#[derive(Clone)]
pub(crate) struct ClusterKey([u8; 32]);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(***)")
    }
}

impl ClusterKey {
    /// Draws a new key.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = [0_u8; 32];
        entropy.fill(&mut key);
        Self(key)
    }

    /// Reads a key as [`ClusterKey::to_text`] wrote it.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key as text, for its file and for a joining core.
    pub(crate) fn to_text(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Seals the platform's secrets.
    pub(crate) fn seal(
        &self,
        secrets: &PlatformSecrets,
        entropy: &dyn Entropy,
    ) -> Result<SealedSecrets, SealError> {
        let plain = serde_json::to_vec(secrets).map_err(|_unlikely| SealError::Format)?;
        Ok(SealedSecrets {
            envelope: seal(&self.0, "platform-secrets", &plain, entropy)?,
        })
    }

    /// Opens the platform's secrets.
    pub(crate) fn open(&self, sealed: &SealedSecrets) -> Result<PlatformSecrets, SealError> {
        let plain = open(&self.0, "platform-secrets", &sealed.envelope)?;
        serde_json::from_slice(&plain).map_err(|_json| SealError::Format)
    }
}

/// Secrets that every core of a platform shares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlatformSecrets {
    /// Private key of the CA, PEM.
    pub(crate) ca_key: Secret,
    /// The administrators' key.
    pub(crate) admin_access_key: Secret,
    /// Signs read tokens of attachments.
    pub(crate) files_read_token_secret: Secret,
}

/// A random secret as text: 32 bytes, base64url.
pub(crate) fn random_text(entropy: &dyn Entropy) -> Secret {
    let mut bytes = [0_u8; 32];
    entropy.fill(&mut bytes);
    Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Seals an access request's answer so that only who knows its poll key can read it.
pub(crate) fn seal_for_key(
    poll_key: &Secret,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    seal(&derived(poll_key), "access-request", plain, entropy)
}

/// Opens what [`seal_for_key`] sealed.
pub(crate) fn open_for_key(poll_key: &Secret, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
    open(&derived(poll_key), "access-request", envelope)
}

fn derived(poll_key: &Secret) -> [u8; 32] {
    hmac_sha256(b"homecore access request", poll_key.expose().as_bytes())
}

/// HMAC-SHA256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0_u8; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Hex SHA-256: how secrets are named where they must not be known.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}

fn seal(
    key: &[u8; 32],
    label: &str,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_len| SealError::Key)?);
    let mut nonce = [0_u8; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(label.as_bytes()),
        &mut sealed,
    )
    .map_err(|_size| SealError::Format)?;
    let mut envelope = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
    envelope.push(ENVELOPE);
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(&sealed);
    Ok(envelope)
}

fn open(key: &[u8; 32], label: &str, envelope: &[u8]) -> Result<Vec<u8>, SealError> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_len| SealError::Key)?);
    let (version, rest) = envelope.split_first().ok_or(SealError::Format)?;
    if *version != ENVELOPE {
        return Err(SealError::Format);
    }
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Format)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_len| SealError::Format)?;
    let mut buffer = sealed.to_vec();
    let plain = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(label.as_bytes()),
            &mut buffer,
        )
        .map_err(|_tag| SealError::Key)?;
    Ok(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homecore_types::SystemEntropy;

    #[test]
    fn secrets_open_with_the_right_key_only() {
        let key = ClusterKey::generate(&SystemEntropy);
        let secrets = PlatformSecrets {
            ca_key: Secret::new("pem"),
            admin_access_key: Secret::new("admin"),
            files_read_token_secret: Secret::new("files"),
        };
        let sealed = key.seal(&secrets, &SystemEntropy).unwrap();
        assert_eq!(
            key.open(&sealed).unwrap().admin_access_key.expose(),
            "admin"
        );
        let again = ClusterKey::from_text(&key.to_text()).unwrap();
        assert!(again.open(&sealed).is_ok());
        assert_eq!(
            ClusterKey::generate(&SystemEntropy).open(&sealed).err(),
            Some(SealError::Key)
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let poll = Secret::new("u01QYly3MZxLdkGn");
        let sealed = seal_for_key(&poll, b"token", &SystemEntropy).unwrap();
        assert_eq!(open_for_key(&poll, &sealed).unwrap(), b"token");
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(open_for_key(&poll, &changed).is_err(), "byte {i}");
        }
        assert!(open_for_key(&Secret::new("other"), &sealed).is_err());
    }
}
