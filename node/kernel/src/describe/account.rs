//! The methods of the account, and what begins one or a session (spec/pryv-api §2.3, §2.5, §9.2,
//! §10.1).

use homecore_types::ErrorId;

use super::{Answer, Description, Field, Member, Record, Type};
use crate::account::passwords::CHARS;
use crate::registration;

const ANSWERS: Answer = Answer::Members(&[Member::one("account", "Account")]);

const PASSWORD: Type = Type::Text {
    min: *registration::PASSWORD_CHARS.start(),
    max: Some(*registration::PASSWORD_CHARS.end()),
};
const NEW_PASSWORD: Type = Type::Text {
    min: *CHARS.start(),
    max: Some(*CHARS.end()),
};
const APP_ID: Type = Type::Text {
    min: *registration::APP_CHARS.start(),
    max: Some(*registration::APP_CHARS.end()),
};
const LANGUAGE: Type = Type::Text {
    min: *registration::LANGUAGE_CHARS.start(),
    max: Some(*registration::LANGUAGE_CHARS.end()),
};
const REFERER: Type = Type::Text {
    min: *registration::REFERER_CHARS.start(),
    max: Some(*registration::REFERER_CHARS.end()),
};
const USERNAME: Type = Type::Pattern {
    pattern: "^[a-zA-Z0-9][a-zA-Z0-9-]{3,58}[a-zA-Z0-9]$",
    example: "samplebeta1",
};
const EMAIL: Type = Type::Pattern {
    pattern: "^[^@\\s]+@[^@\\s]+$",
    example: "samplebeta1@example.com",
};

const PASSWORD_HASH: Type = Type::Text {
    min: 1,
    max: Some(registration::HASH_BYTES_MAX),
};

/// What a log-in takes.
pub const LOGIN: Record = Record::open(&[
    Field::new("username", Type::SOME_TEXT).required(),
    Field::new("password", Type::SOME_TEXT).required(),
    Field::new("appId", Type::SOME_TEXT).required(),
]);

/// What takes a code of a second factor.
pub const MFA_CODE: Record = Record::open(&[Field::new("code", Type::TEXT).required()]);

/// What removes a second factor with a recovery code.
pub const MFA_RECOVER: Record = Record::open(&[
    Field::new("username", Type::TEXT).required(),
    Field::new("password", Type::TEXT).required(),
    Field::new("recoveryCode", Type::TEXT).required(),
]);

/// What a request for a password reset takes.
pub const RESET_REQUEST: Record = Record::open(&[Field::new("appId", Type::TEXT).required()]);

/// What a password reset takes.
pub const RESET_PASSWORD: Record = Record::open(&[
    Field::new("appId", Type::TEXT).required(),
    Field::new("resetToken", Type::TEXT).required(),
    Field::new("newPassword", NEW_PASSWORD).required(),
]);

/// What proves an address.
pub const VERIFY_EMAIL: Record = Record::open(&[
    Field::new("appId", Type::TEXT).required(),
    Field::new("token", Type::TEXT).required(),
]);

/// What becomes of addresses, in this order.
const EMAILS: Record = Record::closed(&[
    Field::new("add", ADDRESSES),
    Field::new("setPrimary", EMAIL),
    Field::new("remove", ADDRESSES),
    Field::new("resend", ADDRESSES),
]);
const ADDRESSES: Type = Type::Texts {
    min: 0,
    example: "samplebeta1@example.com",
};

/// What an update takes.
const FIELDS: Record = Record::closed(&[
    Field::new("email", EMAIL),
    Field::new("language", LANGUAGE),
    Field::new("emails", Type::Record(&EMAILS)),
])
.with_declared();

/// What a registration takes.
pub const REGISTRATION: Record = Record::open(&[
    Field::new("username", USERNAME).required(),
    Field::new("password", PASSWORD).required(),
    Field::new("email", EMAIL).required(),
    Field::new("appId", APP_ID).required(),
    Field::new("language", LANGUAGE).nullable(),
    Field::new("referer", REFERER).nullable(),
    Field::new("invitationToken", Type::TEXT).nullable(),
    Field::new("hosting", Type::TEXT).nullable(),
])
.with_declared();

/// What creates a user for an administrator: either the password or its hash.
pub const NEW_USER: Record = Record::closed(&[
    Field::new("username", USERNAME).required(),
    Field::new("passwordHash", PASSWORD_HASH),
    Field::new("password", PASSWORD),
    Field::new("email", EMAIL).required(),
    Field::new("language", LANGUAGE).required(),
    Field::new("appId", APP_ID).nullable(),
    Field::new("referer", REFERER).nullable(),
    Field::new("invitationToken", Type::TEXT).nullable(),
])
.with_declared();

pub(super) const GET: Description = Description {
    summary: "What the account shows",
    takes: Record::NOTHING,
    answers: ANSWERS,
    refuses: &[],
};

pub(super) const UPDATE: Description = Description {
    summary: "Changes fields of the account",
    takes: &Record::open(&[Field::new("update", Type::Record(&FIELDS)).required()]),
    answers: ANSWERS,
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::ItemAlreadyExists,
        ErrorId::TooManyRequests,
    ],
};

pub(super) const CHANGE_PASSWORD: Description = Description {
    summary: "Changes the password",
    takes: &Record::closed(&[
        Field::new("oldPassword", Type::TEXT).required(),
        Field::new("newPassword", NEW_PASSWORD).required(),
    ]),
    answers: Answer::Members(&[]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::TooManyRequests,
    ],
};

pub(super) const CHANGE_USERNAME: Description = Description {
    summary: "Gives the account another name; the former one still leads to it",
    takes: &Record::closed(&[Field::new("newUsername", USERNAME).required()]),
    answers: Answer::Members(&[
        Member::one("account", "Account"),
        Member::one("usernameChangesRemaining", "Count"),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::ItemAlreadyExists,
        ErrorId::TooManyRequests,
    ],
};

pub(super) const USERNAME_CHANGES: Description = Description {
    summary: "How often the name was and may be changed",
    takes: Record::NOTHING,
    answers: Answer::Members(&[
        Member::one("usernameChangesUsed", "Count"),
        Member::one("usernameChangesLimit", "Count"),
        Member::one("usernameChangesRemaining", "Count"),
    ]),
    refuses: &[],
};
