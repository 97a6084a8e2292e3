//! Which path leads where, and what it is: each route is declared with its description, from which
//! `/openapi.json` is written. Those at the root are in [`root`].

mod mfa;
mod root;

use axum::middleware::from_fn_with_state;
use homecore_http::openapi::{Auth, Body, Content, Operation, Outline, Routes, Verb};
use homecore_kernel::Method;
use homecore_kernel::describe::{
    LOGIN, Member, RESET_PASSWORD, RESET_REQUEST, RETRIEVE, RETRIEVE_REFUSES, VERIFY_EMAIL,
};
use homecore_types::ErrorId;

use crate::state::State;
use crate::{
    accesses, account, attachments, batch, caller, greeting, items, lookup, previews, profile,
    reset, session, shared_secrets, streams,
};

pub(crate) use root::{ROOTS, root};

/// Routes below a user.
pub(crate) fn user(state: State) -> Routes {
    let methods = caller::Methods::of(&guarded_routes().into_operations());
    let known = (state.clone(), methods);
    let authenticated = from_fn_with_state(known, caller::authenticate);
    let guarded = guarded_routes().route_layer(authenticated);
    open_routes().merge(guarded).with_state(state)
}

/// What all routes are.
pub(crate) fn outline() -> Outline {
    Outline {
        root: root::routes().into_operations(),
        user: open_routes().merge(guarded_routes()).into_operations(),
        ..Outline::default()
    }
}

/// Routes for callers with a token.
fn guarded_routes() -> Routes<State> {
    Routes::new()
        .route(call_batch(), batch::call_batch)
        .route(
            Operation::new(
                Verb::Post,
                "/auth/logout",
                "auth.logout",
                "Ends the session",
            )
            .auth(Auth::Token)
            .says([]),
            session::logout,
        )
        .route(
            Operation::of(Verb::Get, "/access-info", Method::GetAccessInfo),
            session::access_info,
        )
        .merge(account_routes())
        .merge(profile_routes())
        .merge(stream_routes())
        .merge(event_routes())
        .merge(access_routes())
        .merge(shared_secret_routes())
        .merge(mfa::guarded())
}

/// Routes that need no token, or look for it themselves.
fn open_routes() -> Routes<State> {
    let info = |path, id| {
        Operation::new(Verb::Get, path, id, "What the platform says of itself")
            .answers(200, Content::Named("ServiceInfo"))
    };
    let gone = |verb, path, id| root::gone(verb, path, id);
    // Files have other ways to say who asks.
    let file = |path, id| {
        Operation::new(Verb::Get, path, id, "The bytes of a file, or some of them")
            .auth(Auth::File)
            .answers(200, Content::File)
            .answers(206, Content::File)
            .answers(304, Content::Nothing)
            .answers(416, Content::Nothing)
    };
    Routes::new()
        .route(root::greeting("user.root"), greeting::greet)
        .route(
            info("/service/info", "user.serviceInfo"),
            greeting::service_info,
        )
        .route(
            info("/service/infos", "user.serviceInfos"),
            greeting::service_info,
        )
        .route(login(), session::login)
        .route(reset_request(), reset::request)
        .route(reset_password(), reset::reset)
        .route(verify_email(), reset::verify_email)
        .route(
            gone(Verb::Get, "/auth/who-am-i", "gone.whoAmI"),
            lookup::gone,
        )
        .route(
            gone(Verb::Post, "/events/start", "gone.eventsStart"),
            lookup::gone,
        )
        .route(
            gone(Verb::Post, "/events/stop", "gone.eventsStop"),
            lookup::gone,
        )
        .route(
            previews::operation("/previews/events/{id}", "events.getPreviewBelow"),
            previews::get_one,
        )
        .route(
            file("/events/{id}/{fileId}", "events.getAttachment"),
            attachments::get,
        )
        .route(
            file("/events/{id}/{fileId}/{*name}", "events.getAttachmentNamed"),
            attachments::get_named,
        )
        .route(
            Operation::new(
                Verb::Post,
                "/shared-secrets/retrieve",
                "sharedSecrets.retrieve",
                "Hands a shared secret over, once",
            )
            .takes(Body::Record(&RETRIEVE))
            .says([Member::one("secret", "Any")])
            .refuses(RETRIEVE_REFUSES),
            shared_secrets::retrieve,
        )
        .merge(mfa::open())
}

fn shared_secret_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::of(Verb::Post, "/shared-secrets", Method::SharedSecretsCreate).creates(),
            shared_secrets::create,
        )
        .route(
            Operation::of(
                Verb::Post,
                "/shared-secrets/status",
                Method::SharedSecretsGetOne,
            ),
            shared_secrets::status,
        )
}

fn login() -> Operation {
    Operation::new(
        Verb::Post,
        "/auth/login",
        "auth.login",
        "Opens a session of an app",
    )
    .takes(Body::Record(&LOGIN))
    .says([
        // Or only the last, where a second factor is asked for.
        Member::one("token", "Text").sometimes(),
        Member::one("apiEndpoint", "Text").sometimes(),
        Member::one("preferredLanguage", "Text").sometimes(),
        Member::one("passwordExpires", "Seconds").sometimes(),
        Member::one("passwordCanBeChanged", "Seconds").sometimes(),
        Member::one("mfaToken", "Text").sometimes(),
    ])
    .refuses(&[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::InvalidCredentials,
        ErrorId::TooManyRequests,
    ])
}

fn reset_request() -> Operation {
    Operation::new(
        Verb::Post,
        "/account/request-password-reset",
        "account.requestPasswordReset",
        "Has a token to set a new password sent to the person",
    )
    .takes(Body::Record(&RESET_REQUEST))
    .says([])
    .refuses(&[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidCredentials,
        ErrorId::TooManyRequests,
    ])
}

