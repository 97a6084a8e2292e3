//! Questions about names and places: is it taken, where does it live, where may one register
//! (spec/platform §3.3, §3.4, §3.6, §3.9). All are limited in rate, since they tell who has an
//! account and may cost a read of the platform.
//!
//! The platform is asked first, since what this core remembers may be old. When the platform cannot
//! answer, what is remembered is still told: clients find their core in an outage. What is not
//! remembered stays unknown (503), never "no".

use axum::Extension;
use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use homecore_http::context::{ClientAddress, plain_reply};
use homecore_http::error::shorten;
use homecore_http::{ApiError, Query, Rate};
use homecore_kernel::ports::{CoreInfo, Home, UserInfo};
use homecore_types::{Email, ErrorId, Username};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value, json};

use crate::access_request::COMPONENT;
use crate::registration;
use crate::reserved::is_reserved;
use crate::settings::Settings;
use crate::state::State;

/// `GET /reg/{username}/check_username`: taken, or reserved.
pub(crate) async fn check_username(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client)?;
    let username =
        Username::parse(name.to_lowercase()).map_err(|_| registration::invalid_username())?;
    let body = if is_reserved(username.as_str(), &state.context.site.facts()) {
        json!({ "reserved": true, "reason": "RESERVED_USER_NAME" })
    } else {
        let taken = match state.platform.username_taken(&username).await {
            Err(_) if state.context.directory.find(username.as_str()).is_some() => true,
            answer => answer?,
        };
        json!({ "reserved": taken })
    };
    state.context.reply(StatusCode::OK, &body)
}

/// `GET /reg/{email}/check_email`.
pub(crate) async fn check_email(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(address): Path<String>,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client)?;
    let email = Email::normalise(&address).map_err(|_| registration::invalid_email())?;
    if state.platform.find_by_email(&email).await?.is_some() {
        let taken = [("email".to_owned(), email.to_string())];
        return Err(registration::taken(&taken));
    }
    state
        .context
        .reply(StatusCode::OK, &json!({ "reserved": false }))
}

/// `GET /reg/cores?username=` or `?email=`.
pub(crate) async fn cores(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    query: Query,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client)?;
    let url = match (query.first("username"), query.first("email")) {
        (Some(name), None) => {
            let name = name.to_lowercase();
            let place = find_place(&state, &name).await?;
            let place = place.ok_or_else(|| ApiError::unknown_user(&name))?;
            let settings = state.settings();
            if settings.single_core {
                let name = place.username.as_str();
                settings.addressing.user_url(&place.core_url, name)
            } else {
                place.core_url
            }
        }
        // Where there is one core, there is nothing to ask.
        (None, Some(_)) if state.settings().single_core => state.own_url(),
        (None, Some(address)) => {
            let user = match Email::normalise(address) {
                Ok(email) => state.platform.find_by_email(&email).await?,
                Err(_) => None,
            };
            // An unknown address is answered as one of this core, so that nobody can try addresses.
            match user {
                Some(user) => core_url(&state, &user)?,
                None => state.own_url(),
            }
        }
        _ => {
            return Err(ApiError::new(
                ErrorId::InvalidParametersFormat,
                "provide \"username\" or \"email\" as query parameter",
            ));
        }
    };
    state
        .context
        .reply(StatusCode::OK, &json!({ "core": { "url": url } }))
}

/// Where somebody lives.
struct Place {
    /// The present name, or the alias that was asked for: whose it is, it does not tell.
    username: Username,
    core_url: String,
}

fn core_url(state: &State, user: &UserInfo) -> Result<String, ApiError> {
    state
        .platform
        .core_url(&user.core)
        .ok_or_else(|| ApiError::unexpected("a user's home core has no address"))
}

async fn find_place(state: &State, name: &str) -> Result<Option<Place>, ApiError> {
    let Ok(asked) = Username::parse(name) else {
        return Ok(None);
    };
    let shown = |present| {
        if Username::is_alias(name) {
            asked
        } else {
            present
        }
    };
    let directory = &state.context.directory;
    let home = match directory.find(name) {
        Some(home) => Some(home),
        // Somebody may have registered elsewhere a moment ago: the leader is asked before this core says no.
        None => directory.find_current(name).await?,
    };
    Ok(home.map(|home| match home {
        Home::Here { username, .. } => Place {
            username: shown(username),
            core_url: state.own_url(),
        },
        Home::Elsewhere { username, core_url } => Place {
            username: shown(username),
            core_url,
        },
    }))
}

