//! The audit log's records: our own come back as they were, those of the other server as far as they
//! say who did what when. Its two engines have different columns, and both are read.

use serde_json::{Map, Value};

use super::{ID_BYTES_MAX, Unusable, time, unusable};
use crate::audit::Entry;
use crate::audit::page::{PAGE_ENTRIES_MAX, place_of as place_of_event};
use crate::stream::store::{AUDIT_ACCESS_PREFIX, AUDIT_ACTION_PREFIX};

/// Longest content that is kept: ours have a small part of that, and a page has many.
const CONTENT_BYTES_MAX: usize = 64 * 1024;

/// An entry, and where it stands in the log.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Of its page.
    pub page: String,
    /// Its place there.
    pub place: usize,
    /// Whether it is one of ours: then the page is to be as it was.
    pub is_own: bool,
    /// What is kept.
    pub entry: Entry,
}

/// Reads a record.
///
/// # Errors
/// If it does not say when what was done, or could not be found again.
pub fn read(map: &Map<String, Value>) -> Result<AuditRecord, Unusable> {
    let (page, place, is_own) = place_of(map)?;
    let at = time(map, "time")?.ok_or(unusable("time", "must be a number"))?;
    let content = content_of(map)?;
    let streams = streams_of(map);
    let named = |prefix: &str| {
        let short = prefix.rsplit(':').next().unwrap_or(prefix);
        let found = streams.iter().find_map(|id| {
            id.strip_prefix(prefix)
                .or_else(|| id.strip_prefix(short))
                .filter(|rest| !rest.is_empty())
        });
        found.map(str::to_owned)
    };
    let action = content.get("action").and_then(Value::as_str);
    let action = named(AUDIT_ACTION_PREFIX)
        .or_else(|| action.map(str::to_owned))
        .filter(|action| action.len() <= ID_BYTES_MAX)
        .ok_or(unusable("streamIds", "must name an action"))?;
    let access = named(AUDIT_ACCESS_PREFIX)
        .filter(|access| access.len() <= ID_BYTES_MAX)
        .ok_or(unusable("streamIds", "must name an access"))?;
    let refused = map
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("-error"));
    Ok(AuditRecord {
        page,
        place,
        is_own,
        entry: Entry::archived(at, access, action, refused, content),
    })
}

/// The page and place of the event that it is shown as.
fn place_of(map: &Map<String, Value>) -> Result<(String, usize, bool), Unusable> {
    let id = map.get("id").or_else(|| map.get("eventid"));
    let id = id
        .and_then(Value::as_str)
        .filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()))
        .ok_or(unusable("id", "must have 1 to 255 bytes"))?;
    if let Some((page, place)) = place_of_event(id).filter(|(page, _)| !page.is_empty())
        && place < PAGE_ENTRIES_MAX
    {
        return Ok((page.to_owned(), place, true));
    }
    // What is behind a dash would be taken for a place.
    let page: String = id.chars().filter(|c| !"-:".contains(*c)).collect();
    if page.is_empty() {
        return Err(unusable("id", "is none of an audit record"));
    }
    Ok((page, 0, false))
}

/// An object, or JSON text of one.
fn content_of(map: &Map<String, Value>) -> Result<Map<String, Value>, Unusable> {
    let long = || unusable("content", "is too long");
    match map.get("content") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(object @ Value::Object(content)) => {
            let fits = object.to_string().len() <= CONTENT_BYTES_MAX;
            fits.then(|| content.clone()).ok_or_else(long)
        }
        Some(Value::String(text)) if text.len() > CONTENT_BYTES_MAX => Err(long()),
        Some(Value::String(text)) => {
            serde_json::from_str(text).map_err(|_error| unusable("content", "must be an object"))
        }
        Some(_) => Err(unusable("content", "must be an object")),
    }
}

/// Its streams: a list, or a text that has them between spaces, commas or the like.
fn streams_of(map: &Map<String, Value>) -> Vec<String> {
    let streams = ["streamIds", "stream_ids", "streamids"]
        .iter()
        .find_map(|name| map.get(*name));
    match streams {
        Some(Value::Array(list)) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        Some(Value::String(text)) => text
            .split(|c: char| c.is_whitespace() || "[]\",".contains(c))
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
