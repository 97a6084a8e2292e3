//! That parsers and descriptions say the same.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Checked, Field, LOGIN, MFA_CODE, MFA_RECOVER, NEW_USER, REGISTRATION, RESET_PASSWORD,
    RESET_REQUEST, Record, Type,
};
use crate::error::{Error, InvalidParameters, Refusal};
use crate::fields::watch::{Seen, watched};
use crate::method::{Method, QueryType};
use crate::permission::{Level, Permission};
use crate::ports::{NewUser, Registration};
use crate::stream::schema::Schema;
use crate::testing::Home;
use crate::{access, account, attachment, event, profile, shared_secret, stream};

/// Runs the parser of a method, and perhaps more than it. A new method gets its line here.
fn parse(home: &mut Home, method: Method, params: &Value) -> Result<(), Error> {
    let (me, context) = (home.me(), home.context.clone());
    match method {
        Method::StreamsGet
        | Method::EventsGet
        | Method::EventsGetOne
        | Method::AccessesGet
        | Method::AccessesGetOne
        | Method::AccessesCheckApp
        | Method::ProfileGet
        | Method::ProfileGetPublic
        | Method::GetAccessInfo => home.read(&me, method, params).map(drop),
        Method::ProfileGetApp => {
            let app = home.app(vec![Permission::stream("*", Level::Read)]);
            home.read(&app, method, params).map(drop)
        }
        Method::StreamsCreate => Ok(stream::create::NewStream::parse(params).map(drop)?),
        Method::StreamsUpdate => Ok(stream::update::StreamChanges::parse(params, true).map(drop)?),
        Method::StreamsDelete => Ok(stream::delete::DeleteStream::parse(params).map(drop)?),
        Method::EventsCreate => Ok(event::create::NewEvent::parse(params).map(drop)?),
        Method::EventsUpdate => Ok(event::update::EventChanges::parse(params, true).map(drop)?),
        Method::EventsDelete => Ok(event::delete::parse(params).map(drop)?),
        Method::EventsDeleteAttachment => {
            Ok(attachment::edit::DeleteAttachment::parse(params).map(drop)?)
        }
        Method::AccessesCreate => {
            // Only an app's access has a device.
            let mut params = params.clone();
            if let Some(params) = params.as_object_mut() {
                params.entry("type").or_insert(json!("app"));
            }
            home.create_access(&me, &params).map(drop)
        }
        Method::AccessesUpdate => {
            let mut trees = context.trees.for_writing(&home.owner.id);
            let update = access::update::update;
            Ok(home
                .attempt(|tx| update(tx, &context, &mut trees, &me, params))
                .map(drop)?)
        }
        Method::AccessesDelete => Ok(access::delete::parse(params).map(drop)?),
        Method::ProfileUpdate => Ok(home
            .attempt(|tx| profile::update_named(tx, &me, params))
            .map(drop)?),
        Method::ProfileUpdateApp => {
            let app = home.app(vec![Permission::stream("*", Level::Read)]);
            Ok(home
                .attempt(|tx| profile::update_app(tx, &app, params))
                .map(drop)?)
        }
        // It has no parameters, and none are looked at.
        Method::AccountGet => Ok(()),
        Method::AccountUsernameChanges => home.read(&me, method, params).map(drop),
        Method::AccountChangeUsername => Ok(account::name::parse(params).map(drop)?),
        Method::AccountUpdate => Ok(account::change::parse(&Schema::usual(), params).map(drop)?),
        Method::AccountChangePassword => {
            Ok(account::passwords::ChangePassword::parse(params).map(drop)?)
        }
        Method::SharedSecretsCreate => {
            let mut trees = context.trees.for_writing(&home.owner.id);
            let create = shared_secret::create;
            Ok(home
                .attempt(|tx| create(tx, &context, &mut trees, &me, params))
                .map(drop)?)
        }
        Method::SharedSecretsGetOne => Ok(home
            .attempt(|tx| shared_secret::get_one(tx, &context, &me, params))
            .map(drop)?),
    }
}

/// The paths of what is wrong with the form of the parameters.
fn wrong(result: Result<(), Error>) -> Vec<(String, String)> {
    let Err(error) = result else {
        return Vec::new();
    };
    if error.id() != InvalidParameters(Vec::new()).id() {
        return Vec::new();
    }
    let items = error.data().and_then(Value::as_array).cloned();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    items
        .unwrap_or_default()
        .iter()
        .map(|item| (text(item, "code"), text(item, "path")))
        .collect()
}

