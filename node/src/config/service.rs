//! What a cluster says of itself to apps: `[service]`, and of `[auth]` which apps are trusted and where people
//! sign in. Each key is the platform's where it says so, this core's file's otherwise; nothing of it is secret.

use homecore_kernel::trust::TrustedApps;
use serde::Serialize;

use super::reader::{Problem, Section};
use super::sections;
use super::values::{
    parse_catalogue, parse_filled, parse_page, parse_page_or_none, parse_trusted_apps,
};

/// `[service]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceConfig {
    pub(crate) name: String,
    pub(crate) serial: String,
    pub(crate) home: String,
    pub(crate) support: String,
    pub(crate) terms: String,
    pub(crate) event_types: String,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            name: "homecore".to_owned(),
            serial: "2026112201".to_owned(),
            home: "https://example.com/".to_owned(),
            support: "https://example.com/support".to_owned(),
            terms: "https://example.com/terms".to_owned(),
            event_types: "https://pryv.github.io/event-types/flat.json".to_owned(),
        }
    }
}

impl ServiceConfig {
    pub(crate) const SECTION: &str = "service";
    pub(super) const KEYS: &[&str] = &["name", "serial", "home", "support", "terms", "event_types"];

    /// What is absent or cannot be read is `or`'s.
    pub(super) fn read(section: &mut Section<'_>, or: &Self) -> Self {
        let filled = |text: String| parse_filled(text).map_err(str::to_owned);
        let mut text = |key, parse: fn(String) -> Result<String, String>, or: &String| {
            section.parsed(key, parse).unwrap_or_else(|| or.clone())
        };
        Self {
            name: text("name", filled, &or.name),
            serial: text("serial", filled, &or.serial),
            home: text("home", parse_page, &or.home),
            support: text("support", parse_page, &or.support),
            terms: text("terms", parse_page, &or.terms),
            event_types: text("event_types", parse_catalogue, &or.event_types),
        }
    }

    /// As the platform's section has it, where it can be read; otherwise as `or` has it.
    pub(crate) fn parse(text: &str, or: &Self) -> (Self, Vec<Problem>) {
        sections::parse(Self::SECTION, text, Self::KEYS, |section| {
            Self::read(section, or)
        })
    }
}

/// Of `[auth]`, what apps meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AppsConfig {
    pub(crate) trusted_apps: String,
    /// Empty: none.
    pub(crate) default_auth_url: String,
    pub(crate) trusted_auth_urls: Vec<String>,
}

impl Default for AppsConfig {
    fn default() -> Self {
        Self {
            trusted_apps: "*@*".to_owned(),
            default_auth_url: String::new(),
            trusted_auth_urls: Vec::new(),
        }
    }
}

impl AppsConfig {
    pub(crate) const SECTION: &str = "auth";
    pub(super) const KEYS: &[&str] = &["trusted_apps", "default_auth_url", "trusted_auth_urls"];

    /// What is absent or cannot be read is `or`'s; of a list what can be read counts.
    pub(super) fn read(section: &mut Section<'_>, or: &Self) -> Self {
        Self {
            trusted_apps: section
                .parsed("trusted_apps", parse_trusted_apps)
                .unwrap_or_else(|| or.trusted_apps.clone()),
            default_auth_url: section
                .parsed("default_auth_url", parse_page_or_none)
                .unwrap_or_else(|| or.default_auth_url.clone()),
            trusted_auth_urls: if section.mentions("trusted_auth_urls") {
                section.list("trusted_auth_urls", parse_page)
            } else {
                or.trusted_auth_urls.clone()
            },
        }
    }

    /// Where people sign in, as [`ServiceConfig::parse`]. Not for `trusted_apps`, which must not fall back.
    pub(crate) fn parse(text: &str, or: &Self) -> (Self, Vec<Problem>) {
        sections::parse(Self::SECTION, text, Self::KEYS, |section| {
            Self::read(section, or)
        })
    }

    /// Which apps the platform's section trusts, if it says so, whatever else it says.
    pub(crate) fn parse_trusted(text: &str) -> Result<Option<TrustedApps>, Vec<Problem>> {
        let read = |text| {
            let list = parse_trusted_apps(text)?;
            TrustedApps::parse(&list).map_err(|error| error.to_string())
        };
        let (apps, problems) = sections::parse(Self::SECTION, text, &["trusted_apps"], |section| {
            section.parsed("trusted_apps", read)
        });
        if problems.is_empty() {
            Ok(apps)
        } else {
            Err(problems)
        }
    }
}
