//! The e-mail addresses of an account (spec/pryv-api §9.2): one is the account's present address, others
//! are held beside it. Nobody else can have any of them; the platform is the authority of which they are,
//! the account of how each was proved.
//!
//! An address that is added waits until the person follows a link that was sent there. Only the hash of
//! what is in the link is kept.

use std::time::Duration;

use homecore_types::{Email, ErrorId, Millis, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use super::Account;
use super::change::Wanted;
use super::reset::hash_of;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::ports::{EmailSet, FieldChanges, MailsFull};
use crate::violation::Violation;

/// How long a link works (`account.emailVerification.tokenMaxAgeMs`).
pub const LINK_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);
/// A link is not sent to the same address again before this.
const RESEND_PAUSE: Duration = Duration::from_secs(300);
/// Addresses in each list of a call.
const LISTED_MAX: usize = 20;

pub(crate) mod archived;

/// How an address came to an account, or was proved (`verificationMethod`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Given when the user registered.
    #[default]
    Registration,
    /// Set later, without proof.
    Legacy,
    /// The person followed a link that was sent there.
    EmailLink,
    /// An operator said so, on another server.
    Operator,
}

impl Origin {
    const fn wire(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Legacy => "legacy",
            Self::EmailLink => "email-link",
            Self::Operator => "operator",
        }
    }
}

/// An address beside the present one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Itself.
    pub value: Email,
    /// How it came or was proved; none: it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When it was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Millis>,
    /// What was sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
}

/// A link that was sent and not followed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    /// Standard base64 of its token's SHA-256.
    hash: String,
    sent: Millis,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(of {:?})", self.sent)
    }
}

/// What `emails` of `account.update` asks for, in the order in which it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmailEdits {
    add: Vec<Email>,
    primary: Option<Email>,
    remove: Vec<Email>,
    resend: Vec<Email>,
}

/// Why addresses do not change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmailError {
    /// As many as there may be.
    #[error("An account can have {most} email addresses, not more")]
    TooMany {
        /// How many.
        most: usize,
    },
    /// The account has no such address.
    #[error("\"{0}\" is none of the email addresses of this account")]
    Unknown(Email),
    /// Nobody has proved that it is the person's.
    #[error("\"{0}\" is not verified yet")]
    NotVerified(Email),
    /// It waits for nothing.
    #[error("\"{0}\" is verified already")]
    Verified(Email),
    /// There must be one.
    #[error("\"{0}\" is the primary email address and cannot be removed")]
    Primary(Email),
    /// A link was sent a moment ago.
    #[error("A link was sent to this email address a moment ago, please wait")]
    TooSoon {
        /// Where to.
        email: Email,
        /// How long to wait.
        wait: Duration,
    },
    /// The operator has none sent.
    #[error("No links are sent to email addresses here")]
    NoLinks,
    /// See [`MailsFull`].
    #[error(transparent)]
    Mails(#[from] MailsFull),
}

impl Refusal for EmailError {
    fn id(&self) -> ErrorId {
        match self {
            Self::TooMany { .. }
            | Self::Unknown(_)
            | Self::NotVerified(_)
            | Self::Verified(_)
            | Self::Primary(_)
            | Self::NoLinks
            | Self::TooSoon { .. } => ErrorId::InvalidOperation,
            Self::Mails(_) => ErrorId::ApiUnavailable,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::TooMany { most } => Some(json!({ "maxEmails": most })),
            Self::Unknown(email)
            | Self::NotVerified(email)
            | Self::Verified(email)
            | Self::Primary(email) => Some(json!({ "email": email })),
            Self::TooSoon { email, wait } => Some(json!({
                "email": email, "retryAfterSeconds": wait.as_secs().max(1),
            })),
            Self::NoLinks | Self::Mails(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooSoon { wait, .. } => Some(*wait),
            Self::Mails(full) => Some(full.retry_after),
            _ => None,
        }
    }
}

impl EmailEdits {
    /// Whether a link is asked for, as opposed to one that goes out with what else is done.
    pub(super) fn asks_for_links(&self) -> bool {
        let is_added = |email: &Email| self.add.contains(email);
        !self.resend.iter().all(is_added)
    }

