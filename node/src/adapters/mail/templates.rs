//! The words of mails: those of this binary, and over them those that an operator has set for the
//! whole platform (`homecore mail-template`), by what they are for and by language.
//!
//! A template is a plain text with `{{ NAME }}` where a value comes. It is checked when it is set, so
//! that no mail goes out with a name in braces or without the link that it is for.

use std::collections::BTreeMap;
use std::str::FromStr;

use homecore_raft::records::PlatformConfig;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::builtin;

/// The section of the platform's configuration.
pub(crate) const SECTION: &str = "mailTemplates";
/// Longest subject.
const SUBJECT_CHARS_MAX: usize = 200;
/// Longest text, and longest HTML.
const BODY_BYTES_MAX: usize = 32 * 1024;
/// Languages that one mail can have set.
const LANGUAGES_MAX: usize = 8;
/// Longest code of a language, as accounts have it.
const LANGUAGE_CHARS_MAX: usize = 5;
/// The language that every mail has.
const LAST: &str = "en";

macro_rules! names {
    ($(#[$outer:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $wire:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $type { $($(#[$doc])* #[serde(rename = $wire)] $name,)* }

        impl $type {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is written.
            pub(crate) const fn wire(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

names! {
    /// What a mail is for.
    TemplateName {
        /// To a new user.
        Welcome = "welcome",
        /// With a link to set a new password.
        ResetPassword = "reset-password",
        /// With a link to prove an address.
        VerifyEmail = "verify-email",
    }
}

names! {
    /// What comes in place of `{{ NAME }}`.
    Variable {
        /// The person.
        Username = "USERNAME",
        /// The address.
        Email = "EMAIL",
        /// The name of the platform.
        Service = "SERVICE",
        /// What a new password can be set with.
        ResetToken = "RESET_TOKEN",
        /// The page where it is set.
        ResetUrl = "RESET_URL",
        /// The page with the token.
        ResetLink = "RESET_LINK",
        /// How long the token works.
        ResetMinutes = "RESET_MINUTES",
        /// What an address can be proved with.
        VerifyToken = "VERIFY_TOKEN",
        /// The page where it is proved.
        VerifyUrl = "VERIFY_URL",
        /// The page with the token.
        VerifyLink = "VERIFY_LINK",
    }
}

impl TemplateName {
    /// Whether a value is there for this mail.
    const fn knows(self, variable: Variable) -> bool {
        match variable {
            Variable::Username | Variable::Email | Variable::Service => true,
            Variable::ResetToken
            | Variable::ResetUrl
            | Variable::ResetLink
            | Variable::ResetMinutes => matches!(self, Self::ResetPassword),
            Variable::VerifyToken | Variable::VerifyUrl | Variable::VerifyLink => {
                matches!(self, Self::VerifyEmail)
            }
        }
    }
}

impl TemplateName {
    /// One of which it must show: what it is sent for.
    const fn needs(self) -> Option<[Variable; 2]> {
        match self {
            Self::Welcome => None,
            Self::ResetPassword => Some([Variable::ResetLink, Variable::ResetToken]),
            Self::VerifyEmail => Some([Variable::VerifyLink, Variable::VerifyToken]),
        }
    }
}

impl FromStr for TemplateName {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut all = Self::ALL.iter().copied();
        all.find(|name| name.wire() == text)
            .ok_or_else(|| TemplateError::UnknownName(text.to_owned()))
    }
}

/// Why a template is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// No such mail.
    #[error("{0:?} is no mail: there are welcome, reset-password and verify-email")]
    UnknownName(String),
    /// Not a code such as `fr` or `pt-br`.
    #[error("{0:?} is not the code of a language such as fr or pt-br")]
    Language(String),
    /// Empty, too long, or of more than one line.
    #[error("the subject must be one line of 1 to {SUBJECT_CHARS_MAX} characters")]
    Subject,
    /// Empty or too long.
    #[error("the {part} must have 1 to {BODY_BYTES_MAX} bytes and no control characters")]
    Body {
        /// `text` or `HTML`.
        part: &'static str,
    },
    /// `{{` without `}}`.
    #[error("the {part} has {{{{ without }}}}")]
    Open {
        /// Where.
        part: &'static str,
    },
    /// A name that has no value here.
    #[error("the {part} names {name:?}, which this mail does not have")]
    Variable {
        /// Where.
        part: &'static str,
        /// As written.
        name: String,
    },
    /// A mail without what it is for.
    #[error("the {part} must hold {{{{ {link} }}}} or {{{{ {token} }}}}")]
    NoLink {
        /// Where.
        part: &'static str,
        /// The variable of the link.
        link: &'static str,
        /// The variable of the token.
        token: &'static str,
    },
    /// Subjects are seen by more people than mails.
    #[error("the subject must not show the token")]
    TokenInSubject,
    /// Too many languages.
    #[error("at most {LANGUAGES_MAX} languages can be set for a mail")]
    TooMany,
}

/// The words of one mail in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    pub(crate) subject: String,
    pub(crate) text: String,
    /// Beside the text, for programs that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) html: Option<String>,
}

/// A piece of a template.
enum Piece<'a> {
    Words(&'a str),
    Value(&'a str),
    /// Braces that are not closed.
    Open,
}

/// Takes a template apart.
fn pieces(mut rest: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some((words, after)) = rest.split_once("{{") {
        pieces.push(Piece::Words(words));
        let Some((name, after)) = after.split_once("}}") else {
            pieces.push(Piece::Open);
            return pieces;
        };
        pieces.push(Piece::Value(name.trim()));
        rest = after;
    }
    pieces.push(Piece::Words(rest));
    pieces
}

fn variable(name: &str) -> Option<Variable> {
    let mut all = Variable::ALL.iter().copied();
    all.find(|variable| variable.wire() == name)
}

fn fill(text: &str, values: &BTreeMap<Variable, String>, write: impl Fn(&str) -> String) -> String {
    let value = |name| variable(name).and_then(|variable| values.get(&variable));
    let filled = pieces(text).into_iter().map(|piece| match piece {
        Piece::Words(words) => words.to_owned(),
        Piece::Value(name) => value(name).map(|text| write(text)).unwrap_or_default(),
        Piece::Open => String::new(),
    });
    filled.collect()
}

impl Template {
    /// Whether it can be sent as this mail.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, name: TemplateName) -> Result<(), TemplateError> {
        let subject = self.subject.trim();
        let fits = (1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count());
        if !fits || self.subject.contains(char::is_control) {
            return Err(TemplateError::Subject);
        }
        let in_subject = check_part("subject", &self.subject, name)?;
        if shows_token(&in_subject) {
            return Err(TemplateError::TokenInSubject);
        }
        let html = self.html.as_deref().map(|html| ("HTML", html));
        for (part, body) in std::iter::once(("text", self.text.as_str())).chain(html) {
            let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
            if body.trim().is_empty() || body.len() > BODY_BYTES_MAX || body.contains(strange) {
                return Err(TemplateError::Body { part });
            }
            let named = check_part(part, body, name)?;
            if let Some([link, token]) = name.needs()
                && !shows_token(&named)
            {
                let (link, token) = (link.wire(), token.wire());
                return Err(TemplateError::NoLink { part, link, token });
            }
        }
        Ok(())
    }

    /// One line, whatever the values hold.
    pub(super) fn filled_subject(&self, values: &BTreeMap<Variable, String>) -> String {
        let filled = fill(&self.subject, values, str::to_owned);
        filled.replace(char::is_control, " ")
    }

    /// The text.
    pub(super) fn filled_text(&self, values: &BTreeMap<Variable, String>) -> String {
        fill(&self.text, values, str::to_owned)
    }

    /// The HTML, its values as text.
    pub(super) fn filled_html(&self, values: &BTreeMap<Variable, String>) -> Option<String> {
        let html = self.html.as_deref()?;
        Some(fill(html, values, escaped))
    }
}

/// The variables that a part names.
fn check_part(
    part: &'static str,
    text: &str,
    name: TemplateName,
) -> Result<Vec<Variable>, TemplateError> {
    let mut named = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Words(_) => {}
            Piece::Open => return Err(TemplateError::Open { part }),
            Piece::Value(given) => {
                let known = variable(given).filter(|variable| name.knows(*variable));
                named.push(known.ok_or_else(|| TemplateError::Variable {
                    part,
                    name: given.to_owned(),
                })?);
            }
        }
    }
    Ok(named)
}

