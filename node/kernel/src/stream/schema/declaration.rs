//! Reads what a platform declares of the accounts' streams, and tells what is wrong with it by its place.

use std::collections::BTreeSet;

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{AccountStream, CUSTOM_PREFIX, Field, FirstStream, Rules, Schema, SchemaError};
use crate::stream::store::ACCOUNT_ROOT;

/// Most declared streams, those inside others included.
const STREAMS_MAX: usize = 100;
/// Deepest nesting of declared streams.
pub(super) const DEPTH_MAX: usize = 5;
/// Longest id and longest name.
const NAME_CHARS_MAX: usize = 100;
/// Most bytes that a compiled pattern takes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Names that a declared field cannot have: parameters of a registration or of an account already.
const NAMES_TAKEN: &[&str] = &[
    "account",
    "appId",
    "appid",
    "attachedFiles",
    "dbDocuments",
    "email",
    "emails",
    "hosting",
    "id",
    "invitationToken",
    "invitationtoken",
    "language",
    "languageCode",
    "password",
    "passwordHash",
    "passwordRules",
    "referer",
    "storageUsed",
    "username",
];

/// Adds what is declared to a schema; stops at the first thing that is wrong.
pub(super) fn read(custom: &Value, schema: &mut Schema) -> Result<(), SchemaError> {
    let custom = object(custom, "custom", &["systemStreams"])?;
    let Some(streams) = custom.get("systemStreams") else {
        return Ok(());
    };
    let streams = object(streams, "custom.systemStreams", &["account", "other"])?;
    let mut reader = Reader {
        schema,
        ids: BTreeSet::new(),
    };
    if let Some(list) = streams.get("account") {
        reader.account(list, "custom.systemStreams.account", ACCOUNT_ROOT, 0)?;
    }
    if let Some(list) = streams.get("other") {
        reader.other(list, "custom.systemStreams.other", None, 0)?;
    }
    Ok(())
}

/// What was read so far.
struct Reader<'a> {
    schema: &'a mut Schema,
    ids: BTreeSet<String>,
}

/// What both kinds of declared streams have.
struct Head {
    id: String,
    name: String,
    kind: Option<String>,
}

impl Reader<'_> {
    fn account(
        &mut self,
        list: &Value,
        at: &str,
        parent: &str,
        depth: usize,
    ) -> Result<(), SchemaError> {
        const KEYS: &[&str] = &[
            "id",
            "name",
            "type",
            "isUnique",
            "isIndexed",
            "isEditable",
            "isShown",
            "isRequiredInValidation",
            "regexValidation",
            "regexError",
            "default",
            "children",
        ];
        for (place, entry) in array(list, at)?.iter().enumerate() {
            let at = format!("{at}[{place}]");
            let entry = object(entry, &at, KEYS)?;
            let head = self.head(entry, &at, depth)?;
            if NAMES_TAKEN.contains(&head.id.as_str()) {
                let problem = format!("{} is built in: leave it out", head.id);
                return Err(wrong(&format!("{at}.id"), problem));
            }
            let kind = head
                .kind
                .ok_or_else(|| wrong(&format!("{at}.type"), "is missing"))?;
            let unique = flag(entry, &at, "isUnique", false)?;
            let rules = Rules {
                unique,
                indexed: flag(entry, &at, "isIndexed", false)? || unique,
                required: flag(entry, &at, "isRequiredInValidation", false)?,
                pattern: pattern(entry, &at)?,
                mismatch: mismatch(entry, &at)?,
                default: text(entry, &at, "default")?,
            };
            if let Some(default) = &rules.default {
                let at = format!("{at}.default");
                rules
                    .check(&head.id, default)
                    .map_err(|(_, problem)| wrong(&at, problem))?;
                if rules.unique {
                    return Err(wrong(&at, "a unique field can have no default"));
                }
            }
            let id = format!("{CUSTOM_PREFIX}{}", head.id);
            self.schema.add(AccountStream {
                id: id.clone(),
                name: head.name,
                parent: Some(parent.to_owned()),
                shown: flag(entry, &at, "isShown", true)?,
                editable: flag(entry, &at, "isEditable", true)?,
                field: Some((Field::Custom(head.id), kind)),
                rules,
            });
            if let Some(children) = entry.get("children") {
                self.account(children, &format!("{at}.children"), &id, depth + 1)?;
            }
        }
        Ok(())
    }

    fn other(
        &mut self,
        list: &Value,
        at: &str,
        parent: Option<&str>,
        depth: usize,
    ) -> Result<(), SchemaError> {
        for (place, entry) in array(list, at)?.iter().enumerate() {
            let at = format!("{at}[{place}]");
            let entry = object(entry, &at, &["id", "name", "type", "children"])?;
            let head = self.head(entry, &at, depth)?;
            self.schema.first_streams.push(FirstStream {
                id: head.id.clone(),
                name: head.name,
                parent: parent.map(str::to_owned),
            });
            if let Some(children) = entry.get("children") {
                self.other(
                    children,
                    &format!("{at}.children"),
                    Some(&head.id),
                    depth + 1,
                )?;
            }
        }
        Ok(())
    }

    fn head(
        &mut self,
        entry: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Result<Head, SchemaError> {
        if depth >= DEPTH_MAX {
            return Err(wrong(at, format!("is deeper than {DEPTH_MAX}")));
        }
        let id = text(entry, at, "id")?;
        let id = id.ok_or_else(|| wrong(&format!("{at}.id"), "is missing"))?;
        let id = id.strip_prefix(CUSTOM_PREFIX).unwrap_or(&id).to_owned();
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > NAME_CHARS_MAX || !id.chars().all(letter) {
            let problem =
                format!("must be 1 to {NAME_CHARS_MAX} of the letters a-z, A-Z, digits, - and _");
            return Err(wrong(&format!("{at}.id"), problem));
        }
        if !self.ids.insert(id.to_lowercase()) {
            return Err(wrong(&format!("{at}.id"), format!("{id} is there already")));
        }
        if self.ids.len() > STREAMS_MAX {
            return Err(wrong(
                at,
                format!("there can be {STREAMS_MAX} streams, not more"),
            ));
        }
        let name = text(entry, at, "name")?;
        let name = name.ok_or_else(|| wrong(&format!("{at}.name"), "is missing"))?;
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            let problem = format!("must have 1 to {NAME_CHARS_MAX} characters");
            return Err(wrong(&format!("{at}.name"), problem));
        }
        let kind = text(entry, at, "type")?;
        if kind.as_deref().is_some_and(|kind| !is_type(kind)) {
            let problem = "must be of the form class/format, such as string/pryv";
            return Err(wrong(&format!("{at}.type"), problem));
        }
        Ok(Head { id, name, kind })
    }
}

