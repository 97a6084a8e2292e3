//! What administrators ask of any core: `/system/…` and `/reg/admin/…` (spec/platform §3.1, §5).
//! Without the key these routes do not exist.
//!
//! `POST /system/users/validate`, `PUT /system/users` and `DELETE /system/users/{name}?onlyReg` of the
//! original are left out: they let one core write the platform's rows of another one's users.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{self, FromRequestParts, Path};
use axum::response::Response;
use futures_util::{Stream, stream};
use homecore_http::context::plain_reply;
use homecore_http::error::shorten;
use homecore_http::query::number;
use homecore_http::stream::{Cut, ListWriter, streamed};
use homecore_http::{API_VERSION, ApiError, JsonBody, Query};
use homecore_kernel::describe::{Field, Record, Type};
use homecore_kernel::ports::{CoreInfo, InvitationInfo, Platform, UserInfo};
use homecore_types::{CoreId, ErrorId, Username};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::state::State;

/// Users asked of the platform at once.
const PAGE: usize = 1_000;
/// Invitations made at once.
const INVITATIONS_MAX: u64 = 1_000;

/// What [`create_invitations`] takes.
pub(crate) const INVITATIONS: Record = Record::open(&[
    Field::new("count", Type::Count),
    Field::new("message", Type::TEXT).nullable(),
]);

/// Proof that the request carries the administrator's key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin;

impl FromRequestParts<State> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        if state.settings().is_admin(&parts.headers) {
            return Ok(Self);
        }
        let plain = parts.uri.path().starts_with("/reg/");
        let error = ApiError::unknown_route();
        Err(if plain { error.plain() } else { error })
    }
}

/// `GET /system/admin/users`: those who live on this core. `limit` and `after` page through them.
pub(crate) async fn users(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    query: Query,
) -> Result<Response, ApiError> {
    let limit = match query.first("limit") {
        None => usize::MAX,
        Some(text) => number(text)
            .and_then(|number| number.as_u64())
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| wrong_parameter("limit"))?,
    };
    let after = match query.first("after") {
        None => None,
        Some(name) => Some(Username::parse(name).map_err(|_| wrong_parameter("after"))?),
    };
    let this = state.platform.this_core().id;
    let pages = UserPages::open(&state, vec![Some(this)], after, limit).await?;
    let single_core = state.settings().single_core;
    Ok(streamed(pages.write(Some(state), "users", move |user| {
        let mut item = Map::from_iter([
            ("username".to_owned(), json!(user.username)),
            ("id".to_owned(), json!(user.id)),
        ]);
        let fields = user.unique.iter().chain(&user.indexed);
        for (name, value) in
            fields.filter(|(name, _)| ["email", "language"].contains(&name.as_str()))
        {
            item.insert(name.clone(), json!(value));
        }
        if !single_core {
            item.insert("core".to_owned(), json!(user.core));
        }
        Value::Object(item)
    })))
}

/// `GET /system/admin/cores`.
pub(crate) async fn cores(
    extract::State(state): extract::State<State>,
    _admin: Admin,
) -> Result<Response, ApiError> {
    let cores: Vec<Value> = state.platform.cores().await.iter().map(core_item).collect();
    state
        .context
        .reply(StatusCode::OK, &json!({ "cores": cores }))
}

/// `GET /system/status`: this core and the platform as it sees it.
pub(crate) async fn status(
    extract::State(state): extract::State<State>,
    _admin: Admin,
) -> Result<Response, ApiError> {
    let cores: Vec<Value> = state.platform.cores().await.iter().map(core_item).collect();
    let core = core_item(&state.platform.this_core());
    let body = json!({ "status": { "version": API_VERSION, "core": core, "cores": cores } });
    state.context.reply(StatusCode::OK, &body)
}

fn core_item(core: &CoreInfo) -> Value {
    json!({
        "id": core.id,
        "url": core.url,
        "hosting": core.hosting,
        "available": core.available,
        "userCount": core.users,
    })
}

