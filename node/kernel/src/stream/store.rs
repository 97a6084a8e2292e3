//! Which store an id belongs to: ids carry it as a prefix (spec/pryv-api App. B.7).

use serde_json::{Value, json};

/// The root of the account streams.
pub const ACCOUNT_ROOT: &str = ":_system:account";
/// The root of the audit streams.
pub const AUDIT_ROOT: &str = ":_audit:";
/// The audit stream above those of accesses.
pub const AUDIT_ACCESSES: &str = ":_audit:accesses";
/// The audit stream above those of methods.
pub const AUDIT_ACTIONS: &str = ":_audit:actions";
/// Begins the id of an access's own audit stream.
pub const AUDIT_ACCESS_PREFIX: &str = ":_audit:access-";
/// Begins the id of a method's audit stream.
pub const AUDIT_ACTION_PREFIX: &str = ":_audit:action-";
/// The stream of e-mail addresses.
pub const EMAILS: &str = ":_emails:";
/// The stream of shared secrets.
pub const SHARED_SECRETS: &str = ":_shared-secrets:";
/// Names that look like stores and live in the local one; only homecore itself writes there.
pub const RESERVED_LOCAL: &[&str] = &["_emails", "_shared-secrets", "_cmc"];

/// A data source behind the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store<'a> {
    /// The user's own streams and events.
    Local,
    /// Account fields.
    Account,
    /// The audit log.
    Audit,
    /// What is known of shared secrets. Local to clients, but nothing on `*` covers it.
    SharedSecrets,
    /// A store that this version does not have.
    Other(&'a str),
}

impl<'a> Store<'a> {
    /// The store of a stream or event id; `*` and ids without prefix are local.
    #[must_use]
    pub fn of(id: &'a str) -> Self {
        match prefix(id) {
            None => Self::Local,
            Some("_system" | "system") => Self::Account,
            Some("_audit") => Self::Audit,
            Some("_shared-secrets") => Self::SharedSecrets,
            Some(name) if RESERVED_LOCAL.contains(&name) => Self::Local,
            Some(name) => Self::Other(name),
        }
    }

    /// Whether a grant on `*` covers it (spec/pryv-api §3.3).
    #[must_use]
    pub const fn takes_part_in_star(self) -> bool {
        match self {
            Self::Local | Self::Other(_) => true,
            Self::Account | Self::Audit | Self::SharedSecrets => false,
        }
    }
}

/// Whether an id lies in a namespace of the local store that only homecore writes.
#[must_use]
pub fn is_reserved_local(id: &str) -> bool {
    prefix(id).is_some_and(|name| RESERVED_LOCAL.contains(&name))
}

/// `data.id` of the refusal of what clients may not change, where clients know one.
#[must_use]
pub fn refusal_of(id: &str) -> Option<&'static str> {
    (prefix(id) == Some("_emails")).then_some("emails-reserved-stream")
}

/// `data` of such a refusal.
#[must_use]
pub fn refusal_data(id: &str) -> Option<Value> {
    refusal_of(id).map(|refusal| json!({ "id": refusal }))
}

/// Whether clients may change a stream of this id.
#[must_use]
pub fn is_clients_own(id: &str) -> bool {
    Store::of(id) == Store::Local && !is_reserved_local(id)
}

/// `name` of `:name:…`.
fn prefix(id: &str) -> Option<&str> {
    id.strip_prefix(':')?.split_once(':').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_name_stores() {
        for (id, store) in [
            ("health", Store::Local),
            ("*", Store::Local),
            (":odd", Store::Local),
            (":_system:language", Store::Account),
            (":system:email", Store::Account),
            (":_audit:access-x", Store::Audit),
            (":_emails:", Store::Local),
            (":_cmc:inbox", Store::Local),
            (":_shared-secrets:x", Store::SharedSecrets),
            (":dummy:x", Store::Other("dummy")),
        ] {
            assert_eq!(Store::of(id), store, "{id}");
        }
        assert!(is_reserved_local(":_emails:") && !is_reserved_local("health"));
    }
}
