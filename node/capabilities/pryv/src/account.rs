//! `account`, its password, and its end (spec/pryv-api §2.5, §9.2, §9.3).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{self, Path, Request};
use axum::response::Response;
use homecore_http::owner::resolve;
use homecore_http::rate::{RateKey, RateLimits};
use homecore_http::{ApiError, JsonBody, Rate, Site};
use homecore_kernel::Method;
use homecore_kernel::ports::{CallLimits, ReservedNames};
use homecore_types::{ErrorId, UserId, Username};
use http::StatusCode;
use serde_json::{Value, json};

use crate::caller::{Caller, identify_as, name_access};
use crate::items::given;
use crate::reserved::is_reserved;
use crate::state::State;

/// What calls over the API are limited by.
#[derive(Debug)]
pub(crate) struct Limits(pub(crate) Arc<RateLimits>);

impl Limits {
    fn take(&self, rate: Rate, user: &str) -> Result<(), Duration> {
        let taken = self.0.take(rate, RateKey::User(user.into()));
        taken.map_err(|error| error.retry_after.unwrap_or_default())
    }
}

impl CallLimits for Limits {
    /// No more of them than log-ins of the same user.
    fn try_password(&self, username: &Username) -> Result<(), Duration> {
        self.take(Rate::LoginByUser, username.as_str())
    }

    fn change_account(&self, user: &UserId) -> Result<(), Duration> {
        self.take(Rate::AccountChange, user.as_str())
    }
}

/// `GET /{username}/account`.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    let reply = state
        .kernel
        .call(&actor, Method::AccountGet, json!({}))
        .await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `PUT /{username}/account`: the body is the changes.
pub(crate) async fn update(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let params = json!({ "update": given(body) });
    let method = Method::AccountUpdate;
    let reply = state.kernel.call(&actor, method, params).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `POST /{username}/account/change-password`.
pub(crate) async fn change_password(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let method = Method::AccountChangePassword;
    let reply = state.kernel.call(&actor, method, given(body)).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// Names that this platform keeps for itself.
#[derive(Debug)]
pub(crate) struct OwnNames(pub(crate) Arc<dyn Site>);

impl ReservedNames for OwnNames {
    fn is_reserved(&self, name: &Username) -> bool {
        is_reserved(name.as_str(), &self.0.facts())
    }
}

/// `POST /{username}/account/change-username`.
pub(crate) async fn change_username(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let method = Method::AccountChangeUsername;
    let reply = state.kernel.call(&actor, method, given(body)).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `GET /{username}/account/username-changes`.
pub(crate) async fn username_changes(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    let method = Method::AccountUsernameChanges;
    let reply = state.kernel.call(&actor, method, json!({})).await?;
    state.context.reply_text(StatusCode::OK, reply.as_bytes())
}

/// `DELETE /users/{username}`: by an administrator or by the person, as the operator lets them.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _body) = request.into_parts();
    let (settings, may) = (state.settings(), state.settings().deletion);
    let admin = may.by_admin && settings.is_admin(&parts.headers);
    if !admin && !may.by_person {
        return Err(ApiError::unknown_route());
    }
    let user = resolve(&*state.context.directory, &name).await?;
    let actor = if admin {
        None
    } else {
        let actor = identify_as(&state, &parts, &user).await?;
        if !actor.is_personal() {
            let refused = "Only a personal access may delete the account";
            return Err(ApiError::new(ErrorId::InvalidAccessToken, refused));
        }
        Some(actor)
    };
    state.platform.delete_user(&user.user).await?;
    let body: Value = json!({ "userDeletion": { "username": user.username } });
    let response = state.context.reply(StatusCode::OK, &body)?;
    Ok(match actor {
        Some(actor) => name_access(response, &actor),
        None => response,
    })
}
