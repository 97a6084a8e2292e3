//! What is the same on every core: sections of the platform's configuration, texts of JSON with the keys of the
//! file. The founding core's file is the beginning; `homecore apply-config` brings changes: of `service` and `auth`
//! the keys that the file has, of the others the whole. What a file does not say it leaves alone.
//!
//! The file and the operator's socket have the same reader, so that neither takes what the other refuses.

use std::collections::BTreeMap;

use super::Config;
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

/// Sections that are read, and brought, key by key.
const BY_KEY: &[&str] = &[ServiceConfig::SECTION, AppsConfig::SECTION];

/// What such a section says.
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

/// A section that is there where the file has one of its keys, with those that the file has.
fn of_keys(
    root: &mut Reader,
    name: &str,
    keys: &[&str],
    value: &impl serde::Serialize,
) -> Option<(String, String)> {
    let mut section = root.section(name);
    let mut said = keys.to_vec();
    said.retain(|key| section.mentions(key));
    if said.is_empty() {
        return None;
    }
    match text_of(value, &said) {
        Ok(text) => Some((name.to_owned(), text)),
        Err(error) => {
            root.problem(name, &error.to_string());
            None
        }
    }
}

/// A section with these keys of a value.
fn text_of(value: &impl serde::Serialize, keys: &[&str]) -> Result<String, serde_json::Error> {
    let mut said: Keys = serde_json::from_value(serde_json::to_value(value)?)?;
    said.retain(|key, _| keys.contains(&key.as_str()));
    serde_json::to_string(&said)
}

/// What a founding core gives the platform: what its file says, and the sections of keys with every key, so that
/// all cores have the same defaults, whatever their files say or a later version's are.
pub(super) fn seeds(config: &Config) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let (service, apps) = (&config.service, &config.apps);
    let mut sections = config.platform.clone();
    for (name, text) in [
        (ServiceConfig::SECTION, serde_json::to_string(service)?),
        (AppsConfig::SECTION, serde_json::to_string(apps)?),
    ] {
        sections.insert(name.to_owned(), text);
    }
    Ok(sections)
}

/// A section of the platform after a file's word was brought there; none where it says the same already.
pub(crate) fn brought(
    name: &str,
    there: Option<&String>,
    said: &str,
) -> Result<Option<String>, serde_json::Error> {
    if !BY_KEY.contains(&name) {
        let new: serde_json::Value = serde_json::from_str(said)?;
        let same = there.is_some_and(|there| {
            serde_json::from_str(there).is_ok_and(|there: serde_json::Value| there == new)
        });
        return Ok((!same).then(|| said.to_owned()));
    }
    let said: Keys = serde_json::from_str(said)?;
    let mut keys: Keys =
        there.map_or_else(|| Ok(Keys::new()), |there| serde_json::from_str(there))?;
    if said.iter().all(|(key, value)| keys.get(key) == Some(value)) {
        return Ok(None);
    }
    keys.extend(said);
    serde_json::to_string(&keys).map(Some)
}

/// Whether the platform may have this section: as strict as the file.
pub(crate) fn check(name: &str, text: &str) -> Result<(), Vec<Problem>> {
    let verbatim = VERBATIM.iter().map(|(name, key, _)| (*name, *key));
    let own = BY_KEY.iter().map(|name| (*name, *name));
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
