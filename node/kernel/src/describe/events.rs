//! The methods of events and of the files attached to them (spec/pryv-api §4).

use homecore_types::ErrorId;

use super::{
    Answer, CLIENT_DATA, CREATED, CREATED_BY, Description, Field, ID, INTEGRITY, MODIFIED,
    MODIFIED_BY, Member, Record, TRASHED, Type,
};
use crate::event::TYPE_PATTERN;
use crate::event::create::ID_PATTERN;

/// What any change of an event may be refused with.
const CHANGE_REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::InvalidRequestStructure,
    ErrorId::InvalidOperation,
    ErrorId::InvalidEventType,
    ErrorId::UnknownResource,
    ErrorId::UnknownReferencedResource,
    ErrorId::ItemAlreadyExists,
    ErrorId::TooManyRequests,
];

const KIND: Type = Type::Pattern {
    pattern: TYPE_PATTERN,
    example: "note/txt",
};
const STREAM_IDS: Type = Type::Texts {
    min: 1,
    example: "diary",
};

pub(super) const GET: Description = Description {
    summary: "The events that a query selects, latest first",
    takes: &Record::closed(&[
        Field::new("streams", Type::Json),
        Field::new(
            "types",
            Type::Texts {
                min: 0,
                example: "note/txt",
            },
        )
        .nullable(),
        Field::new("fromTime", Type::Number),
        Field::new("toTime", Type::Number),
        Field::new("sortAscending", Type::Flag).nullable(),
        Field::new("skip", Type::Count),
        Field::new("limit", Type::Count),
        Field::new("state", Type::Choice(&["default", "trashed", "all"])),
        Field::new("running", Type::Flag).nullable(),
        Field::new("modifiedSince", Type::Number),
        Field::new("includeDeletions", Type::Flag).nullable(),
        Field::new("content", Type::Json),
        Field::new("clientData", Type::Json),
    ]),
    answers: Answer::Members(&[
        Member::many("events", "Event"),
        Member::many("eventDeletions", "Deletion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidRequestStructure,
        ErrorId::InvalidOperation,
        ErrorId::UnknownReferencedResource,
        ErrorId::TooManyResults,
    ],
};

pub(super) const GET_ONE: Description = Description {
    summary: "One event, with its history if that is asked for",
    takes: &Record::open(&[ID, Field::new("includeHistory", Type::Flag).nullable()]),
    answers: Answer::Members(&[
        Member::one("event", "EventVersion"),
        Member::many("history", "EventVersion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::UnknownResource,
        ErrorId::TooManyResults,
    ],
};

pub(super) const CREATE: Description = Description {
    summary: "Makes an event",
    takes: &Record::closed(&[
        Field::new(
            "id",
            Type::Pattern {
                pattern: ID_PATTERN,
                example: "ckf0000000000000000000001",
            },
        ),
        Field::new("streamIds", STREAM_IDS).required(),
        Field::new("time", Type::Number),
        Field::new("duration", Type::Number).nullable(),
        Field::new("type", KIND).required(),
        Field::new("content", Type::Json),
        Field::new("description", Type::TEXT).nullable(),
        CLIENT_DATA,
        TRASHED,
        CREATED,
        CREATED_BY,
        MODIFIED,
        MODIFIED_BY,
        INTEGRITY,
    ]),
    answers: Answer::Members(&[Member::one("event", "Event")]),
    refuses: CHANGE_REFUSES,
};

pub(super) const UPDATE: Description = Description {
    summary: "Changes an event",
    takes: &Record::open(&[
        ID,
        Field::new(
            "update",
            Type::Record(&Record::closed(&[
                Field::new("streamIds", STREAM_IDS),
                Field::new("time", Type::Number),
                Field::new("duration", Type::Number).nullable(),
                Field::new("type", KIND),
                Field::new("content", Type::Json),
                Field::new("description", Type::TEXT).nullable(),
                CLIENT_DATA,
                TRASHED,
                Field::read_only("id"),
                Field::read_only("attachments"),
                INTEGRITY,
                CREATED,
                CREATED_BY,
                MODIFIED,
                MODIFIED_BY,
            ])),
        )
        .required(),
    ]),
    answers: Answer::Members(&[Member::one("event", "Event")]),
    refuses: CHANGE_REFUSES,
};

pub(super) const DELETE: Description = Description {
    summary: "Puts an event into the trash, or deletes one that is there",
    takes: &Record::open(&[ID]),
    answers: Answer::Members(&[
        Member::one("event", "Event").sometimes(),
        Member::one("eventDeletion", "Deletion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::UnknownResource,
    ],
};

pub(super) const DELETE_ATTACHMENT: Description = Description {
    summary: "Takes a file from an event",
    takes: &Record::open(&[ID, Field::new("fileId", Type::TEXT).required()]),
    answers: Answer::Members(&[Member::one("event", "Event")]),
    refuses: CHANGE_REFUSES,
};
