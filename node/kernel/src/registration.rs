//! The form of a registration: rules, codes and texts of spec/platform §3.5.
//!
//! Items look as the original server's: one a field, friendlier than those of other methods.

use std::collections::BTreeMap;

use homecore_types::{Email, Secret, Username};
use serde_json::{Map, Value};

use crate::password::{NewPassword, is_known_hash};
use crate::ports::{Declared, NewUser, Registration};
use crate::stream::schema::Schema;
use crate::violation::Violation;

pub(crate) const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 6..=100;
pub(crate) const APP_CHARS: std::ops::RangeInclusive<usize> = 6..=99;
pub(crate) const LANGUAGE_CHARS: std::ops::RangeInclusive<usize> = 1..=5;
pub(crate) const REFERER_CHARS: std::ops::RangeInclusive<usize> = 1..=99;
/// Of a hash with its algorithm, parameters and salt.
pub(crate) const HASH_BYTES_MAX: usize = 300;
const DEFAULT_LANGUAGE: &str = "en";

const USERNAME_INVALID: &str = "Username should have between 5 and 60 characters and contain \
                                lowercase letters or numbers or dashes";
const PASSWORD_INVALID: &str = "Password should have between 6 and 100 characters";
const EMAIL_INVALID: &str = "Email address format not recognized";
const APP_INVALID: &str = "App Id should have between 6 and 99 characters";
const HASH_INVALID: &str = "Password hash should be one of argon2 or bcrypt";
const LANGUAGE_INVALID: &str = "Language should have between 1 and 5 characters";
const REFERER_INVALID: &str = "Referer should have between 1 and 99 characters";
const HOSTING_INVALID: &str = "Hosting should be a string";
const INVITATION_INVALID: &str = "Invitation token should be a string";

impl Registration {
    /// Checks the body of a registration. Fields that neither it nor the platform's schema knows are
    /// ignored; the older names of `/reg/user` are taken where the present ones are absent.
    ///
    /// # Errors
    /// Every violation: first the fields that are missing, then those that are wrong.
    pub fn parse(schema: &Schema, body: &Value) -> Result<Self, Vec<Violation>> {
        let Value::Object(map) = body else {
            return Err(vec![Violation::wrong_type("#", &["object"])]);
        };
        let mut form = Form {
            map,
            violations: Vec::new(),
        };
        form.required(&[
            USERNAME_REQUIRED,
            PASSWORD_REQUIRED,
            APP_REQUIRED,
            EMAIL_REQUIRED,
        ]);
        form.required_declared(schema);
        let username = form.username();
        let password = form.password();
        let email = form.email();
        let app = form.app();
        let language = form.language();
        let referer = form.referer();
        let invitation = form.invitation();
        let hosting = form.checked("hosting", "hosting-invalid", HOSTING_INVALID, |text| {
            Some(text.to_owned())
        });
        let declared = form.declared(schema);
        let violations = form.violations;
        match (username, password, email, app) {
            (Some(username), Some(password), Some(email), Some(app)) if violations.is_empty() => {
                Ok(Self {
                    username,
                    password,
                    email,
                    app,
                    language: language.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
                    hosting: hosting.filter(|hosting| !hosting.is_empty()),
                    invitation,
                    referer,
                    declared,
                    fields_version: schema.version(),
                })
            }
            _ => Err(violations),
        }
    }
}

impl NewUser {
    /// Fields of a body that creates a user; there are no others.
    const FIELDS: [&str; 8] = [
        "username",
        "passwordHash",
        "password",
        "email",
        "language",
        "appId",
        "referer",
        "invitationToken",
    ];

