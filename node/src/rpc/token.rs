//! The join token: one line that a new machine needs to become a member.
//!
//! It holds the addresses to try, the fingerprint of the cluster's CA (whom to trust), the core id
//! that it is for, and a secret (why to be trusted). A checksum tells a mistyped token from a
//! refused one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homecore_types::{CoreId, Secret};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::secrets::{hmac_sha256, sha256_hex};

/// Start of every token; the number is the version.
const PREFIX: &str = "hc1.";
/// No token is longer.
const LENGTH_MAX: usize = 4_096;

/// A join token as printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinToken {
    /// `host:port` of cores to try, in order.
    #[serde(rename = "a")]
    pub(crate) addresses: Vec<String>,
    /// Hex SHA-256 of the CA's certificate.
    #[serde(rename = "f")]
    pub(crate) ca_fingerprint: String,
    /// The core that it admits.
    #[serde(rename = "c")]
    pub(crate) core: CoreId,
    /// What the cluster knows the hash of.
    #[serde(rename = "s")]
    pub(crate) secret: Secret,
    /// The platform's domain, where it has one: the new core's configuration needs it.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<String>,
}

/// Why a text is no join token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// Something else.
    #[error(
        "this is not a join token: one begins with {PREFIX:?} and is printed by `homecore invite`"
    )]
    NotAToken,
    /// Of a newer version.
    #[error("this join token was made by a newer version of homecore; install that version here")]
    Newer,
    /// Changed on its way.
    #[error("the join token is damaged: copy the whole line that `homecore invite` printed")]
    Damaged,
}

impl JoinToken {
    /// The line to print.
    pub(crate) fn to_text(&self) -> String {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = checksum(&body).to_vec();
        bytes.extend_from_slice(&body);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a printed token.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > LENGTH_MAX {
            return Err(TokenError::NotAToken);
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let newer = text
                .strip_prefix("hc")
                .and_then(|rest| rest.split_once('.'))
                .is_some_and(|(version, _)| version.parse::<u32>().is_ok());
            return Err(if newer {
                TokenError::Newer
            } else {
                TokenError::NotAToken
            });
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_base64| TokenError::Damaged)?;
        let (sum, body) = bytes.split_at_checked(4).ok_or(TokenError::Damaged)?;
        if sum != checksum(body) {
            return Err(TokenError::Damaged);
        }
        serde_json::from_slice(body).map_err(|_json| TokenError::Damaged)
    }

    /// How the platform store names this token.
    pub(crate) fn id(&self) -> String {
        sha256_hex(self.secret.expose().as_bytes())
    }
}

pub(super) fn checksum(body: &[u8]) -> [u8; 4] {
    let tag = hmac_sha256(b"homecore join token", body);
    [tag[0], tag[1], tag[2], tag[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec![
                "10.0.0.1:4002".to_owned(),
                "core-b.example.com:4002".to_owned(),
            ],
            ca_fingerprint: "ab".repeat(32),
            core: CoreId::parse("core-b").unwrap(),
            secret: Secret::new("s3cret"),
            domain: Some("example.com".to_owned()),
        }
    }

    #[test]
    fn comes_back_and_hides_its_secret() {
        assert_eq!(
            JoinToken::parse(&format!("  {}\n", token().to_text())),
            Ok(token())
        );
        assert!(!format!("{:?}", token()).contains("s3cret"));
    }

    #[test]
    fn a_changed_letter_is_damage() {
        let text = token().to_text();
        for at in PREFIX.len()..text.len() {
            let mut letters: Vec<char> = text.chars().collect();
            letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            let changed: String = letters.into_iter().collect();
            assert_eq!(
                JoinToken::parse(&changed),
                Err(TokenError::Damaged),
                "at {at}"
            );
        }
    }

    #[test]
    fn other_texts_are_named_for_what_they_are() {
        assert_eq!(JoinToken::parse("hello"), Err(TokenError::NotAToken));
        assert_eq!(JoinToken::parse(""), Err(TokenError::NotAToken));
        assert_eq!(JoinToken::parse("hc9.abc"), Err(TokenError::Newer));
        assert_eq!(JoinToken::parse("hc1.abc"), Err(TokenError::Damaged));
        assert_eq!(
            JoinToken::parse(&"x".repeat(10_000)),
            Err(TokenError::NotAToken)
        );
    }
}
