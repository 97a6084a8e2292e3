//! The wire's error ids with their HTTP status, in one closed list (spec/pryv-api §1.7).

use std::fmt;

macro_rules! error_ids {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $status:literal;)*) => {
        /// An error as clients know it: a stable id and its usual HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorId { $($(#[$doc])* $name,)* }

        impl ErrorId {
            /// Every id, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The id on the wire.
            #[must_use]
            pub const fn wire(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// The HTTP status that goes with the id, unless the operation says otherwise.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

error_ids! {
    /// The platform or a part of it cannot answer now; try again.
    ApiUnavailable = "api-unavailable", 503;
    /// Stored data is damaged.
    CorruptedData = "corrupted-data", 422;
    /// The access may not do this.
    Forbidden = "forbidden", 403;
    /// No token was given where one is needed.
    MissingAccessToken = "invalid-access-token", 401;
    /// The token is unknown, revoked, or its session ended.
    InvalidAccessToken = "invalid-access-token", 403;
    /// Wrong username, password or app.
    InvalidCredentials = "invalid-credentials", 401;
    /// The event type is unknown where it must be known.
    InvalidEventType = "invalid-event-type", 400;
    /// The id is reserved or malformed.
    InvalidItemId = "invalid-item-id", 400;
    /// No such method id.
    InvalidMethod = "invalid-method", 404;
    /// The operation makes no sense in the present state.
    InvalidOperation = "invalid-operation", 400;
    /// A parameter has the wrong form.
    InvalidParametersFormat = "invalid-parameters-format", 400;
    /// The request as a whole cannot be read.
    InvalidRequestStructure = "invalid-request-structure", 400;
    /// Something with a unique value exists already.
    ItemAlreadyExists = "item-already-exists", 409;
    /// The caller's version of an item is not the present one.
    StaleResource = "stale-resource", 409;
    /// A header is missing.
    MissingHeader = "missing-header", 400;
    /// The method existed in older versions.
    RemovedMethod = "removed-method", 410;
    /// A form with files is larger than it may be, or one of its files is.
    PayloadTooLarge = "payload-too-large", 413;
    /// More items than may be collected.
    TooManyResults = "too-many-results", 413;
    /// Too many requests of this kind from one place or for one user.
    TooManyRequests = "too-many-requests", 429;
    /// The feature is off on this platform.
    UnavailableMethod = "unavailable-method", 451;
    /// A defect of ours.
    UnexpectedError = "unexpected-error", 500;
    /// Something that the request names does not exist.
    UnknownReferencedResource = "unknown-referenced-resource", 400;
    /// What the request addresses does not exist.
    UnknownResource = "unknown-resource", 404;
    /// The body's content type is not read here.
    UnsupportedContentType = "unsupported-content-type", 415;
    /// The invitation token is not accepted.
    InvitationTokenInvalid = "invitationToken-invalid", 400;
    /// The user lives on another core.
    WrongCore = "wrong-core", 421;
    /// No access request has this key, or it expired.
    UnknownAccessKey = "unknown-access-key", 400;
    /// Parameters of a plain `/reg` route are wrong.
    InvalidParameters = "invalid-parameters", 400;
    /// No such user (legacy look-ups).
    UnknownUser = "unknown-user", 404;
    /// No such e-mail address (legacy look-ups).
    UnknownEmail = "unknown-email", 404;
}

impl fmt::Display for ErrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wire())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorId;

    #[test]
    fn ids_are_kebab_case_and_statuses_are_errors() {
        for id in ErrorId::ALL {
            assert!(
                id.wire()
                    .chars()
                    .all(|c| c.is_ascii_alphabetic() || c == '-'),
                "{id}"
            );
            assert!((400..600).contains(&id.status()), "{id}");
        }
    }
}
