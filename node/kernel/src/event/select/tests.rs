//! What queries select: the worked example of the contract, and random trees against a naive
//! reading of the rules.

use homecore_types::Millis;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::permission::{Permission, with_injected};
use crate::stream::Stream;
use crate::stream::schema::Schema;

fn stream(parent: Option<&str>, trashed: bool) -> Stream {
    Stream {
        name: "name".to_owned(),
        parent_id: parent.map(str::to_owned),
        client_data: None,
        trashed,
        created: Millis(0),
        created_by: "x".to_owned(),
        modified: Millis(0),
        modified_by: "x".to_owned(),
    }
}

/// A(B,C), D(E,F), T in the trash.
fn example() -> Tree {
    let mut tree = Tree::new(Schema::usual());
    for (id, parent) in [
        ("A", None),
        ("B", Some("A")),
        ("C", Some("A")),
        ("D", None),
        ("E", Some("D")),
        ("F", Some("D")),
    ] {
        tree.insert(id, stream(parent, false));
    }
    tree.insert("T", stream(None, true));
    tree
}

fn limited(entries: &[(&str, Level)]) -> Rights {
    let entries: Vec<_> = entries
        .iter()
        .map(|(id, level)| Permission::stream(*id, *level))
        .collect();
    Rights::limited(&with_injected("me", &entries))
}

/// The events of the worked example that a query selects.
fn matched(rights: &Rights, query: &Value, trashed_too: bool) -> Result<Vec<String>, SelectError> {
    const EVENTS: [&str; 10] = ["AD", "BE", "FC", "A", "B", "C", "D", "E", "F", "T"];
    let query = StreamsQuery::parse(query).unwrap();
    let selection = select(&example(), rights, Some(&query), trashed_too)?;
    let streams = |event: &str| event.chars().map(String::from).collect::<Vec<_>>();
    Ok(EVENTS
        .into_iter()
        .filter(|event| selection.matches(&streams(event)))
        .map(str::to_owned)
        .collect())
}

/// Many parts that each mean much are refused before they are worked out; many that mean the same are not.
#[test]
fn what_a_query_may_mean_is_bounded() {
    let mut tree = Tree::new(Schema::usual());
    tree.insert("root", stream(None, false));
    for number in 0..2_000 {
        tree.insert(&format!("s{number}"), stream(Some("root"), false));
    }
    let selected = |query: Value| {
        let query = StreamsQuery::parse(&query).unwrap();
        select(&tree, &Rights::Personal, Some(&query), false)
    };
    let clause = json!({ "any": ["root"] });
    let clauses = selected(vec![clause.clone(); 600].into());
    assert!(matches!(clauses, Err(SelectError::TooMany)));
    let all = selected(json!({ "any": ["root"], "all": vec!["root"; 600] }));
    assert!(matches!(all, Err(SelectError::TooMany)));
    assert_eq!(all.unwrap_err().id(), ErrorId::InvalidRequestStructure);

    assert_eq!(selected(vec![clause; 100].into()).unwrap().sets.len(), 100);
    let same = selected(json!(vec!["root"; 5_000])).unwrap();
    assert_eq!(same.streams().len(), 2_001);
}

#[test]
fn the_worked_example() {
    for (query, expected) in [
        (
            json!(["A", "E"]),
            vec!["AD", "BE", "FC", "A", "B", "C", "E"],
        ),
        (json!({ "any": ["A"], "all": ["E"] }), vec!["BE"]),
        (json!({ "any": ["A"], "not": ["D"] }), vec!["A", "B", "C"]),
        (
            json!({ "any": ["A"], "not": ["D!"] }),
            vec!["BE", "FC", "A", "B", "C"],
        ),
        (json!({ "any": ["*"], "not": ["D"] }), vec!["A", "B", "C"]),
        (
            json!([{ "any": ["B"] }, { "any": ["D"], "not": ["E"] }]),
            vec!["AD", "BE", "FC", "B", "D", "F"],
        ),
        (json!(["T"]), vec![]),
        // Beyond the table of the contract.
        (json!(["A!"]), vec!["AD", "A"]),
        (json!([]), vec![]),
        (
            json!({ "any": ["A", "E"], "not": ["D"] }),
            vec!["BE", "A", "B", "C", "E"],
        ),
        (
            json!({ "any": ["A"], "all": ["nothing"] }),
            vec!["AD", "BE", "FC", "A", "B", "C"],
        ),
        (
            json!({ "any": ["A"], "not": ["nothing"] }),
            vec!["AD", "BE", "FC", "A", "B", "C"],
        ),
        (
            json!({ "any": ["A"], "not": ["B!"] }),
            vec!["AD", "FC", "A", "C"],
        ),
    ] {
        assert_eq!(
            matched(&Rights::Personal, &query, false).unwrap(),
            expected,
            "{query}"
        );
    }
    assert_eq!(
        matched(&Rights::Personal, &json!(["T"]), true).unwrap(),
        ["T"]
    );
    assert_eq!(
        matched(&Rights::Personal, &json!(["*"]), false).unwrap(),
        ["AD", "BE", "FC", "A", "B", "C", "D", "E", "F"]
    );
}

