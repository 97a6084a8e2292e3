//! Routes at the root. Registration routes stand at `/reg/…`; some have an older place too.

use homecore_http::openapi::{Auth, Body, Content, Operation, Routes, Verb};
use homecore_kernel::describe::{Field, Member, NEW_USER, REGISTRATION, Record, Type};
use homecore_types::ErrorId;

use crate::state::State;
use crate::{
    access_request, account, admin, apps, assets, create_user, greeting, inspection, lookup, mfa,
    previews, records, registration, user_info,
};

/// First path segments at the root.
pub(crate) const ROOTS: &[&str] = &[
    "",
    "reg",
    "users",
    "apps",
    "access",
    "service",
    "system",
    "www",
    "favicon.ico",
    "previews",
];

/// Routes at the root.
pub(crate) fn root(state: State) -> Routes {
    routes().with_state(state)
}

pub(super) fn routes() -> Routes<State> {
    let info = |path, id| {
        Operation::new(Verb::Get, path, id, "What the platform says of itself")
            .answers(200, Content::Named("ServiceInfo"))
    };
    Routes::new()
        .route(greeting("root"), greeting::greet)
        .route(
            info("/service/info", "service.info"),
            greeting::service_info,
        )
        .route(
            info("/reg/service/info", "service.infoReg"),
            greeting::service_info,
        )
        .merge(asset_routes())
        .merge(registration_routes())
        .merge(lookup_routes())
        .merge(app_routes())
        .merge(access_routes())
        .merge(record_routes())
        .merge(legacy_admin_routes())
        .merge(admin_routes())
        .route(
            previews::operation("/previews/{username}/events/{id}", "events.getPreview")
                .refuses(&[ErrorId::WrongCore]),
            previews::get_of,
        )
}

/// `/`, of the platform and of a user.
pub(super) fn greeting(id: &'static str) -> Operation {
    let answer = vec![
        Member::one("cheersFrom", "Text"),
        Member::one("learnMoreAt", "Text"),
    ];
    Operation::new(Verb::Get, "/", id, "A greeting").answers(200, Content::MembersOrText(answer))
}

/// What there was.
pub(super) fn gone(verb: Verb, path: &'static str, id: &'static str) -> Operation {
    Operation::new(verb, path, id, "Gone").refuses(&[ErrorId::RemovedMethod])
}

fn asset_routes() -> Routes<State> {
    let file = |path, id, summary| {
        Operation::new(Verb::Get, path, id, summary).answers(200, Content::File)
    };
    let summary = "What an app shows of the service";
    Routes::new()
        .route(
            file("/www/assets/{file}", "service.asset", summary)
                .refuses(&[ErrorId::UnknownResource]),
            assets::get,
        )
        .route(
            file("/favicon.ico", "service.icon", "The service's icon"),
            assets::favicon,
        )
}

fn registration_routes() -> Routes<State> {
    let register = |path, id| {
        Operation::new(Verb::Post, path, id, "Registers a user")
            .takes(Body::Record(&REGISTRATION))
            .answers(
                201,
                Content::members([
                    Member::one("username", "Text"),
                    Member::one("apiEndpoint", "Text"),
                ]),
            )
            .refuses(&[
                ErrorId::InvalidParametersFormat,
                ErrorId::InvalidOperation,
                ErrorId::ItemAlreadyExists,
                ErrorId::TooManyRequests,
            ])
    };
    Routes::new()
        .route(register("/users", "auth.register"), registration::register)
        .route(
            register("/reg/users", "auth.registerReg"),
            registration::register,
        )
        .route(
            register("/reg/user", "auth.registerOld"),
            registration::register,
        )
        .route(
            Operation::new(
                Verb::Delete,
                "/users/{name}",
                "auth.delete",
                "Deletes a user with all data",
            )
            .auth(Auth::AdminOrToken)
            .says([Member::one("userDeletion", "UserDeletion")])
            .refuses(&[ErrorId::WrongCore]),
            account::delete,
        )
}