    /// Checks the body of `POST /system/create-user`: a registration without a hosting, where a hash
    /// may be given for the password, the language is required and the app is not.
    ///
    /// # Errors
    /// Every violation: first the fields that are missing, then those that are wrong or unknown.
    pub fn parse(schema: &Schema, body: &Value) -> Result<Self, Vec<Violation>> {
        let Value::Object(map) = body else {
            return Err(vec![Violation::wrong_type("#", &["object"])]);
        };
        let mut form = Form {
            map,
            violations: Vec::new(),
        };
        form.required(&[USERNAME_REQUIRED]);
        if form.value("password").is_none() {
            form.required(&[HASH_REQUIRED]);
        }
        form.required(&[EMAIL_REQUIRED, LANGUAGE_REQUIRED]);
        form.required_declared(schema);
        let username = form.username();
        let hash = form.checked(
            "passwordHash",
            "passwordHash-invalid",
            HASH_INVALID,
            |text| {
                (text.len() <= HASH_BYTES_MAX && is_known_hash(text))
                    .then(|| NewPassword::Hash(Secret::new(text)))
            },
        );
        let password = match form.value("passwordHash") {
            None => form.password().map(NewPassword::Clear),
            Some(_) if form.value("password").is_some() => {
                form.violations.push(Violation::of_field(
                    "password-invalid",
                    "Give either the password or its hash",
                    "#/password",
                    "password",
                ));
                None
            }
            Some(_) => hash,
        };
        let email = form.email();
        let language = form.language();
        let app = form.app();
        let referer = form.referer();
        let invitation = form.invitation();
        let declared = form.declared(schema);
        let mut violations = form.violations;
        for name in map.keys().filter(|name| {
            !Self::FIELDS.contains(&name.as_str()) && schema.field(name.as_str()).is_none()
        }) {
            violations.push(Violation::additional("#", name));
        }
        match (username, password, email, language) {
            (Some(username), Some(password), Some(email), Some(language))
                if violations.is_empty() =>
            {
                Ok(Self {
                    username,
                    password,
                    email,
                    language,
                    app,
                    invitation,
                    referer,
                    declared,
                    fields_version: schema.version(),
                })
            }
            _ => Err(violations),
        }
    }
}

/// A field that must be there: its name, the code and the text where it is not.
type Required = (&'static str, &'static str, &'static str);

const USERNAME_REQUIRED: Required = ("username", "username-required", "Username is required");
const PASSWORD_REQUIRED: Required = ("password", "password-required", "Password is required");
const HASH_REQUIRED: Required = (
    "passwordHash",
    "passwordHash-required",
    "Password hash is required",
);
const APP_REQUIRED: Required = ("appId", "appid-invalid", "Missing required field: appId");
const EMAIL_REQUIRED: Required = ("email", "email-required", "Email is required");
const LANGUAGE_REQUIRED: Required = ("language", "language-required", "Language is required");

struct Form<'a> {
    map: &'a Map<String, Value>,
    violations: Vec<Violation>,
}

impl<'a> Form<'a> {
    /// A field under its present or its older name; null counts as absent.
    fn value(&self, name: &str) -> Option<&'a Value> {
        let older = match name {
            "appId" => Some("appid"),
            "invitationToken" => Some("invitationtoken"),
            "language" => Some("languageCode"),
            _ => None,
        };
        let present = |name: &str| self.map.get(name).filter(|value| !value.is_null());
        present(name).or_else(|| older.and_then(present))
    }

    /// Notes required fields that are absent, in the order of the original server.
    fn required(&mut self, fields: &[Required]) {
        for &(name, code, message) in fields {
            if self.value(name).is_none() {
                self.violations
                    .push(Violation::of_field(code, message, "#/", name));
            }
        }
    }

    /// A field that the platform declares; an empty text counts as absent, too: it is what forms send of what
    /// nobody filled in.
    fn declared_value(&self, name: &str) -> Option<&'a Value> {
        self.value(name).filter(|value| value.as_str() != Some(""))
    }

    /// Notes declared fields that must be there and are absent.
    fn required_declared(&mut self, schema: &Schema) {
        for (name, _) in schema
            .declared()
            .filter(|(_, stream)| stream.rules.required)
        {
            if self.declared_value(name).is_none() {
                let message = format!("Missing required field: {name}");
                self.violations.push(Violation::of_field(
                    "missing-required-field",
                    &message,
                    "#/",
                    name,
                ));
            }
        }
    }

    /// Declared fields that are given, or have a default.
    fn declared(&mut self, schema: &Schema) -> BTreeMap<String, Declared> {
        let mut declared = BTreeMap::new();
        for (name, stream) in schema.declared() {
            let read = match self.declared_value(name) {
                Some(value) => stream.rules.read(name, value, "#"),
                None => match &stream.rules.default {
                    Some(default) => Ok(stream.rules.value(default.clone())),
                    None => continue,
                },
            };
            match read {
                Ok(value) => drop(declared.insert(name.to_owned(), value)),
                Err(violation) => self.violations.push(*violation),
            }
        }
        declared
    }

    fn username(&mut self) -> Option<Username> {
        self.checked("username", "username-invalid", USERNAME_INVALID, |text| {
            Username::parse(text.to_lowercase()).ok()
        })
    }

    fn password(&mut self) -> Option<Secret> {
        self.checked("password", "password-invalid", PASSWORD_INVALID, |text| {
            within(text, &PASSWORD_CHARS).then(|| Secret::new(text))
        })
    }

    fn email(&mut self) -> Option<Email> {
        self.checked("email", "email-invalid", EMAIL_INVALID, |text| {
            Email::normalise(text).ok()
        })
    }

    fn app(&mut self) -> Option<String> {
        self.checked("appId", "appid-invalid", APP_INVALID, |text| {
            within(text, &APP_CHARS).then(|| text.to_owned())
        })
    }

    fn language(&mut self) -> Option<String> {
        self.checked("language", "language-invalid", LANGUAGE_INVALID, |text| {
            (within(text, &LANGUAGE_CHARS) && !text.contains(char::is_control))
                .then(|| text.to_owned())
        })
    }

    fn referer(&mut self) -> Option<String> {
        self.checked("referer", "referer-invalid", REFERER_INVALID, |text| {
            within(text, &REFERER_CHARS).then(|| text.to_owned())
        })
    }

    fn invitation(&mut self) -> Option<String> {
        self.checked(
            "invitationToken",
            "invitationToken-invalid",
            INVITATION_INVALID,
            |text| Some(text.to_owned()),
        )
    }

    /// A field that must satisfy `check` if it is there.
    fn checked<T>(
        &mut self,
        name: &str,
        code: &'static str,
        message: &str,
        check: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let good = value.as_str().and_then(check);
        if good.is_none() {
            self.violations.push(Violation::of_field(
                code,
                message,
                &format!("#/{name}"),
                name,
            ));
        }
        good
    }
}