#[test]
fn an_access_gets_what_it_may_read() {
    let rights = limited(&[
        ("A", Level::Read),
        ("C", Level::None),
        ("E", Level::Contribute),
    ]);
    assert_eq!(
        matched(&rights, &json!(["*"]), false).unwrap(),
        ["AD", "BE", "A", "B", "E"]
    );
    assert_eq!(
        matched(&rights, &json!(["A"]), false).unwrap(),
        ["AD", "BE", "A", "B"]
    );
    let forbidden = |query: Value| matched(&rights, &query, false).unwrap_err().id();
    assert_eq!(forbidden(json!(["D"])), ErrorId::Forbidden);
    assert_eq!(forbidden(json!(["C"])), ErrorId::Forbidden);
    assert_eq!(
        forbidden(json!(["nothing"])),
        ErrorId::UnknownReferencedResource
    );
    assert_eq!(
        forbidden(json!(["nothing", "D"])),
        ErrorId::Forbidden,
        "403 wins"
    );
    assert_eq!(forbidden(json!([":_system:language"])), ErrorId::Forbidden);
    let unknown = matched(&Rights::Personal, &json!(["x", "A", "y"]), false).unwrap_err();
    assert_eq!(unknown.data(), Some(json!({ "streams": ["x", "y"] })));

    let drop_box = limited(&[("A", Level::CreateOnly)]);
    assert_eq!(
        matched(&drop_box, &json!(["*"]), false).unwrap(),
        Vec::<String>::new()
    );
    let star = limited(&[("*", Level::Read), ("D", Level::None), ("E", Level::Read)]);
    assert_eq!(
        matched(&star, &json!(["*"]), false).unwrap(),
        ["BE", "A", "B", "C", "E"]
    );
}

#[test]
fn forced_streams_always_limit() {
    let forced = |id: &str| {
        let entries = [
            Permission::stream("*", Level::Read),
            Permission::ForcedStreams {
                feature: crate::permission::ForcedStreams::ForcedStreams,
                streams: vec![id.to_owned()],
            },
        ];
        Rights::limited(&with_injected("me", &entries))
    };
    assert_eq!(
        matched(&forced("D"), &json!(["A"]), false).unwrap(),
        ["AD", "BE", "FC"]
    );
    assert_eq!(
        matched(&forced("D"), &json!(["*"]), false).unwrap().len(),
        6
    );
    let nothing = matched(&forced("gone"), &json!(["*"]), false).unwrap();
    assert_eq!(
        nothing,
        Vec::<String>::new(),
        "a forced stream that is gone lets nothing through"
    );
}

#[test]
fn account_streams_need_an_explicit_grant() {
    let all = |rights: &Rights| {
        let selection = select(&example(), rights, None, false).unwrap();
        [":_system:language", ":system:email", ":_system:dbDocuments"]
            .map(|id| selection.matches_one(id))
    };
    assert_eq!(all(&Rights::Personal), [true, true, true]);
    assert_eq!(
        all(&limited(&[("*", Level::Manage)])),
        [false, false, false]
    );
    let granted = limited(&[("*", Level::Read), (":system:email", Level::Read)]);
    assert_eq!(all(&granted), [false, true, false]);
    assert_eq!(
        all(&limited(&[(ACCOUNT_ROOT, Level::Read)])),
        [true, true, true]
    );
    let hidden = StreamsQuery::parse(&json!([":_system:appId"])).unwrap();
    assert!(select(&example(), &Rights::Personal, Some(&hidden), false).is_err());
}

