//! What administrators look up across users: whose an access is, and whether this core's users are what
//! the platform has of them (spec/platform §2.6, §5.2).

use axum::extract::{self, Path};
use axum::response::Response;
use homecore_http::ApiError;
use homecore_http::error::shorten;
use homecore_kernel::access::id::Named;
use homecore_kernel::ports::{AccessInfo, IntegrityCheck, Unavailable};
use homecore_types::{ErrorId, Millis};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::admin::Admin;
use crate::state::State;

/// `GET /system/accesses/{id}`: whichever version is named, the access is meant.
pub(crate) async fn access(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let found = match Named::parse(&id) {
        Some(named) => state.platform.find_access(&named.id).await.map_err(told)?,
        None => None,
    };
    let found = found.ok_or_else(|| {
        let message = format!("Unknown access \"{}\"", shorten(&id));
        ApiError::new(ErrorId::UnknownResource, message)
    })?;
    let item = access_item(&found, state.settings().single_core);
    state
        .context
        .reply(StatusCode::OK, &json!({ "accessIndex": item }))
}

/// `GET /system/check-platform-integrity`: of the users of this core.
pub(crate) async fn integrity(
    extract::State(state): extract::State<State>,
    _admin: Admin,
) -> Result<Response, ApiError> {
    let checks = state.platform.check_integrity().await.map_err(told)?;
    let checks: Vec<Value> = checks.iter().map(check_item).collect();
    state
        .context
        .reply(StatusCode::OK, &json!({ "checks": checks }))
}

fn access_item(access: &AccessInfo, single_core: bool) -> Value {
    let mut item = Map::from_iter([
        ("accessId".to_owned(), json!(access.id)),
        ("username".to_owned(), json!(access.username)),
        ("type".to_owned(), json!(access.kind.wire())),
        (
            "expires".to_owned(),
            json!(access.expires.map(Millis::as_seconds)),
        ),
        ("created".to_owned(), json!(access.created.as_seconds())),
        (
            "lastModified".to_owned(),
            json!(access.modified.as_seconds()),
        ),
    ]);
    if let Some(deleted) = access.deleted {
        item.insert("deleted".to_owned(), json!(deleted.as_seconds()));
    }
    if !single_core {
        item.insert("core".to_owned(), json!(access.core));
    }
    Value::Object(item)
}

fn check_item(check: &IntegrityCheck) -> Value {
    json!({ "title": check.title, "infos": check.infos, "errors": check.errors })
}

/// 503 with the reason, which names cores: whoever has the key may know it, and needs it to see what is
/// to be done.
fn told(unavailable: Unavailable) -> ApiError {
    ApiError::new(ErrorId::ApiUnavailable, unavailable.reason).retry_after(unavailable.retry_after)
}
