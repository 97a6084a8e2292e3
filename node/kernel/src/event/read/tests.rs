//! `events.get` against a naive filter over random events, and its defaults and errors as rows.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Method;
use crate::permission::Permission;
use crate::testing::{Home, NOW};

fn planted() -> Home {
    let mut home = Home::new();
    for (id, parent) in [("a", None), ("b", Some("a")), ("c", Some("a")), ("d", None)] {
        home.stream(id, parent);
    }
    home
}

fn event(home: &mut Home, fields: Value) -> String {
    let me = home.person();
    let mut params = json!({ "type": "t-note/txt" });
    params
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    home.create_event(&me, &params).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn descriptions(answer: &Value) -> Vec<String> {
    let own = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["createdBy"] != "system");
    own.map(|e| e["description"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn get(home: &Home, actor: &Actor, params: &Value) -> Result<Value, ErrorId> {
    home.read(actor, Method::EventsGet, params)
        .map_err(|error| error.id())
}

#[test]
fn a_fresh_account_shows_its_fields() {
    let home = Home::new();
    let answer = get(&home, &home.person(), &json!({})).unwrap();
    let ids: Vec<_> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["id"])
        .collect();
    assert_eq!(
        ids,
        [
            ":_system:attachedFiles",
            ":_system:dbDocuments",
            ":system:email",
            ":_system:language"
        ]
    );
    assert_eq!(answer["events"][2]["content"], "samplebeta1@example.com");
    let one = get(&home, &home.person(), &json!({ "limit": 1, "skip": 2 })).unwrap();
    assert_eq!(
        one["events"].as_array().unwrap().len(),
        1,
        "they count in limit and skip"
    );
    assert_eq!(one["events"][0]["id"], ":system:email");
    assert_eq!(
        get(&home, &home.app(vec![]), &json!({})).unwrap(),
        json!({ "events": [] })
    );
    // None is kept, and that is said as with any other event.
    let one = json!({ "id": ":_system:language", "includeHistory": true });
    let one = home.read(&home.person(), Method::EventsGetOne, &one);
    assert_eq!(one.unwrap()["history"], json!([]));
    let old = json!({ "fromTime": 1, "toTime": 2 });
    assert_eq!(
        get(&home, &home.person(), &old).unwrap(),
        json!({ "events": [] })
    );
}

#[test]
fn pages_are_bounded() {
    let mut home = planted();
    event(
        &mut home,
        json!({ "streamIds": ["a"], "description": "one", "time": 1 }),
    );
    let me = home.person();
    let most = json!({ "limit": 100_000, "skip": 0 });
    let all = get(&home, &me, &json!({ "fromTime": 0 })).unwrap();
    let found = get(&home, &me, &most).unwrap();
    assert_eq!(descriptions(&found), descriptions(&all));
    assert_eq!(descriptions(&all), ["one"]);
    let none = get(&home, &me, &json!({ "limit": 0 })).unwrap();
    assert_eq!(none, json!({ "events": [] }));
    let error = home
        .read(&me, Method::EventsGet, &json!({ "limit": 100_001 }))
        .unwrap_err();
    assert_eq!(
        error.data().unwrap()[0],
        json!({ "code": "MAXIMUM", "params": [100_000], "message": "must be <= 100000",
            "path": "#/limit" })
    );
}

#[test]
fn parameters_are_checked() {
    let home = planted();
    let me = home.person();
    for (params, id) in [
        (json!({ "nosuch": 1 }), ErrorId::InvalidParametersFormat),
        (json!({ "limit": "abc" }), ErrorId::InvalidParametersFormat),
        (json!({ "limit": 1.5 }), ErrorId::InvalidParametersFormat),
        (json!({ "skip": -1 }), ErrorId::InvalidParametersFormat),
        (json!({ "skip": 100_001 }), ErrorId::InvalidParametersFormat),
        (json!({ "limit": -1 }), ErrorId::InvalidParametersFormat),
        (
            json!({ "limit": 100_001 }),
            ErrorId::InvalidParametersFormat,
        ),
        (json!({ "limit": 1e300 }), ErrorId::InvalidParametersFormat),
        (json!({ "state": "gone" }), ErrorId::InvalidParametersFormat),
        (
            json!({ "types": ["mass"] }),
            ErrorId::InvalidParametersFormat,
        ),
        (
            json!({ "types": "t-mass/kg" }),
            ErrorId::InvalidParametersFormat,
        ),
        (
            json!({ "running": "yes" }),
            ErrorId::InvalidParametersFormat,
        ),
        (json!({ "streams": [{}] }), ErrorId::InvalidRequestStructure),
        (
            json!({ "streams": ["nope"] }),
            ErrorId::UnknownReferencedResource,
        ),
        (
            json!({ "content": [{ "path": "$", "gt": null }] }),
            ErrorId::InvalidParametersFormat,
        ),
        (
            json!({ "clientData": [] }),
            ErrorId::InvalidParametersFormat,
        ),
        (
            json!({ "streams": [":_audit:actions"], "content": [{ "path": "$", "gt": 1 }] }),
            ErrorId::InvalidOperation,
        ),
    ] {
        assert_eq!(get(&home, &me, &params).unwrap_err(), id, "{params}");
    }
    let extreme = json!({ "fromTime": -1.797_693_134_862_315e308,
        "toTime": 1.797_693_134_862_315e308, "modifiedSince": -1.797_693_134_862_315e308,
        "includeDeletions": true, "state": "all", "types": null, "streams": null, "auth": "x" });
    assert_eq!(
        get(&home, &me, &extreme).unwrap()["eventDeletions"],
        json!([])
    );
}

#[test]
fn bounds_have_their_defaults() {
    let query = |from_time, to_time, limit| EventsGet {
        from_time,
        to_time,
        limit,
        ..EventsGet::default()
    };
    let now = 1_000_000.0;
    for (query, expected) in [
        (query(None, None, None), (None, Some(20))),
        (query(None, None, Some(5)), (None, Some(5))),
        (
            query(None, Some(100_000.0), None),
            (Some((13_600.0, 100_000.0)), None),
        ),
        (query(Some(0.0), None, None), (Some((0.0, now)), None)),
        (query(Some(1.0), Some(2.0), None), (Some((1.0, 2.0)), None)),
    ] {
        assert_eq!(query.bounds(now), expected);
    }
}

#[test]
fn the_window_looks_at_ends() {
    let mut home = planted();
    let me = home.person();
    let now = NOW.as_seconds();
    for (name, time, duration) in [
        ("long", 100.0, json!(1_000)),
        ("short", 100.0, json!(10)),
        ("point", 500.0, json!(0)),
        ("old-running", 50.0, Value::Null),
        ("future", now + 100.0, json!(0)),
    ] {
        event(
            &mut home,
            json!({ "streamIds": ["a"], "time": time, "duration": duration,
            "description": name }),
        );
    }
    for (params, expected) in [
        (
            json!({ "fromTime": 300, "toTime": 600 }),
            vec!["point", "long"],
        ),
        (
            json!({ "fromTime": 110, "toTime": 600 }),
            vec!["point", "short", "long"],
        ),
        (json!({ "fromTime": 1100, "toTime": 2000 }), vec!["long"]),
        (json!({ "fromTime": 1100.5, "toTime": 2000 }), vec![]),
        // Running ones are there only if the window reaches the present.
        (
            json!({ "fromTime": 300 }),
            vec!["point", "long", "old-running"],
        ),
        (json!({ "fromTime": now - 2.0 }), vec![]),
        (
            json!({ "fromTime": 300, "toTime": now + 1000.0 }),
            vec!["future", "point", "long", "old-running"],
        ),
        (json!({ "running": true }), vec!["old-running"]),
        (
            json!({ "running": true, "fromTime": 300, "toTime": 600 }),
            vec!["old-running"],
        ),
        (
            json!({ "running": true, "fromTime": 0, "toTime": 10 }),
            vec![],
        ),
        (
            json!({ "sortAscending": true, "limit": 3 }),
            vec!["old-running", "short", "long"],
        ),
    ] {
        let mut found = descriptions(&get(&home, &me, &params).unwrap());
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        if params.get("sortAscending").is_some() {
            // Two begin at the same moment: their order is that of random ids.
            found.sort();
            expected.sort();
        } else {
            found.sort();
            expected.sort();
        }
        assert_eq!(found, expected, "{params}");
    }
}

#[test]
fn an_app_that_reads_everything_reads_the_time_line() {
    let home = planted();
    let reads_all =
        |permissions: Vec<Permission>| withholds_nothing(home.app(permissions).access.rights());
    let all = || Permission::stream("*", Level::Read);
    assert!(reads_all(vec![all()]));
    assert!(reads_all(vec![
        all(),
        Permission::stream("a", Level::Manage)
    ]));
    assert!(!reads_all(vec![
        all(),
        Permission::stream("a", Level::None)
    ]));
    assert!(!reads_all(vec![
        all(),
        Permission::stream("a", Level::CreateOnly)
    ]));
    assert!(withholds_nothing(home.person().access.rights()));
}

#[test]
fn getting_one_needs_one_readable_stream() {
    let mut home = planted();
    let both = event(&mut home, json!({ "streamIds": ["b", "d"] }));
    let hidden = event(&mut home, json!({ "streamIds": ["d"] }));
    let app = home.app(vec![
        Permission::stream("a", Level::Read),
        Permission::stream("d", Level::None),
    ]);
    let one = |actor: &Actor, id: &str| {
        home.read(actor, Method::EventsGetOne, &json!({ "id": id }))
            .map_err(|error| error.id())
    };
    assert_eq!(one(&app, &both).unwrap()["event"]["id"], both.as_str());
    assert_eq!(one(&app, &hidden), Err(ErrorId::Forbidden));
    assert_eq!(one(&app, "nosuchevent"), Err(ErrorId::UnknownResource));
    assert_eq!(one(&app, ":_system:language"), Err(ErrorId::Forbidden));
    assert_eq!(
        one(&home.person(), ":_system:appId"),
        Err(ErrorId::Forbidden),
        "hidden"
    );
    // events.get drops what also lies in a stream that is withheld.
    assert_eq!(
        get(&home, &app, &json!({})).unwrap(),
        json!({ "events": [] })
    );
    let creator = home.app(vec![Permission::stream("d", Level::CreateOnly)]);
    assert_eq!(one(&creator, &hidden), Err(ErrorId::Forbidden));
    let history = home
        .read(
            &app,
            Method::EventsGetOne,
            &json!({ "id": both, "includeHistory": true }),
        )
        .unwrap();
    assert_eq!(history["history"], json!([]));
}

/// One random event.
#[derive(Clone, Debug)]
struct Sample {
    streams: Vec<&'static str>,
    time: f64,
    duration: Option<Option<f64>>,
    kind: &'static str,
    trashed: bool,
    later: u64,
}

fn sample() -> impl Strategy<Value = Sample> {
    let streams = prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..=3);
    let time = (-20_i32..40).prop_map(|t| f64::from(t) * 5.0);
    let duration = prop_oneof![
        3 => Just(None),
        3 => (1_i32..200).prop_map(|d| Some(Some(f64::from(d) / 2.0))),
        1 => Just(Some(None)),
    ];
    let kind = prop::sample::select(vec!["t-mass/kg", "t-mass/lb", "t-note/txt"]);
    (
        streams,
        time,
        duration,
        kind,
        prop::bool::weighted(0.2),
        0_u64..3,
    )
        .prop_map(|(streams, time, duration, kind, trashed, later)| Sample {
            streams,
            time,
            duration,
            kind,
            trashed,
            later,
        })
}

#[derive(Clone, Debug)]
struct Ask {
    streams: Option<Vec<&'static str>>,
    types: Option<Vec<&'static str>>,
    from: Option<f64>,
    to: Option<f64>,
    ascending: bool,
    skip: usize,
    limit: Option<usize>,
    state: &'static str,
    running: bool,
    since: Option<f64>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let streams = prop::option::of(prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..=3));
    let types = prop::option::of(prop::sample::select(vec![
        vec!["t-mass/*"],
        vec!["t-mass/kg"],
        vec!["t-note/txt", "t-mass/lb", "t-note/txt"],
        vec!["t-note/none"],
    ]));
    let bound = || prop::option::of((-30_i32..50).prop_map(|t| f64::from(t) * 4.0));
    let to = prop_oneof![bound(), Just(Some(NOW.as_seconds() + 100.0))];
    let state = prop::sample::select(vec!["default", "trashed", "all"]);
    let since = prop::option::of((0_i64..3).prop_map(|s| (NOW.0 + s * 1000) as f64 / 1000.0));
    (
        (streams, types, bound(), to, any::<bool>()),
        (
            0_usize..4,
            prop::option::of(0_usize..30),
            state,
            prop::bool::weighted(0.2),
            since,
        ),
    )
        .prop_map(
            |((streams, types, from, to, ascending), (skip, limit, state, running, since))| Ask {
                streams,
                types,
                from,
                to,
                ascending,
                skip,
                limit,
                state,
                running,
                since,
            },
        )
}

