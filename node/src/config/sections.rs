//! What is the same on every core: sections of the platform's configuration, texts of JSON with the keys of the
//! file. The founding core's file is the beginning; `homecore apply-config` brings changes, each section whole:
//! a key that the file leaves out has its default then. A file that says nothing of a section leaves it alone.
//!
//! The file and the operator's socket have the same reader, so that neither takes what the other refuses.

use std::collections::BTreeMap;

use super::reader::{Problem, Reader, Section};
use super::service::{AppsConfig, ServiceConfig};
use super::values::{check_custom, check_hostings, check_tokens};

/// Sections whose JSON is as it stands in the file.
const VERBATIM: &[Verbatim] = &[
    ("hostings", "hostings", check_hostings),
    ("invitationTokens", "invitation_tokens", check_tokens),
    ("custom", "custom", check_custom),
];

/// The section, its key in the file, and what it must be.
type Verbatim = (
    &'static str,
    &'static str,
    fn(&toml::Value) -> Result<(), Problem>,
);

/// A section that is read key by key.
type Keys = serde_json::Map<String, serde_json::Value>;

/// What was read of them.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) service: ServiceConfig,
    pub(super) apps: AppsConfig,
    /// Of which the file says something.
    pub(super) sections: BTreeMap<String, String>,
}

/// Reads them.
pub(super) fn read(root: &mut Reader) -> Shared {
    let mut sections = BTreeMap::new();
    for (name, key, check) in VERBATIM {
        if let Some(text) = root.json(key, check) {
            sections.insert((*name).to_owned(), text);
        }
    }
    let (service, apps) = (ServiceConfig::default(), AppsConfig::default());
    let service = ServiceConfig::read(&mut root.section(ServiceConfig::SECTION), &service);
    let apps = AppsConfig::read(&mut root.section(AppsConfig::SECTION), &apps);
    let said = [
        of_keys(root, ServiceConfig::SECTION, ServiceConfig::KEYS, &service),
        of_keys(root, AppsConfig::SECTION, AppsConfig::KEYS, &apps),
    ];
    sections.extend(said.into_iter().flatten());
    Shared {
        service,
        apps,
        sections,
    }
}

/// A section that is there where the file has one of its keys.
fn of_keys(
    root: &mut Reader,
    name: &str,
    keys: &[&str],
    value: &impl serde::Serialize,
) -> Option<(String, String)> {
    let mut section = root.section(name);
    if !keys.iter().any(|key| section.mentions(key)) {
        return None;
    }
    match serde_json::to_string(value) {
        Ok(text) => Some((name.to_owned(), text)),
        Err(error) => {
            root.problem(name, &error.to_string());
            None
        }
    }
}

/// Whether the platform may have this section: as strict as the file.
pub(crate) fn check(name: &str, text: &str) -> Result<(), Vec<Problem>> {
    let verbatim = VERBATIM.iter().map(|(name, key, _)| (*name, *key));
    let own = [ServiceConfig::SECTION, AppsConfig::SECTION].map(|name| (name, name));
    let known: Vec<_> = verbatim.chain(own).collect();
    let Some((_, key)) = known.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(vec![Problem {
            key: name.to_owned(),
            message: format!("is none of {}", names.join(", ")),
        }]);
    };
    let mut root = reader(key, text)?;
    read(&mut root);
    root.finish()
}

/// What these keys of a section of the platform say, and what is wrong with them. One that cannot be read, since a
/// newer version allows more, takes no other along; keys that only a newer version knows are passed over.
pub(super) fn parse<T>(
    name: &str,
    text: &str,
    keys: &[&str],
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> (T, Vec<Problem>) {
    let mut problems = Vec::new();
    let said: Keys = serde_json::from_str(text).unwrap_or_else(|error| {
        problems.push(unreadable(name, &error));
        Keys::new()
    });
    let mut table = toml::Table::new();
    for (key, value) in said {
        if keys.contains(&key.as_str()) {
            match serde_json::from_value(value) {
                Ok(value) => {
                    table.insert(key, value);
                }
                Err(error) => problems.push(unreadable(&format!("{name}.{key}"), &error)),
            }
        }
    }
    let mut root = Reader::new(toml::Table::from_iter([(name.to_owned(), table.into())]));
    let value = read(&mut root.section(name));
    problems.extend(root.accept().err().unwrap_or_default());
    (value, problems)
}

fn reader(key: &str, text: &str) -> Result<Reader, Vec<Problem>> {
    let value: toml::Value =
        serde_json::from_str(text).map_err(|error| vec![unreadable(key, &error)])?;
    Ok(Reader::new(toml::Table::from_iter([(
        key.to_owned(),
        value,
    )])))
}

fn unreadable(key: &str, error: &serde_json::Error) -> Problem {
    Problem {
        key: key.to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
