//! What is the same on every core: sections of the platform's configuration, texts of JSON with the keys of the
//! file. The founding core's file is the beginning; `homecore apply-config` brings changes: of `service` and
//! `auth` the keys that the file has, others stay as they are; other sections whole. A file that says nothing of
//! a section leaves it alone.
//!
//! The file and the operator's socket have the same reader, so that neither takes what the other refuses.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

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

/// What was read of them.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) service: ServiceConfig,
    pub(super) apps: AppsConfig,
    /// Of which the file says something, with what it says.
    pub(super) sections: BTreeMap<String, String>,
}

/// Sections of which each key stands for itself.
const BY_KEY: [&str; 2] = [ServiceConfig::SECTION, AppsConfig::SECTION];

/// Reads them.
pub(super) fn read(root: &mut Reader) -> Shared {
    let mut sections = BTreeMap::new();
    for (name, key, check) in VERBATIM {
        if let Some(text) = root.json(key, check) {
            sections.insert((*name).to_owned(), text);
        }
    }
    let service = ServiceConfig::read(&mut root.section(ServiceConfig::SECTION));
    let apps = AppsConfig::read(&mut root.section(AppsConfig::SECTION));
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

/// The keys of a section that the file has.
fn of_keys(
    root: &mut Reader,
    name: &str,
    keys: &[&str],
    value: &impl Serialize,
) -> Option<(String, String)> {
    let mut said = object(value);
    let mut section = root.section(name);
    said.retain(|key, _| keys.contains(&key.as_str()) && section.mentions(key));
    (!said.is_empty()).then(|| (name.to_owned(), Value::Object(said).to_string()))
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        // They are plain texts and lists of such.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// What a cluster begins with: what the file says, and of what apps meet everything, so that no core's own file or
/// version counts.
pub(super) fn of_founder(
    said: &BTreeMap<String, String>,
    service: &ServiceConfig,
    apps: &AppsConfig,
) -> BTreeMap<String, String> {
    let mut sections = said.clone();
    let whole = [
        (ServiceConfig::SECTION, object(service)),
        (AppsConfig::SECTION, object(apps)),
    ];
    sections.extend(whole.map(|(name, keys)| (name.to_owned(), Value::Object(keys).to_string())));
    sections
}

/// What a section is once a file's is brought to the platform's; none: it is so already.
pub(crate) fn applied(name: &str, there: Option<&str>, file: &str) -> Option<String> {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let (before, said) = (there.and_then(read), read(file));
    let after = match (&before, &said) {
        (Some(Value::Object(before)), Some(Value::Object(said))) if BY_KEY.contains(&name) => {
            let mut after = before.clone();
            after.extend(said.clone());
            Some(Value::Object(after))
        }
        _ => said,
    };
    if after.is_some() && before == after {
        return None;
    }
    Some(after.map_or_else(|| file.to_owned(), |after| after.to_string()))
}

/// A section of the platform's with what this core's file has where the platform says nothing.
pub(crate) fn completed(name: &str, there: &str, file: &impl Serialize) -> String {
    let file = Value::Object(object(file)).to_string();
    applied(name, Some(&file), there).unwrap_or(file)
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

/// What a section of the platform says; keys that only a newer version knows are passed over.
pub(super) fn parse<T>(
    name: &str,
    text: &str,
    read: fn(&mut Section<'_>) -> T,
) -> Result<T, Vec<Problem>> {
    let mut root = reader(name, text)?;
    let value = read(&mut root.section(name));
    root.accept()?;
    Ok(value)
}

fn reader(key: &str, text: &str) -> Result<Reader, Vec<Problem>> {
    let value: toml::Value = serde_json::from_str(text).map_err(|error| {
        vec![Problem {
            key: key.to_owned(),
            message: error.to_string(),
        }]
    })?;
    Ok(Reader::new(toml::Table::from_iter([(
        key.to_owned(),
        value,
    )])))
}

#[cfg(test)]
mod tests;
