//! The second factor of a log-in: a code that is sent to the person (spec/pryv-api §2.6).
//!
//! What it is sent with (a telephone number, say) and the hashes of the recovery codes are in the
//! private profile, as the original has them; codes of an imported user are there in clear and are
//! taken. After the password no session is there yet: it is opened when the code was right.
//!
//! **Invariant:** while the profile has a second factor and codes can be sent, no password alone
//! opens a session.

mod error;
pub(crate) mod sessions;
mod shell;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_store::{StoreError, View};
use homecore_types::{Entropy, Secret};
use serde_json::{Map, Value, json};

use crate::error::InvalidParameters;
use crate::fields::{Fields, Null};
use crate::profile;

pub use error::MfaError;

/// Where the private profile has it.
const MEMBER: &str = "mfa";
/// Recovery codes of one person.
const RECOVERY_CODES: usize = 10;
/// Digits of a code that is made here.
const DIGITS: usize = 4;
/// Before the hash of a recovery code.
const HASHED: &str = "sha256:";

/// A person's second factor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Factor {
    pub(crate) content: Map<String, Value>,
    recovery: Vec<String>,
}

/// The second factor of a person who has one. One that cannot be read is one: it fails closed.
pub(crate) fn load(view: &dyn View) -> Result<Option<Factor>, StoreError> {
    let stored = profile::private(view)?.remove(MEMBER);
    let Some(stored) = stored.filter(|stored| !stored.is_null()) else {
        return Ok(None);
    };
    let content = stored.get("content").and_then(Value::as_object);
    let codes = stored.get("recoveryCodes").and_then(Value::as_array);
    let texts = codes.into_iter().flatten().filter_map(Value::as_str);
    Ok(Some(Factor {
        content: content.cloned().unwrap_or_default(),
        recovery: texts.map(str::to_owned).collect(),
    }))
}

impl Factor {
    /// A new one, and its recovery codes, which are shown once.
    fn new(content: Map<String, Value>, entropy: &dyn Entropy) -> (Self, Vec<String>) {
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| uuid(entropy)).collect();
        let recovery = codes.iter().map(|code| hashed(code)).collect();
        (Self { content, recovery }, codes)
    }

    fn to_json(&self) -> Value {
        json!({ "content": self.content, "recoveryCodes": self.recovery })
    }

    /// Whether a code is one of the recovery codes.
    fn knows(&self, code: &Secret) -> bool {
        let hash = hashed(code.expose());
        self.recovery.iter().any(|known| {
            if known.starts_with(HASHED) {
                *known == hash
            } else {
                code.matches(known)
            }
        })
    }
}

fn hashed(code: &str) -> String {
    format!(
        "{HASHED}{}",
        STANDARD.encode(digest(&SHA256, code.as_bytes()))
    )
}

/// A random UUID (RFC 9562, version 4).
fn uuid(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    let number = u128::from_be_bytes(bytes) & !(0xF000_u128 << 64) & !(0xC000_u128 << 48);
    let number = number | (0x4000_u128 << 64) | (0x8000_u128 << 48);
    let hex = format!("{number:032x}");
    let mut text = String::with_capacity(36);
    for (i, digit) in hex.chars().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// A code of a few digits, drawn evenly.
fn code(entropy: &dyn Entropy) -> Secret {
    let mut code = String::with_capacity(DIGITS);
    while code.len() < DIGITS {
        let mut byte = [0_u8; 1];
        entropy.fill(&mut byte);
        if let [digit @ 0..250] = byte {
            code.push(char::from(b'0' + digit % 10));
        }
    }
    Secret::new(code)
}

/// Parameters of `mfa.confirm` and `mfa.verify`; other fields are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct GivenCode(Secret);

impl GivenCode {
    pub(crate) fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["code"])?;
        let code = fields.text("code", Null::Refused).map(Secret::new);
        fields.finish()?;
        Ok(Self(code.unwrap_or_else(|| Secret::new(""))))
    }
}

/// Parameters of `mfa.recover`; other fields are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct Recover {
    username: String,
    password: Secret,
    code: Secret,
}

impl Recover {
    pub(crate) fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const REQUIRED: [&str; 3] = ["username", "password", "recoveryCode"];
        let mut fields = Fields::lenient(params, &REQUIRED)?;
        let mut text = |name| {
            fields
                .text(name, Null::Refused)
                .unwrap_or_default()
                .to_owned()
        };
        let read = Self {
            username: text("username"),
            password: Secret::new(text("password")),
            code: Secret::new(text("recoveryCode")),
        };
        fields.finish()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
