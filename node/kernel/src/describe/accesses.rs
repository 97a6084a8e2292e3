//! The methods of accesses (spec/pryv-api §2.4, §3).

use homecore_types::ErrorId;

use super::{
    Answer, CREATED, CREATED_BY, Description, Field, ID, INTEGRITY, MODIFIED, MODIFIED_BY, Member,
    Record, Type,
};
use crate::access::create::TOKEN_CHARS_MAX;

const CHANGE_REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::InvalidRequestStructure,
    ErrorId::InvalidItemId,
    ErrorId::InvalidOperation,
    ErrorId::UnknownResource,
    ErrorId::ItemAlreadyExists,
    ErrorId::StaleResource,
];

const CREATE_REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::InvalidRequestStructure,
    ErrorId::InvalidItemId,
    ErrorId::InvalidOperation,
    ErrorId::ItemAlreadyExists,
    ErrorId::TooManyRequests,
];

/// Entries of permissions: of a stream, or of a feature.
const PERMISSIONS: Type = Type::Records(&[
    &Record::closed(&[
        Field::new("streamId", Type::SOME_TEXT).required(),
        Field::new(
            "level",
            Type::Choice(&["none", "read", "create-only", "contribute", "manage"]),
        )
        .required(),
        Field::new("defaultName", Type::SOME_TEXT),
        Field::new("name", Type::TEXT),
    ]),
    &Record::closed(&[
        Field::new("feature", Type::SOME_TEXT).required(),
        Field::new("setting", Type::Choice(&["forbidden", "allowed"])).required(),
    ]),
]);

pub(super) const INFO: Description = Description {
    summary: "What the access is told about itself",
    takes: Record::NOTHING,
    answers: Answer::Schema("AccessInfo"),
    refuses: &[],
};

pub(super) const GET: Description = Description {
    summary: "The accesses that the access manages",
    takes: &Record::open(&[
        Field::new("includeExpired", Type::Flag).nullable(),
        Field::new("includeDeletions", Type::Flag).nullable(),
    ]),
    answers: Answer::Members(&[
        Member::many("accesses", "Access"),
        Member::many("accessDeletions", "Access").sometimes(),
    ]),
    refuses: &[ErrorId::InvalidParametersFormat, ErrorId::TooManyResults],
};

pub(super) const GET_ONE: Description = Description {
    summary: "One access, with its history if that is asked for",
    takes: &Record::open(&[ID, Field::new("includeHistory", Type::Flag).nullable()]),
    answers: Answer::Members(&[
        Member::one("access", "Access"),
        Member::many("history", "Access").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::UnknownResource,
        ErrorId::StaleResource,
        ErrorId::TooManyResults,
    ],
};

pub(super) const CREATE: Description = Description {
    summary: "Makes an access",
    takes: &Record::closed(&[
        Field::new("name", Type::SOME_TEXT).required(),
        Field::new("permissions", PERMISSIONS),
        Field::new("type", Type::Choice(&["personal", "app", "shared"])),
        Field::new(
            "token",
            Type::Text {
                min: 1,
                max: Some(TOKEN_CHARS_MAX),
            },
        ),
        Field::new("deviceName", Type::SOME_TEXT).nullable(),
        Field::new("expireAfter", Type::Span).nullable(),
        Field::new("clientData", Type::Object),
        Field::new("randomAlias", Type::Flag).nullable(),
        CREATED,
        CREATED_BY,
        MODIFIED,
        MODIFIED_BY,
        Field::read_only("lastUsed"),
        Field::read_only("apiEndpoint"),
        INTEGRITY,
        Field::read_only("alias"),
    ]),
    answers: Answer::Members(&[Member::one("access", "Access")]),
    refuses: CREATE_REFUSES,
};

pub(super) const UPDATE: Description = Description {
    summary: "Changes an access: a new version of it",
    takes: &Record::open(&[
        ID,
        Field::new(
            "update",
            Type::Record(&Record::closed(&[
                Field::new("name", Type::SOME_TEXT),
                Field::new("deviceName", Type::SOME_TEXT).nullable(),
                Field::new("permissions", PERMISSIONS),
                Field::new("expireAfter", Type::Span).nullable(),
                Field::new("expires", Type::Null),
                Field::new("clientData", Type::Object).nullable(),
            ])),
        )
        .required(),
    ]),
    answers: Answer::Members(&[Member::one("access", "Access")]),
    refuses: CHANGE_REFUSES,
};

pub(super) const DELETE: Description = Description {
    summary: "Deletes an access, and those that an app made with it",
    takes: &Record::open(&[ID]),
    answers: Answer::Members(&[
        Member::one("accessDeletion", "Deletion"),
        Member::many("relatedDeletions", "Deletion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::UnknownResource,
        ErrorId::StaleResource,
        ErrorId::TooManyResults,
    ],
};

pub(super) const CHECK_APP: Description = Description {
    summary: "Compares what an app asks for with what it has",
    takes: &Record::closed(&[
        Field::new("requestingAppId", Type::SOME_TEXT).required(),
        Field::new("requestedPermissions", PERMISSIONS).required(),
        Field::new("deviceName", Type::SOME_TEXT),
        Field::new("clientData", Type::Object).nullable(),
        Field::new("expireAfter", Type::Span).nullable(),
        Field::new("token", Type::SOME_TEXT),
    ]),
    answers: Answer::Members(&[
        Member::one("matchingAccess", "Access").sometimes(),
        Member::one("mismatchingAccess", "Access").sometimes(),
        Member::many("checkedPermissions", "Permission").sometimes(),
        Member::one("error", "CheckError").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidRequestStructure,
        ErrorId::InvalidOperation,
    ],
};
