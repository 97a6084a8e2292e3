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
    "mfa.activate",
    "mfa.challenge",
    "mfa.confirm",
    "mfa.deactivate",
    "mfa.recover",
    "mfa.verify",
    "sharedSecrets.retrieve",
];

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
            let methods = Method::ALL.iter().map(|method| method.id());
            let all = methods.chain(OTHER_ACTIONS.iter().copied());
            ids = named(AUDIT_ACTION_PREFIX, all).collect();
            ids.sort_unstable();
            ids.dedup();
        }
        _ => return Ok(None),
    }
    Ok(Some(ids))
}

fn named(prefix: &str, names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = String> {
    names.map(move |name| format!("{prefix}{name}"))
}
