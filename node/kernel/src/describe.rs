//! What each method takes, answers and refuses, as data: facades describe their routes with it.
//!
//! The parsers stay code, since their items and typed results are what counts; that they and the
//! descriptions say the same is held by the tests of this module, which watch what the parsers read
//! and try every type on every field. A new method does not compile without a description
//! ([`Method::description`]) and not without its line in those tests.

mod accesses;
mod account;
mod events;
mod profile;
mod shared_secrets;
mod streams;

use homecore_types::ErrorId;

use crate::method::Method;

pub use account::{
    LOGIN, MFA_CODE, MFA_RECOVER, NEW_USER, REGISTRATION, RESET_PASSWORD, RESET_REQUEST,
    VERIFY_EMAIL,
};
pub use shared_secrets::{RETRIEVE, RETRIEVE_REFUSES};

/// A method as a reader of the API sees it.
#[derive(Debug)]
pub struct Description {
    /// One line for people.
    pub summary: &'static str,
    /// Its parameters, flat, as batch calls give them.
    pub takes: &'static Record,
    /// What a successful answer has beside `meta`.
    pub answers: Answer,
    /// What it may refuse with, beside what any call of a user may be refused with
    /// ([`ALWAYS_REFUSED`]).
    pub refuses: &'static [ErrorId],
}

/// What any call of a user may be refused with, whatever the method.
pub const ALWAYS_REFUSED: &[ErrorId] = &[
    ErrorId::MissingAccessToken,
    ErrorId::InvalidAccessToken,
    ErrorId::Forbidden,
    ErrorId::ApiUnavailable,
];

/// An answer. Schemas of items are named; whoever writes the document has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An object with these members.
    Members(&'static [Member]),
    /// An object of this schema.
    Schema(&'static str),
}

/// A member of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// The name of its schema.
    pub schema: &'static str,
    /// Whether it is a list of them.
    pub is_list: bool,
    /// Whether it is always there.
    pub always: bool,
}

impl Member {
    /// One item.
    #[must_use]
    pub const fn one(name: &'static str, schema: &'static str) -> Self {
        Self {
            name,
            schema,
            is_list: false,
            always: true,
        }
    }

    /// A list of items.
    #[must_use]
    pub const fn many(name: &'static str, schema: &'static str) -> Self {
        Self {
            is_list: true,
            ..Self::one(name, schema)
        }
    }

    /// The same, but not in every answer.
    #[must_use]
    pub const fn sometimes(self) -> Self {
        Self {
            always: false,
            ..self
        }
    }
}

/// An object of parameters.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// What may be in it.
    pub fields: &'static [Field],
    /// Whether other members are ignored; else they are refused.
    pub open: bool,
    /// Whether the account fields that the platform declares are taken, too.
    pub declared: bool,
}

impl Record {
    /// No parameters; any are ignored.
    pub const NOTHING: &'static Self = &Self::open(&[]);

    /// One that may have other members, which are not looked at.
    #[must_use]
    pub const fn open(fields: &'static [Field]) -> Self {
        Self {
            fields,
            open: true,
            declared: false,
        }
    }

    /// One that has these fields only.
    #[must_use]
    pub const fn closed(fields: &'static [Field]) -> Self {
        Self {
            fields,
            open: false,
            declared: false,
        }
    }

    /// The same, which takes the account fields that the platform declares, too: a description is of every
    /// platform and does not name them.
    #[must_use]
    pub const fn with_declared(self) -> Self {
        Self {
            declared: true,
            ..self
        }
    }

    /// A field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub of: Type,
    /// Whether it must be there.
    pub required: bool,
    /// Whether null is taken, too.
    pub nullable: bool,
    /// How its form is checked.
    pub checked: Checked,
}

/// How the form of a parameter is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// As all are, with an item for each violation.
    AsAll,
    /// Not at all: only the server sets it. It is ignored, or refused where that is protected.
    ReadOnly,
    /// Apart from the others, with answers of its own; the tests look at its name only.
    ByOwnRules,
}

impl Field {
    /// One that may be left out.
    #[must_use]
    pub const fn new(name: &'static str, of: Type) -> Self {
        Self {
            name,
            of,
            required: false,
            nullable: false,
            checked: Checked::AsAll,
        }
    }

