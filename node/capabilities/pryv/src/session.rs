//! `auth/login`, `auth/logout`, `access-info` (spec/pryv-api §2.3, §2.4).
//!
//! The `sso` cookie of the original is not set: nothing accepts it.

use axum::Extension;
use axum::extract;
use axum::response::Response;
use homecore_http::context::ClientAddress;
use homecore_http::owner::Owner;
use homecore_http::rate::RateKey;
use homecore_http::{ApiError, JsonBody, Rate, Unread, UserContext};
use homecore_kernel::account::login::{LoggedIn, Login};
use homecore_kernel::audit::Source;
use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::caller::{Caller, owner};
use crate::state::State;

/// `POST /{username}/auth/login`.
pub(crate) async fn login(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Owner(user): Owner,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::LoginByClient, client)?;
    let by_user = RateKey::User(user.username.as_str().into());
    state.context.rates.take(Rate::LoginByUser, by_user)?;

    let body = body.json(&state.context).await?;
    let params = Value::Object(body.into_object()?);
    let origin = [ORIGIN, REFERER]
        .iter()
        .find_map(|name| headers.get(name))
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let login = state
        .kernel
        .log_in(&owner(&user), &params, origin, Source::http(client.0))
        .await?;
    let logged_in = match login {
        Login::Done(logged_in) => logged_in,
        Login::SecondFactor(token) => {
            let body = json!({ "mfaToken": token.expose() });
            return state.context.reply(StatusCode::OK, &body);
        }
    };
    let endpoint = endpoint(&state, &user, &logged_in);
    let mut body = Map::from_iter([
        ("token".to_owned(), json!(logged_in.token.expose())),
        ("apiEndpoint".to_owned(), json!(endpoint)),
        (
            "preferredLanguage".to_owned(),
            json!(logged_in.preferred_language),
        ),
    ]);
    body.extend(logged_in.password.to_json());
    state.context.reply(StatusCode::OK, &body)
}

/// The URL with which an app uses the session.
pub(crate) fn endpoint(state: &State, user: &UserContext, logged_in: &LoggedIn) -> String {
    let addressing = &state.settings().addressing;
    let (core, name) = (state.own_url(), user.username.as_str());
    addressing.api_endpoint(&core, name, &logged_in.token)
}

/// `POST /{username}/auth/logout`. Nothing in its body means anything, but it is to be one.
pub(crate) async fn logout(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
    _ignored: JsonBody,
) -> Result<Response, ApiError> {
    state.kernel.logout(&actor).await?;
    state.context.reply(StatusCode::OK, &json!({}))
}

/// `GET /{username}/access-info`.
pub(crate) async fn access_info(
    extract::State(state): extract::State<State>,
    Caller(actor): Caller,
) -> Result<Response, ApiError> {
    state.context.reply_text(
        StatusCode::OK,
        state.kernel.access_info(&actor).await?.as_bytes(),
    )
}