/// `GET /reg/hostings`.
pub(crate) async fn hostings(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client)?;
    let cores = state.platform.cores().await;
    let regions = hosting_regions(&state.settings(), &cores, &state.own_url());
    state
        .context
        .reply(StatusCode::OK, &json!({ "regions": regions }))
}

/// The configured tree, with what is available now.
fn hosting_regions(settings: &Settings, cores: &[CoreInfo], own: &str) -> Map<String, Value> {
    let Some(configured) = &settings.hosting_regions else {
        let hosting = json!({ "name": "Default", "available": true, "availableCore": own });
        let zone = json!({ "name": "Default", "hostings": { "default": hosting } });
        let region = json!({ "name": "Default", "zones": { "default": zone } });
        return Map::from_iter([("default".to_owned(), region)]);
    };
    let mut regions = configured.clone();
    for region in regions.values_mut() {
        let zones = region.get_mut("zones").and_then(Value::as_object_mut);
        for zone in zones.into_iter().flat_map(Map::values_mut) {
            let hostings = zone.get_mut("hostings").and_then(Value::as_object_mut);
            for (key, hosting) in hosting_entries(hostings) {
                let core = cores.iter().find(|core| {
                    core.available && core.hosting.as_deref().unwrap_or("default") == key
                });
                hosting.insert("available".to_owned(), Value::Bool(core.is_some()));
                let url = core.map_or("", |core| core.url.as_str());
                hosting.insert("availableCore".to_owned(), Value::from(url));
            }
        }
    }
    regions
}

fn hosting_entries(
    hostings: Option<&mut Map<String, Value>>,
) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    hostings.into_iter().flatten().filter_map(|(key, hosting)| {
        hosting
            .as_object_mut()
            .map(|hosting| (key.as_str(), hosting))
    })
}

/// `GET /reg/{email}/username`.
pub(crate) async fn email_username(
    state: extract::State<State>,
    client: Extension<ClientAddress>,
    address: Path<String>,
) -> Result<Response, ApiError> {
    by_email(state, client, address, "username")
        .await
        .map_err(ApiError::plain)
}

/// `GET /reg/{email}/uid`: for clients the id of a user is the name.
pub(crate) async fn email_uid(
    state: extract::State<State>,
    client: Extension<ClientAddress>,
    address: Path<String>,
) -> Result<Response, ApiError> {
    by_email(state, client, address, "uid")
        .await
        .map_err(ApiError::plain)
}

async fn by_email(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(address): Path<String>,
    key: &str,
) -> Result<Response, ApiError> {
    state.limit(Rate::Lookup, client)?;
    let user = match Email::normalise(&address) {
        Ok(email) => state.platform.find_by_email(&email).await?,
        Err(_) => None,
    };
    let user =
        user.ok_or_else(|| ApiError::new(ErrorId::UnknownEmail, "Unknown e-mail address"))?;
    plain_reply(StatusCode::OK, &json!({ (key): user.username }))
}

/// `GET /reg/{username}/server`.
pub(crate) async fn server_redirect(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let (username, server) = server_of(&state, client, &name)
        .await
        .map_err(ApiError::plain)?;
    let name = utf8_percent_encode(username.as_str(), COMPONENT);
    let location = HeaderValue::try_from(format!("{server}?username={name}"))
        .map_err(|error| ApiError::internal(&error))?;
    Ok((StatusCode::FOUND, [(LOCATION, location)]).into_response())
}

/// `POST /reg/{username}/server`: how clients ask whether a user exists.
pub(crate) async fn server(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let (username, server) = server_of(&state, client, &name)
        .await
        .map_err(ApiError::plain)?;
    let alias = match state.settings().addressing.domain() {
        Some(domain) => format!("{username}.{domain}"),
        None => username.to_string(),
    };
    plain_reply(StatusCode::OK, &json!({ "server": server, "alias": alias }))
}

/// On a platform of one core the URL has no slash at its end, elsewhere it has.
async fn server_of(
    state: &State,
    client: ClientAddress,
    name: &str,
) -> Result<(Username, String), ApiError> {
    state.limit(Rate::Lookup, client)?;
    let name = name.to_lowercase();
    let place = find_place(state, &name).await?.ok_or_else(|| {
        ApiError::new(
            ErrorId::UnknownUser,
            format!("Unknown user \"{}\"", shorten(&name)),
        )
    })?;
    let mut url = place.core_url;
    if state.settings().single_core {
        url.truncate(url.trim_end_matches('/').len());
    }
    Ok((place.username, url))
}

/// `POST /reg/username/check`, `POST /reg/email/check` and what else is gone.
pub(crate) async fn gone() -> ApiError {
    ApiError::new(
        ErrorId::RemovedMethod,
        "API method gone, please stop using it.",
    )
}