    /// Reads `emails`.
    ///
    /// # Errors
    /// All violations.
    pub(super) fn parse(value: &Value) -> Result<Self, InvalidParameters> {
        let known = &["add", "setPrimary", "remove", "resend"];
        let mut fields = Fields::strict_at("#/update/emails", value, &[], known)?;
        let edits = Self {
            add: list(&mut fields, "add"),
            primary: fields
                .text("setPrimary", Null::Refused)
                .and_then(|text| checked(&mut fields, "setPrimary", text)),
            remove: list(&mut fields, "remove"),
            resend: list(&mut fields, "resend"),
        };
        fields.finish()?;
        Ok(edits)
    }
}

fn list(fields: &mut Fields<'_>, name: &'static str) -> Vec<Email> {
    let texts = fields.texts(name, Null::Refused).unwrap_or_default();
    if texts.len() > LISTED_MAX {
        let path = fields.path_of(name);
        fields.violated(Violation::too_many(&path, LISTED_MAX));
        return Vec::new();
    }
    let texts = texts.into_iter();
    texts
        .filter_map(|text| checked(fields, name, text))
        .collect()
}

fn checked(fields: &mut Fields<'_>, name: &'static str, text: &str) -> Option<Email> {
    let email = super::change::email(text);
    if email.is_none() {
        let (path, message) = (fields.path_of(name), "Email address format not recognized");
        fields.violated(Violation::of_field("email-invalid", message, &path, name));
    }
    email
}

/// What is to be done for a call: first at the platform, then here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the platform is to take.
    pub fields: FieldChanges,
    /// To which addresses a link is sent.
    pub send: Vec<Email>,
}

/// A link that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct NewLink {
    pub(super) to: Email,
    pub(super) token: Secret,
}

impl Account {
    /// What a call comes to.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn plan(&self, wanted: &Wanted, most: usize, now: Millis) -> Result<Plan, EmailError> {
        let mut draft = Draft::of(self);
        let mut is_new = false;
        if let Some(email) = wanted.email.as_ref().filter(|email| **email != self.email) {
            is_new = draft.place(email).is_none();
            draft.replace_present(email);
        }
        draft.edit(&wanted.edits, self, most, now)?;
        // What is removed by the same call has made room.
        if is_new {
            draft.push_out(&self.email, most)?;
        }
        let ((present, _), others) = (draft.present, draft.others);
        let others: Vec<Email> = others.into_iter().map(|(email, _)| email).collect();
        let own = self.emails.iter().map(|address| &address.value);
        let same = present == self.email && own.eq(&others);
        let language = wanted.language.clone();
        Ok(Plan {
            fields: FieldChanges {
                emails: (!same).then(|| EmailSet {
                    present,
                    others,
                    changes: self.email_changes.saturating_add(1),
                }),
                language: language.filter(|code| *code != self.language),
                declared: self.to_change(&wanted.declared),
                fields_version: None,
            },
            send: draft.send,
        })
    }

    /// Has the addresses that the platform says it has. What is known of each stays known; one that is new
    /// beside the present one waits to be proved. Tokens that were sent to a former present one are void.
    pub(super) fn set_emails(&mut self, set: &EmailSet) {
        let mut known = std::mem::take(&mut self.emails);
        known.push(Address {
            value: self.email.clone(),
            origin: Some(self.email_origin),
            verified: self.email_verified,
            link: None,
        });
        let mut take = |email: &Email| {
            let at = known.iter().position(|address| address.value == *email)?;
            Some(known.remove(at))
        };
        if set.present != self.email {
            let present = take(&set.present);
            self.email_origin = present
                .as_ref()
                .and_then(|address| address.origin)
                .unwrap_or(Origin::Legacy);
            self.email_verified = present.and_then(|address| address.verified);
            self.email.clone_from(&set.present);
            // Who reads the former address need not be the person any more.
            self.resets.clear();
        }
        let others = set.others.iter();
        self.emails = others
            .map(|email| {
                take(email).unwrap_or_else(|| Address {
                    value: email.clone(),
                    origin: None,
                    verified: None,
                    link: None,
                })
            })
            .collect();
        self.email_changes = set.changes;
    }

    /// The addresses beside the present one, in the order in which they are shown.
    pub fn other_emails(&self) -> impl Iterator<Item = &Email> {
        self.emails.iter().map(|address| &address.value)
    }

    /// Whether it has exactly these addresses.
    pub(super) fn has_emails(&self, set: &EmailSet) -> bool {
        let own = self.emails.iter().map(|address| &address.value);
        self.email == set.present && self.email_changes == set.changes && own.eq(&set.others)
    }

    /// Remembers links that are sent.
    pub(super) fn expect_links(&mut self, links: &[NewLink], now: Millis) {
        for link in links {
            let mut own = self.emails.iter_mut();
            if let Some(address) = own.find(|address| address.value == link.to) {
                address.link = Some(Link {
                    hash: hash_of(&link.token),
                    sent: now,
                });
            }
        }
    }

    /// Uses a token: the address that is proved with it.
    pub(super) fn prove(&mut self, token: &Secret, now: Millis) -> Option<Email> {
        let hash = hash_of(token);
        let address = self.emails.iter_mut().find(|address| {
            let link = address.link.as_ref();
            link.is_some_and(|link| link.hash == hash && now < link.sent + LINK_MAX_AGE)
        })?;
        address.origin = Some(Origin::EmailLink);
        address.verified = Some(now);
        address.link = None;
        Some(address.value.clone())
    }

    /// Every address, the present one first.
    pub(super) fn addresses(&self) -> Vec<Value> {
        let shown = |value: &Email, primary, origin: Option<Origin>, at: Option<Millis>| {
            let status = if origin.is_some() {
                "verified"
            } else {
                "pending"
            };
            json!({
                "value": value, "primary": primary, "status": status,
                "verifiedAt": at.map(crate::number::seconds),
                "verificationMethod": origin.map(Origin::wire),
            })
        };
        let others = self.emails.iter();
        let present = shown(
            &self.email,
            true,
            Some(self.email_origin),
            self.email_verified,
        );
        std::iter::once(present)
            .chain(others.map(|other| shown(&other.value, false, other.origin, other.verified)))
            .collect()
    }
}