/// A question about a name: each is limited in rate.
fn look_up(verb: Verb, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(verb, path, id, summary).refuses(&[ErrorId::TooManyRequests])
}

fn lookup_routes() -> Routes<State> {
    let of_email = |path, id, key| {
        look_up(Verb::Get, path, id, "Who has an e-mail address")
            .says([Member::one(key, "Text")])
            .refuses(&[ErrorId::UnknownEmail])
            .plain()
    };
    let server = |verb, id| {
        look_up(verb, "/reg/{name}/server", id, "Where a user lives")
            .refuses(&[ErrorId::UnknownUser])
            .plain()
    };
    Routes::new()
        .route(
            look_up(
                Verb::Get,
                "/reg/{name}/check_username",
                "auth.usernameCheck",
                "Whether a username is taken or reserved",
            )
            .says([
                Member::one("reserved", "Flag"),
                Member::one("reason", "Text").sometimes(),
            ])
            .refuses(&[ErrorId::InvalidParametersFormat]),
            lookup::check_username,
        )
        .route(
            look_up(
                Verb::Get,
                "/reg/{name}/check_email",
                "auth.emailCheck",
                "Whether an e-mail address is taken",
            )
            .says([Member::one("reserved", "Flag")])
            .refuses(&[ErrorId::InvalidParametersFormat, ErrorId::ItemAlreadyExists]),
            lookup::check_email,
        )
        .route(
            gone(Verb::Post, "/reg/username/check", "gone.usernameCheck"),
            lookup::gone,
        )
        .route(
            gone(Verb::Post, "/reg/email/check", "gone.emailCheck"),
            lookup::gone,
        )
        .route(
            look_up(Verb::Get, "/reg/cores", "auth.cores", "Where a user lives")
                .query(&[
                    Field::new("username", Type::TEXT),
                    Field::new("email", Type::TEXT),
                ])
                .says([Member::one("core", "CoreUrl")])
                .refuses(&[ErrorId::InvalidParametersFormat, ErrorId::UnknownResource]),
            lookup::cores,
        )
        .route(
            look_up(
                Verb::Get,
                "/reg/hostings",
                "auth.hostings",
                "Where one may register",
            )
            .says([Member::one("regions", "Object")]),
            lookup::hostings,
        )
        .route(
            of_email("/reg/{name}/username", "lookup.username", "username"),
            lookup::email_username,
        )
        .route(
            of_email("/reg/{name}/uid", "lookup.uid", "uid"),
            lookup::email_uid,
        )
        .route(
            server(Verb::Get, "lookup.serverRedirect").answers(302, Content::Nothing),
            lookup::server_redirect,
        )
        .route(
            server(Verb::Post, "lookup.server")
                .says([Member::one("server", "Text"), Member::one("alias", "Text")]),
            lookup::server,
        )
}

fn app_routes() -> Routes<State> {
    let list = |path, id| {
        Operation::new(Verb::Get, path, id, "The apps that the platform knows")
            .says([Member::many("apps", "Object")])
            .plain()
    };
    let one = |path, id| {
        Operation::new(Verb::Get, path, id, "An app that the platform knows")
            .says([Member::one("app", "Object")])
            .refuses(&[ErrorId::UnknownResource])
            .plain()
    };
    let check = |path, id| {
        look_up(
            Verb::Post,
            path,
            id,
            "Whether an invitation is good: true or false",
        )
        .takes(Body::Record(&INVITATION))
        .answers(200, Content::Text)
        .plain()
    };
    Routes::new()
        .route(list("/apps", "apps.get"), apps::list)
        .route(one("/apps/{id}", "apps.getOne"), apps::one)
        .route(list("/reg/apps", "apps.getReg"), apps::list)
        .route(one("/reg/apps/{id}", "apps.getOneReg"), apps::one)
        .route(
            check("/access/invitationtoken/check", "invitations.check"),
            apps::check_invitation,
        )
        .route(
            check("/reg/access/invitationtoken/check", "invitations.checkReg"),
            apps::check_invitation,
        )
}

