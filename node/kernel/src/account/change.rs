//! `account.get` and `account.update` (spec/pryv-api §9.2): what an account shows, and its fields
//! that the platform keeps, too.

use std::collections::BTreeMap;
use std::time::Duration;

use homecore_store::{Base, Transaction};
use homecore_types::{Email, ErrorId, Username};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::Account;
use super::emails::{EmailEdits, EmailError, NewLink};
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::kernel::Usage;
use crate::ports::{Declared, FieldChanges, TakeError};
use crate::reply::Reply;
use crate::stream::schema::Schema;
use crate::violation::Violation;

/// Longest language code.
const LANGUAGE_CHARS_MAX: usize = 5;
/// Longest address.
const EMAIL_CHARS_MAX: usize = 300;

/// What a call wants of fields that the platform keeps, too; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The present address.
    pub email: Option<Email>,
    /// ISO language code.
    pub language: Option<String>,
    /// Fields that the platform declares, by name.
    pub declared: BTreeMap<String, Declared>,
    /// What else is to become of addresses.
    pub edits: Box<EmailEdits>,
}

impl Wanted {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why an account was not shown or changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// Only the person may.
    #[error("You cannot access this resource using the given access token.")]
    PersonOnly,
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// The platform does not let people change it.
    #[error("The account field \"{field}\" cannot be edited")]
    NotEditable {
        /// Its name.
        field: String,
    },
    /// See [`TakeError`].
    #[error(transparent)]
    Take(#[from] TakeError),
    /// See [`EmailError`].
    #[error(transparent)]
    Emails(#[from] EmailError),
    /// Too many changes.
    #[error("Too many changes of the account; slow down")]
    TooMany {
        /// How long to wait.
        wait: Duration,
    },
    /// It is the present name.
    #[error("This is the present username")]
    SameName,
    /// Nobody can have the name.
    #[error("The username \"{0}\" is reserved")]
    ReservedName(Username),
    /// This core does not serve accounts yet, or no more.
    #[error("accounts cannot be changed now, please try again")]
    NoRegistry,
    /// The change ended early; what it did is settled later.
    #[error("the change ended early, please try again")]
    Interrupted,
}

impl Refusal for ChangeError {
    fn id(&self) -> ErrorId {
        match self {
            Self::PersonOnly => ErrorId::Forbidden,
            Self::Parameters(invalid) => invalid.id(),
            Self::Take(TakeError::Taken(_)) => ErrorId::ItemAlreadyExists,
            Self::Emails(error) => error.id(),
            Self::TooMany { .. } => ErrorId::TooManyRequests,
            Self::SameName
            | Self::ReservedName(_)
            | Self::NotEditable { .. }
            | Self::Take(
                TakeError::Reserved(_)
                | TakeError::ChangesUsed { .. }
                | TakeError::TooManyAliases { .. },
            ) => ErrorId::InvalidOperation,
            Self::Take(
                TakeError::Changed | TakeError::FieldsChanged | TakeError::Unavailable(_),
            )
            | Self::NoRegistry
            | Self::Interrupted => ErrorId::ApiUnavailable,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Take(TakeError::Taken(fields)) => Some(json!(fields)),
            Self::Emails(error) => error.data(),
            Self::NotEditable { field } => Some(json!({ "field": field })),
            Self::Take(TakeError::ChangesUsed { used, most }) => Some(json!({
                "usernameChangesUsed": used, "usernameChangesLimit": most,
            })),
            Self::PersonOnly
            | Self::TooMany { .. }
            | Self::SameName
            | Self::ReservedName(_)
            | Self::Take(
                TakeError::Reserved(_)
                | TakeError::TooManyAliases { .. }
                | TakeError::Changed
                | TakeError::FieldsChanged
                | TakeError::Unavailable(_),
            )
            | Self::NoRegistry
            | Self::Interrupted => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Take(TakeError::Taken(fields)) => {
                let shown: Vec<String> = fields
                    .iter()
                    .map(|(field, value)| format!("{field} \"{value}\""))
                    .collect();
                format!("An user with {} already exists", shown.join(", "))
            }
            Self::Take(TakeError::Reserved(name)) => Self::ReservedName(name.clone()).to_string(),
            Self::Take(TakeError::ChangesUsed { most, .. }) => {
                format!("A username can be changed {most} times, not more")
            }
            Self::Take(TakeError::TooManyAliases { most }) => {
                format!("A user can have {most} aliases, not more")
            }
            Self::Take(TakeError::Unavailable(_)) => {
                "The platform cannot answer now, please try again".to_owned()
            }
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Take(TakeError::Unavailable(unavailable)) => Some(unavailable.retry_after),
            Self::Emails(error) => error.retry_after(),
            Self::TooMany { wait } => Some(*wait),
            Self::NoRegistry
            | Self::Interrupted
            | Self::Take(TakeError::Changed | TakeError::FieldsChanged) => {
                Some(Duration::from_secs(1))
            }
            Self::PersonOnly
            | Self::Parameters(_)
            | Self::NotEditable { .. }
            | Self::SameName
            | Self::ReservedName(_)
            | Self::Take(
                TakeError::Taken(_)
                | TakeError::Reserved(_)
                | TakeError::ChangesUsed { .. }
                | TakeError::TooManyAliases { .. },
            ) => None,
        }
    }
}

/// A language code of a form that can be stored.
#[must_use]
pub fn language(text: &str) -> Option<String> {
    let good = (1..=LANGUAGE_CHARS_MAX).contains(&text.chars().count())
        && !text.contains(char::is_control);
    good.then(|| text.to_owned())
}

/// An address of a form that can be stored.
#[must_use]
pub fn email(text: &str) -> Option<Email> {
    let short = text.chars().count() <= EMAIL_CHARS_MAX;
    short.then(|| Email::normalise(text).ok()).flatten()
}

/// Reads the parameters of `account.update`: `{update: {email?, language?, emails?, …}}`, with the fields
/// that the platform declares.
///
/// # Errors
/// All violations; a field that cannot be edited.
pub fn parse(schema: &Schema, params: &Value) -> Result<Wanted, ChangeError> {
    let outer = Fields::lenient(params, &["update"])?;
    let Some(update) = outer.raw("update") else {
        outer.finish()?;
        return Ok(Wanted::default());
    };
    let (usual, violations, declared) = take_declared(schema, update)?;
    let known = &["email", "language", "emails"];
    let mut fields = Fields::strict_at("#/update", &usual, &[], known)?;
    for violation in violations {
        fields.violated(violation);
    }
    let mut checked = Wanted {
        declared,
        ..Wanted::default()
    };
    if let Some(text) = fields.text("email", Null::Refused) {
        checked.email = email(text);
        if checked.email.is_none() {
            fields.violated(wrong("email", "Email address format not recognized"));
        }
    }
    if let Some(text) = fields.text("language", Null::Refused) {
        checked.language = language(text);
        if checked.language.is_none() {
            let message = "Language should have between 1 and 5 characters";
            fields.violated(wrong("language", message));
        }
    }
    if let Some(emails) = fields.raw("emails") {
        match EmailEdits::parse(emails) {
            Ok(edits) => checked.edits = Box::new(edits),
            Err(InvalidParameters(violations)) => {
                for violation in violations {
                    fields.violated(violation);
                }
            }
        }
    }
    outer.finish()?;
    fields.finish()?;
    Ok(checked)
}

/// What is left without declared fields, what is wrong with these, and their values.
type Taken = (Value, Vec<Violation>, BTreeMap<String, Declared>);

fn take_declared(schema: &Schema, update: &Value) -> Result<Taken, ChangeError> {
    let (mut usual, mut violations, mut declared) = (update.clone(), Vec::new(), BTreeMap::new());
    let Value::Object(map) = &mut usual else {
        return Ok((usual, violations, declared));
    };
    for (name, stream) in schema.declared() {
        let Some(value) = map.remove(name) else {
            continue;
        };
        if !stream.can_be_set() {
            return Err(ChangeError::NotEditable {
                field: name.to_owned(),
            });
        }
        match stream.rules.read(name, &value, "#/update") {
            Ok(value) => drop(declared.insert(name.to_owned(), value)),
            Err(violation) => violations.push(*violation),
        }
    }
    Ok((usual, violations, declared))
}

fn wrong(field: &'static str, message: &str) -> Violation {
    let code = match field {
        "email" => "email-invalid",
        _ => "language-invalid",
    };
    Violation::of_field(code, message, &format!("#/update/{field}"), field)
}

impl Account {
    /// Sets fields.
    pub fn set(&mut self, changes: &FieldChanges) {
        if let Some(language) = &changes.language {
            self.language.clone_from(language);
        }
        if let Some(emails) = &changes.emails {
            self.set_emails(emails);
        }
        let declared = changes.declared.iter();
        self.declared
            .extend(declared.map(|(name, value)| (name.clone(), value.text.clone())));
    }

    /// Those of declared fields that are not so already, or of which the platform is to have the value: it
    /// need not have it yet, for the declaration may have changed since, and then somebody else may.
    pub(super) fn to_change(
        &self,
        wanted: &BTreeMap<String, Declared>,
    ) -> BTreeMap<String, Declared> {
        let mut wanted = wanted.clone();
        wanted.retain(|name, value| value.unique || value.indexed || !self.has_value(name, value));
        wanted
    }

    fn has_value(&self, name: &str, value: &Declared) -> bool {
        self.declared.get(name) == Some(&value.text)
    }

    /// Whether the fields are so already.
    #[must_use]
    pub fn has(&self, changes: &FieldChanges) -> bool {
        changes
            .emails
            .as_ref()
            .is_none_or(|emails| self.has_emails(emails))
            && changes
                .language
                .as_ref()
                .is_none_or(|code| *code == self.language)
            && changes
                .declared
                .iter()
                .all(|(name, value)| self.has_value(name, value))
    }

    /// The answer of `account.get`.
    #[must_use]
    pub fn shown(&self, schema: &Schema, usage: Usage) -> Reply {
        Reply::from_map(self.to_wire(schema, usage, true))
    }

    /// `{"account": …}`, with every address or with the present one.
    pub(super) fn to_wire(
        &self,
        schema: &Schema,
        usage: Usage,
        with_addresses: bool,
    ) -> Map<String, Value> {
        let mut account = json!({
            "username": self.username, "email": self.email, "language": self.language,
            "storageUsed": {
                "dbDocuments": usage.db_documents_bytes, "attachedFiles": usage.attached_files_bytes,
            },
        });
        if let Some(account) = account.as_object_mut() {
            // Each under its own name, as `account.update` takes it, also where its stream is in another's: that
            // one has a value, too.
            let shown = schema.declared().filter(|(_, stream)| stream.shown);
            account.extend(shown.filter_map(|(name, _)| {
                let text = self.declared.get(name)?;
                Some((name.to_owned(), Value::from(text.as_str())))
            }));
            if with_addresses {
                account.insert("emails".to_owned(), Value::Array(self.addresses()));
            }
        }
        Map::from_iter([("account".to_owned(), account)])
    }
}

/// Writes fields into the account, if they differ, and that links are sent; the account as it is then.
///
/// # Errors
/// If there is no account, or of the store.
pub(super) fn write(
    tx: &mut Transaction<'_>,
    changes: &FieldChanges,
    links: &[NewLink],
) -> Result<Account, super::AccountError> {
    let (mut account, now) = (super::load(tx.view())?, tx.at());
    if !account.has(changes) || !links.is_empty() {
        account.set(changes);
        account.expect_links(links, now);
        super::store(tx, &account, Base::Any)?;
    }
    Ok(account)
}
