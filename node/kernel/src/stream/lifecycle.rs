//! Random lives of a tree of streams, with events in it, against plain maps of both: whatever is
//! asked, the answer is that of the maps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::Method;
use crate::testing::Home;

const STREAMS: &[&str] = &["s0", "s1", "s2", "s3", "s4", "s5"];
const NAMES: &[&str] = &["one", "two", "three"];

type Id = &'static str;

#[derive(Clone, Debug)]
enum Step {
    Create(Id, &'static str, Option<Id>),
    /// Name, parent, whether it is in the trash: each perhaps.
    Update(Id, Option<&'static str>, Option<Option<Id>>, Option<bool>),
    Delete(Id, Option<bool>),
    Event(Vec<Id>, bool),
}

#[derive(Clone, Debug, PartialEq)]
struct Node {
    name: &'static str,
    parent: Option<Id>,
    trashed: bool,
}

#[derive(Debug, Default)]
struct Model {
    streams: BTreeMap<Id, Node>,
    /// Streams that are gone, and when they went.
    gone: BTreeMap<Id, f64>,
    /// Streams of events and whether they are in the trash; none: deleted.
    events: BTreeMap<String, Option<(BTreeSet<Id>, bool)>>,
}

impl Model {
    fn ancestry(&self, id: Id) -> Vec<Id> {
        let mut all = vec![id];
        let mut next = self.streams.get(id).and_then(|node| node.parent);
        while let Some(id) = next {
            all.push(id);
            next = self.streams[id].parent;
        }
        all
    }

    /// Whether it is hidden where all streams are listed.
    fn is_hidden(&self, id: Id) -> bool {
        let above = self.ancestry(id);
        above.iter().any(|id| self.streams[id].trashed)
    }

    fn branch(&self, id: Id) -> BTreeSet<Id> {
        let all = self.streams.keys().copied();
        all.filter(|below| self.ancestry(below).contains(&id))
            .collect()
    }

    fn name_is_free(&self, id: Id, name: &str, parent: Option<Id>) -> bool {
        let mut others = self.streams.iter().filter(|(other, _)| **other != id);
        !others.any(|(_, node)| node.parent == parent && node.name == name)
    }

    fn takes_children(&self, parent: Option<Id>) -> bool {
        parent.is_none_or(|parent| self.streams.get(parent).is_some_and(|node| !node.trashed))
    }

    fn may_create(&self, id: Id, name: &str, parent: Option<Id>) -> bool {
        !self.streams.contains_key(id)
            && self.takes_children(parent)
            && self.name_is_free(id, name, parent)
    }

    /// The stream as it shall be; none: it may not be so.
    fn updated(
        &self,
        id: Id,
        name: Option<&'static str>,
        parent: Option<Option<Id>>,
        trashed: Option<bool>,
    ) -> Option<Node> {
        let present = self.streams.get(id)?;
        let node = Node {
            name: name.unwrap_or(present.name),
            parent: parent.unwrap_or(present.parent),
            trashed: trashed.unwrap_or(present.trashed),
        };
        if node.parent != present.parent {
            let below = |parent: Id| self.ancestry(parent).contains(&id);
            if !self.takes_children(node.parent) || node.parent.is_some_and(below) {
                return None;
            }
        }
        self.name_is_free(id, node.name, node.parent)
            .then_some(node)
    }

    /// Deletes a stream that is in the trash: what is told of its events; none: refused.
    fn delete(&mut self, id: Id, merge: Option<bool>, now: f64) -> Option<BTreeMap<String, Value>> {
        let parent = self.streams[id].parent;
        if merge == Some(true) && parent.is_none() {
            return None;
        }
        let doomed = self.branch(id);
        let is_linked = |streams: &BTreeSet<Id>| !streams.is_disjoint(&doomed);
        let mut present = self.events.values().flatten();
        if merge.is_none() && present.any(|(streams, trashed)| !trashed && is_linked(streams)) {
            return None;
        }
        let mut told = BTreeMap::new();
        for (event, state) in &mut self.events {
            let Some((streams, trashed)) = state.as_mut().filter(|(at, _)| is_linked(at)) else {
                continue;
            };
            streams.retain(|stream| !doomed.contains(stream));
            let action = match parent.filter(|_| merge == Some(true)) {
                Some(parent) => {
                    streams.insert(parent);
                    "mergedToParent"
                }
                None if streams.is_empty() => "deleted",
                None => "updatedStreamIds",
            };
            if !*trashed {
                told.insert(event.clone(), json!(action));
            }
            if action == "deleted" {
                *state = None;
            }
        }
        for id in doomed {
            self.streams.remove(id);
            self.gone.insert(id, now);
        }
        Some(told)
    }
}

fn ids() -> impl Strategy<Value = Id> {
    select(STREAMS)
}

fn parents() -> impl Strategy<Value = Option<Id>> {
    proptest::option::weighted(0.7, ids())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use proptest::option::of;
    let step = prop_oneof![
        4 => (ids(), select(NAMES), parents()).prop_map(|(id, n, p)| Step::Create(id, n, p)),
        3 => (ids(), of(select(NAMES)), of(parents()), of(any::<bool>()))
            .prop_map(|(id, name, parent, trashed)| Step::Update(id, name, parent, trashed)),
        4 => (ids(), of(any::<bool>())).prop_map(|(id, merge)| Step::Delete(id, merge)),
        3 => (subsequence(STREAMS, 1..=3), any::<bool>())
            .prop_map(|(streams, trashed)| Step::Event(streams, trashed)),
    ];
    proptest::collection::vec(step, 1..40)
}

fn take(home: &mut Home, model: &mut Model, step: &Step) {
    let me = home.person();
    let now = home.context.now().as_seconds();
    match step {
        Step::Create(id, name, parent) => {
            let params = json!({ "id": id, "name": name, "parentId": parent });
            let created = home.create_stream(&me, &params);
            assert_eq!(created.is_ok(), model.may_create(id, name, *parent));
            if created.is_ok() {
                let node = Node {
                    name,
                    parent: *parent,
                    trashed: false,
                };
                model.streams.insert(id, node);
                model.gone.remove(id);
            }
        }
        Step::Update(id, name, parent, trashed) => {
            let mut changes = Map::new();
            let mut add = |name: &str, value: Option<Value>| {
                changes.extend(value.map(|value| (name.to_owned(), value)));
            };
            add("name", name.map(Value::from));
            add("parentId", parent.map(|parent| json!(parent)));
            add("trashed", trashed.map(Value::from));
            let updated = home.update_stream(&me, id, &Value::Object(changes));
            let expected = model.updated(id, *name, *parent, *trashed);
            assert_eq!(updated.is_ok(), expected.is_some());
            model.streams.extend(expected.map(|node| (*id, node)));
        }
        Step::Delete(id, merge) => {
            let deleted = home.delete_stream(&me, id, *merge);
            match model.streams.get_mut(id) {
                None => assert!(deleted.is_err()),
                Some(node) if !node.trashed => {
                    node.trashed = true;
                    assert_eq!(deleted.unwrap()["stream"]["trashed"], true);
                }
                Some(_) => {
                    let told = model.delete(id, *merge, now);
                    assert_eq!(deleted.is_ok(), told.is_some());
                    if let (Ok(deleted), Some(told)) = (deleted, told) {
                        let items = deleted["updatedEvents"].as_array().unwrap();
                        let found = items.iter().map(|item| {
                            let id = item["id"].as_str().unwrap().to_owned();
                            (id, item["action"].clone())
                        });
                        assert_eq!(found.collect::<BTreeMap<_, _>>(), told);
                        assert_eq!(items.len(), told.len(), "each once");
                    }
                }
            }
        }
        Step::Event(streams, trashed) => {
            let id = format!("cevent0000000000000000{:03}", model.events.len());
            let params = json!({ "id": id, "streamIds": streams, "type": "a/b", "time": 1,
                "trashed": trashed });
            let created = home.create_event(&me, &params);
            let are_open = |id: &Id| model.takes_children(Some(id));
            assert_eq!(created.is_ok(), streams.iter().all(are_open));
            if created.is_ok() {
                let streams = streams.iter().copied().collect();
                model.events.insert(id, Some((streams, *trashed)));
            }
        }
    }
}

/// Every stream that a listing shows, with its name, parent and whether it is in the trash.
fn flatten(list: &Value, found: &mut BTreeMap<String, Value>) {
    for stream in list.as_array().unwrap() {
        let id = stream["id"].as_str().unwrap();
        if !id.starts_with(':') {
            let trashed = stream.get("trashed").is_some();
            let facts = json!([stream["name"], stream["parentId"], trashed]);
            assert_eq!(found.insert(id.to_owned(), facts), None, "{id} shown twice");
        }
        flatten(&stream["children"], found);
    }
}

fn check(home: &Home, model: &Model) {
    let me = home.person();
    for all in [true, false] {
        let params = json!({ "state": if all { "all" } else { "default" },
            "includeDeletionsSince": 0 });
        let read = home.read(&me, Method::StreamsGet, &params).unwrap();
        let mut found = BTreeMap::new();
        flatten(&read["streams"], &mut found);
        let shown = model
            .streams
            .iter()
            .filter(|(id, _)| all || !model.is_hidden(id));
        let expected: BTreeMap<String, Value> = shown
            .map(|(id, node)| {
                let facts = json!([node.name, node.parent, node.trashed]);
                ((*id).to_owned(), facts)
            })
            .collect();
        assert_eq!(found, expected);
        let deletions = read["streamDeletions"].as_array().unwrap().iter();
        let found: BTreeMap<&str, f64> = deletions
            .map(|item| {
                (
                    item["id"].as_str().unwrap(),
                    item["deleted"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, model.gone);
    }
    for (id, state) in &model.events {
        let read = home.read(&me, Method::EventsGetOne, &json!({ "id": id }));
        let event = read.unwrap()["event"].take();
        match state {
            None => assert!(event["deleted"].is_number()),
            Some((streams, trashed)) => {
                let found = event["streamIds"].as_array().unwrap();
                let ids: BTreeSet<&str> = found.iter().map(|id| id.as_str().unwrap()).collect();
                assert_eq!(ids, *streams);
                assert_eq!(found.len(), streams.len());
                assert_eq!(event.get("trashed").is_some(), *trashed);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn streams_live_as_in_the_model(steps in steps()) {
        let mut home = Home::new();
        let mut model = Model::default();
        for step in &steps {
            home.clock.advance(Duration::from_secs(1));
            take(&mut home, &mut model, step);
            check(&home, &model);
        }
    }
}