/// Addresses while a call is judged: each with how it was proved.
struct Draft {
    present: (Email, Origin),
    others: Vec<(Email, Option<Origin>)>,
    send: Vec<Email>,
}

impl Draft {
    fn of(account: &Account) -> Self {
        let others = account.emails.iter();
        Self {
            present: (account.email.clone(), account.email_origin),
            others: others
                .map(|address| (address.value.clone(), address.origin))
                .collect(),
            send: Vec::new(),
        }
    }

    fn place(&self, email: &Email) -> Option<usize> {
        self.others.iter().position(|(other, _)| other == email)
    }

    /// The former one stays beside it.
    fn replace_present(&mut self, email: &Email) {
        let own = self.place(email).map(|at| self.others.remove(at));
        let origin = own.and_then(|(_, origin)| origin);
        let present = (email.clone(), origin.unwrap_or(Origin::Legacy));
        let (former, origin) = std::mem::replace(&mut self.present, present);
        self.others.insert(0, (former, Some(origin)));
    }

    /// Where there is no place for the one that was the present one until now, another former one goes; itself where
    /// one address is all that is kept. What somebody added or proved goes only when it is removed.
    fn push_out(&mut self, present: &Email, most: usize) -> Result<(), EmailError> {
        let places = most.saturating_sub(1);
        while self.others.len() > places {
            let goes = |(email, origin): &(Email, Option<Origin>)| {
                let is_former = matches!(origin, Some(Origin::Registration | Origin::Legacy));
                is_former && (email != present || places == 0)
            };
            let last = self.others.iter().rposition(goes);
            let last = last.ok_or(EmailError::TooMany { most })?;
            self.others.remove(last);
        }
        Ok(())
    }

    fn edit(
        &mut self,
        edits: &EmailEdits,
        account: &Account,
        most: usize,
        now: Millis,
    ) -> Result<(), EmailError> {
        for email in &edits.add {
            if *email == self.present.0 || self.place(email).is_some() {
                continue;
            }
            if self.others.len() + 1 >= most {
                return Err(EmailError::TooMany { most });
            }
            self.others.push((email.clone(), None));
            self.send.push(email.clone());
        }
        if let Some(email) = edits
            .primary
            .as_ref()
            .filter(|email| **email != self.present.0)
        {
            match self.place(email).and_then(|at| self.others.get(at)) {
                None => return Err(EmailError::Unknown(email.clone())),
                Some((_, None)) => return Err(EmailError::NotVerified(email.clone())),
                Some((_, Some(_))) => self.replace_present(email),
            }
        }
        for email in &edits.remove {
            if *email == self.present.0 {
                return Err(EmailError::Primary(email.clone()));
            }
            let at = self.place(email);
            self.others
                .remove(at.ok_or_else(|| EmailError::Unknown(email.clone()))?);
            self.send.retain(|other| other != email);
        }
        for email in &edits.resend {
            self.resend(email, account, now)?;
        }
        Ok(())
    }

    fn resend(&mut self, email: &Email, account: &Account, now: Millis) -> Result<(), EmailError> {
        let other = self.place(email).and_then(|at| self.others.get(at));
        match other {
            _ if *email == self.present.0 => return Err(EmailError::Verified(email.clone())),
            None => return Err(EmailError::Unknown(email.clone())),
            Some((_, Some(_))) => return Err(EmailError::Verified(email.clone())),
            Some((_, None)) if self.send.contains(email) => return Ok(()),
            Some((_, None)) => {}
        }
        let mut known = account.emails.iter();
        let known = known.find(|address| address.value == *email);
        if let Some(link) = known.and_then(|address| address.link.as_ref()) {
            let again = link.sent + RESEND_PAUSE;
            if now < again {
                let wait = again.since(now);
                return Err(EmailError::TooSoon {
                    email: email.clone(),
                    wait,
                });
            }
        }
        self.send.push(email.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