const INVITATION: Record = Record::open(&[Field::new("invitationtoken", Type::TEXT)]);

/// The states of an access request, each with its status.
fn with_states(operation: Operation) -> Operation {
    operation
        .answers(
            200,
            Content::members([
                Member::one("status", "Text"),
                Member::one("username", "Text"),
                Member::one("token", "Text"),
                Member::one("apiEndpoint", "Text").sometimes(),
            ]),
        )
        .answers(201, Content::Named("AccessRequest"))
        .answers(
            301,
            Content::members([
                Member::one("status", "Text"),
                Member::one("poll", "Text"),
                Member::one("redirectUrl", "Text"),
            ]),
        )
        .answers(
            403,
            Content::members([
                Member::one("status", "Text"),
                Member::one("reasonId", "Text").sometimes(),
                Member::one("message", "Text").sometimes(),
            ]),
        )
        .refuses(&[ErrorId::UnknownAccessKey, ErrorId::TooManyRequests])
        .plain()
}

fn access_routes() -> Routes<State> {
    Routes::new()
        .route(
            Operation::new(
                Verb::Post,
                "/reg/access",
                "accessRequests.create",
                "An app asks for access",
            )
            .takes(Body::Record(&access_request::REQUEST))
            .answers(201, Content::Named("AccessRequest"))
            .refuses(&[ErrorId::InvalidParameters, ErrorId::TooManyRequests])
            .plain(),
            access_request::create,
        )
        .route(
            with_states(Operation::new(
                Verb::Get,
                "/reg/access/{key}",
                "accessRequests.poll",
                "What became of a request for access",
            )),
            access_request::poll,
        )
        .route(
            with_states(Operation::new(
                Verb::Post,
                "/reg/access/{key}",
                "accessRequests.resolve",
                "The consent page answers a request for access",
            ))
            .takes(Body::Record(&access_request::ANSWER))
            .refuses(&[ErrorId::InvalidParameters, ErrorId::InvalidOperation]),
            access_request::resolve,
        )
}

fn record_routes() -> Routes<State> {
    let operation = |verb, path, id, summary| {
        Operation::new(verb, path, id, summary)
            .auth(Auth::KnownAdmin)
            .refuses(&[ErrorId::InvalidParameters])
            .plain()
    };
    Routes::new()
        .route(
            operation(
                Verb::Post,
                "/reg/records",
                "records.put",
                "Sets DNS records of a name",
            )
            .takes(Body::Record(&records::RECORDS))
            .says([
                Member::one("subdomain", "Text"),
                Member::one("records", "Object"),
                Member::one("status", "Text"),
            ])
            .refuses(&[ErrorId::ItemAlreadyExists]),
            records::put,
        )
        .route(
            operation(
                Verb::Delete,
                "/reg/records/{subdomain}",
                "records.delete",
                "Takes the DNS records of a name away",
            )
            .says([
                Member::one("subdomain", "Text"),
                Member::one("status", "Text"),
            ])
            .refuses(&[ErrorId::UnknownResource]),
            records::delete,
        )
}

/// Administrators' routes of the older kind.
fn legacy_admin_routes() -> Routes<State> {
    let operation = |path, id, summary| {
        Operation::new(Verb::Get, path, id, summary)
            .auth(Auth::Admin)
            .plain()
    };
    Routes::new()
        .route(
            operation(
                "/reg/admin/users/{name}",
                "admin.user",
                "What the platform knows of a user",
            )
            .answers(200, Content::Named("PlatformUser")),
            admin::user,
        )
        .route(
            operation(
                "/reg/admin/servers",
                "admin.servers",
                "The cores by their addresses",
            )
            .says([Member::one("servers", "Object")]),
            admin::servers,
        )
        .route(
            operation(
                "/reg/admin/servers/{name}/users",
                "admin.serverUsers",
                "The users of a core",
            )
            .says([Member::many("users", "PlatformUser")]),
            admin::server_users,
        )
        .route(
            operation(
                "/reg/admin/servers/{name}/rename/{to}",
                "admin.renameServer",
                "Gone",
            )
            .refuses(&[ErrorId::RemovedMethod]),
            admin::rename_server,
        )
        .route(
            operation(
                "/reg/admin/invitations",
                "admin.invitations",
                "The invitations",
            )
            .says([Member::many("invitations", "Invitation")]),
            admin::invitations,
        )
        .route(
            operation(
                "/reg/admin/invitations/post",
                "admin.postInvitations",
                "Makes invitations",
            )
            .query(&[
                Field::new("count", Type::Count),
                Field::new("message", Type::TEXT),
            ])
            .says([Member::many("data", "Invitation")])
            .refuses(&[ErrorId::InvalidParameters]),
            admin::post_invitations,
        )
}