/// The rules of the contract, event by event.
fn expected(asked: &Ask, events: &[(Sample, String)], now: f64) -> Vec<String> {
    let (from, to) = match (asked.from, asked.to) {
        (None, None) => (f64::NEG_INFINITY, f64::INFINITY),
        (Some(from), None) => (from, now),
        (None, Some(to)) => (to - 86_400.0, to),
        (Some(from), Some(to)) => (from, to),
    };
    let unbounded = asked.from.is_none() && asked.to.is_none();
    let limit = asked
        .limit
        .unwrap_or(if unbounded { 20 } else { usize::MAX });
    let parent = |s: &str| {
        if s == "b" || s == "c" {
            Some("a")
        } else {
            None
        }
    };
    let mut found: Vec<&(Sample, String)> = events
        .iter()
        .filter(|(e, _)| {
            let state = match asked.state {
                "default" => !e.trashed,
                "trashed" => e.trashed,
                _ => true,
            };
            let streams = asked.streams.as_ref().is_none_or(|wanted| {
                e.streams
                    .iter()
                    .any(|s| wanted.contains(s) || parent(s).is_some_and(|p| wanted.contains(&p)))
            });
            let kind = asked.types.as_ref().is_none_or(|types| {
                types.iter().any(|kind| match kind.strip_suffix('*') {
                    Some(class) => e.kind.starts_with(class),
                    None => e.kind == *kind,
                })
            });
            let since = asked.since.is_none_or(|since| {
                (NOW.0 + 1000 * i64::try_from(e.later).unwrap()) as f64 / 1000.0 > since
            });
            let time = match e.duration {
                _ if asked.running => e.duration == Some(None) && e.time <= to,
                Some(None) => e.time <= to && (unbounded || (from <= now - 5.0 && now - 5.0 <= to)),
                Some(Some(d)) => e.time <= to && e.time + d >= from,
                None => e.time <= to && e.time >= from,
            };
            state && streams && kind && since && time
        })
        .collect();
    found.sort_by(|(a, x), (b, y)| a.time.total_cmp(&b.time).then_with(|| x.cmp(y)));
    if !asked.ascending {
        found.reverse();
    }
    found
        .into_iter()
        .skip(asked.skip)
        .take(limit)
        .map(|(_, id)| id.clone())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn queries_agree_with_a_naive_filter(
        samples in prop::collection::vec(sample(), 0..40),
        asks in prop::collection::vec(ask(), 12),
    ) {
        let mut home = planted();
        let mut events = Vec::new();
        let mut samples = samples;
        samples.sort_by_key(|sample| sample.later);
        let mut later = 0;
        for sample in samples {
            home.clock.advance(std::time::Duration::from_secs(sample.later - later));
            later = sample.later;
            let mut fields = json!({ "streamIds": sample.streams, "time": sample.time,
                "type": sample.kind, "trashed": sample.trashed });
            if let Some(duration) = sample.duration {
                fields["duration"] = json!(duration);
            }
            let id = event(&mut home, fields);
            events.push((sample, id));
        }
        let now = home.context.now().as_seconds();
        // An app with everything: no account fields among the answers.
        let app = home.app(vec![Permission::stream("*", Level::Read)]);
        for asked in asks {
            let mut params = json!({ "sortAscending": asked.ascending, "skip": asked.skip,
                "state": asked.state, "running": asked.running });
            for (name, value) in [
                ("streams", asked.streams.as_ref().map(|v| json!(v))),
                ("types", asked.types.as_ref().map(|v| json!(v))),
                ("fromTime", asked.from.map(|v| json!(v))),
                ("toTime", asked.to.map(|v| json!(v))),
                ("limit", asked.limit.map(|v| json!(v))),
                ("modifiedSince", asked.since.map(|v| json!(v))),
            ] {
                if let Some(value) = value {
                    params[name] = value;
                }
            }
            let answer = get(&home, &app, &params).unwrap();
            let found: Vec<String> = answer["events"].as_array().unwrap().iter()
                .map(|e| e["id"].as_str().unwrap().to_owned()).collect();
            prop_assert_eq!(found, expected(&asked, &events, now), "{}", params);
        }
    }
}

