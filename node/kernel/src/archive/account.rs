//! The account's record: passwords and fields, each with their past.

use homecore_types::id::RESERVED_LABELS;
use homecore_types::{Email, Millis, Username};
use serde_json::{Map, Value, json};

use super::{Note, Taken, Unusable, unusable};
use crate::account::Account;
use crate::account::emails::archived::{self, Addresses};
use crate::account::passwords::HISTORY_MAX;
use crate::password;
use crate::stream::schema::VALUE_CHARS_MAX;

/// Fields that an account has here, by their names in archives.
const FIELDS: &[&str] = &["email", "language", "appId", "invitationToken", "referer"];
/// Fields that are measured, never recorded.
const MEASURED: &[&str] = &["dbDocuments", "attachedFiles", "storageUsed"];

/// What the platform's part of an archive says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its addresses; the first is the present one where the account does not say which is.
    pub emails: Vec<String>,
    /// Names that it had, oldest first.
    pub former: Vec<String>,
    /// Its language, where the account does not say it.
    pub language: Option<String>,
}

/// How often the name was changed, in the record of an account.
const CHANGES: &str = "usernameChanges";

/// Reads the record of a user's account, with what the platform's part of the archive says.
///
/// # Errors
/// If the user could not log in, or has no address.
pub fn read(
    username: &str,
    record: &Map<String, Value>,
    names: &Names,
) -> Result<Taken<Account>, Unusable> {
    let mut notes = Vec::new();
    let username = Username::parse(username).map_err(|_error| {
        unusable(
            "username",
            "must have 5 to 60 lower-case letters, digits or dashes",
        )
    })?;
    if RESERVED_LABELS.contains(&username.as_str()) {
        return Err(unusable(
            "username",
            "is reserved: the platform uses this name itself",
        ));
    }
    let (hash, set, former_passwords) = passwords(record)?;
    let fields = fields(record, &mut notes)?;
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    let email = field("email")
        .or_else(|| names.emails.first().map(String::as_str))
        .ok_or(unusable("email", "is missing"))?;
    let email =
        Email::normalise(email).map_err(|_error| unusable("email", "is no e-mail address"))?;
    let addresses = Addresses::read(record, &email, &names.emails, &mut notes)?;
    let declared: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| !name.is_empty() && !FIELDS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let first = fields.get("").and_then(Value::as_i64);
    let text = |name: &str, default: &str| field(name).unwrap_or(default).to_owned();
    let former = former(&username, names, &mut notes);
    // Whoever never had another name never changed it.
    let changes = match former.len() {
        0 => 0,
        had => record
            .get(CHANGES)
            .and_then(Value::as_u64)
            .unwrap_or(0)
            .clamp(u64::try_from(had).unwrap_or(0), u64::from(u32::MAX)),
    };
    let account = json!({
        "formerUsernames": former, "usernameChanges": changes, "username": username, "email": email, "passwordHash": hash, "passwordSet": set,
        "formerPasswords": former_passwords,
        "language": text("language", names.language.as_deref().unwrap_or("en")), "appId": text("appId", "unknown"),
        "invitationToken": text("invitationToken", "no-token"), "referer": field("referer"),
        "declared": declared, "created": first.unwrap_or(set.0).min(set.0),
    });
    let mut item: Account = serde_json::from_value(account)
        .map_err(|_error| unusable("accountFields", "are no account"))?;
    addresses.put_into(&mut item);
    Ok(Taken { item, notes })
}

/// The names that it had and can have here. Random aliases are said by their accesses.
fn former(username: &Username, names: &Names, notes: &mut Vec<Note>) -> Vec<Username> {
    let mut former = Vec::new();
    for name in &names.former {
        match Username::parse(name.as_str()) {
            _ if Username::is_alias(name) => {}
            Ok(name) if name != *username && !former.contains(&name) => former.push(name),
            Ok(_) => {}
            Err(_) => notes.push(Note {
                field: "username",
                text: "a name that it had cannot be one here; it is left out",
            }),
        }
    }
    former
}

