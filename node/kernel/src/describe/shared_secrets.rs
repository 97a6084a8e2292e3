//! The methods of shared secrets (spec/pryv-api §9.7).

use homecore_types::ErrorId;

use super::{Answer, Description, Field, Member, Record, Type};

const REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::InvalidOperation,
    ErrorId::UnknownResource,
    ErrorId::UnavailableMethod,
];

const ANSWERS: Answer = Answer::Members(&[Member::one("sharedSecret", "SharedSecret")]);

const KEY: Field = Field::new("key", Type::TEXT).required();
const PROOF_KIND: Field = Field::new("type", Type::Choice(&["secret", "hmac-sha256"])).required();

/// What `sharedSecrets.retrieve` takes, which is a route and no method of batch calls.
pub const RETRIEVE: Record = Record::closed(&[
    KEY,
    Field::new(
        "signature",
        Type::Record(&Record::open(&[
            PROOF_KIND,
            Field::new("payload", Type::TEXT).required(),
        ])),
    )
    .by_own_rules(),
]);

/// What `sharedSecrets.retrieve` may refuse with.
pub const RETRIEVE_REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::Forbidden,
    ErrorId::UnknownResource,
    ErrorId::UnavailableMethod,
    ErrorId::TooManyRequests,
];

pub(super) const CREATE: Description = Description {
    summary: "Leaves a secret with the account",
    takes: &Record::closed(&[
        Field::new("ttl", Type::Span).required().by_own_rules(),
        Field::new("title", Type::SOME_TEXT)
            .required()
            .by_own_rules(),
        Field::new(
            "onConsumed",
            Type::Record(&Record::closed(&[
                Field::new("message", Type::SOME_TEXT).required(),
                Field::new("returnUrl", Type::TEXT).nullable(),
            ])),
        )
        .required()
        .by_own_rules(),
        Field::new("secret", Type::Json).required().by_own_rules(),
        Field::new(
            "signature",
            Type::Record(&Record::open(&[
                PROOF_KIND,
                Field::new("value", Type::SOME_TEXT).required(),
            ])),
        )
        .by_own_rules(),
        Field::new("keyHash", Type::SOME_TEXT).by_own_rules(),
    ]),
    answers: ANSWERS,
    refuses: REFUSES,
};

pub(super) const GET_ONE: Description = Description {
    summary: "How it stands with a shared secret; it is not handed over",
    takes: &Record::closed(&[KEY]),
    answers: ANSWERS,
    refuses: REFUSES,
};
