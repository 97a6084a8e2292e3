//! What the router knows of the platform's names, and the host → path rewriting that rests on it.
//!
//! In sub-domain addressing `alice.example.com/events` means `/alice/events`, and
//! `reg.example.com/service/info` means `/reg/service/info` (spec/platform §1.4). The rewriting is
//! a pure function, so every row of that section is a line of a table test. It differs from the
//! original where that was accidental: prefixes are compared as whole path segments, labels in
//! lower case, and a user's label counts only directly below the platform's domain, so that
//! `localhost` or the name of a container is never taken for a user.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use homecore_types::Username;

/// The platform's names as one core sees them now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFacts {
    /// The domain below which users have names; None where users are addressed by path only.
    pub domain: Option<String>,
    /// This core's id.
    pub core: String,
    /// The ids of all cores, this one included.
    pub cores: BTreeSet<String>,
    /// Labels of static DNS entries.
    pub static_labels: BTreeSet<String>,
    /// Serial of the service info, shown in every `meta`.
    pub serial: String,
}

/// Where the names come from. Asked once for each request, so it must answer from memory.
pub trait Site: Send + Sync + fmt::Debug + 'static {
    /// The names now.
    fn facts(&self) -> Arc<SiteFacts>;
}

/// Names that do not change: tests, and platforms of one core.
#[derive(Clone, Debug, Default)]
pub struct FixedSite(pub Arc<SiteFacts>);

impl Site for FixedSite {
    fn facts(&self) -> Arc<SiteFacts> {
        Arc::clone(&self.0)
    }
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It stays.
    Keep,
    /// It is served as this one.
    To(String),
    /// It cannot be told without a `Host` header.
    MissingHost,
}

/// First path segments that are never prefixed with a user.
const UNPREFIXED: &[&str] = &[
    "system",
    "reg",
    "www",
    "socket.io",
    "socket.io2",
    "favicon.ico",
    crate::openapi::document::ROOT,
];
/// Labels that all mean the registration routes.
const REGISTRATION: &[&str] = &["reg", "access", "mfa"];

/// Maps a host and a path to the path that is served.
///
/// ```
/// # use homecore_http::site::{Rewrite, SiteFacts, rewrite};
/// let facts = SiteFacts { domain: Some("example.com".into()), ..SiteFacts::default() };
/// assert_eq!(
///     rewrite(&facts, Some("alice.example.com"), "/events"),
///     Rewrite::To("/alice/events".into()),
/// );
/// assert_eq!(rewrite(&facts, Some("example.com"), "/alice/events"), Rewrite::Keep);
/// ```
#[must_use]
pub fn rewrite(facts: &SiteFacts, host: Option<&str>, path: &str) -> Rewrite {
    let Some(domain) = &facts.domain else {
        return Rewrite::Keep;
    };
    let first = first_segment(path);
    let Some(host) = host else {
        return if UNPREFIXED.contains(&first) {
            Rewrite::Keep
        } else {
            Rewrite::MissingHost
        };
    };
    let host = host_name(host);
    let (label, parent) = host.split_once('.').unwrap_or((host.as_str(), ""));
    if REGISTRATION.contains(&label) && !parent.is_empty() {
        return if first == "reg" {
            Rewrite::Keep
        } else {
            Rewrite::To(format!("/reg{path}"))
        };
    }
    let names_a_user = parent.eq_ignore_ascii_case(domain)
        && Username::parse(label).is_ok()
        && !facts.cores.contains(label)
        && !facts.static_labels.contains(label);
    if names_a_user && !UNPREFIXED.contains(&first) && !first.eq_ignore_ascii_case(label) {
        Rewrite::To(format!("/{label}{path}"))
    } else {
        Rewrite::Keep
    }
}

/// The first segment of an absolute path, as sent.
#[must_use]
pub fn first_segment(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    path.split_once('/').map_or(path, |(first, _)| first)
}

/// A `Host` value without port and final dot, in lower case.
fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> SiteFacts {
        SiteFacts {
            domain: Some("pryv.test".to_owned()),
            core: "core-a".to_owned(),
            cores: ["core-a", "core-b"].map(str::to_owned).into(),
            static_labels: ["sandbox".to_owned()].into(),
            serial: "1".to_owned(),
        }
    }

    #[test]
    fn hosts_become_paths() {
        let keep = || Rewrite::Keep;
        let to = |path: &str| Rewrite::To(path.to_owned());
        for (host, path, expected) in [
            // users
            ("alice.pryv.test", "/events", to("/alice/events")),
            ("alice.pryv.test:3000", "/", to("/alice/")),
            ("ALICE.Pryv.Test.", "/events", to("/alice/events")),
            ("alice.pryv.test", "/alice/events", keep()),
            ("alice.pryv.test", "/alice", keep()),
            ("alice.pryv.test", "/ALICE/events", keep()),
            ("alice.pryv.test", "/alicebis/x", to("/alice/alicebis/x")),
            // prefixes of the router, whole segments only
            ("alice.pryv.test", "/reg/hostings", keep()),
            ("alice.pryv.test", "/regions", to("/alice/regions")),
            ("alice.pryv.test", "/system/status", keep()),
            ("alice.pryv.test", "/socket.io/", keep()),
            ("alice.pryv.test", "/favicon.ico", keep()),
            ("alice.pryv.test", "/www/x", keep()),
            // registration labels
            ("reg.pryv.test", "/service/info", to("/reg/service/info")),
            ("reg.elsewhere.test", "/users", to("/reg/users")),
            ("access.pryv.test", "/access/", to("/reg/access/")),
            ("access.pryv.test", "/reg/access/k", keep()),
            ("mfa.pryv.test", "/x", to("/reg/x")),
            ("reg.pryv.test", "/regular", to("/reg/regular")),
            // names that are no users
            ("core-a.pryv.test", "/alice/events", keep()),
            ("core-b.pryv.test", "/alice/events", keep()),
            ("sandbox.pryv.test", "/alice/events", keep()),
            ("bob.pryv.test", "/events", keep()),
            ("localhost:3000", "/alice/events", keep()),
            ("pryv.test", "/alice/events", keep()),
            ("alice.other.test", "/events", keep()),
            ("alice.sub.pryv.test", "/events", keep()),
            ("127.0.0.1:3000", "/alice/events", keep()),
            ("[::1]:3000", "/alice/events", keep()),
            ("", "/alice/events", keep()),
        ] {
            assert_eq!(
                rewrite(&facts(), Some(host), path),
                expected,
                "{host} {path}"
            );
        }
    }

    #[test]
    fn a_host_is_needed_only_where_it_decides() {
        assert_eq!(rewrite(&facts(), None, "/events"), Rewrite::MissingHost);
        assert_eq!(rewrite(&facts(), None, "/reg/hostings"), Rewrite::Keep);
        assert_eq!(
            rewrite(&SiteFacts::default(), None, "/events"),
            Rewrite::Keep
        );
        assert_eq!(
            rewrite(
                &SiteFacts::default(),
                Some("reg.pryv.test"),
                "/service/info"
            ),
            Rewrite::Keep,
            "without a domain only paths count"
        );
    }
}
