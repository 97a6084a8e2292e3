//! What a cluster says of itself to apps: `[service]`, and of `[auth]` which apps are trusted and where people
//! sign in. The platform's where it says so, this core's file otherwise; nothing of it is secret.

use serde::Serialize;

use super::reader::{Problem, Section};
use super::sections;
use super::values::{parse_catalogue, parse_filled, parse_page, parse_trusted_apps};

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

impl ServiceConfig {
    pub(crate) const SECTION: &str = "service";
    pub(super) const KEYS: &[&str] = &["name", "serial", "home", "support", "terms", "event_types"];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let or = |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
        Self {
            name: or(section.parsed("name", parse_filled), "homecore"),
            serial: or(section.parsed("serial", parse_filled), "2026112201"),
            home: or(section.parsed("home", parse_page), "https://example.com/"),
            support: or(
                section.parsed("support", parse_page),
                "https://example.com/support",
            ),
            terms: or(
                section.parsed("terms", parse_page),
                "https://example.com/terms",
            ),
            event_types: or(
                section.parsed("event_types", parse_catalogue),
                "https://pryv.github.io/event-types/flat.json",
            ),
        }
    }

    /// As the platform's section has it; of what that leaves out, this core's file.
    pub(crate) fn parse(text: &str, file: &Self) -> Result<Self, Vec<Problem>> {
        let text = sections::completed(Self::SECTION, text, file);
        sections::parse(Self::SECTION, &text, Self::read)
    }

    /// As a file has it.
    #[cfg(test)]
    pub(crate) fn of_file(text: &str) -> Self {
        sections::parse(Self::SECTION, text, Self::read).unwrap()
    }
}

/// Of `[auth]`, what apps meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AppsConfig {
    pub(crate) trusted_apps: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_auth_url: Option<String>,
    pub(crate) trusted_auth_urls: Vec<String>,
}

impl AppsConfig {
    pub(crate) const SECTION: &str = "auth";
    pub(super) const KEYS: &[&str] = &["trusted_apps", "default_auth_url", "trusted_auth_urls"];

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            trusted_apps: Self::read_trusted(section),
            default_auth_url: section.parsed("default_auth_url", parse_page),
            trusted_auth_urls: section.list("trusted_auth_urls", parse_page),
        }
    }

    /// As the platform's section has it; of what that leaves out, this core's file.
    pub(crate) fn parse(text: &str, file: &Self) -> Result<Self, Vec<Problem>> {
        let text = sections::completed(Self::SECTION, text, file);
        sections::parse(Self::SECTION, &text, Self::read)
    }

    /// As a file has it.
    #[cfg(test)]
    pub(crate) fn of_file(text: &str) -> Self {
        sections::parse(Self::SECTION, text, Self::read).unwrap()
    }

    /// [`Self::trusted_apps`] alone, whatever a newer version says of the rest.
    pub(crate) fn parse_trusted(text: &str, file: &Self) -> Result<String, Vec<Problem>> {
        let text = sections::completed(Self::SECTION, text, file);
        sections::parse(Self::SECTION, &text, Self::read_trusted)
    }

    fn read_trusted(section: &mut Section<'_>) -> String {
        section
            .parsed("trusted_apps", parse_trusted_apps)
            .unwrap_or_else(|| "*@*".to_owned())
    }
}
