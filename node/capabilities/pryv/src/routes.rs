//! Which path leads where. Registration routes stand at `/reg/…`; some have an older place too.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, delete, get, post, put};

use crate::state::State;
use crate::{
    access_request, accesses, account, admin, apps, attachments, batch, caller, greeting, items,
    lookup, profile, records, registration, session, shared_secrets, streams,
};

/// First path segments at the root.
pub(crate) const ROOTS: &[&str] = &["", "reg", "users", "apps", "access", "service", "system"];

/// Routes at the root.
pub(crate) fn root(state: State) -> Router {
    Router::new()
        .route("/", get(greeting::greet))
        .route("/service/info", get(greeting::service_info))
        .route("/reg/service/info", get(greeting::service_info))
        .merge(registration_routes())
        .merge(access_routes())
        .merge(admin_routes())
        .with_state(state)
}

fn registration_routes() -> Router<State> {
    Router::new()
        .route("/users", post(registration::register))
        .route("/users/{name}", delete(account::delete))
        .route("/reg/users", post(registration::register))
        .route("/reg/user", post(registration::register))
        .route("/reg/{name}/check_username", get(lookup::check_username))
        .route("/reg/{name}/check_email", get(lookup::check_email))
        .route("/reg/username/check", post(lookup::gone))
        .route("/reg/email/check", post(lookup::gone))
        .route("/reg/cores", get(lookup::cores))
        .route("/reg/hostings", get(lookup::hostings))
        .route("/reg/{name}/username", get(lookup::email_username))
        .route("/reg/{name}/uid", get(lookup::email_uid))
        .route(
            "/reg/{name}/server",
            get(lookup::server_redirect).post(lookup::server),
        )
        .route("/apps", get(apps::list))
        .route("/apps/{id}", get(apps::one))
        .route("/reg/apps", get(apps::list))
        .route("/reg/apps/{id}", get(apps::one))
}

fn accesses_routes() -> Router<State> {
    Router::new()
        .route("/accesses", get(accesses::get).post(accesses::create))
        .route(
            "/accesses/{id}",
            get(accesses::get_one)
                .put(accesses::update)
                .delete(accesses::delete),
        )
        .route("/accesses/check-app", post(accesses::check_app))
}

fn access_routes() -> Router<State> {
    Router::new()
        .route(
            "/access/invitationtoken/check",
            post(apps::check_invitation),
        )
        .route(
            "/reg/access/invitationtoken/check",
            post(apps::check_invitation),
        )
        .route("/reg/access", post(access_request::create))
        .route(
            "/reg/access/{key}",
            get(access_request::poll).post(access_request::resolve),
        )
}

fn admin_routes() -> Router<State> {
    Router::new()
        .route("/reg/records", post(records::put))
        .route("/reg/records/{subdomain}", delete(records::delete))
        .route("/reg/admin/users/{name}", get(admin::user))
        .route("/reg/admin/servers", get(admin::servers))
        .route("/reg/admin/servers/{name}/users", get(admin::server_users))
        .route(
            "/reg/admin/servers/{name}/rename/{to}",
            any(admin::rename_server),
        )
        .route("/reg/admin/invitations", get(admin::invitations))
        .route("/reg/admin/invitations/post", get(admin::post_invitations))
        .route("/system/admin/users", get(admin::users))
        .route("/system/admin/cores", get(admin::cores))
        .route("/system/admin/invitations", post(admin::create_invitations))
        .route("/system/status", get(admin::status))
}

/// Routes below a user.
pub(crate) fn user(state: State) -> Router {
    let open = Router::new()
        .route("/", get(greeting::greet))
        .route("/service/info", get(greeting::service_info))
        .route("/service/infos", get(greeting::service_info))
        .route("/auth/login", post(session::login))
        .route("/auth/who-am-i", get(lookup::gone))
        .route("/events/start", post(lookup::gone))
        .route("/events/stop", post(lookup::gone))
        // Files have other ways to say who asks.
        .route("/events/{id}/{file}", get(attachments::get))
        .route("/events/{id}/{file}/{*name}", get(attachments::get_named))
        .route("/shared-secrets/retrieve", post(shared_secrets::retrieve));
    let guarded = Router::new()
        .route("/", post(batch::call_batch))
        .route("/auth/logout", post(session::logout))
        .route("/account", get(account::get).put(account::update))
        .route("/account/change-password", post(account::change_password))
        .route("/access-info", get(session::access_info))
        .route(
            "/streams",
            get(items::streams_get).post(items::streams_create),
        )
        .route(
            "/streams/{id}",
            put(streams::update).delete(streams::delete),
        )
        .route(
            "/profile/public",
            get(profile::get_public).put(profile::update_public),
        )
        .route(
            "/profile/private",
            get(profile::get_private).put(profile::update_private),
        )
        .route(
            "/profile/app",
            get(profile::get_app).put(profile::update_app),
        )
        .route("/events", get(items::events_get).post(items::events_create))
        .route(
            "/events/{id}",
            get(items::events_get_one)
                .put(items::events_update)
                .delete(items::events_delete)
                .post(attachments::add),
        )
        .route("/events/{id}/{file}", delete(attachments::delete))
        .merge(accesses_routes())
        .route("/shared-secrets", post(shared_secrets::create))
        .route("/shared-secrets/status", post(shared_secrets::status))
        .route_layer(from_fn_with_state(state.clone(), caller::authenticate));
    open.merge(guarded).with_state(state)
}
