//! The routes of the second factor, with their descriptions.

use homecore_http::openapi::{Auth, Body, Content, Operation, Routes, Verb};
use homecore_kernel::describe::{MFA_CODE, MFA_RECOVER, Member, Record};
use homecore_types::ErrorId;

use crate::mfa;
use crate::state::State;

const CODE_REFUSES: &[ErrorId] = &[
    ErrorId::InvalidParametersFormat,
    ErrorId::InvalidOperation,
    ErrorId::MissingAccessToken,
    ErrorId::TooManyRequests,
];

fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Verb::Post, path, id, summary)
}

/// For callers without an access.
pub(super) fn open() -> Routes<State> {
    Routes::new()
        .route(
            post(
                "/mfa/confirm",
                "mfa.confirm",
                "Sets the second factor with the code that came",
            )
            .takes(Body::Record(&MFA_CODE))
            .says([Member::many("recoveryCodes", "Text")])
            .refuses(CODE_REFUSES),
            mfa::confirm,
        )
        .route(
            post(
                "/mfa/challenge",
                "mfa.challenge",
                "Sends a code to the person",
            )
            .says([Member::one("message", "Text")])
            .refuses(&[
                ErrorId::InvalidOperation,
                ErrorId::MissingAccessToken,
                ErrorId::TooManyRequests,
            ]),
            mfa::challenge,
        )
        .route(
            post(
                "/mfa/verify",
                "mfa.verify",
                "Ends a log-in with the code that came",
            )
            .takes(Body::Record(&MFA_CODE))
            .says([
                Member::one("token", "Text"),
                Member::one("apiEndpoint", "Text"),
            ])
            .refuses(CODE_REFUSES),
            mfa::verify,
        )
        .route(
            post(
                "/mfa/recover",
                "mfa.recover",
                "Removes the second factor with the password and a recovery code",
            )
            .takes(Body::Record(&MFA_RECOVER))
            .says([Member::one("message", "Text")])
            .refuses(&[
                ErrorId::InvalidParametersFormat,
                ErrorId::InvalidOperation,
                ErrorId::InvalidCredentials,
                ErrorId::TooManyRequests,
            ]),
            mfa::recover,
        )
}

/// For callers with an access.
pub(super) fn guarded() -> Routes<State> {
    Routes::new()
        .route(
            post(
                "/mfa/activate",
                "mfa.activate",
                "Sends a code with which a second factor is set",
            )
            .auth(Auth::Token)
            .takes(Body::Record(Record::NOTHING))
            .answers(302, Content::members([Member::one("mfaToken", "Text")]))
            .refuses(&[
                ErrorId::InvalidParametersFormat,
                ErrorId::InvalidOperation,
                ErrorId::TooManyRequests,
            ]),
            mfa::activate,
        )
        .route(
            post(
                "/mfa/deactivate",
                "mfa.deactivate",
                "Removes the second factor",
            )
            .auth(Auth::Token)
            .says([Member::one("message", "Text")])
            .refuses(&[ErrorId::InvalidOperation]),
            mfa::deactivate,
        )
}
