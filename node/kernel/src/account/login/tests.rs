//! Log-in in the order of the contract, tokens, sessions.

use std::time::Duration;

use homecore_types::Clock;
use serde_json::json;

use super::*;
use crate::audit::Source;
use crate::kernel::Kernel;
use crate::method::Method;
use crate::session::touch_interval;
use crate::testing::{Home, kernel, kernel_with, new_account, owner};
use crate::{Actor, Credential, Error, account};

const ORIGIN: &str = "https://l.backloop.dev";

fn good() -> Value {
    json!({ "username": "samplebeta1", "password": "sample-pass-1", "appId": "sample-app" })
}

fn credential(token: &str) -> Credential {
    Credential::parse(token).unwrap()
}

async fn enter(kernel: &Kernel, token: &str) -> Result<Actor, ErrorId> {
    kernel
        .authenticate(&owner(), credential(token))
        .await
        .map_err(|error: Error| error.id())
}

#[tokio::test]
async fn checks_come_in_order() {
    let (kernel, _) = kernel();
    kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let with = |field: &str, value: Value| {
        let mut params = good();
        params[field] = value;
        params
    };
    for (params, origin, id) in [
        (json!({}), ORIGIN, ErrorId::InvalidOperation),
        (
            with("password", Value::Null),
            "https://evil.test",
            ErrorId::InvalidOperation,
        ),
        (with("appId", json!("")), ORIGIN, ErrorId::InvalidOperation),
        (
            with("password", json!(5)),
            "https://evil.test",
            ErrorId::InvalidParametersFormat,
        ),
        (
            with("username", json!("other")),
            "https://evil.test",
            ErrorId::InvalidCredentials,
        ),
        (good(), "", ErrorId::InvalidCredentials),
        (
            with("username", json!("somebody")),
            ORIGIN,
            ErrorId::InvalidOperation,
        ),
        (
            with("password", json!("nope-nope")),
            ORIGIN,
            ErrorId::InvalidCredentials,
        ),
    ] {
        let refused = kernel
            .login(&owner(), &params, origin, Source::default())
            .await
            .unwrap_err();
        assert_eq!(refused.id(), id, "{params} at {origin}");
    }
    let upper = with("username", json!("SampleBeta1"));
    assert!(
        kernel
            .login(&owner(), &upper, ORIGIN, Source::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_same_app_gets_the_same_token_while_its_session_lives() {
    let (kernel, clock) = kernel();
    let first = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    assert_eq!(first.expose().len(), 24);
    let again = kernel
        .login(&owner(), &good(), ORIGIN, Source::default())
        .await
        .unwrap();
    assert_eq!(again.token, first);
    assert_eq!(again.preferred_language, "en");
    let mut other = good();
    other["appId"] = json!("other-app");
    let other = kernel
        .login(&owner(), &other, ORIGIN, Source::default())
        .await
        .unwrap();
    assert_ne!(other.token, first);
    assert_ne!(other.access_id, again.access_id);

    clock.advance(kernel.settings().session_max_age);
    assert_eq!(
        enter(&kernel, first.expose()).await.unwrap_err(),
        ErrorId::InvalidAccessToken
    );
    let renewed = kernel
        .login(&owner(), &good(), ORIGIN, Source::default())
        .await
        .unwrap();
    assert_ne!(renewed.token, first, "the old token stays dead");
    assert_eq!(renewed.access_id, again.access_id, "the access is the same");
    assert_eq!(
        enter(&kernel, first.expose()).await.unwrap_err(),
        ErrorId::InvalidAccessToken
    );
    assert_eq!(
        enter(&kernel, renewed.token.expose())
            .await
            .unwrap()
            .access
            .id,
        again.access_id
    );
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once() {
    let (kernel, _) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let me = enter(&kernel, token.expose()).await.unwrap();
    kernel.logout(&me).await.unwrap();
    assert_eq!(
        enter(&kernel, token.expose()).await.unwrap_err(),
        ErrorId::InvalidAccessToken
    );
    assert_eq!(
        enter(&kernel, "unknown").await.unwrap_err(),
        ErrorId::InvalidAccessToken
    );
    assert_eq!(
        enter(&kernel, &"x".repeat(5000)).await.unwrap_err(),
        ErrorId::InvalidAccessToken
    );
}

#[tokio::test]
async fn each_use_lets_the_session_live_on_without_writing_each_time() {
    let (kernel, clock) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let max_age = kernel.settings().session_max_age;
    let seq = async || {
        kernel
            .read(&owner().id, |view, _| view.last_seq().unwrap())
            .await
            .unwrap()
    };
    let before = seq().await;
    enter(&kernel, token.expose()).await.unwrap();
    clock.advance(touch_interval(max_age) - Duration::from_millis(1));
    enter(&kernel, token.expose()).await.unwrap();
    assert_eq!(
        seq().await,
        before,
        "a use that was recorded a moment ago is not written again"
    );
    clock.advance(Duration::from_millis(1));
    enter(&kernel, token.expose()).await.unwrap();
    assert!(seq().await > before);
    for _ in 0..3 {
        clock.advance(max_age - Duration::from_secs(1));
        enter(&kernel, token.expose()).await.unwrap();
    }
}

#[tokio::test]
async fn passwords_are_verified_and_usage_counted() {
    let (kernel, _) = kernel();
    let user = owner().id;
    kernel.create_account(&user, new_account()).await.unwrap();
    assert!(
        kernel
            .verify_password(&user, Secret::new("sample-pass-1"))
            .await
            .unwrap()
    );
    assert!(
        !kernel
            .verify_password(&user, Secret::new("sample-pass-2"))
            .await
            .unwrap()
    );
    assert!(kernel.usage(&user).await.unwrap().db_documents_bytes > 100);
    let again = kernel
        .create_account(&user, new_account())
        .await
        .unwrap_err();
    assert_eq!(again.id(), ErrorId::ItemAlreadyExists);
    let nobody = homecore_types::UserId::parse("nobody789012345678901234").unwrap();
    let missing = kernel
        .verify_password(&nobody, Secret::new("x"))
        .await
        .unwrap_err();
    assert_eq!(missing.id(), ErrorId::UnknownResource);
}

#[tokio::test]
async fn an_access_is_told_about_itself() {
    let (kernel, _) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let me = kernel
        .authenticate(&owner(), credential(&format!("{} robot", token.expose())))
        .await
        .unwrap();
    assert_eq!(me.author(), format!("{} robot", me.access.id));
    let info: Value =
        serde_json::from_slice(kernel.access_info(&me).await.unwrap().as_bytes()).unwrap();
    assert_eq!(
        info,
        json!({
            "id": me.access.id, "token": token.expose(), "type": "personal", "name": "sample-app",
            "created": 1_795_369_711.439, "createdBy": "system",
            "modified": 1_795_369_711.439, "modifiedBy": "system",
            "user": { "username": "samplebeta1" }
        })
    );
}

#[tokio::test]
async fn an_expired_password_opens_nothing() {
    let day = Duration::from_secs(24 * 3_600);
    let (kernel, clock) = kernel_with(|settings| {
        settings.passwords.age_max = Some(day * 3);
        settings.passwords.age_min = Some(day);
    });
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let login = async |password: &str| {
        let mut params = good();
        params["password"] = json!(password);
        kernel
            .login(&owner(), &params, ORIGIN, Source::default())
            .await
    };
    let set = clock.now();
    let logged_in = login("sample-pass-1").await.unwrap();
    let times = json!({
        "passwordExpires": (set + day * 3).as_seconds(),
        "passwordCanBeChanged": (set + day).as_seconds(),
    });
    assert_eq!(Value::Object(logged_in.password.to_json()), times);
    let me = enter(&kernel, token.expose()).await.unwrap();
    let info: Value =
        serde_json::from_slice(kernel.access_info(&me).await.unwrap().as_bytes()).unwrap();
    assert_eq!(
        info["user"],
        json!({
            "username": "samplebeta1",
            "passwordExpires": times["passwordExpires"],
            "passwordCanBeChanged": times["passwordCanBeChanged"],
        })
    );

    clock.advance(day * 3 - Duration::from_millis(1));
    assert!(login("sample-pass-1").await.is_ok());
    clock.advance(Duration::from_millis(1));
    let refused = login("sample-pass-1").await.unwrap_err();
    assert_eq!(refused.id(), ErrorId::InvalidCredentials);
    assert_eq!(
        refused.data(),
        Some(&json!({ "expiredTime": times["passwordExpires"] }))
    );
    // Nothing tells who does not know the password that it has expired.
    let wrong = login("sample-pass-2").await.unwrap_err();
    assert_eq!(wrong.id(), ErrorId::InvalidCredentials);
    assert_eq!(wrong.data(), None);
    // A session that lives can still set another one.
    let me = enter(&kernel, token.expose()).await.unwrap();
    let change = json!({ "oldPassword": "sample-pass-1", "newPassword": "sample-pass-2" });
    kernel
        .call(&me, Method::AccountChangePassword, change)
        .await
        .unwrap();
    assert!(login("sample-pass-2").await.is_ok());
}

/// The password is verified before the commit: a reset in between must not leave whoever knew the former
/// one with a session.
#[test]
fn a_log_in_that_a_new_password_overtakes_opens_nothing() {
    let mut home = Home::new();
    let context = home.context.clone();
    let mut account = home.look(|view| account::load(view).unwrap());
    let verified = account.password_set;
    home.attempt(|tx| open(tx, &context, "sample-app", verified))
        .unwrap();
    account.password_set = verified + Duration::from_secs(1);
    home.attempt(|tx| account::store(tx, &account, homecore_store::Base::Any))
        .unwrap();
    let opened = home.attempt(|tx| open(tx, &context, "sample-app", verified));
    assert!(matches!(opened, Err(LoginError::WrongPassword)));
}
