//! `[mfa]`: whether log-ins ask for a code that is sent to the person, and by which provider.

use std::time::Duration;

use homecore_types::{Secret, limits};
use url::Url;

use super::reader::{Reader, Section};
use super::values::parse_filled;

/// `[mfa]`.
#[derive(Clone, Debug)]
pub(crate) struct MfaConfig {
    pub(crate) mode: MfaMode,
    pub(crate) session_max_age: Duration,
}

/// Who makes the codes.
#[derive(Clone, Debug)]
pub(crate) enum MfaMode {
    /// Nobody: none are asked for.
    Disabled,
    /// The provider: one call has it send a code, another one checks it.
    ChallengeVerify {
        challenge: Endpoint,
        verify: Endpoint,
    },
    /// This core: the provider only sends them.
    Single(Endpoint),
}

/// One call to a provider. `{{ key }}` stands for a value in the URL, the headers and the body.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: reqwest::Method,
    pub(crate) url: String,
    /// They may hold keys of the provider.
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) body: Option<Secret>,
}

/// Reads the section.
pub(super) fn read(root: &mut Reader) -> MfaConfig {
    let mut section = root.section("mfa");
    let mode = section
        .parsed("mode", |text: String| match text.as_str() {
            "disabled" | "challenge-verify" | "single" => Ok(text),
            _ => Err("must be disabled, challenge-verify or single"),
        })
        .unwrap_or_else(|| "disabled".to_owned());
    let seconds = section.number("session_ttl_s", 60, 86_400);
    let challenge = endpoint(&mut section, "challenge", mode == "challenge-verify");
    let verify = endpoint(&mut section, "verify", mode == "challenge-verify");
    let single = endpoint(&mut section, "single", mode == "single");
    let mode = match (mode.as_str(), challenge, verify, single) {
        ("challenge-verify", Some(challenge), Some(verify), _) => {
            MfaMode::ChallengeVerify { challenge, verify }
        }
        ("single", _, _, Some(single)) => MfaMode::Single(single),
        // What is missing was reported.
        _ => MfaMode::Disabled,
    };
    MfaConfig {
        mode,
        session_max_age: seconds.map_or(limits::MFA_MAX_AGE, |seconds| {
            Duration::from_secs(u64::from(seconds))
        }),
    }
}

fn endpoint(section: &mut Section<'_>, name: &str, needed: bool) -> Option<Endpoint> {
    let Some(mut section) = section.table(name) else {
        if needed && !section.mentions(name) {
            section.problem(
                name,
                "is needed in this mfa.mode: a section with the url to call",
            );
        }
        return None;
    };
    let url = section.required("url", parse_template_url);
    let method = section
        .parsed("method", |text: String| match text.as_str() {
            "GET" => Ok(reqwest::Method::GET),
            "POST" => Ok(reqwest::Method::POST),
            "PUT" => Ok(reqwest::Method::PUT),
            _ => Err("must be GET, POST or PUT"),
        })
        .unwrap_or(reqwest::Method::POST);
    let headers = section.list("headers", parse_header);
    let body = section.parsed("body", parse_filled).map(Secret::new);
    Some(Endpoint {
        method,
        url: url?,
        headers,
        body,
    })
}

/// A URL with values to come, none of them in the place of the host.
fn parse_template_url(text: String) -> Result<String, String> {
    let bad = || format!("{text:?} is not an http(s) URL such as https://sms.example.com/send");
    let filled = |value: &str| {
        let mut url = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (_, after) = after.split_once("}}")?;
            url.push_str(before);
            url.push_str(value);
            rest = after;
        }
        url.push_str(rest);
        Url::parse(&url).ok()
    };
    let (one, other) = filled("1").zip(filled("2")).ok_or_else(bad)?;
    let web = matches!(one.scheme(), "http" | "https") && one.has_host();
    if web && one.origin() == other.origin() && one.username() == other.username() {
        Ok(text)
    } else {
        Err(bad())
    }
}

fn parse_header(text: String) -> Result<(String, Secret), String> {
    let (name, value) = text.split_once(':').unwrap_or_default();
    let known = reqwest::header::HeaderName::from_bytes(name.trim().as_bytes());
    match known {
        Ok(name) => Ok((name.as_str().to_owned(), Secret::new(value.trim()))),
        // Not shown: it may hold a key.
        Err(_form) => Err("must be of the form \"Name: value\"".to_owned()),
    }
}

#[cfg(test)]
mod tests;