fn shows_token(named: &[Variable]) -> bool {
    let mut tokens = TemplateName::ALL
        .iter()
        .filter_map(|name| name.needs())
        .flatten();
    tokens.any(|token| named.contains(&token))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A language as templates are kept: in lower case.
///
/// # Errors
/// If it is no code of one.
pub(crate) fn language(text: &str) -> Result<String, TemplateError> {
    let good = (2..=LANGUAGE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.bytes().take(2).all(|b| b.is_ascii_alphabetic());
    good.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| TemplateError::Language(text.to_owned()))
}

/// What an operator has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Templates(BTreeMap<TemplateName, BTreeMap<String, Template>>);

impl Templates {
    /// Those of the platform's configuration; none that cannot be read.
    pub(crate) fn of_platform(config: Option<&PlatformConfig>) -> Self {
        let Some(text) = config.and_then(|config| config.sections.get(SECTION)) else {
            return Self::default();
        };
        serde_json::from_str(text).unwrap_or_else(|error| {
            tracing::warn!(%error, "the platform's mail templates cannot be read; those of the binary are used");
            Self::default()
        })
    }

    /// As it is kept.
    ///
    /// # Errors
    /// Of the encoding.
    pub(crate) fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Every template that is used: an operator's, or the binary's.
    pub(crate) fn all(&self) -> BTreeMap<(TemplateName, String), (Template, bool)> {
        let shipped = builtin::ALL.iter().map(|(name, language, template)| {
            let key = (*name, (*language).to_owned());
            (key, (template.owned(), true))
        });
        let own = self.0.iter().flat_map(|(name, languages)| {
            languages
                .iter()
                .map(|(language, template)| ((*name, language.clone()), (template.clone(), false)))
        });
        shipped.chain(own).collect()
    }

    /// Sets one.
    ///
    /// # Errors
    /// If it cannot be sent, or there are too many.
    pub(crate) fn set(
        &mut self,
        name: TemplateName,
        language: String,
        template: Template,
    ) -> Result<(), TemplateError> {
        template.check(name)?;
        let languages = self.0.entry(name).or_default();
        if languages.len() >= LANGUAGES_MAX && !languages.contains_key(&language) {
            return Err(TemplateError::TooMany);
        }
        languages.insert(language, template);
        Ok(())
    }

    /// Goes back to the binary's, if it has one; whether any was set.
    pub(crate) fn unset(&mut self, name: TemplateName, language: &str) -> bool {
        let languages = self.0.get_mut(&name);
        languages.is_some_and(|languages| languages.remove(language).is_some())
    }

    /// The words for somebody: in the language of the account or the one that it is a kind of, else
    /// in that of the platform, else in English.
    pub(super) fn choose(&self, name: TemplateName, wanted: &str, fallback: &str) -> Template {
        let wanted = wanted.to_ascii_lowercase();
        let general = |code: &str| code.split('-').next().unwrap_or_default().to_owned();
        let order = [
            general(&wanted),
            fallback.to_owned(),
            general(fallback),
            LAST.to_owned(),
        ];
        let mut order = std::iter::once(wanted).chain(order);
        order
            .find_map(|language| self.find(name, &language))
            .unwrap_or_else(|| builtin::last(name))
    }

    fn find(&self, name: TemplateName, language: &str) -> Option<Template> {
        let own = self.0.get(&name).and_then(|all| all.get(language));
        own.cloned().or_else(|| builtin::find(name, language))
    }
}

#[cfg(test)]
mod tests;
