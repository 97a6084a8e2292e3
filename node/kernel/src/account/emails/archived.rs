//! The addresses of an account in an archive's record of it (spec/platform §9.2): a list as `account.get`
//! shows it, with the hash of a link that was sent and not followed, so that it goes on working.

use std::collections::BTreeSet;

use homecore_types::{Email, Millis, limits};
use serde_json::{Map, Value, json};

use super::{Account, Address, Link, Origin};
use crate::archive::{Note, Unusable, unusable};
use crate::number::seconds;

/// The list, in the record.
const LIST: &str = "emails";
/// How often the addresses changed, in the record.
const CHANGES: &str = "emailChanges";

const NO_ADDRESS: Note = Note {
    field: LIST,
    text: "one of its addresses is none that an account can have here; it is left out",
};

/// What a record says of addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    present: Address,
    others: Vec<Address>,
    changes: u32,
}

impl Addresses {
    /// Reads them, with those that the platform's part of the archive has: of these nothing is known but
    /// that they were held for the user.
    ///
    /// # Errors
    /// If the list cannot be read, or there are more than an account can have.
    pub(crate) fn read(
        record: &Map<String, Value>,
        present: &Email,
        held: &[String],
        notes: &mut Vec<Note>,
    ) -> Result<Self, Unusable> {
        let listed = match record.get(LIST) {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(list)) => list,
            Some(_) => return Err(unusable(LIST, "must be a list")),
        };
        let mut all = Self {
            present: Address {
                value: present.clone(),
                origin: Some(Origin::Registration),
                verified: None,
                link: None,
            },
            others: Vec::new(),
            changes: 0,
        };
        let mut known = BTreeSet::new();
        for entry in listed {
            let value = entry.get("value").and_then(Value::as_str);
            let value = value.ok_or(unusable(LIST, "each must have a value"))?;
            let Ok(email) = Email::normalise(value) else {
                notes.push(NO_ADDRESS);
                continue;
            };
            if !known.insert(email.clone()) {
                continue;
            }
            let address = address(email, entry)?;
            if address.value == *present {
                all.present = Address {
                    // One that an account has cannot wait to be proved.
                    origin: address.origin.or(Some(Origin::Legacy)),
                    link: None,
                    ..address
                };
            } else {
                all.others.push(address);
            }
        }
        for text in held {
            match Email::normalise(text) {
                Ok(email) if email == *present || !known.insert(email.clone()) => {}
                Ok(value) => all.others.push(Address {
                    value,
                    origin: None,
                    verified: None,
                    link: None,
                }),
                Err(_) => notes.push(NO_ADDRESS),
            }
        }
        if all.others.len() >= limits::EMAILS_MAX {
            return Err(unusable(LIST, "are more than an account can have"));
        }
        all.changes = record
            .get(CHANGES)
            .and_then(Value::as_u64)
            .and_then(|changes| u32::try_from(changes).ok())
            .unwrap_or(0);
        Ok(all)
    }

    /// Gives them to an account.
    pub(crate) fn put_into(self, account: &mut Account) {
        account.email = self.present.value;
        account.email_origin = self.present.origin.unwrap_or_default();
        account.email_verified = self.present.verified;
        account.emails = self.others;
        account.email_changes = self.changes;
    }
}

fn address(value: Email, entry: &Value) -> Result<Address, Unusable> {
    let bad = |why| unusable(LIST, why);
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    // Who says neither was proved, in whatever way, by our record or another's.
    let origin = match (text("verificationMethod"), text("status")) {
        (Some(method), _) => Some(origin(method)),
        (None, Some("verified")) => Some(Origin::Legacy),
        (None, _) => None,
    };
    let verified = time(entry.get("verifiedAt")).ok_or_else(|| bad("times must be numbers"))?;
    let link = match entry.get("link") {
        None | Some(Value::Null) => None,
        Some(link) => {
            let hash = link.get("hash").and_then(Value::as_str);
            let sent = time(link.get("sent")).flatten();
            let (hash, sent) = hash
                .zip(sent)
                .ok_or_else(|| bad("a link must say hash and time"))?;
            // One that is proved waits for no link.
            let hash = hash.to_owned();
            origin.is_none().then_some(Link { hash, sent })
        }
    };
    Ok(Address {
        value,
        origin,
        verified: verified.filter(|_| origin.is_some()),
        link,
    })
}

/// A time that may be absent; none if it is no time.
fn time(value: Option<&Value>) -> Option<Option<Millis>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => value
            .as_f64()
            .filter(|seconds| seconds.is_finite())
            .map(|seconds| Some(Millis::from_seconds(seconds))),
    }
}

fn origin(method: &str) -> Origin {
    let known = [Origin::Registration, Origin::EmailLink, Origin::Operator];
    let mut known = known.into_iter();
    // Whatever it was: it counted there.
    known
        .find(|origin| origin.wire() == method)
        .unwrap_or(Origin::Legacy)
}

/// Writes them into a record, where there is more to say than the field of the present one does.
pub(crate) fn write(account: &Account, record: &mut Map<String, Value>) {
    let is_plain = account.emails.is_empty()
        && account.email_origin == Origin::default()
        && account.email_verified.is_none();
    if !is_plain {
        let mut list = account.addresses();
        for (shown, address) in list.iter_mut().skip(1).zip(&account.emails) {
            if let (Some(shown), Some(link)) = (shown.as_object_mut(), &address.link) {
                let link = json!({ "hash": link.hash, "sent": seconds(link.sent) });
                shown.insert("link".to_owned(), link);
            }
        }
        record.insert(LIST.to_owned(), Value::Array(list));
    }
    if account.email_changes > 0 {
        let changes = Value::from(account.email_changes);
        record.insert(CHANGES.to_owned(), changes);
    }
}
