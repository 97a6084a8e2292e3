//! Encryption of archives (spec/platform §9.3): one data key for all files, wrapped for a recipient
//! or made from a passphrase; a key of its own for each file; frames that are sealed one by one.

mod frames;

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_types::{Entropy, Secret};
use serde::{Deserialize, Serialize};

use crate::error::Fault;

pub(crate) use frames::{Decrypt, Encrypt};

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const INFO: &[u8] = b"pryv-backup-file-v1";
const ALGORITHM: &str = "AES-256-GCM-CHUNKED";
/// Plain bytes of a frame.
const CHUNK: usize = 65_536;
/// Largest frame that is read.
const CHUNK_MAX: usize = 16 * 1024 * 1024;
/// Memory that making a key from a passphrase may take: four times what is usual is plenty.
const SCRYPT_BYTES_MAX: u64 = 256 * 1024 * 1024;
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// What opens an archive.
#[derive(Clone, Debug, Default)]
pub struct Unlock {
    /// The passphrase.
    pub passphrase: Option<Secret>,
    /// The recipient's RSA key: PEM, PKCS#8, not encrypted itself.
    pub private_key: Option<Secret>,
}

/// How an archive is encrypted.
#[derive(Clone, Debug)]
pub enum Protection {
    /// By whoever knows the passphrase.
    Passphrase(Secret),
    /// For the holder of the private key to this one: RSA, PEM, SPKI.
    Recipient(String),
}

/// `encryption.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    v: u64,
    alg: String,
    chunk: u64,
    #[serde(flatten)]
    mode: Mode,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
enum Mode {
    Hybrid {
        wrap: String,
        #[serde(rename = "wrappedKey")]
        wrapped_key: String,
    },
    Symmetric {
        kdf: String,
        salt: String,
        #[serde(rename = "N")]
        n: u64,
        r: u32,
        p: u32,
    },
}

/// The key of an archive.
#[derive(Clone)]
pub(crate) struct DataKey {
    key: Arc<[u8; KEY_BYTES]>,
    chunk: usize,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(***)")
    }
}

impl DataKey {
    /// The key that an envelope describes.
    pub(crate) fn open(envelope: &Envelope, unlock: &Unlock) -> Result<Self, Fault> {
        if envelope.v != 1 || envelope.alg != ALGORITHM {
            return Err(Fault::Unsupported(format!(
                "encryption {} version {}",
                envelope.alg, envelope.v
            )));
        }
        let chunk = usize::try_from(envelope.chunk)
            .ok()
            .filter(|chunk| (1..=CHUNK_MAX).contains(chunk))
            .ok_or(Fault::Field("the size of a frame is out of bounds"))?;
        let key = match &envelope.mode {
            Mode::Symmetric { kdf, salt, n, r, p } => {
                if kdf != "scrypt" {
                    return Err(Fault::Unsupported(format!("key derivation {kdf}")));
                }
                let passphrase = unlock
                    .passphrase
                    .as_ref()
                    .ok_or(Fault::KeyNeeded("a passphrase is needed"))?;
                from_passphrase(passphrase, &decode(salt)?, *n, *r, *p)?
            }
            Mode::Hybrid { wrap, wrapped_key } => {
                if wrap != "RSA-OAEP-SHA256" {
                    return Err(Fault::Unsupported(format!("key wrapping {wrap}")));
                }
                let pem = unlock
                    .private_key
                    .as_ref()
                    .ok_or(Fault::KeyNeeded("the recipient's private key is needed"))?;
                unwrap(pem.expose(), &decode(wrapped_key)?)?
            }
        };
        Ok(Self {
            key: Arc::new(key),
            chunk,
        })
    }

    /// A new key and its envelope.
    pub(crate) fn create(
        protection: &Protection,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Envelope), Fault> {
        let mut key = [0_u8; KEY_BYTES];
        let mode = match protection {
            Protection::Passphrase(passphrase) => {
                let mut salt = [0_u8; SALT_BYTES];
                entropy.fill(&mut salt);
                let n = 1_u64 << SCRYPT_LOG_N;
                key = from_passphrase(passphrase, &salt, n, SCRYPT_R, SCRYPT_P)?;
                Mode::Symmetric {
                    kdf: "scrypt".to_owned(),
                    salt: STANDARD.encode(salt),
                    n,
                    r: SCRYPT_R,
                    p: SCRYPT_P,
                }
            }
            Protection::Recipient(pem) => {
                entropy.fill(&mut key);
                Mode::Hybrid {
                    wrap: "RSA-OAEP-SHA256".to_owned(),
                    wrapped_key: STANDARD.encode(wrap(pem, &key)?),
                }
            }
        };
        let envelope = Envelope {
            v: 1,
            alg: ALGORITHM.to_owned(),
            chunk: u64::try_from(CHUNK).unwrap_or(u64::MAX),
            mode,
        };
        let key = Self {
            key: Arc::new(key),
            chunk: CHUNK,
        };
        Ok((key, envelope))
    }

