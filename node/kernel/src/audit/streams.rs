//! The streams of the log, where they are asked for by the one above them: one of each access and of
//! each pseudo access, and one of each method.

use homecore_store::{StoreError, View};
use homecore_types::limits;

use super::{ADMIN, EMAIL_TOKEN, INVALID, PUBLIC, RESET_REQUEST, RESET_TOKEN, VALID_PASSWORD};
use crate::access::lookup;
use crate::method::Method;
use crate::stream::store::{
    AUDIT_ACCESS_PREFIX, AUDIT_ACCESSES, AUDIT_ACTION_PREFIX, AUDIT_ACTIONS,
};

/// Who calls without an access.
const PSEUDO_ACCESSES: &[&str] = &[
    ADMIN,
    EMAIL_TOKEN,
    INVALID,
    PUBLIC,
    RESET_REQUEST,
    RESET_TOKEN,
    VALID_PASSWORD,
];
/// Calls that are noted and are no methods of a batch call.
const OTHER_ACTIONS: &[&str] = &[
    "account.requestPasswordReset",
    "account.resetPassword",
    "account.verifyEmail",
    "auth.login",
    "auth.logout",
    "callBatch",
    "events.getAttachment",
    "events.getPreview",
    "mfa.activate",
    "mfa.challenge",
    "mfa.confirm",
    "mfa.deactivate",
    "mfa.recover",
    "mfa.verify",
    "sharedSecrets.retrieve",
    "system.deactivateMfa",
];

/// The ids of everything that the log may have entries of, each once, in order.
#[must_use]
pub fn noted_methods() -> Vec<&'static str> {
    let methods = Method::ALL.iter().map(|method| method.id());
    let mut all: Vec<_> = methods.chain(OTHER_ACTIONS.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The ids of the streams below one of the log; none for any other stream.
///
/// # Errors
/// Of the store.
pub(crate) fn streams_below(
    view: &dyn View,
    parent: &str,
) -> Result<Option<Vec<String>>, StoreError> {
    let mut ids: Vec<String>;
    match parent {
        AUDIT_ACCESSES => {
            ids = named(AUDIT_ACCESS_PREFIX, PSEUDO_ACCESSES.iter().copied()).collect();
            lookup::all(view, &mut |id, _| {
                ids.push(format!("{AUDIT_ACCESS_PREFIX}{id}"));
                Ok::<_, StoreError>(ids.len() < limits::COLLECTED_ITEMS_MAX)
            })?;
        }
        AUDIT_ACTIONS => {
            ids = named(AUDIT_ACTION_PREFIX, noted_methods().into_iter()).collect();
        }
        _ => return Ok(None),
    }
    Ok(Some(ids))
}

fn named(prefix: &str, names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = String> {
    names.map(move |name| format!("{prefix}{name}"))
}
