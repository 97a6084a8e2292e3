//! `POST /system/create-user`: a user for whom an administrator vouches (spec/platform §5.2).
//!
//! It lives on the core that was asked. Nobody has to be invited, and words that are kept from whoever
//! registers can be given; names that the platform uses itself cannot.

use axum::extract;
use axum::response::Response;
use homecore_http::{ApiError, Unread};
use homecore_kernel::Error;
use homecore_kernel::password::NewPassword;
use homecore_kernel::ports::NewUser;
use homecore_types::ErrorId;
use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::registration::{
    by_present_fields, ensure_bounded, invalid, invitation, taken, with_present_fields,
};
use crate::reserved::is_owned;
use crate::state::State;

/// Answers nothing of the user, as the original.
pub(crate) async fn create(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    body: Unread,
) -> Result<Response, ApiError> {
    if !body.is_json() {
        return Err(ApiError::new(
            ErrorId::UnsupportedContentType,
            "The body must be application/json",
        ));
    }
    let body = body.json(&state.context).await?;
    let body = Value::Object(body.into_object()?);
    let parse = || NewUser::parse(&state.kernel.schema(), &body).map_err(|found| invalid(&found));
    let user = by_present_fields(&state.kernel, &parse).await?;
    ensure_bounded(&[invitation(user.invitation.as_deref())])?;
    if let NewPassword::Clear(password) = &user.password {
        let policy = &state.kernel.settings().passwords;
        policy.check(password).map_err(Error::from)?;
    }
    let name = user.username.as_str();
    if is_owned(name, &state.context.site.facts()) {
        return Err(taken(&[("username".to_owned(), name.to_owned())]));
    }
    let platform = &state.platform;
    with_present_fields(user, parse, |user| platform.create_user(user)).await?;
    state.context.reply(StatusCode::CREATED, &json!({}))
}