/// `GET /reg/admin/users/{username}`.
pub(crate) async fn user(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let name = name.to_lowercase();
    let find = async {
        let user = match Username::parse(name.as_str()) {
            Ok(_) => state.platform.find_user(&name).await?,
            Err(_) => None,
        };
        user.ok_or_else(|| ApiError::unknown_user(&name))
    };
    let user = find.await.map_err(ApiError::plain)?;
    let mut body = Map::from_iter([("username".to_owned(), json!(user.username))]);
    for (field, value) in user.indexed {
        body.insert(field, Value::from(value));
    }
    plain_reply(StatusCode::OK, &body)
}

/// `GET /reg/admin/servers`.
pub(crate) async fn servers(
    extract::State(state): extract::State<State>,
    _admin: Admin,
) -> Result<Response, ApiError> {
    let mut servers = Map::new();
    for core in state.platform.cores().await {
        servers.insert(core.url, json!({ "userCount": core.users }));
    }
    plain_reply(StatusCode::OK, &json!({ "servers": servers }))
}

/// `GET /reg/admin/servers/{name}/users`: of a core named by its id or by a part of its URL.
pub(crate) async fn server_users(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let cores: Vec<Option<CoreId>> = state
        .platform
        .cores()
        .await
        .into_iter()
        .filter(|core| core.id.as_str() == name || core.url.contains(&name))
        .map(|core| Some(core.id))
        .collect();
    if cores.is_empty() {
        return Err(ApiError::new(
            ErrorId::UnknownResource,
            format!("Unknown server \"{name}\""),
        )
        .plain());
    }
    let pages = UserPages::open(&state, cores, None, usize::MAX)
        .await
        .map_err(ApiError::plain)?;
    let plain = pages.write(None, "users", |user| json!({ "username": user.username }));
    Ok(streamed(plain))
}

/// `GET /reg/admin/servers/{src}/rename/{dst}`: in the original it gives users to another core
/// without moving their data, which loses them. It is refused; moving a user is another operation.
pub(crate) async fn rename_server(_admin: Admin) -> ApiError {
    ApiError::new(
        ErrorId::RemovedMethod,
        "Renaming a server moves no data and is not offered; move the users instead",
    )
    .plain()
}

/// `GET /reg/admin/invitations`.
pub(crate) async fn invitations(
    extract::State(state): extract::State<State>,
    _admin: Admin,
) -> Result<Response, ApiError> {
    let invitations = state
        .platform
        .invitations()
        .await
        .map_err(|e| ApiError::from(e).plain())?;
    let items: Vec<Value> = invitations.iter().map(invitation_item).collect();
    plain_reply(StatusCode::OK, &json!({ "invitations": items }))
}

/// `GET /reg/admin/invitations/post?count=&message=`, a `GET` that writes, kept for dashboards.
pub(crate) async fn post_invitations(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    query: Query,
) -> Result<Response, ApiError> {
    let count = query.first("count").unwrap_or("1");
    let made = make_invitations(
        &state,
        number(count),
        query.first("message").unwrap_or_default(),
    )
    .await
    .map_err(ApiError::plain)?;
    plain_reply(StatusCode::OK, &json!({ "data": made }))
}

/// `POST /system/admin/invitations` with `{count, message}`.
pub(crate) async fn create_invitations(
    extract::State(state): extract::State<State>,
    _admin: Admin,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body = body.into_object()?;
    let count = match body.get("count") {
        None => Some(1.into()),
        Some(Value::Number(count)) => Some(count.clone()),
        Some(_) => None,
    };
    let message = match body.get("message") {
        None | Some(Value::Null) => "",
        Some(Value::String(message)) => message,
        Some(_) => return Err(wrong_parameter("message")),
    };
    let made = make_invitations(&state, count, message).await?;
    state
        .context
        .reply(StatusCode::CREATED, &json!({ "invitations": made }))
}