    #[cfg(test)]
    pub(crate) fn of_passphrase(passphrase: &str, salt: &[u8], chunk: usize) -> Self {
        let passphrase = Secret::new(passphrase);
        let key = from_passphrase(&passphrase, salt, 16_384, SCRYPT_R, SCRYPT_P).unwrap();
        Self {
            key: Arc::new(key),
            chunk,
        }
    }

    /// Plain bytes of a frame.
    fn chunk(&self) -> usize {
        self.chunk
    }

    /// The key of a file.
    fn of_file(&self, salt: &[u8]) -> Result<LessSafeKey, Fault> {
        let failed = |_unspecified| Fault::Damaged("no key can be made for it".to_owned());
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
        let mut bytes = [0_u8; KEY_BYTES];
        salt.extract(&self.key[..])
            .expand(&[INFO], hkdf::HKDF_SHA256)
            .and_then(|expanded| expanded.fill(&mut bytes))
            .map_err(failed)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(failed)?;
        Ok(LessSafeKey::new(key))
    }
}

fn from_passphrase(
    passphrase: &Secret,
    salt: &[u8],
    n: u64,
    r: u32,
    p: u32,
) -> Result<[u8; KEY_BYTES], Fault> {
    const BAD: Fault = Fault::Field("the cost of making a key is out of bounds");
    let memory = n.checked_mul(u64::from(r)).and_then(|m| m.checked_mul(128));
    if !n.is_power_of_two() || n < 2 || p > 16 || memory.is_none_or(|m| m > SCRYPT_BYTES_MAX) {
        return Err(BAD);
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_large| BAD)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_invalid| BAD)?;
    let mut key = [0_u8; KEY_BYTES];
    scrypt::scrypt(passphrase.expose().as_bytes(), salt, &params, &mut key)
        .map_err(|_invalid| BAD)?;
    Ok(key)
}

const BAD_KEY: &str = "the key must be RSA of 2048 bits or more, PEM: BEGIN PRIVATE KEY (PKCS#8, not encrypted) or BEGIN PUBLIC KEY";

fn unwrap(pem: &str, wrapped: &[u8]) -> Result<[u8; KEY_BYTES], Fault> {
    let der = decode_pem(pem, "PRIVATE KEY").ok_or(Fault::KeyNeeded(BAD_KEY))?;
    let key = PrivateDecryptingKey::from_pkcs8(&der).map_err(|_bad| Fault::KeyNeeded(BAD_KEY))?;
    let key = OaepPrivateDecryptingKey::new(key).map_err(|_bad| Fault::KeyNeeded(BAD_KEY))?;
    let mut plain = vec![0_u8; key.min_output_size()];
    let plain = key
        .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut plain, None)
        .map_err(|_wrong| Fault::WrongKey)?;
    <[u8; KEY_BYTES]>::try_from(&*plain).map_err(|_length| Fault::WrongKey)
}

fn wrap(pem: &str, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>, Fault> {
    let der = decode_pem(pem, "PUBLIC KEY").ok_or(Fault::KeyNeeded(BAD_KEY))?;
    let recipient =
        PublicEncryptingKey::from_der(&der).map_err(|_bad| Fault::KeyNeeded(BAD_KEY))?;
    let recipient =
        OaepPublicEncryptingKey::new(recipient).map_err(|_bad| Fault::KeyNeeded(BAD_KEY))?;
    let mut wrapped = vec![0_u8; recipient.ciphertext_size()];
    let wrapped = recipient
        .encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut wrapped, None)
        .map_err(|_failed| Fault::KeyNeeded(BAD_KEY))?;
    Ok(wrapped.to_vec())
}

fn decode(text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD
        .decode(text)
        .map_err(|_bad| Fault::Field("no base64"))
}

/// The first block of a label in a PEM text.
fn decode_pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (block, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let block: String = block.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(block).ok()
}
