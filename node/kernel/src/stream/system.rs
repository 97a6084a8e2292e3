//! Streams that exist for every user without being stored: account fields, the audit log, and the
//! reserved streams of the local store (spec/pryv-api §5.6, §9.5).

use serde_json::{Map, Value, json};

use super::store::{
    ACCOUNT_ROOT, AUDIT_ACCESS_PREFIX, AUDIT_ACCESSES, AUDIT_ACTION_PREFIX, AUDIT_ACTIONS,
    AUDIT_ROOT, EMAILS,
};

/// The time that the original server gives to streams that were always there.
const ALWAYS: f64 = 10_000_000.000_000_01;

/// An account field, which of the account it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Preferred language.
    Language,
    /// The app that registered the user.
    AppId,
    /// The invitation that was used.
    InvitationToken,
    /// Where the user came from.
    Referer,
    /// Bytes of documents.
    DbDocuments,
    /// Bytes of files.
    AttachedFiles,
    /// The address.
    Email,
}

/// A stream of the account tree.
#[derive(Debug)]
pub struct AccountStream {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its parent; none for the root.
    pub parent: Option<&'static str>,
    /// Visible in listings; hidden ones cannot be read.
    pub shown: bool,
    /// Clients may set the field.
    pub editable: bool,
    /// The field and the type of its event, where the stream holds one.
    pub field: Option<(Field, &'static str)>,
}

/// What clients may do with a field.
enum Rule {
    Hidden,
    Shown,
    Editable,
}

const fn field(
    id: &'static str,
    name: &'static str,
    rule: &Rule,
    field: Option<(Field, &'static str)>,
) -> AccountStream {
    AccountStream {
        id,
        name,
        parent: Some(ACCOUNT_ROOT),
        shown: !matches!(rule, Rule::Hidden),
        editable: matches!(rule, Rule::Editable),
        field,
    }
}

/// Above the two figures of storage.
const STORAGE_USED: &str = ":_system:storageUsed";

/// The account tree, each parent before its children.
pub const ACCOUNT_STREAMS: &[AccountStream] = &[
    AccountStream {
        id: ACCOUNT_ROOT,
        name: "Account",
        parent: None,
        shown: true,
        editable: false,
        field: None,
    },
    field(
        ":_system:language",
        "Language",
        &Rule::Editable,
        Some((Field::Language, "language/iso-639-1")),
    ),
    field(
        ":_system:appId",
        "appId",
        &Rule::Hidden,
        Some((Field::AppId, "identifier/string")),
    ),
    field(
        ":_system:invitationToken",
        "Invitation Token",
        &Rule::Hidden,
        Some((Field::InvitationToken, "token/string")),
    ),
    field(
        ":_system:referer",
        "Referer",
        &Rule::Hidden,
        Some((Field::Referer, "identifier/string")),
    ),
    field(STORAGE_USED, "Storage used", &Rule::Shown, None),
    AccountStream {
        id: ":_system:dbDocuments",
        name: "Db Documents",
        parent: Some(STORAGE_USED),
        shown: true,
        editable: false,
        field: Some((Field::DbDocuments, "data-quantity/b")),
    },
    AccountStream {
        id: ":_system:attachedFiles",
        name: "Attached files",
        parent: Some(STORAGE_USED),
        shown: true,
        editable: false,
        field: Some((Field::AttachedFiles, "data-quantity/b")),
    },
    field(
        ":system:email",
        "Email",
        &Rule::Editable,
        Some((Field::Email, "email/string")),
    ),
];

/// The order in which the original server lists account fields as events, latest first.
pub const ACCOUNT_EVENT_ORDER: &[Field] = &[
    Field::AttachedFiles,
    Field::DbDocuments,
    Field::Email,
    Field::Language,
];

/// An account stream by id.
#[must_use]
pub fn account_stream(id: &str) -> Option<&'static AccountStream> {
    ACCOUNT_STREAMS.iter().find(|stream| stream.id == id)
}

/// The account stream of a field.
#[must_use]
pub fn stream_of(wanted: Field) -> Option<&'static AccountStream> {
    ACCOUNT_STREAMS
        .iter()
        .find(|stream| stream.field.is_some_and(|(field, _)| field == wanted))
}

/// Whether a stream exists without being stored.
#[must_use]
pub fn exists(id: &str) -> bool {
    id == EMAILS || is_audit(id) || account_stream(id).is_some()
}

/// Whether this is a stream of the audit log. There is one for every access and method id.
#[must_use]
pub fn is_audit(id: &str) -> bool {
    matches!(id, AUDIT_ROOT | AUDIT_ACCESSES | AUDIT_ACTIONS)
        || id
            .strip_prefix(AUDIT_ACCESS_PREFIX)
            .is_some_and(|rest| !rest.is_empty())
        || id
            .strip_prefix(AUDIT_ACTION_PREFIX)
            .is_some_and(|rest| !rest.is_empty())
}

/// The parent of a stream that is not stored.
#[must_use]
pub fn parent_of(id: &str) -> Option<&'static str> {
    if let Some(stream) = account_stream(id) {
        return stream.parent;
    }
    match id {
        AUDIT_ACCESSES | AUDIT_ACTIONS => Some(AUDIT_ROOT),
        id if !is_audit(id) => None,
        id if id.starts_with(AUDIT_ACCESS_PREFIX) => Some(AUDIT_ACCESSES),
        id if id.starts_with(AUDIT_ACTION_PREFIX) => Some(AUDIT_ACTIONS),
        _ => None,
    }
}

/// The wire form of a stream that is not stored, without its children.
#[must_use]
pub fn to_wire(id: &str, parent_id: Option<&str>) -> Option<Map<String, Value>> {
    let object = if let Some(stream) = account_stream(id) {
        json!({
            "id": id, "name": stream.name, "parentId": parent_id,
            "created": ALWAYS, "createdBy": "system", "modified": ALWAYS, "modifiedBy": "system",
        })
    } else if id == EMAILS {
        json!({
            "id": id, "name": "Emails", "parentId": parent_id,
            "clientData": { "emails": { "kind": "reserved", "autoProvisioned": true } },
        })
    } else if id == AUDIT_ROOT {
        json!({
            "id": id, "name": "Audit", "parentId": parent_id,
            "created": ALWAYS, "createdBy": "system", "modified": ALWAYS, "modifiedBy": "system",
            "childrenHidden": true,
        })
    } else if id == AUDIT_ACCESSES {
        json!({ "id": id, "name": "Accesses", "parentId": parent_id, "childrenHidden": true })
    } else if id == AUDIT_ACTIONS {
        json!({ "id": id, "name": "Actions", "parentId": parent_id, "childrenHidden": true })
    } else if is_audit(id) {
        let name = id.strip_prefix(AUDIT_ROOT).unwrap_or(id);
        json!({ "id": id, "name": name, "parentId": parent_id })
    } else {
        return None;
    };
    match object {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// Children of a stream that is not stored. Those of the audit log are only found by id.
pub fn children_of(id: &str) -> Vec<&'static str> {
    if id == AUDIT_ROOT {
        return vec![AUDIT_ACCESSES, AUDIT_ACTIONS];
    }
    ACCOUNT_STREAMS
        .iter()
        .filter(|stream| stream.parent == Some(id))
        .map(|stream| stream.id)
        .collect()
}
