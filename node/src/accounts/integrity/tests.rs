//! Each field that an account and the platform both have, and the bounds of a report.

use homecore_types::{CoreId, Millis, Username};
use serde_json::{Value, json};

use super::*;

fn record() -> User {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    User {
        id: UserId::parse("u23456789012345678901234").unwrap(),
        username: Username::parse("samplebeta1").unwrap(),
        core: CoreId::parse("core-a").unwrap(),
        unique: map(&[("email", "samplebeta1@example.com")]),
        indexed: map(&[
            ("language", "fr"),
            ("appId", "sample-app"),
            ("invitationToken", "enjoy"),
            ("referer", "samples"),
        ]),
        reservation: None,
        invitation: None,
        created_at: Millis(1_000),
        aliases: ["earlier1", "earlier2"]
            .map(|name| Username::parse(name).unwrap())
            .into(),
        name_changes: 2,
    }
}

fn holdings() -> UserHoldings {
    UserHoldings {
        emails: vec!["other@example.com".to_owned()],
        ..UserHoldings::default()
    }
}

/// The account of [`record`], with one field as given.
fn account(field: &str, value: Value) -> Account {
    let mut account = json!({
        "username": "samplebeta1", "formerUsernames": ["earlier1", "earlier2"],
        "passwordHash": "", "passwordSet": 1_000, "email": "samplebeta1@example.com",
        "emails": [{ "value": "other@example.com", "origin": "registration" }],
        "language": "fr", "appId": "sample-app", "invitationToken": "enjoy",
        "referer": "samples", "created": 1_000,
    });
    if !field.is_empty() {
        account[field] = value;
    }
    serde_json::from_value(account).unwrap()
}

fn alike() -> Account {
    account("", Value::Null)
}

#[test]
fn an_account_that_is_as_the_platform_has_it_differs_in_nothing() {
    let none: [String; 0] = [];
    assert_eq!(
        differences(&Schema::usual(), &record(), &holdings(), &alike()),
        none
    );

    // Who came without an invitation, and from nowhere, as registrations and imports write it.
    let mut record = record();
    record.indexed.remove("invitationToken");
    record.indexed.remove("referer");
    let mut account = account("invitationToken", json!(NO_INVITATION));
    account.referer = None;
    assert_eq!(
        differences(&Schema::usual(), &record, &holdings(), &account),
        none
    );
    let told = NO_INVITATION.to_owned();
    record.indexed.insert("invitationToken".to_owned(), told);
    assert_eq!(
        differences(&Schema::usual(), &record, &holdings(), &account),
        none
    );
}

#[test]
fn each_field_that_differs_is_named_with_both_values() {
    let both = |field: &str, platform: &str, account: &str| {
        let line = format!("{field} is {platform} on the platform and {account} in the account");
        vec![format!("user \"samplebeta1\": {line}")]
    };
    for (field, present, other) in [
        ("username", "samplebeta1", "samplebeta2"),
        ("email", "samplebeta1@example.com", "new@example.com"),
        ("language", "fr", "de"),
        ("appId", "sample-app", "another-app"),
        ("invitationToken", "enjoy", "no-token"),
        ("referer", "samples", "elsewhere"),
    ] {
        let found = differences(
            &Schema::usual(),
            &record(),
            &holdings(),
            &account(field, json!(other)),
        );
        let expected = both(field, &format!("{present:?}"), &format!("{other:?}"));
        assert_eq!(found, expected);
    }
    let found = differences(
        &Schema::usual(),
        &record(),
        &holdings(),
        &account("referer", Value::Null),
    );
    assert_eq!(found, both("referer", "\"samples\"", "absent"));
    for field in ["language", "appId", "referer", "email"] {
        let mut record = record();
        record.indexed.remove(field);
        record.unique.remove(field);
        let found = differences(&Schema::usual(), &record, &holdings(), &alike());
        let line = found.first().unwrap();
        assert!(line.contains(&format!("{field} is absent on")), "{line}");
        assert_eq!(found.len(), 1);
    }
    let mut record = record();
    record.indexed.remove("invitationToken");
    let found = differences(&Schema::usual(), &record, &holdings(), &alike());
    assert_eq!(found, both("invitationToken", "\"no-token\"", "\"enjoy\""));
}

#[test]
fn further_addresses_and_former_names_are_compared_without_their_order() {
    let mut turned = account("formerUsernames", json!(["earlier2", "earlier1"]));
    let none: [String; 0] = [];
    assert_eq!(
        differences(&Schema::usual(), &record(), &holdings(), &turned),
        none
    );
    turned.former_usernames.pop();
    let found = differences(&Schema::usual(), &record(), &holdings(), &turned);
    let sets = "{\"earlier1\", \"earlier2\"} on the platform and {\"earlier2\"} in the account";
    let line = format!("user \"samplebeta1\": former usernames are {sets}");
    assert_eq!(found, [line]);

    let found = differences(
        &Schema::usual(),
        &record(),
        &UserHoldings::default(),
        &alike(),
    );
    let sets = "{} on the platform and {\"other@example.com\"} in the account";
    let line = format!("user \"samplebeta1\": further e-mails are {sets}");
    assert_eq!(found, [line]);
}

#[test]
fn a_report_counts_and_is_bounded() {
    let mut report = Report {
        platform: 6,
        folders: 5,
        ..Report::default()
    };
    let lines = (0..ERRORS_MAX + 2).map(|n| n.to_string());
    report.user(Look::Differs(lines.collect()));
    report.user(Look::Same);
    report.user(Look::Changing);
    report.user(Look::Gone);
    let checks = report.finish();
    let [compared, counted] = checks.as_slice() else {
        panic!("{checks:?}");
    };
    assert_eq!(compared.title, "Platform DB vs users repository");
    let infos = [
        ("usersCountOnPlatform", 6),
        ("usersCountOnRepository", 5),
        ("usersInChange", 1),
    ];
    assert_eq!(compared.infos, infos.into());
    assert_eq!(compared.errors.len(), ERRORS_MAX + 1);
    assert_eq!(compared.errors.last().unwrap(), "2 more");
    let infos = [("userIdsCount", 5), ("userIdsCount-accounts", 2)];
    assert_eq!(counted.infos, infos.into());
    assert!(counted.errors.is_empty());

    let mut report = Report::default();
    report.user(Look::NotChecked);
    report.user(Look::Broken("a user without a folder".to_owned()));
    report.folder(Look::Broken("a folder without a user".to_owned()));
    report.folder(Look::NotChecked);
    report.folder(Look::Same);
    let checks = report.finish();
    assert_eq!(checks[0].infos.get("usersNotChecked"), Some(&2));
    assert_eq!(checks[1].infos.get("userIdsNotChecked"), Some(&1));
    let lines = ["a user without a folder", "a folder without a user"];
    assert_eq!(checks[1].errors, lines);
}