async fn make_invitations(
    state: &State,
    count: Option<serde_json::Number>,
    message: &str,
) -> Result<Vec<Value>, ApiError> {
    let count = count
        .and_then(|count| count.as_u64())
        .filter(|count| (1..=INVITATIONS_MAX).contains(count))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| wrong_parameter("count"))?;
    let made = state
        .platform
        .create_invitations(count, "admin", &shorten(message))
        .await?;
    Ok(made.iter().map(invitation_item).collect())
}

fn invitation_item(invitation: &InvitationInfo) -> Value {
    let mut item = Map::from_iter([
        ("id".to_owned(), json!(invitation.id)),
        ("createdAt".to_owned(), json!(invitation.created_at)),
        ("createdBy".to_owned(), json!(invitation.created_by)),
        ("description".to_owned(), json!(invitation.description)),
    ]);
    if let Some(at) = invitation.consumed_at {
        item.insert("consumedAt".to_owned(), json!(at));
        item.insert("consumedBy".to_owned(), json!(invitation.consumed_by));
    }
    Value::Object(item)
}

fn wrong_parameter(name: &str) -> ApiError {
    ApiError::new(
        ErrorId::InvalidParameters,
        format!("Missing or invalid {name}"),
    )
    .with_data(json!({ "param": name }))
}

/// Users of some cores, read from the platform in pages: a platform may have a million.
struct UserPages {
    platform: Arc<dyn Platform>,
    cores: VecDeque<Option<CoreId>>,
    after: Option<Username>,
    left: usize,
    page: Vec<UserInfo>,
}

impl UserPages {
    /// Reads the first page, so that a platform that cannot answer is an error and not a cut.
    async fn open(
        state: &State,
        cores: Vec<Option<CoreId>>,
        after: Option<Username>,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let mut pages = Self {
            platform: Arc::clone(&state.platform),
            cores: cores.into(),
            after,
            left: limit,
            page: Vec::new(),
        };
        pages.read().await?;
        Ok(pages)
    }

    /// Reads the next page; none is left when it stays empty.
    async fn read(&mut self) -> Result<(), ApiError> {
        self.page.clear();
        while let Some(core) = self.cores.front() {
            let wanted = self.left.min(PAGE);
            if wanted == 0 {
                return Ok(());
            }
            let after = self.after.as_ref();
            self.page = self.platform.users(core.as_ref(), after, wanted).await?;
            self.left = self.left.saturating_sub(self.page.len());
            if let Some(last) = self.page.last() {
                self.after = Some(last.username.clone());
                return Ok(());
            }
            self.cores.pop_front();
            self.after = None;
        }
        Ok(())
    }

    fn write(
        self,
        meta: Option<State>,
        key: &'static str,
        item: impl Fn(&UserInfo) -> Value + Send + 'static,
    ) -> impl Stream<Item = Result<bytes::Bytes, Cut>> + Send + 'static {
        let mut writer = ListWriter::default();
        writer.list(key);
        stream::try_unfold(Some((self, writer)), move |step| {
            let (item, meta) = (&item, &meta);
            // The first page is there already; each step writes it and reads the next.
            let written = step.map(|(pages, mut writer)| {
                let failed = pages
                    .page
                    .iter()
                    .find_map(|user| writer.item(&item(user)).err());
                (pages, writer, failed)
            });
            let context = meta.as_ref().map(|state| Arc::clone(&state.context));
            async move {
                let Some((mut pages, mut writer, failed)) = written else {
                    return Ok(None);
                };
                if let Some(error) = failed {
                    return Err(Cut(error.to_string()));
                }
                if !pages.page.is_empty() {
                    pages.read().await?;
                }
                if pages.page.is_empty() {
                    let end = match context {
                        Some(context) => writer
                            .finish(&context)
                            .map_err(|error| Cut(error.to_string()))?,
                        None => writer.finish_plain(),
                    };
                    return Ok(Some((end, None)));
                }
                let piece = writer.take();
                Ok(Some((piece, Some((pages, writer)))))
            }
        })
    }
}