/// The rules read word by word, over paths: no sets, no pruning.
fn naive(tree: &Tree, clause: &Clause, streams: &[String]) -> bool {
    // Whether `stream` lies in the expansion of `root` with subtrees at `stops` left out.
    let within = |stream: &str, selector: &Selector, stops: &[&Selector], own: bool| {
        if !selector.deep {
            return stream == selector.id;
        }
        let path: Vec<&str> = tree.ancestry(stream).collect();
        let Some(at) = path.iter().position(|id| *id == selector.id) else {
            return false;
        };
        // Down from what is named: what is above it does not count.
        let mut from_there = path[..=at].iter();
        let trashed = from_there.any(|id| tree.get(id).is_none_or(|s| s.trashed));
        let below = if own { &path[..at] } else { &path[..=at] };
        !trashed
            && !below
                .iter()
                .any(|id| stops.iter().any(|stop| stop.id == **id))
    };
    let deep_not: Vec<&Selector> = clause.not.iter().filter(|s| s.deep).collect();
    let any: Vec<&Selector> = clause.any.iter().collect();
    let every = |s: &Selector| tree.iter().any(|(id, _)| within(id, s, &deep_not, false));
    streams
        .iter()
        .any(|id| clause.any.iter().any(|s| within(id, s, &deep_not, false)))
        && clause.all.iter().all(|s| {
            (s.deep && !every(s)) || streams.iter().any(|id| within(id, s, &deep_not, false))
        })
        && !streams
            .iter()
            .any(|id| clause.not.iter().any(|s| within(id, s, &any, true)))
}

fn selectors(min: usize) -> impl Strategy<Value = Vec<Selector>> {
    let one = (0_usize..10, prop::bool::weighted(0.8)).prop_map(|(i, deep)| Selector {
        id: format!("s{i}"),
        deep,
    });
    prop::collection::vec(one, min..3)
}

proptest! {
    #[test]
    fn sets_agree_with_the_rules(
        shape in prop::collection::vec((prop::option::of(0_usize..10), prop::bool::weighted(0.15)), 10),
        any in selectors(1),
        all in selectors(0),
        not in selectors(0),
        events in prop::collection::vec(prop::collection::vec(0_usize..10, 1..4), 20),
    ) {
        let mut tree = Tree::new(Schema::usual());
        for (i, (parent, trashed)) in shape.iter().enumerate() {
            let parent = parent.filter(|p| *p < i).map(|p| format!("s{p}"));
            tree.insert(&format!("s{i}"), stream(parent.as_deref(), *trashed));
        }
        let clause = Clause { any, all, not };
        let query = StreamsQuery { clauses: vec![clause.clone()] };
        let selection = select(&tree, &Rights::Personal, Some(&query), false).unwrap();
        for event in events {
            let streams: Vec<String> = event.iter().map(|i| format!("s{i}")).collect();
            prop_assert_eq!(
                selection.matches(&streams),
                naive(&tree, &clause, &streams),
                "{:?} {:?}", clause, streams
            );
        }
    }
}

#[test]
fn a_stream_below_one_in_the_trash_is_read_where_it_is_named_or_held() {
    let mut tree = example();
    tree.replace("A", stream(None, true));
    let selected = |rights: &Rights, query: Value| {
        let query = StreamsQuery::parse(&query).unwrap();
        let selection = select(&tree, rights, Some(&query), false).unwrap();
        ["A", "B", "C"].map(|id| selection.matches_one(id))
    };
    let all = Rights::Personal;
    assert_eq!(selected(&all, json!(["B"])), [false, true, false]);
    assert_eq!(selected(&all, json!(["A"])), [false, false, false]);
    assert_eq!(selected(&all, json!(["*"])), [false, false, false]);
    for entries in [
        [("A", Level::Read), ("C", Level::Read)],
        [("*", Level::Read), ("C", Level::Read)],
    ] {
        let held = limited(&entries);
        assert_eq!(selected(&held, json!(["*"])), [false, false, true]);
    }
}

#[test]
fn what_is_withheld_stays_so_in_the_trash() {
    let mut tree = example();
    let rights = limited(&[("*", Level::Read), ("A", Level::None)]);
    let event = ["D".to_owned(), "B".to_owned()];
    for trashed in [false, true] {
        tree.replace("A", stream(None, trashed));
        for trashed_too in [false, true] {
            let selection = select(&tree, &rights, None, trashed_too).unwrap();
            assert!(!selection.matches(&event), "{trashed} {trashed_too}");
            assert!(selection.matches_one("D"));
        }
    }
}
