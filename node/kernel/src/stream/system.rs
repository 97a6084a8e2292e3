//! Streams that exist for every user without being stored: account fields, the audit log, and the
//! reserved streams of the local store (spec/pryv-api §5.6, §9.5).

use serde_json::{Map, Value, json};

use super::schema::Schema;
use super::store::{
    AUDIT_ACCESS_PREFIX, AUDIT_ACCESSES, AUDIT_ACTION_PREFIX, AUDIT_ACTIONS, AUDIT_ROOT, EMAILS,
};

/// The time that the original server gives to streams that were always there.
const ALWAYS: f64 = 10_000_000.000_000_01;

/// Whether a stream exists without being stored.
#[must_use]
pub fn exists(schema: &Schema, id: &str) -> bool {
    id == EMAILS || is_audit(id) || schema.get(id).is_some()
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
pub fn parent_of<'s>(schema: &'s Schema, id: &str) -> Option<&'s str> {
    if let Some(stream) = schema.get(id) {
        return stream.parent.as_deref();
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
pub fn to_wire(schema: &Schema, id: &str, parent_id: Option<&str>) -> Option<Map<String, Value>> {
    let object = if let Some(stream) = schema.get(id) {
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
pub fn children_of<'s>(schema: &'s Schema, id: &'s str) -> impl Iterator<Item = &'s str> {
    let audit: &[&str] = match id {
        AUDIT_ROOT => &[AUDIT_ACCESSES, AUDIT_ACTIONS],
        _ => &[],
    };
    audit.iter().copied().chain(schema.children_of(id))
}
