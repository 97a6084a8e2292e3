//! Which streams an account has: those of every platform, and those that this one declares for fields of
//! its own (spec/pryv-api §5.6, `custom.systemStreams`). The declaration is the platform's, the same
//! on every core: the wire's names of its keys are kept, so that it can be moved from another server.

mod declaration;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use regex_lite::Regex;
use serde_json::Value;

use super::store::ACCOUNT_ROOT;
use crate::ports::Declared;
use crate::violation::Violation;

/// Begins the id of a stream of a declared field.
const CUSTOM_PREFIX: &str = ":system:";
/// Longest value of a declared field.
pub const VALUE_CHARS_MAX: usize = 1_000;

/// What of an account a stream shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Preferred language.
    Language,
    /// The app that registered the user.
    AppId,
    /// The invitation that was used.
    InvitationToken,
    /// Where the user came from.
    Referer,
    /// Bytes of documents.
    DbDocuments,
    /// Bytes of files.
    AttachedFiles,
    /// The address.
    Email,
    /// A field that the platform declares, by its name: the id without prefix.
    Custom(String),
}

/// A stream of the account tree.
#[derive(Debug)]
pub struct AccountStream {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its parent; none for the root.
    pub parent: Option<String>,
    /// Clients may see it; what is hidden is neither read nor set by them, only given at registration.
    pub shown: bool,
    /// Declared as editable: see [`Self::can_be_set`].
    pub editable: bool,
    /// The field and the type of its event, where the stream holds one.
    pub field: Option<(Field, String)>,
    /// What else holds for a declared field.
    pub rules: Rules,
}

impl AccountStream {
    /// Whether clients may set the field. Not one that they may not see: what setting it answers would show
    /// it.
    #[must_use]
    pub const fn can_be_set(&self) -> bool {
        self.editable && self.shown
    }
}

/// What holds for the values of a declared field.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Nobody else on the platform may have the value.
    pub unique: bool,
    /// The platform shows it in its listing of users.
    pub indexed: bool,
    /// Nobody registers without it.
    pub required: bool,
    /// What it must look like.
    pattern: Option<Regex>,
    /// Code and text of the violation where it does not.
    mismatch: Option<(String, String)>,
    /// What accounts begin with where nothing is given.
    pub default: Option<String>,
}

impl Rules {
    /// Whether a value may be stored; if not, code and text of why.
    ///
    /// # Errors
    /// The violation's code and text.
    pub fn check(&self, name: &str, text: &str) -> Result<(), (String, String)> {
        // It says nothing that could be required, or anybody's alone.
        if text.is_empty() && (self.unique || self.required) {
            let text = format!("{name} should not be empty");
            return Err(("MIN_LENGTH".to_owned(), text));
        }
        if text.chars().count() > VALUE_CHARS_MAX {
            let text = format!("{name} should have at most {VALUE_CHARS_MAX} characters");
            return Err(("MAX_LENGTH".to_owned(), text));
        }
        let fits = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(text));
        if fits {
            return Ok(());
        }
        Err(self.mismatch.clone().unwrap_or_else(|| {
            let text = format!("{name} does not have the form that is asked for");
            ("PATTERN".to_owned(), text)
        }))
    }

    /// Reads a value that stands under its name in the object at `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, name: &str, value: &Value, path: &str) -> Result<Declared, Box<Violation>> {
        let path = format!("{path}/{name}");
        let text = value
            .as_str()
            .ok_or_else(|| Box::new(Violation::wrong_type(&path, &["string"])))?;
        match self.check(name, text) {
            Ok(()) => Ok(self.value(text.to_owned())),
            Err((code, message)) => Err(Box::new(Violation::of_field(code, &message, &path, name))),
        }
    }

    /// A value with what the platform has to know of it.
    #[must_use]
    pub fn value(&self, text: String) -> Declared {
        Declared {
            text,
            unique: self.unique,
            indexed: self.indexed,
        }
    }
}

/// A stream that every new account begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStream {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its parent; it stands before it.
    pub parent: Option<String>,
}

/// The streams of accounts, each parent before its children.
#[derive(Debug)]
pub struct Schema {
    streams: Vec<Arc<AccountStream>>,
    places: BTreeMap<String, usize>,
    first_streams: Vec<FirstStream>,
    version: u64,
}