/// The latest password, since when, and those before it, latest first.
fn passwords(record: &Map<String, Value>) -> Result<(String, Millis, Vec<String>), Unusable> {
    let bad = |why| unusable("passwords", why);
    let list = record
        .get("passwords")
        .and_then(Value::as_array)
        .ok_or_else(|| bad("must be a list"))?;
    let mut list: Vec<&Value> = list.iter().collect();
    list.sort_by(|a, b| time_of(b).total_cmp(&time_of(a)));
    let hash = |entry: &Value| {
        let hash = entry.get("hash").and_then(Value::as_str);
        hash.filter(|hash| password::is_known_hash(hash))
            .map(str::to_owned)
    };
    let (latest, former) = list
        .split_first()
        .ok_or_else(|| bad("is empty: the user could not log in"))?;
    let set = Millis::from_seconds(time_of(latest));
    let latest =
        hash(latest).ok_or_else(|| bad("the latest hash is neither of bcrypt nor of argon2"))?;
    // One that cannot be compared with cannot be remembered.
    let former = former.iter().filter_map(|entry| hash(entry));
    Ok((latest, set, former.take(HISTORY_MAX).collect()))
}

fn time_of(entry: &Value) -> f64 {
    entry.get("time").and_then(Value::as_f64).unwrap_or(0.0)
}

/// The latest value of each field, and under no name the time of the first.
fn fields(
    record: &Map<String, Value>,
    notes: &mut Vec<Note>,
) -> Result<Map<String, Value>, Unusable> {
    let list = match record.get("accountFields") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(unusable("accountFields", "must be a list")),
    };
    let mut entries: Vec<&Value> = list.iter().collect();
    entries.sort_by(|a, b| time_of(a).total_cmp(&time_of(b)));
    let mut fields = Map::new();
    if let Some(first) = entries.first() {
        let first = Millis::from_seconds(time_of(first));
        fields.insert(String::new(), Value::from(first.0));
    }
    let (mut others, mut unusable) = (false, false);
    for entry in entries {
        let name = entry
            .get("field")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if FIELDS.contains(&name) {
            let value = entry.get("value").cloned().unwrap_or(Value::Null);
            fields.insert(name.to_owned(), value);
        } else if !name.is_empty() && !MEASURED.contains(&name) {
            // One that the other platform declared. Only texts can be fields here.
            others = true;
            match entry.get("value") {
                Some(Value::String(text)) if text.chars().count() <= VALUE_CHARS_MAX => {
                    fields.insert(name.to_owned(), Value::from(text.as_str()));
                }
                _ => unusable = true,
            }
        }
    }
    if others {
        notes.push(Note {
            field: "accountFields",
            text: "it has fields of its platform's own; those that this platform declares too (custom.systemStreams.account) are taken",
        });
    }
    if unusable {
        notes.push(Note {
            field: "accountFields",
            text: "values of its platform's own fields that are no texts are left out",
        });
    }
    Ok(fields)
}

/// The record of an account.
#[must_use]
pub fn write(account: &Account) -> Map<String, Value> {
    let time = crate::number::seconds;
    let mut fields = Vec::new();
    let values = [
        Some(account.email.as_str()),
        Some(account.language.as_str()),
        Some(account.app_id.as_str()),
        Some(account.invitation_token.as_str()),
        account.referer.as_deref(),
    ];
    for (name, value) in FIELDS.iter().zip(values) {
        if let Some(value) = value {
            fields.push(json!({
                "field": name, "value": value, "time": time(account.created),
                "createdBy": "system",
            }));
        }
    }
    for (name, value) in &account.declared {
        fields.push(json!({
            "field": name, "value": value, "time": time(account.created), "createdBy": "system",
        }));
    }
    let mut record = Map::new();
    // Only their order is known of those before: each is said to have come just before the next.
    let hashes = std::iter::once(&account.password_hash).chain(&account.former_passwords);
    let mut passwords: Vec<Value> = hashes
        .zip(0_i64..)
        .map(|(hash, before)| {
            let set = Millis(account.password_set.0.saturating_sub(before));
            json!({"time": time(set), "hash": hash, "createdBy": "system"})
        })
        .collect();
    passwords.reverse();
    record.insert("passwords".to_owned(), Value::Array(passwords));
    record.insert("storeKeyValues".to_owned(), Value::Array(Vec::new()));
    record.insert("accountFields".to_owned(), Value::Array(fields));
    if account.username_changes > 0 {
        let changes = Value::from(account.username_changes);
        record.insert(CHANGES.to_owned(), changes);
    }
    archived::write(account, &mut record);
    record
}

#[cfg(test)]
mod tests;
