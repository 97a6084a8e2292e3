//! The methods of streams (spec/pryv-api §5).

use homecore_types::ErrorId;

use super::{
    Answer, CLIENT_DATA, CREATED, CREATED_BY, Description, Field, ID, MODIFIED, MODIFIED_BY,
    Member, Record, TRASHED, Type,
};

pub(super) const GET: Description = Description {
    summary: "The streams that the access sees, as trees",
    takes: &Record::open(&[
        Field::new("parentId", Type::TEXT).nullable(),
        Field::new("id", Type::TEXT).nullable(),
        Field::new("state", Type::Choice(&["default", "all"])),
        Field::new("includeDeletionsSince", Type::Number),
    ]),
    answers: Answer::Members(&[
        Member::many("streams", "Stream"),
        Member::many("streamDeletions", "Deletion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidRequestStructure,
        ErrorId::UnknownReferencedResource,
        ErrorId::TooManyResults,
    ],
};

pub(super) const CREATE: Description = Description {
    summary: "Makes a stream",
    takes: &Record::closed(&[
        Field::new("id", Type::SOME_TEXT),
        Field::new("name", Type::SOME_TEXT).required(),
        Field::new("parentId", Type::SOME_TEXT).nullable(),
        CLIENT_DATA,
        TRASHED,
        Field::read_only("children"),
        CREATED,
        CREATED_BY,
        MODIFIED,
        MODIFIED_BY,
    ]),
    answers: Answer::Members(&[Member::one("stream", "Stream")]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidItemId,
        ErrorId::InvalidOperation,
        ErrorId::UnknownReferencedResource,
        ErrorId::ItemAlreadyExists,
    ],
};

pub(super) const UPDATE: Description = Description {
    summary: "Changes a stream, or moves it",
    takes: &Record::open(&[
        ID,
        Field::new(
            "update",
            Type::Record(&Record::closed(&[
                Field::new("name", Type::SOME_TEXT),
                Field::new("parentId", Type::SOME_TEXT).nullable(),
                CLIENT_DATA,
                TRASHED,
                Field::read_only("id"),
                Field::read_only("children"),
                CREATED,
                CREATED_BY,
                MODIFIED,
                MODIFIED_BY,
            ])),
        )
        .required(),
    ]),
    answers: Answer::Members(&[Member::one("stream", "Stream")]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::UnknownResource,
        ErrorId::UnknownReferencedResource,
        ErrorId::ItemAlreadyExists,
    ],
};

pub(super) const DELETE: Description = Description {
    summary: "Puts a stream into the trash, or deletes one that is there with all below it",
    takes: &Record::open(&[
        ID,
        Field::new("mergeEventsWithParent", Type::Flag).nullable(),
    ]),
    answers: Answer::Members(&[
        Member::one("stream", "Stream").sometimes(),
        Member::many("updatedEvents", "EventChange").sometimes(),
        Member::one("streamDeletion", "Deletion").sometimes(),
    ]),
    refuses: &[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::UnknownResource,
        ErrorId::TooManyResults,
    ],
};