/// More events than one part holds, in more streams than are read one by one.
#[test]
fn long_answers_come_in_parts() {
    let mut home = Home::new();
    let streams: Vec<String> = (0..50).map(|i| format!("s{i}")).collect();
    for stream in &streams {
        home.stream(stream, None);
    }
    for i in 0..600_usize {
        let pair = [&streams[i % 50], &streams[(i + 7) % 50]];
        event(
            &mut home,
            json!({ "streamIds": pair, "time": i / 2, "description": i.to_string() }),
        );
    }
    for wanted in [50, 20] {
        let query = EventsGet {
            streams: Some(StreamsQuery::parse(&json!(streams[..wanted])).unwrap()),
            from_time: Some(0.0),
            ..EventsGet::default()
        };
        let (context, actor) = (home.context.clone(), home.person());
        let mut trees = context.trees.for_reading(&home.owner.id);
        let mut reading = home
            .look(|view| open(view, &context, &mut trees, &actor, query))
            .unwrap();
        let mut times = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        let mut parts = 0;
        while let Some(part) = home.look(|view| reading.next(view)).unwrap() {
            let EventsPart::Events(events) = part else {
                panic!("no deletions were asked for")
            };
            assert!(events.len() <= PART_EVENTS);
            parts += 1;
            for event in events {
                let value: Value = serde_json::from_slice(&event.json).unwrap();
                times.push(value["time"].as_f64().unwrap());
                assert!(ids.insert(value["id"].to_string()), "seen twice");
            }
        }
        let expected = (0..600_usize)
            .filter(|i| i % 50 < wanted || (i + 7) % 50 < wanted)
            .count();
        assert_eq!(ids.len(), expected);
        assert!(times.is_sorted_by(|a, b| a >= b));
        assert!(parts > 1);
    }
}