/// A value that a field takes.
fn good(of: Type) -> Value {
    match of {
        Type::Text { min, .. } => json!("x".repeat(min.max(1))),
        Type::Pattern { example, .. } => json!(example),
        Type::Choice(texts) => json!(texts[0]),
        Type::Number | Type::Span | Type::Count => json!(1),
        Type::Flag => json!(true),
        Type::Object => json!({}),
        Type::Null => Value::Null,
        Type::Json => json!(1),
        Type::Texts { example, .. } => json!([example]),
        Type::Record(record) => filled(record),
        Type::Records(records) => Value::Array(records.iter().map(|r| filled(r)).collect()),
    }
}

/// An object with every required field.
fn filled(record: &Record) -> Value {
    let required = record.fields.iter().filter(|field| field.required);
    let members = required.map(|field| match field.name {
        // The one stream that needs no name to be made with.
        "streamId" => (field.name.to_owned(), json!("*")),
        name => (name.to_owned(), good(field.of)),
    });
    Value::Object(Map::from_iter(members))
}

/// Every object that a description has, with its path in parameters that [`filled`] made.
fn records(record: &'static Record) -> Vec<(String, &'static Record)> {
    fn walk(path: &str, record: &'static Record, found: &mut Vec<(String, &'static Record)>) {
        found.push((path.to_owned(), record));
        for field in record.fields {
            let below = format!("{path}/{}", field.name);
            match field.of {
                _ if field.checked == Checked::ByOwnRules => {}
                Type::Record(record) => walk(&below, record, found),
                Type::Records(records) => {
                    for (index, record) in records.iter().enumerate() {
                        walk(&format!("{below}/{index}"), record, found);
                    }
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk("#", record, &mut found);
    found
}

/// Parameters with one more member at a path.
fn with(params: &Value, path: &str, name: &str, value: Value) -> Value {
    let mut params = params.clone();
    let pointer = path.trim_start_matches('#');
    let mut at = &mut params;
    for segment in pointer.split('/').filter(|segment| !segment.is_empty()) {
        at = match segment.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[segment],
        };
    }
    at[name] = value;
    params
}

/// Parameters in which every object of the description occurs.
fn complete(record: &'static Record) -> Value {
    let mut params = filled(record);
    for (path, record) in records(record) {
        for field in record.fields {
            if matches!(field.of, Type::Record(_) | Type::Records(_))
                && field.checked != Checked::ByOwnRules
            {
                params = with(&params, &path, field.name, good(field.of));
            }
        }
    }
    params
}

fn is_taken(field: &Field, value: &Value) -> bool {
    match (field.of, value) {
        (Type::Json, _) => true,
        (_, Value::Null) => field.nullable || field.of == Type::Null,
        (Type::Text { .. } | Type::Pattern { .. } | Type::Choice(_), Value::String(_))
        | (Type::Number | Type::Span | Type::Count, Value::Number(_))
        | (Type::Flag, Value::Bool(_))
        | (Type::Object | Type::Record(_), Value::Object(_))
        | (Type::Texts { .. } | Type::Records(_), Value::Array(_)) => true,
        _ => false,
    }
}

/// Names that a parser knows beside those of the description: they belong to the transport.
fn is_of_transport(name: &str) -> bool {
    name == "auth"
}

/// What is different between a description and what a parser asks for and says.
fn differences(
    record: &'static Record,
    mut parse: impl FnMut(&Value) -> Result<(), Error>,
) -> Vec<String> {
    let mut found = Vec::new();
    let params = complete(record);
    let (result, seen) = watched(|| parse(&params));
    for violation in wrong(result) {
        found.push(format!("{params} is refused: {violation:?}"));
    }
    for (path, record) in records(record) {
        let seen = seen.get(&path).cloned().unwrap_or_default();
        found.extend(name_differences(&path, record, &seen));
        for field in record
            .fields
            .iter()
            .filter(|field| field.checked != Checked::ByOwnRules)
        {
            for value in [
                Value::Null,
                json!(true),
                json!(1),
                json!("text"),
                json!([1]),
                json!({}),
            ] {
                let has_form = !matches!(field.of, Type::Text { .. });
                if field.of == Type::Json
                    || (is_taken(field, &value) && value.is_string() && has_form)
                {
                    continue;
                }
                let at = format!("{path}/{}", field.name);
                let given = with(&params, &path, field.name, value.clone());
                let inside =
                    |path: &str| path.strip_prefix(&at).is_some_and(|r| r.starts_with('/'));
                let refused = wrong(parse(&given)).iter().any(|(code, path)| {
                    *path == at && code != "MIN_LENGTH" || inside(path) && value.is_string()
                });
                if refused == is_taken(field, &value) {
                    let verb = if refused { "refuses" } else { "takes" };
                    found.push(format!("the parser {verb} {value} at {at}"));
                }
            }
            if let Type::Text { min, .. } = field.of {
                let at = format!("{path}/{}", field.name);
                let given = with(&params, &path, field.name, json!(""));
                let refused = wrong(parse(&given)).iter().any(|(_, path)| *path == at);
                if refused != (min > 0) {
                    found.push(format!("an empty text at {at}: refused is {refused}"));
                }
            }
        }
        let given = with(&params, &path, "unlikely", json!(1));
        let refused = wrong(parse(&given))
            .iter()
            .any(|(code, _)| code == "OBJECT_ADDITIONAL_PROPERTIES");
        if refused == record.open {
            found.push(format!("another member at {path}: refused is {refused}"));
        }
    }
    found
}

fn name_differences(path: &str, record: &Record, seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let described: BTreeSet<String> = record.fields.iter().map(|f| f.name.to_owned()).collect();
    let required = record.fields.iter();
    let required = required.filter(|field| field.required && field.checked != Checked::ByOwnRules);
    let required: BTreeSet<String> = required.map(|f| f.name.to_owned()).collect();
    if required != seen.required {
        found.push(format!(
            "required at {path}: described {required:?}, parsed {:?}",
            seen.required
        ));
    }
    let names = seen.known.as_ref().unwrap_or(&seen.read);
    let parsed: BTreeSet<String> = names
        .iter()
        .chain(&seen.read)
        .filter(|name| !is_of_transport(name))
        .cloned()
        .collect();
    if described != parsed {
        found.push(format!(
            "fields at {path}: described {described:?}, parsed {parsed:?}"
        ));
    }
    found
}

#[test]
fn parsers_and_descriptions_say_the_same() {
    let mut found = Vec::new();
    for method in Method::ALL {
        let takes = method.description().takes;
        // Each has what it needs to come as far as its parser.
        let mut home = Home::new();
        let differences = differences(takes, |params| parse(&mut home, *method, params));
        found.extend(
            differences
                .into_iter()
                .map(|difference| format!("{}: {difference}", method.id())),
        );
    }
    assert!(
        found.is_empty(),
        "make the description in node/kernel/src/describe/ say what the parser does:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_log_in_is_described() {
    let found = differences(&LOGIN, |params| {
        // A required field that is missing or null has an answer of its own.
        Ok(account::login::LoginParams::parse(params).map(drop)?)
    });
    let found: Vec<_> = found
        .into_iter()
        .filter(|f| !f.contains("takes null") && !f.starts_with("an empty text"))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn resets_are_described() {
    use account::reset::{RequestReset, ResetPassword};
    let found = differences(&RESET_REQUEST, |params| {
        Ok(RequestReset::parse(params).map(drop)?)
    });
    assert_eq!(found, Vec::<String>::new());
    let found = differences(&RESET_PASSWORD, |params| {
        Ok(ResetPassword::parse(params).map(drop)?)
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn second_factors_are_described() {
    use crate::mfa::{GivenCode, Recover};
    let found = differences(&MFA_CODE, |params| Ok(GivenCode::parse(params).map(drop)?));
    assert_eq!(found, Vec::<String>::new());
    let found = differences(&MFA_RECOVER, |params| Ok(Recover::parse(params).map(drop)?));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn levels_are_those_that_there_are() {
    let Some(Field {
        of: Type::Records(records),
        ..
    }) = Method::AccessesCreate
        .description()
        .takes
        .field("permissions")
    else {
        panic!("permissions are a list of records");
    };
    let levels: Vec<&str> = Level::ALL.iter().map(|level| level.wire()).collect();
    assert_eq!(
        records[0].field("level").map(|field| field.of),
        Some(Type::Choice(&levels.leak()[..]))
    );
}

/// Query strings hold texts; how they are read must be what the method takes.
#[test]
fn query_parameters_are_read_as_they_are_described() {
    for method in Method::ALL {
        let takes = method.description().takes;
        for (name, kind) in method.query_types() {
            let field = takes.field(name);
            let field = field.unwrap_or_else(|| panic!("{}: {name} is not described", method.id()));
            let fits = match kind {
                QueryType::Number => {
                    matches!(field.of, Type::Number | Type::Span | Type::Count)
                }
                QueryType::Flag => field.of == Type::Flag,
                QueryType::Texts => matches!(field.of, Type::Texts { .. }),
                QueryType::Streams => field.of == Type::Json,
                QueryType::Text => matches!(field.of, Type::Text { .. } | Type::Pattern { .. }),
            };
            assert!(fits, "{}: {name} is read as {kind:?}", method.id());
        }
        if method.writes() && method.query_types().is_empty() {
            continue;
        }
        for field in takes.fields {
            let is_text = matches!(
                field.of,
                Type::Text { .. } | Type::Pattern { .. } | Type::Choice(_)
            );
            let is_read = method.query_types().iter().any(|(n, _)| *n == field.name);
            // Conditions are JSON texts in a query; a body has the rest.
            let by_hand = field.of == Type::Json || matches!(field.of, Type::Records(_));
            assert!(
                is_text || is_read || by_hand || method.id() == "accesses.checkApp",
                "{}: the query parameter {} would stay a text",
                method.id(),
                field.name
            );
        }
    }
}

/// Its items are of another kind, so it is only asked whether it takes something.
#[test]
fn a_registration_is_described() {
    let takes = |body: &Value| Registration::parse(&Schema::usual(), body).is_ok();
    let sample = json!({
        "username": "samplebeta1", "password": "sample-pass-1", "appId": "sample-app",
        "email": "samplebeta1@example.com", "language": "en", "referer": "samples",
        "invitationToken": "enjoy", "hosting": "default",
    });
    assert!(takes(&sample));
    let names: Vec<&str> = REGISTRATION.fields.iter().map(|field| field.name).collect();
    for name in sample.as_object().unwrap().keys() {
        assert!(names.contains(&name.as_str()), "{name} is not described");
    }
    are_as_described(REGISTRATION.fields.iter(), &sample, &takes);
    assert!(takes(&with(&sample, "#", "unlikely", json!(1))));
}

/// The same; a new user has either a password or its hash.
#[test]
fn a_new_user_is_described() {
    let takes = |body: &Value| NewUser::parse(&Schema::usual(), body).is_ok();
    let hash = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    let sample = |field: &str, value: &str| {
        let mut sample = json!({
            "username": "samplebeta1", "email": "samplebeta1@example.com", "language": "en",
            "appId": "sample-app", "referer": "samples", "invitationToken": "enjoy",
        });
        sample[field] = json!(value);
        sample
    };
    let ways = ["password", "passwordHash"];
    for sample in [
        sample("password", "sample-pass-1"),
        sample("passwordHash", hash),
    ] {
        assert!(takes(&sample));
        let others = NEW_USER.fields.iter();
        let others = others.filter(|field| !ways.contains(&field.name));
        are_as_described(others, &sample, &takes);
        assert!(!takes(&with(&sample, "#", "unlikely", json!(1))));
    }
    let names: BTreeSet<&str> = NEW_USER.fields.iter().map(|field| field.name).collect();
    let all = with(
        &sample("password", "sample-pass-1"),
        "#",
        "passwordHash",
        json!(hash),
    );
    assert!(!takes(&all), "both");
    let all: BTreeSet<&str> = all
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, all);
}

/// That fields of a body that is taken can be left out, be null, and have the types and lengths that are
/// said.
fn are_as_described<'a>(
    fields: impl Iterator<Item = &'a Field>,
    sample: &Value,
    takes: &dyn Fn(&Value) -> bool,
) {
    for field in fields {
        let set = |value: Value| with(sample, "#", field.name, value);
        let mut without = sample.clone();
        without.as_object_mut().unwrap().shift_remove(field.name);
        assert_eq!(takes(&without), !field.required, "without {}", field.name);
        assert_eq!(
            takes(&set(Value::Null)),
            field.nullable,
            "null as {}",
            field.name
        );
        for value in [json!(1), json!(true), json!([]), json!({})] {
            assert!(!takes(&set(value.clone())), "{value} as {}", field.name);
        }
        if let Type::Text { min, max } = field.of {
            let fits = |length: usize| takes(&set(json!("x".repeat(length))));
            assert!(min == 0 || (!fits(min - 1) && fits(min)), "{}", field.name);
            assert!(
                max.is_none_or(|max| fits(max) && !fits(max + 1)),
                "{}",
                field.name
            );
        }
    }
}
