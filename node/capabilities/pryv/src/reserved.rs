//! Names that nobody may register, although their form is good.
//!
//! The original has a list of 124 542 words that is not part of its contract; what must be reserved
//! is what the platform uses itself: first path segments, labels of the zone, cores, static DNS
//! entries, aliases and the names of the product (spec/platform §3.6).

use homecore_http::SiteFacts;
use homecore_types::Username;
use homecore_types::id::RESERVED_LABELS;

/// Words that invite abuse beside those the router and the zone own.
const WORDS: &[&str] = &[
    "administrator",
    "hostmaster",
    "postmaster",
    "webmaster",
    "security",
    "support",
    "abuse",
    "noreply",
    "no-reply",
    "autoconfig",
    "autodiscover",
    "localhost",
    "homecore",
    "favicon",
    "static",
    "assets",
    "health",
    "status",
    "calendars",
    "contacts",
    "principals",
    "remote",
    "well-known",
    "acme-challenge",
    "clean-up-cache",
];

/// Whether nobody may register a name on this platform: its own ones, and those that are kept from
/// whoever would pass for it.
#[must_use]
pub(crate) fn is_reserved(username: &str, site: &SiteFacts) -> bool {
    username.starts_with("pryv") || WORDS.contains(&username) || is_owned(username, site)
}

/// Whether a name is the platform's own: something else than a user is, or may come to be, where its
/// user would be. An administrator cannot give it either.
#[must_use]
pub(crate) fn is_owned(username: &str, site: &SiteFacts) -> bool {
    RESERVED_LABELS.contains(&username)
        || Username::is_alias(username)
        || site.cores.contains(username)
        || site.core == username
        || site.static_labels.contains(username)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_platform_uses_is_reserved() {
        let site = SiteFacts {
            core: "core-a".to_owned(),
            cores: ["core-a", "core-b"].map(str::to_owned).into(),
            static_labels: ["sandbox".to_owned()].into(),
            ..SiteFacts::default()
        };
        for name in [
            "admin",
            "system",
            "access",
            "events",
            "previews",
            "pryvtest",
            "core-b",
            "sandbox",
            "r-12345678",
            "backloop",
        ] {
            assert!(is_reserved(name, &site), "{name}");
            let kept = name == "pryvtest";
            assert_eq!(is_owned(name, &site), !kept, "{name}");
        }
        for word in WORDS {
            assert!(is_reserved(word, &site), "{word}");
        }
        assert!(!is_owned("support", &site));
        for name in [
            "alice",
            "core-c",
            "r-1234567",
            "r-123456789",
            "my-pryv",
            "sandbox2",
        ] {
            assert!(!is_reserved(name, &site), "{name}");
            assert!(!is_owned(name, &site), "{name}");
        }
    }
}