fn within(text: &str, chars: &std::ops::RangeInclusive<usize>) -> bool {
    chars.contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "appId": "sample-app", "username": "samplebeta1", "password": "sample-pass-1",
            "email": " SampleBeta1@Example.com ", "hosting": "default", "language": "fr",
            "invitationToken": "enjoy", "referer": "samples", "unknown": 1
        })
    }

    fn codes(body: &Value) -> Vec<(String, String)> {
        match Registration::parse(&Schema::usual(), body) {
            Ok(_) => Vec::new(),
            Err(found) => found
                .into_iter()
                .map(|v| (v.code.into_owned(), v.path))
                .collect(),
        }
    }

    #[test]
    fn a_good_one_is_taken_apart() {
        let read = Registration::parse(&Schema::usual(), &good()).unwrap();
        assert_eq!(read.username.as_str(), "samplebeta1");
        assert_eq!(read.email.as_str(), "samplebeta1@example.com");
        assert_eq!(read.app, "sample-app");
        assert_eq!(read.language, "fr");
        assert_eq!(read.hosting.as_deref(), Some("default"));
        assert_eq!(read.invitation.as_deref(), Some("enjoy"));
        assert_eq!(read.referer.as_deref(), Some("samples"));
    }

    #[test]
    fn each_rule_has_its_code() {
        let long = "x".repeat(101);
        for (field, value, code) in [
            ("username", json!("A_b!"), "username-invalid"),
            ("username", json!("bob"), "username-invalid"),
            ("username", json!(5), "username-invalid"),
            ("password", json!("abcde"), "password-invalid"),
            ("password", json!(long), "password-invalid"),
            ("email", json!("notanemail"), "email-invalid"),
            ("appId", json!("short"), "appid-invalid"),
            ("appId", json!(long), "appid-invalid"),
            ("language", json!("toolong"), "language-invalid"),
            ("language", json!(""), "language-invalid"),
            ("referer", json!(long), "referer-invalid"),
            ("referer", json!(""), "referer-invalid"),
            ("invitationToken", json!(1), "invitationToken-invalid"),
        ] {
            let mut body = good();
            body[field] = value.clone();
            assert_eq!(
                codes(&body),
                [(code.to_owned(), format!("#/{field}"))],
                "{field} = {value}"
            );
        }
        for (field, value) in [("referer", Value::Null), ("language", Value::Null)] {
            let mut body = good();
            body[field] = value;
            assert!(codes(&body).is_empty(), "{field} may be null");
        }
    }

    /// As recorded: every missing field at once, with its own code.
    #[test]
    fn missing_fields_come_together() {
        let found = Registration::parse(&Schema::usual(), &json!({ "username": "samplebeta1d" }))
            .unwrap_err();
        assert_eq!(
            Violation::list(&found),
            json!([
                {"code": "password-required", "message": "Password is required",
                    "path": "#/", "param": "password"},
                {"code": "appid-invalid", "message": "Missing required field: appId",
                    "path": "#/", "param": "appId"},
                {"code": "email-required", "message": "Email is required",
                    "path": "#/", "param": "email"}
            ])
        );
        assert_eq!(codes(&json!({})).len(), 4);
        assert_eq!(
            codes(&json!([])),
            [("INVALID_TYPE".to_owned(), "#".to_owned())]
        );
    }

    #[test]
    fn an_administrator_gives_a_hash_and_needs_no_app() {
        let hash = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        let good = json!({
            "username": "Samplebeta1", "passwordHash": hash,
            "email": "SampleBeta1@example.com", "language": "fr"
        });
        let read = NewUser::parse(&Schema::usual(), &good).unwrap();
        assert_eq!(read.username.as_str(), "samplebeta1");
        assert_eq!(read.email.as_str(), "samplebeta1@example.com");
        assert_eq!(
            (read.app, read.invitation, read.referer),
            (None, None, None)
        );
        assert!(matches!(read.password, NewPassword::Hash(given) if given.expose() == hash));

        let found = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            let found = NewUser::parse(&Schema::usual(), &body)
                .err()
                .unwrap_or_default();
            let codes = found.into_iter().map(|v| (v.code.into_owned(), v.path));
            codes.collect::<Vec<_>>()
        };
        let one = |code: &str, path: &str| vec![(code.to_owned(), path.to_owned())];
        for field in ["appId", "referer", "invitationToken"] {
            assert!(found(field, Value::Null).is_empty(), "{field}");
            assert!(found(field, json!("some-text")).is_empty(), "{field}");
        }
        for wrong in [
            json!("secret"),
            json!(1),
            json!("$2b$31$x"),
            json!("x".repeat(301)),
        ] {
            let invalid = one("passwordHash-invalid", "#/passwordHash");
            assert_eq!(found("passwordHash", wrong.clone()), invalid, "{wrong}");
        }
        assert_eq!(
            found("password", json!("sample-pass-1")),
            one("password-invalid", "#/password")
        );
        assert_eq!(
            found("hosting", json!("default")),
            one("OBJECT_ADDITIONAL_PROPERTIES", "#")
        );
        let clear = json!({
            "username": "samplebeta1", "password": "sample-pass-1",
            "email": "samplebeta1@example.com", "language": "fr"
        });
        let read = NewUser::parse(&Schema::usual(), &clear).unwrap();
        assert!(matches!(read.password, NewPassword::Clear(_)));
        let missing = NewUser::parse(&Schema::usual(), &json!({})).unwrap_err();
        let missing: Vec<&str> = missing.iter().map(|violation| &*violation.code).collect();
        assert_eq!(
            missing,
            [
                "username-required",
                "passwordHash-required",
                "email-required",
                "language-required"
            ]
        );
    }

    #[test]
    fn a_declared_field_that_is_empty_is_absent() {
        let declared = json!({ "systemStreams": { "account": [
            { "id": "insurance", "name": "Insurance", "type": "string/pryv", "isUnique": true },
            { "id": "phone", "name": "Phone", "type": "string/pryv", "default": "none" },
            { "id": "plan", "name": "Plan", "type": "string/pryv",
              "isRequiredInValidation": true },
        ] } });
        let schema = Schema::parse(&declared).unwrap();
        let mut body = good();
        for name in ["insurance", "phone", "plan"] {
            body[name] = json!("");
        }
        let missing = Registration::parse(&schema, &body).unwrap_err();
        let told: Vec<_> = missing.iter().map(Violation::to_json).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["code"], "missing-required-field");
        body["plan"] = json!("basic");
        let declared = Registration::parse(&schema, &body).unwrap().declared;
        let declared: Vec<_> = declared.iter().map(|(n, v)| (&**n, &*v.text)).collect();
        assert_eq!(declared, [("phone", "none"), ("plan", "basic")]);
    }

    #[test]
    fn older_names_are_taken_where_the_present_ones_are_absent() {
        let read = Registration::parse(
            &Schema::usual(),
            &json!({
                "appid": "sample-app", "username": "samplebeta1x", "password": "sample-pass-1",
                "email": "a@b.c", "invitationtoken": "enjoy", "languageCode": "de"
            }),
        )
        .unwrap();
        assert_eq!(
            (
                read.app.as_str(),
                read.language.as_str(),
                read.invitation.as_deref()
            ),
            ("sample-app", "de", Some("enjoy"))
        );
    }
}