/// Why a declaration is refused: where, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct SchemaError {
    /// The key, such as `custom.systemStreams.account[2].type`.
    pub at: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Schema {
    /// That of a platform that declares nothing.
    #[must_use]
    pub fn usual() -> Arc<Self> {
        static USUAL: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::without_fields()));
        Arc::clone(&USUAL)
    }

    /// As [`Schema::usual`], to be made one [of a version](Schema::of_version).
    #[must_use]
    pub fn without_fields() -> Self {
        Self::of(usual())
    }

    fn of(streams: Vec<AccountStream>) -> Self {
        let mut schema = Self {
            streams: Vec::new(),
            places: BTreeMap::new(),
            first_streams: Vec::new(),
            version: 0,
        };
        for stream in streams {
            schema.add(stream);
        }
        schema
    }

    fn add(&mut self, stream: AccountStream) {
        self.places.insert(stream.id.clone(), self.streams.len());
        self.streams.push(Arc::new(stream));
    }

    /// Reads `{"systemStreams": {"account": […], "other": […]}}`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(custom: &Value) -> Result<Self, SchemaError> {
        let mut schema = Self::of(usual());
        declaration::read(custom, &mut schema)?;
        Ok(schema)
    }

    /// The same, as that version of the platform's declaration.
    #[must_use]
    pub fn of_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Tells one declaration of the platform from another: it takes only what was checked by its present one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// A stream by id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<AccountStream>> {
        self.streams.get(*self.places.get(id)?)
    }

    /// Children of a stream.
    pub fn children_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        self.streams
            .iter()
            .filter(move |stream| stream.parent.as_deref() == Some(id))
            .map(|stream| stream.id.as_str())
    }

    /// The fields that the platform declares: names, types, streams.
    pub fn declared(&self) -> impl Iterator<Item = (&str, &Arc<AccountStream>)> {
        self.streams
            .iter()
            .filter_map(|stream| match &stream.field {
                Some((Field::Custom(name), _)) => Some((name.as_str(), stream)),
                _ => None,
            })
    }

    /// A declared field by name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Arc<AccountStream>> {
        self.get(&format!("{CUSTOM_PREFIX}{name}"))
            .filter(|stream| matches!(stream.field, Some((Field::Custom(_), _))))
    }

    /// Whether this may follow another declaration while there are accounts: none of their fields goes, and none
    /// becomes unique of which two may have the same value already.
    ///
    /// # Errors
    /// The first field that may not change so.
    pub fn may_follow(&self, before: &Self) -> Result<(), SchemaError> {
        for (name, stream) in before.declared() {
            let problem = match self.field(name) {
                None => {
                    "is declared no more, but accounts may have values of it: keep it (isShown = false hides it)"
                }
                Some(now) if now.rules.unique && !stream.rules.unique => {
                    "was not unique before: two accounts may have the same value already. Declare another field"
                }
                Some(_) => continue,
            };
            return Err(SchemaError {
                at: format!("custom.systemStreams.account: {name}"),
                problem: problem.to_owned(),
            });
        }
        Ok(())
    }

    /// Streams of fields in the order in which their events are listed, latest first: that of the original
    /// server, then declared ones.
    pub fn in_order_of_events(&self) -> impl Iterator<Item = &Arc<AccountStream>> {
        const ORDER: [Field; 4] = [
            Field::AttachedFiles,
            Field::DbDocuments,
            Field::Email,
            Field::Language,
        ];
        let of = |wanted: Field| {
            let is = move |stream: &&Arc<AccountStream>| {
                let field = stream.field.as_ref();
                field.is_some_and(|(field, _)| *field == wanted)
            };
            self.streams.iter().find(is)
        };
        let declared = self.declared().map(|(_, stream)| stream);
        ORDER
            .into_iter()
            .filter_map(of)
            .chain(declared.filter(|stream| stream.shown))
    }

    /// Streams that a new account begins with, each parent before its children.
    #[must_use]
    pub fn first_streams(&self) -> &[FirstStream] {
        &self.first_streams
    }
}

/// Where the kernel has the schema from. It is asked at every use: before a core knows its platform, there
/// are only the usual streams.
#[derive(Clone)]
pub struct SchemaSource(Arc<dyn Fn() -> Arc<Schema> + Send + Sync>);

impl SchemaSource {
    /// One that asks this.
    pub fn new(ask: impl Fn() -> Arc<Schema> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// The present one.
    #[must_use]
    pub fn get(&self) -> Arc<Schema> {
        (self.0)()
    }
}

impl Default for SchemaSource {
    fn default() -> Self {
        Self::new(Schema::usual)
    }
}

impl std::fmt::Debug for SchemaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaSource").finish_non_exhaustive()
    }
}

/// What clients may do with a field.
enum Access {
    Hidden,
    Shown,
    Editable,
}

/// The streams of every account.
fn usual() -> Vec<AccountStream> {
    const STORAGE_USED: &str = ":_system:storageUsed";
    let stream =
        |id: &str, name: &str, parent: Option<&str>, access: &Access, field| AccountStream {
            id: id.to_owned(),
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            shown: !matches!(access, Access::Hidden),
            editable: matches!(access, Access::Editable),
            field,
            rules: Rules::default(),
        };
    let top = Some(ACCOUNT_ROOT);
    let of = |field, kind: &str| Some((field, kind.to_owned()));
    vec![
        stream(ACCOUNT_ROOT, "Account", None, &Access::Shown, None),
        stream(
            ":_system:language",
            "Language",
            top,
            &Access::Editable,
            of(Field::Language, "language/iso-639-1"),
        ),
        stream(
            ":_system:appId",
            "appId",
            top,
            &Access::Hidden,
            of(Field::AppId, "identifier/string"),
        ),
        stream(
            ":_system:invitationToken",
            "Invitation Token",
            top,
            &Access::Hidden,
            of(Field::InvitationToken, "token/string"),
        ),
        stream(
            ":_system:referer",
            "Referer",
            top,
            &Access::Hidden,
            of(Field::Referer, "identifier/string"),
        ),
        stream(STORAGE_USED, "Storage used", top, &Access::Shown, None),
        stream(
            ":_system:dbDocuments",
            "Db Documents",
            Some(STORAGE_USED),
            &Access::Shown,
            of(Field::DbDocuments, "data-quantity/b"),
        ),
        stream(
            ":_system:attachedFiles",
            "Attached files",
            Some(STORAGE_USED),
            &Access::Shown,
            of(Field::AttachedFiles, "data-quantity/b"),
        ),
        stream(
            ":system:email",
            "Email",
            top,
            &Access::Editable,
            of(Field::Email, "email/string"),
        ),
    ]
}

#[cfg(test)]
mod tests;