fn admin_routes() -> Routes<State> {
    let operation =
        |verb, path, id, summary| Operation::new(verb, path, id, summary).auth(Auth::Admin);
    Routes::new()
        .route(
            operation(
                Verb::Get,
                "/system/admin/users",
                "system.users",
                "The users of this core",
            )
            .query(&[
                Field::new("limit", Type::Count),
                Field::new("after", Type::SOME_TEXT),
            ])
            .says([Member::many("users", "PlatformUser")])
            .refuses(&[ErrorId::InvalidParameters]),
            admin::users,
        )
        .route(
            operation(
                Verb::Get,
                "/system/admin/cores",
                "system.cores",
                "The cores",
            )
            .says([Member::many("cores", "Core")]),
            admin::cores,
        )
        .route(
            operation(
                Verb::Post,
                "/system/admin/invitations",
                "system.createInvitations",
                "Makes invitations",
            )
            .takes(Body::Record(&admin::INVITATIONS))
            .answers(
                201,
                Content::members([Member::many("invitations", "Invitation")]),
            )
            .refuses(&[ErrorId::InvalidParameters]),
            admin::create_invitations,
        )
        .route(
            operation(
                Verb::Get,
                "/system/status",
                "system.status",
                "This core, and the platform as it sees it",
            )
            .says([Member::one("status", "PlatformStatus")]),
            admin::status,
        )
        .route(
            operation(
                Verb::Get,
                "/system/user-info/{name}",
                "system.getUserInfo",
                "How much a user stores and calls",
            )
            .says([Member::one("userInfo", "UserInfo")])
            .refuses(&[ErrorId::WrongCore]),
            user_info::get,
        )
        .route(
            operation(
                Verb::Delete,
                "/system/users/{name}/mfa",
                "system.deactivateMfa",
                "Removes the second factor of a user",
            )
            .answers(204, Content::Nothing)
            .refuses(&[ErrorId::WrongCore]),
            mfa::remove,
        )
        .merge(inspection_routes())
}

/// Administrators' routes that make a user, and that look across users.
fn inspection_routes() -> Routes<State> {
    let operation =
        |verb, path, id, summary| Operation::new(verb, path, id, summary).auth(Auth::Admin);
    Routes::new()
        .route(
            operation(
                Verb::Post,
                "/system/create-user",
                "system.createUser",
                "Creates a user on this core, invited or not",
            )
            .takes(Body::Record(&NEW_USER))
            .answers(201, Content::members([]))
            .refuses(&[
                ErrorId::InvalidParametersFormat,
                ErrorId::ItemAlreadyExists,
                ErrorId::UnsupportedContentType,
            ]),
            create_user::create,
        )
        .route(
            operation(
                Verb::Get,
                "/system/accesses/{id}",
                "system.getAccess",
                "Whose an access is",
            )
            .says([Member::one("accessIndex", "AccessIndex")]),
            inspection::access,
        )
        .route(
            operation(
                Verb::Get,
                "/system/check-platform-integrity",
                "system.checkPlatformIntegrity",
                "Whether the users of this core are what the platform has of them",
            )
            .says([Member::many("checks", "IntegrityCheck")]),
            inspection::integrity,
        )
}