fn reset_password() -> Operation {
    Operation::new(
        Verb::Post,
        "/account/reset-password",
        "account.resetPassword",
        "Sets a new password with a token that came by mail",
    )
    .takes(Body::Record(&RESET_PASSWORD))
    .says([])
    .refuses(&[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidOperation,
        ErrorId::InvalidCredentials,
        ErrorId::MissingAccessToken,
        ErrorId::TooManyRequests,
    ])
}

fn verify_email() -> Operation {
    Operation::new(
        Verb::Post,
        "/account/verify-email",
        "account.verifyEmail",
        "Proves an address with a token that came by mail",
    )
    .takes(Body::Record(&VERIFY_EMAIL))
    .says([Member::one("email", "Text")])
    .refuses(&[
        ErrorId::InvalidParametersFormat,
        ErrorId::InvalidCredentials,
        ErrorId::MissingAccessToken,
        ErrorId::TooManyRequests,
    ])
}

fn call_batch() -> Operation {
    Operation::new(
        Verb::Post,
        "/",
        "callBatch",
        "Many calls in one request, each with a result in its place",
    )
    .auth(Auth::Token)
    .takes(Body::Schema("Calls"))
    .says([Member::many("results", "Result")])
    .refuses(&[ErrorId::InvalidParametersFormat, ErrorId::TooManyResults])
}

fn account_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::of(Verb::Get, "/account", Method::AccountGet),
            account::get,
        )
        .route(
            Operation::of(Verb::Put, "/account", Method::AccountUpdate),
            account::update,
        )
        .route(
            Operation::of(
                Verb::Post,
                "/account/change-password",
                Method::AccountChangePassword,
            ),
            account::change_password,
        )
        .route(
            Operation::of(
                Verb::Post,
                "/account/change-username",
                Method::AccountChangeUsername,
            ),
            account::change_username,
        )
        .route(
            Operation::of(
                Verb::Get,
                "/account/username-changes",
                Method::AccountUsernameChanges,
            ),
            account::username_changes,
        )
}

fn profile_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::of(Verb::Get, "/profile/public", Method::ProfileGetPublic),
            profile::get_public,
        )
        .route(
            Operation::of(Verb::Put, "/profile/public", Method::ProfileUpdate)
                .id("profile.updatePublic"),
            profile::update_public,
        )
        .route(
            Operation::of(Verb::Get, "/profile/private", Method::ProfileGet).fixes("id"),
            profile::get_private,
        )
        .route(
            Operation::of(Verb::Put, "/profile/private", Method::ProfileUpdate),
            profile::update_private,
        )
        .route(
            Operation::of(Verb::Get, "/profile/app", Method::ProfileGetApp),
            profile::get_app,
        )
        .route(
            Operation::of(Verb::Put, "/profile/app", Method::ProfileUpdateApp),
            profile::update_app,
        )
}

fn stream_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::of(Verb::Get, "/streams", Method::StreamsGet),
            items::streams_get,
        )
        .route(
            Operation::of(Verb::Post, "/streams", Method::StreamsCreate).creates(),
            items::streams_create,
        )
        .route(
            Operation::of(Verb::Put, "/streams/{id}", Method::StreamsUpdate),
            streams::update,
        )
        .route(
            Operation::of(Verb::Delete, "/streams/{id}", Method::StreamsDelete),
            streams::delete,
        )
}

fn event_routes() -> Routes<State> {
    let create = Operation::of(Verb::Post, "/events", Method::EventsCreate).creates();
    let create = create.takes(Body::RecordOrFiles(
        Method::EventsCreate.description().takes,
    ));
    let add = Operation::new(
        Verb::Post,
        "/events/{id}",
        "events.addAttachments",
        "Adds files to an event",
    )
    .acts_as(Method::EventsUpdate)
    .auth(Auth::Token)
    .takes(Body::Files)
    .says([Member::one("event", "Event")])
    .refuses(Method::EventsDeleteAttachment.description().refuses);
    Routes::new()
        .route(
            Operation::of(Verb::Get, "/events", Method::EventsGet),
            items::events_get,
        )
        .route(create, items::events_create)
        .route(
            Operation::of(Verb::Get, "/events/{id}", Method::EventsGetOne),
            items::events_get_one,
        )
        .route(
            Operation::of(Verb::Put, "/events/{id}", Method::EventsUpdate),
            items::events_update,
        )
        .route(
            Operation::of(Verb::Delete, "/events/{id}", Method::EventsDelete),
            items::events_delete,
        )
        .route(add, attachments::add)
        .route(
            Operation::of(
                Verb::Delete,
                "/events/{id}/{fileId}",
                Method::EventsDeleteAttachment,
            ),
            attachments::delete,
        )
}

fn access_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::of(Verb::Get, "/accesses", Method::AccessesGet),
            accesses::get,
        )
        .route(
            Operation::of(Verb::Post, "/accesses", Method::AccessesCreate).creates(),
            accesses::create,
        )
        .route(
            Operation::of(Verb::Get, "/accesses/{id}", Method::AccessesGetOne),
            accesses::get_one,
        )
        .route(
            Operation::of(Verb::Put, "/accesses/{id}", Method::AccessesUpdate),
            accesses::update,
        )
        .route(
            Operation::of(Verb::Delete, "/accesses/{id}", Method::AccessesDelete),
            accesses::delete,
        )
        .route(
            Operation::of(Verb::Post, "/accesses/check-app", Method::AccessesCheckApp),
            accesses::check_app,
        )
}
