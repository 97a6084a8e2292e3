//! Query strings, as `events.get` has them: what is wrong is said with the name of the parameter, and
//! nothing goes deep or takes long.

use homecore_fuzz_tests::{Campaign, Chance, Verdict};
use homecore_http::{Kind, Query, form, query};
use homecore_kernel::Refusal as _;
use homecore_kernel::event::query::StreamsQuery;
use homecore_kernel::event::read::{EventsGet, ReadError};
use serde_json::{Value, json};

use crate::{Allocated, MEGABYTE};

const KNOWN: &[(&str, Kind)] = &[
    ("streams", Kind::TextOrTexts),
    ("types", Kind::Texts),
    ("fromTime", Kind::Number),
    ("toTime", Kind::Number),
    ("sortAscending", Kind::Boolean),
    ("skip", Kind::Number),
    ("limit", Kind::Number),
    ("state", Kind::Text),
    ("running", Kind::Boolean),
    ("modifiedSince", Kind::Number),
    ("includeDeletions", Kind::Boolean),
    ("content", Kind::Text),
    ("clientData", Kind::Text),
];
const IDS: [&str; 8] = [
    "work",
    "a!",
    "*",
    "#*",
    ":audit:accesses",
    ":_system:account",
    "",
    "x'y",
];

/// A query of streams, right or nearly so.
fn streams(chance: &mut Chance, depth: usize) -> Value {
    let ids = |chance: &mut Chance| {
        let most = if chance.one_in(50) { 12_000 } else { 4 };
        let ids = (0..chance.below(most)).map(|_| Value::from(chance.text(&IDS)));
        Value::from(ids.collect::<Vec<_>>())
    };
    match chance.below(6) {
        0 => Value::from(chance.text(&IDS)),
        1 => ids(chance),
        2 | 3 => json!({ "any": ids(chance), "all": ids(chance), "not": ids(chance) }),
        4 => json!({ chance.text(&["any", "all", "none", ""]): ids(chance) }),
        _ if depth < 5 => (0..chance.below(4))
            .map(|_| streams(chance, depth + 1))
            .collect(),
        _ => Value::Null,
    }
}

fn encoded(value: &Value) -> String {
    let escape = |byte: u8| match byte {
        b'&' | b'+' | b'%' | b'=' | b'#' => format!("%{byte:02x}"),
        _ => char::from(byte).to_string(),
    };
    value.to_string().bytes().map(escape).collect()
}

fn made(chance: &mut Chance) -> Vec<u8> {
    let mut pairs = vec![format!("streams={}", encoded(&streams(chance, 0)))];
    for _ in 0..chance.below(4) {
        let name = chance
            .pick(KNOWN)
            .map(|(name, _)| *name)
            .unwrap_or_default();
        let value = chance.text(&[
            "1e308",
            "-1e309",
            "0x10",
            "NaN",
            "true",
            "yes",
            "",
            "18446744073709551616",
            "trashed",
            "[\"note/txt\",\"a/*\"]",
            "[{\"path\":\"a.b\",\"gt\":1}]",
            "[[[[",
            "{}",
        ]);
        pairs.push(format!("{name}={value}"));
    }
    pairs.join("&").into_bytes()
}

fn check(raw: &[u8]) -> Verdict {
    let raw = String::from_utf8_lossy(raw);
    let parameters = Value::Object(Query::parse(Some(&raw)).coerce(KNOWN));
    let error = match EventsGet::parse(&parameters) {
        Ok(asked) => {
            let (window, limit) = asked.bounds(1_795_369_711.0);
            if window.is_some_and(|(from, to)| from.is_nan() || to.is_nan()) {
                return Err("a window of no time".to_owned());
            }
            return Ok(format!(
                "asked: {} {} {}",
                window.is_some(),
                limit.is_some(),
                asked.is_short()
            )
            .into());
        }
        Err(error) => error,
    };
    let names = match &error {
        ReadError::Parameters(_) => {
            let items = error.data().unwrap_or_default();
            let items = items.as_array().cloned().unwrap_or_default();
            let named = |item: &Value| {
                let path = item["path"].as_str().unwrap_or_default();
                path.starts_with("#/") || (path == "#" && item["params"].is_array())
            };
            !items.is_empty() && items.iter().all(named)
        }
        ReadError::Structure(invalid) => invalid.reason.contains("\"streams\""),
        other => return Err(format!("refused by {other:?}")),
    };
    if !names {
        return Err(format!("what is wrong is not named: {:?}", error.data()));
    }
    if error.to_string().len() > raw.len() * 4 + 4_096 {
        return Err("the refusal is longer than what was asked".to_owned());
    }
    let shape = error
        .to_string()
        .chars()
        .filter(char::is_ascii_lowercase)
        .take(40)
        .collect::<String>();
    Ok(format!("refused: {shape}").into())
}

#[test]
fn query_strings() {
    let seeds = [
        "streams=work&limit=20&sortAscending=true",
        "streams[]=a&streams[]=b!&types[]=note/txt&fromTime=1&toTime=2.5&skip=3&state=all",
        "streams=%5B%7B%22any%22%3A%5B%22a%22%5D%2C%22not%22%3A%5B%22b%22%5D%7D%5D&running=true",
        "content=[{\"path\":\"a.b\",\"in\":[1,2]}]&clientData=[{\"path\":\"$\",\"exists\":true}]",
        "modifiedSince=10&includeDeletions=true&limit=0x10&types=[\"a/*\"]",
        "",
    ];
    let words = [
        "[",
        "{",
        "\"any\":",
        "\"not\":[",
        "%5B",
        "%7B%22any%22%3A%5B",
        "&",
        "=",
        "streams=",
        "content=",
        "types[]=",
        "fromTime=1e308",
        "%00",
        "%ff",
        "+",
        "\u{fffd}",
        "[]",
        ",",
    ];
    let campaign = Campaign::new("queries", seeds.map(Vec::from).to_vec())
        .words(&words)
        .made_by(made)
        .memory_max(&Allocated, 64 * MEGABYTE);
    let report = campaign.run(check);
    assert!(
        report.ended("asked") > 0 && report.ended("refused") > 0,
        "{report}"
    );
}

/// The parts by themselves, on bytes of any kind.
#[test]
fn forms_numbers_and_stream_queries() {
    let seeds = [
        "a=1&b=%22x%22",
        "1e3",
        "0x1f",
        "[\"a\",\"b!\"]",
        "[{\"any\":[\"a\"]}]",
    ];
    let campaign = Campaign::new("parts-of-queries", seeds.map(Vec::from).to_vec())
        .words(&["[", "{", "{\"any\":[", "\"", "e", "-", "0x", "%2", "&"])
        .memory_max(&Allocated, 64 * MEGABYTE);
    let report = campaign.run(|bytes| {
        let pairs = form::parse(bytes);
        let text = String::from_utf8_lossy(bytes);
        let number = query::number(&text);
        if number
            .as_ref()
            .and_then(serde_json::Number::as_f64)
            .is_some_and(f64::is_nan)
        {
            return Err("a number that is none".to_owned());
        }
        let streams = StreamsQuery::parse(&Value::from(text.as_ref()));
        if let Ok(read) = &streams
            && read.clauses.iter().any(|clause| clause.any.is_empty())
        {
            return Err("a clause that selects nothing".to_owned());
        }
        let (pairs, number, streams) = (pairs.len().min(3), number.is_some(), streams.is_ok());
        Ok(format!("{pairs} pairs, number: {number}, streams: {streams}").into())
    });
    assert!(report.ended("1 pairs, number: true") > 0, "{report}");
}
