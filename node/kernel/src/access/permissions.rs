//! Permission entries as clients send them (spec/pryv-api §3.3, App. B.5).

use serde_json::Value;

use super::error::AccessError;
use crate::error::{InvalidParameters, InvalidStructure};
use crate::fields::{Fields, Null};
use crate::permission::{Level, Permission, Setting};
use crate::stream::schema::Schema;
use crate::stream::store::Store;
use crate::violation::Violation;
use homecore_types::limits::PERMISSIONS_PER_ACCESS_MAX;

/// An entry that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// What is to be granted.
    pub(super) permission: Permission,
    /// How the stream is to be called if it does not exist.
    pub(super) default_name: Option<String>,
}

/// Reads a list of entries; none if it is not there. Violations go to `fields`.
pub(super) fn read(fields: &mut Fields<'_>, name: &str) -> Option<Vec<Asked>> {
    let value = fields.raw(name)?;
    let path = fields.path_of(name);
    let Value::Array(items) = value else {
        fields.violated(Violation::wrong_type(&path, &["array"]));
        return None;
    };
    if items.len() > PERMISSIONS_PER_ACCESS_MAX {
        fields.violated(Violation::too_many(&path, PERMISSIONS_PER_ACCESS_MAX));
        return None;
    }
    let mut entries = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        match entry(&format!("{path}/{i}"), item) {
            Ok(asked) => entries.push(asked),
            Err(InvalidParameters(violations)) => {
                for violation in violations {
                    fields.violated(violation);
                }
            }
        }
    }
    Some(entries)
}

fn entry(path: &str, item: &Value) -> Result<Asked, InvalidParameters> {
    if item.get("feature").is_some() && item.get("streamId").is_none() {
        return feature(path, item);
    }
    const KNOWN: &[&str] = &["streamId", "level", "defaultName", "name"];
    let mut fields = Fields::strict_at(path, item, &["streamId", "level"], KNOWN)?;
    let stream_id = fields.text_not_empty("streamId", Null::Refused);
    let levels: Vec<&str> = Level::ALL.iter().map(|level| level.wire()).collect();
    let level = fields.choice("level", &levels).and_then(Level::parse);
    let default_name = fields.text("defaultName", Null::Refused);
    if default_name.is_some_and(|name| name.trim().is_empty()) {
        let path = fields.path_of("defaultName");
        fields.violated(Violation::too_short(&path, 1));
    }
    fields.text("name", Null::Refused);
    let permission =
        Permission::stream(stream_id.unwrap_or_default(), level.unwrap_or(Level::None));
    fields.finish()?;
    Ok(Asked {
        permission,
        default_name: default_name.map(str::to_owned),
    })
}

fn feature(path: &str, item: &Value) -> Result<Asked, InvalidParameters> {
    const KNOWN: &[&str] = &["feature", "setting"];
    let mut fields = Fields::strict_at(path, item, KNOWN, KNOWN)?;
    let feature = fields.text_not_empty("feature", Null::Refused);
    let setting = fields.choice("setting", &["forbidden", "allowed"]);
    let permission = Permission::Feature {
        feature: feature.unwrap_or_default().to_owned(),
        setting: match setting {
            Some("allowed") => Setting::Allowed,
            _ => Setting::Forbidden,
        },
    };
    fields.finish()?;
    Ok(Asked {
        permission,
        default_name: None,
    })
}

/// The entries to be stored.
pub(super) fn stored(asked: &[Asked]) -> Vec<Permission> {
    asked.iter().map(|asked| asked.permission.clone()).collect()
}

/// Refuses characters that no stream id may have in a permission.
///
/// # Errors
/// [`InvalidStructure`].
pub(super) fn check_characters(asked: &[Asked]) -> Result<(), InvalidStructure> {
    for stream_id in asked
        .iter()
        .filter_map(|asked| asked.permission.stream_id())
    {
        if stream_id.contains(is_forbidden) {
            return Err(InvalidStructure {
                reason: format!(
                    "The stream id {stream_id:?} of a permission has a character that is not allowed"
                ),
            });
        }
    }
    Ok(())
}

fn is_forbidden(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '\\' | '\0' | '\u{8}' | '\t' | '\n' | '\r' | '\u{1a}'
    )
}

/// Refuses what nobody may be given on account streams.
///
/// # Errors
/// If there is no such stream, if it is hidden, or if the level is too high.
pub(super) fn check_account(schema: &Schema, asked: &[Asked]) -> Result<(), AccessError> {
    for asked in asked {
        let Permission::Stream { level, stream_id } = &asked.permission else {
            continue;
        };
        if Store::of(stream_id) != Store::Account {
            continue;
        }
        let id = || stream_id.clone();
        match schema.get(stream_id) {
            None => return Err(AccessError::UnknownAccountStream { id: id() }),
            Some(stream) if !stream.shown => {
                return Err(AccessError::HiddenAccountStream { id: id() });
            }
            Some(_) if level.manages() => return Err(AccessError::AccountLevel { id: id() }),
            Some(_) => {}
        }
    }
    Ok(())
}
