//! `POST /users`, `/reg/users` and the older `/reg/user` (spec/platform §3.5, spec/pryv-api §10.1).
//!
//! Here only the form is checked, every fault at once. Whether names are free, the invitation good
//! and where the user will live is decided by the platform in one step, so that two cores cannot
//! disagree.

use axum::Extension;
use axum::extract;
use axum::response::Response;
use homecore_http::context::ClientAddress;
use homecore_http::{ApiError, Rate, Unread};
use homecore_kernel::ports::{RegisterError, Registration, Unavailable};
use homecore_kernel::violation::Violation;
use homecore_kernel::{Error, Kernel};
use homecore_types::{ErrorId, Secret, Username, entropy};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::reserved::is_reserved;
use crate::state::State;

/// Characters of the fields that have no rule of their own; they travel in platform commands.
const TEXT_CHARS_MAX: usize = 300;

/// So often a body is read. More is not of use to a core that does not know how fields are declared now.
const BODY_READ_MAX: usize = 3;

/// Whoever registers this name only tries whether the form is good: nothing is stored.
const DRY_RUN: &str = "backloop";

/// All three routes: older field names are understood everywhere where the present ones are absent.
pub(crate) async fn register(
    extract::State(state): extract::State<State>,
    Extension(client): Extension<ClientAddress>,
    body: Unread,
) -> Result<Response, ApiError> {
    state.limit(Rate::Registration, client)?;
    let body = body.json(&state.context).await?;
    let body = Value::Object(body.into_object()?);
    let parse =
        || Registration::parse(&state.kernel.schema(), &body).map_err(|found| invalid(&found));
    let registration = by_present_fields(&state.kernel, &parse).await?;
    ensure_bounded(&[
        (
            "hosting",
            "hosting-invalid",
            registration.hosting.as_deref(),
        ),
        invitation(registration.invitation.as_deref()),
    ])?;
    let policy = &state.kernel.settings().passwords;
    policy.check(&registration.password).map_err(Error::from)?;

    let username = registration.username.clone();
    if username.as_str() == DRY_RUN {
        let token = Secret::new(entropy::wire_id(&*state.entropy));
        return made(&state, &username, &state.own_url(), &token);
    }
    if is_reserved(username.as_str(), &state.context.site.facts()) {
        return Err(taken(&[("username".to_owned(), username.to_string())]));
    }
    let platform = &state.platform;
    let registered =
        with_present_fields(registration, parse, |asked| platform.register(asked)).await?;
    made(
        &state,
        &registered.username,
        &registered.core_url,
        &registered.token,
    )
}

/// Reads a body, and once more if it is refused and the platform declares other fields than this core knew.
pub(crate) async fn by_present_fields<T>(
    kernel: &Kernel,
    parse: &(impl Fn() -> Result<T, ApiError> + Sync),
) -> Result<T, ApiError> {
    let known = kernel.schema().version();
    let refused = match parse() {
        Ok(read) => return Ok(read),
        Err(refused) => refused,
    };
    if kernel.fields_changed_since(known).await {
        parse()
    } else {
        Err(refused)
    }
}

/// Does it with what was read of a body, which is read again if the platform declares other fields meanwhile.
pub(crate) async fn with_present_fields<T, R, Doing>(
    first: T,
    parse: impl Fn() -> Result<T, ApiError>,
    doing: impl Fn(T) -> Doing,
) -> Result<R, ApiError>
where
    Doing: Future<Output = Result<R, RegisterError>>,
{
    let mut asked = first;
    for _ in 1..BODY_READ_MAX {
        match doing(asked).await {
            Err(RegisterError::FieldsChanged) => asked = parse()?,
            result => return result.map_err(refused),
        }
    }
    doing(asked).await.map_err(refused)
}

fn made(
    state: &State,
    username: &Username,
    core_url: &str,
    token: &Secret,
) -> Result<Response, ApiError> {
    let addressing = &state.settings().addressing;
    let endpoint = addressing.api_endpoint(core_url, username.as_str(), token);
    let body = json!({ "username": username, "apiEndpoint": endpoint });
    state.context.reply(StatusCode::CREATED, &body)
}

/// Texts without a rule of their own, each with its name and the code of a refusal.
pub(crate) type Bounded<'a> = (&'static str, &'static str, Option<&'a str>);

/// An invitation, to be [bounded](ensure_bounded).
pub(crate) fn invitation(text: Option<&str>) -> Bounded<'_> {
    ("invitationToken", "invitationToken-invalid", text)
}

/// Refuses what is too long to travel in platform commands.
pub(crate) fn ensure_bounded(texts: &[Bounded<'_>]) -> Result<(), ApiError> {
    for &(name, code, text) in texts {
        if text.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            let message = format!("Should have at most {TEXT_CHARS_MAX} characters");
            return Err(invalid(&[Violation::of_field(
                code,
                &message,
                &format!("#/{name}"),
                name,
            )]));
        }
    }
    Ok(())
}

/// 400 with what is wrong.
pub(crate) fn invalid(violations: &[Violation]) -> ApiError {
    ApiError::new(
        ErrorId::InvalidParametersFormat,
        "The parameters' format is invalid.",
    )
    .with_data(Violation::list(violations))
}

/// 400 for a username in an address.
pub(crate) fn invalid_username() -> ApiError {
    invalid(&[Violation::of_field(
        "username-invalid",
        "Username should have between 5 and 60 characters and contain lowercase letters or numbers or dashes",
        "#/username",
        "username",
    )])
}

/// 400 for an e-mail address in an address.
pub(crate) fn invalid_email() -> ApiError {
    invalid(&[Violation::of_field(
        "email-invalid",
        "Email address format not recognized",
        "#/email",
        "email",
    )])
}

/// 409 with every field that is taken.
pub(crate) fn taken(fields: &[(String, String)]) -> ApiError {
    let shown: Vec<String> = fields
        .iter()
        .map(|(field, value)| format!("{field} \"{value}\""))
        .collect();
    let data: Map<String, Value> = fields
        .iter()
        .map(|(field, value)| (field.clone(), Value::from(value.as_str())))
        .collect();
    ApiError::new(
        ErrorId::ItemAlreadyExists,
        format!("An user with {} already exists", shown.join(", ")),
    )
    .with_data(Value::Object(data))
}

/// Why the platform did not take a user.
pub(crate) fn refused(error: RegisterError) -> ApiError {
    match error {
        RegisterError::Taken(mut fields) => {
            // The name first, as people read it.
            let name = fields.remove_entry("username");
            taken(&name.into_iter().chain(fields).collect::<Vec<_>>())
        }
        RegisterError::InvalidInvitation => {
            ApiError::new(ErrorId::InvalidOperation, "Invalid invitation token")
                .with_data(json!({ "param": "invitationToken" }))
        }
        RegisterError::UnknownHosting(_) => invalid(&[Violation::of_field(
            "hosting-invalid",
            &error.to_string(),
            "#/hosting",
            "hosting",
        )]),
        RegisterError::Refused { id, message } => ApiError::new(id, message),
        RegisterError::FieldsChanged => Unavailable {
            reason: error.to_string(),
            retry_after: std::time::Duration::from_secs(1),
        }
        .into(),
        RegisterError::Unavailable(unavailable) => unavailable.into(),
    }
}