fn is_type(kind: &str) -> bool {
    let part = |part: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(letter)
    };
    kind.split_once('/')
        .is_some_and(|(class, format)| part(class) && part(format) && class != "series")
}

fn object<'a>(
    value: &'a Value,
    at: &str,
    known: &[&str],
) -> Result<&'a Map<String, Value>, SchemaError> {
    let map = value
        .as_object()
        .ok_or_else(|| wrong(at, "must be a table"))?;
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let known = known.join(", ");
            let problem = format!("is no key here; there are {known}");
            Err(wrong(&format!("{at}.{key}"), problem))
        }
        None => Ok(map),
    }
}

fn array<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, SchemaError> {
    value
        .as_array()
        .ok_or_else(|| wrong(at, "must be a list of tables"))
}

fn flag(entry: &Map<String, Value>, at: &str, key: &str, usual: bool) -> Result<bool, SchemaError> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(usual),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(&format!("{at}.{key}"), "must be true or false")),
    }
}

fn text(entry: &Map<String, Value>, at: &str, key: &str) -> Result<Option<String>, SchemaError> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("{at}.{key}"), "must be a text")),
    }
}

fn pattern(entry: &Map<String, Value>, at: &str) -> Result<Option<Regex>, SchemaError> {
    let Some(pattern) = text(entry, at, "regexValidation")? else {
        return Ok(None);
    };
    RegexBuilder::new(&pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map(Some)
        .map_err(|error| wrong(&format!("{at}.regexValidation"), error.to_string()))
}

fn mismatch(entry: &Map<String, Value>, at: &str) -> Result<Option<(String, String)>, SchemaError> {
    let Some(error) = entry.get("regexError") else {
        return Ok(None);
    };
    let at = format!("{at}.regexError");
    let error = object(error, &at, &["code", "message"])?;
    match (text(error, &at, "code")?, text(error, &at, "message")?) {
        (Some(code), Some(message)) => Ok(Some((code, message))),
        _ => Err(wrong(&at, "must have a code and a message")),
    }
}

fn wrong(at: &str, problem: impl Into<String>) -> SchemaError {
    SchemaError {
        at: at.to_owned(),
        problem: problem.into(),
    }
}