    /// One that only the server sets.
    #[must_use]
    pub const fn read_only(name: &'static str) -> Self {
        Self {
            checked: Checked::ReadOnly,
            ..Self::new(name, Type::Json)
        }
    }

    /// The same, which must be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// The same, checked apart from the others.
    #[must_use]
    pub const fn by_own_rules(self) -> Self {
        Self {
            checked: Checked::ByOwnRules,
            ..self
        }
    }

    /// The same, which may be null.
    #[must_use]
    pub const fn nullable(self) -> Self {
        Self {
            nullable: true,
            ..self
        }
    }
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// A text of so many characters.
    Text {
        /// At least.
        min: usize,
        /// At most.
        max: Option<usize>,
    },
    /// A text of a form.
    Pattern {
        /// The form.
        pattern: &'static str,
        /// One that has it.
        example: &'static str,
    },
    /// One of a few texts.
    Choice(&'static [&'static str]),
    /// A number.
    Number,
    /// A number of seconds, 0 or more.
    Span,
    /// A whole number, 0 or more.
    Count,
    /// True or false.
    Flag,
    /// An object of any members.
    Object,
    /// Null and nothing else.
    Null,
    /// A list of texts of a form, if there is one.
    Texts {
        /// How many at least.
        min: usize,
        /// A text that fits.
        example: &'static str,
    },
    /// Any JSON, or something with rules of its own.
    Json,
    /// An object of parameters.
    Record(&'static Record),
    /// A list of objects, each of one of these.
    Records(&'static [&'static Record]),
}

impl Type {
    /// Any text.
    pub const TEXT: Self = Self::Text { min: 0, max: None };
    /// A text of a character or more.
    pub const SOME_TEXT: Self = Self::Text { min: 1, max: None };
}

/// The id of what is addressed.
const ID: Field = Field::new("id", Type::TEXT).required();
const CLIENT_DATA: Field = Field::new("clientData", Type::Object).nullable();
const TRASHED: Field = Field::new("trashed", Type::Flag).nullable();
const CREATED: Field = Field::read_only("created");
const CREATED_BY: Field = Field::read_only("createdBy");
const MODIFIED: Field = Field::read_only("modified");
const MODIFIED_BY: Field = Field::read_only("modifiedBy");
const INTEGRITY: Field = Field::read_only("integrity");

impl Method {
    /// What it takes, answers and refuses.
    #[must_use]
    pub const fn description(self) -> &'static Description {
        match self {
            Self::GetAccessInfo => &accesses::INFO,
            Self::StreamsGet => &streams::GET,
            Self::StreamsCreate => &streams::CREATE,
            Self::StreamsUpdate => &streams::UPDATE,
            Self::StreamsDelete => &streams::DELETE,
            Self::EventsGet => &events::GET,
            Self::EventsGetOne => &events::GET_ONE,
            Self::EventsCreate => &events::CREATE,
            Self::EventsUpdate => &events::UPDATE,
            Self::EventsDelete => &events::DELETE,
            Self::EventsDeleteAttachment => &events::DELETE_ATTACHMENT,
            Self::AccessesGet => &accesses::GET,
            Self::AccessesGetOne => &accesses::GET_ONE,
            Self::AccessesCreate => &accesses::CREATE,
            Self::AccessesUpdate => &accesses::UPDATE,
            Self::AccessesDelete => &accesses::DELETE,
            Self::AccessesCheckApp => &accesses::CHECK_APP,
            Self::ProfileGetPublic => &profile::GET_PUBLIC,
            Self::ProfileGet => &profile::GET,
            Self::ProfileUpdate => &profile::UPDATE,
            Self::ProfileGetApp => &profile::GET_APP,
            Self::ProfileUpdateApp => &profile::UPDATE_APP,
            Self::AccountGet => &account::GET,
            Self::AccountUpdate => &account::UPDATE,
            Self::AccountChangePassword => &account::CHANGE_PASSWORD,
            Self::AccountChangeUsername => &account::CHANGE_USERNAME,
            Self::AccountUsernameChanges => &account::USERNAME_CHANGES,
            Self::SharedSecretsCreate => &shared_secrets::CREATE,
            Self::SharedSecretsGetOne => &shared_secrets::GET_ONE,
        }
    }
}

#[cfg(test)]
mod tests;
