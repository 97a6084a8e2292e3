//! Random lives of accesses against a plain list of what the answers said: who is there, who opens,
//! who sees whom, what former versions were, and that no app's access has more than the app.

use std::collections::BTreeMap;
use std::time::Duration;

use homecore_types::Secret;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::id::author_base;
use super::token::{self, TokenError};
use crate::Actor;
use crate::error::Error;
use crate::method::Method;
use crate::permission::Level;
use crate::stream::tree::Tree;
use crate::testing::Home;

const STREAMS: [&str; 5] = ["health", "weight", "heart", "diary", "*"];

#[derive(Clone, Debug)]
enum Step {
    Create {
        by: (u8, Index),
        app: bool,
        name: u8,
        permissions: Value,
        span: Option<u8>,
    },
    Update {
        by: (u8, Index),
        of: Index,
        bare: bool,
        permissions: Option<Value>,
        span: Option<u8>,
    },
    Delete {
        by: (u8, Index),
        of: Index,
        bare: bool,
    },
    Wait(u8),
}

fn permissions() -> impl Strategy<Value = Value> {
    let entry = (
        prop::sample::select(&STREAMS[..]),
        prop::sample::select(Level::ALL),
    );
    prop::collection::vec(entry, 1..5).prop_map(|entries| {
        let entry =
            |(stream, level): (&str, Level)| json!({ "streamId": stream, "level": level.wire() });
        entries.into_iter().map(entry).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let by = || (0_u8..8, any::<Index>());
    let span = || prop::option::of(0_u8..20);
    prop_oneof![
        5 => (by(), any::<bool>(), 0_u8..6, permissions(), span()).prop_map(
            |(by, app, name, permissions, span)| Step::Create { by, app, name, permissions, span }
        ),
        3 => (by(), index(), any::<bool>(), prop::option::of(permissions()), span()).prop_map(
            |(by, of, bare, permissions, span)| Step::Update { by, of, bare, permissions, span }
        ),
        2 => (by(), index(), any::<bool>()).prop_map(|(by, of, bare)| Step::Delete { by, of, bare }),
        1 => (0_u8..10).prop_map(Step::Wait),
    ]
}

/// What the answers said: every version of each access, and which are deleted.
#[derive(Default)]
struct Told {
    versions: BTreeMap<String, Vec<Value>>,
    deleted: Vec<String>,
}

impl Told {
    fn add(&mut self, access: Value) {
        let base = base(&access).to_owned();
        self.versions.entry(base).or_default().push(access);
    }

    fn live(&self) -> Vec<&Value> {
        let live = self
            .versions
            .iter()
            .filter(|(id, _)| !self.deleted.contains(id));
        live.map(|(_, versions)| versions.last().unwrap()).collect()
    }

    fn any(&self, which: Index) -> Option<&Value> {
        let all: Vec<&Value> = self.versions.values().map(|v| v.last().unwrap()).collect();
        (!all.is_empty()).then(|| all[which.index(all.len())])
    }
}

fn base(access: &Value) -> &str {
    author_base(access["id"].as_str().unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The person, an app, or, seldom, any access that is not deleted: shared ones are refused most.
fn caller(home: &Home, told: &Told, by: (u8, Index)) -> Actor {
    let live = told.live();
    let apps: Vec<&Value> = live
        .iter()
        .copied()
        .filter(|access| access["type"] == "app")
        .collect();
    let among = match by.0 {
        0 | 1 => return home.me(),
        2 => live,
        _ => apps,
    };
    if among.is_empty() {
        return home.me();
    }
    home.through(among[by.1.index(among.len())])
}

fn take(home: &mut Home, told: &mut Told, step: Step) -> Result<(), Error> {
    match step {
        Step::Create {
            by,
            app,
            name,
            permissions,
            span,
        } => {
            let kind = if app { "app" } else { "shared" };
            let mut asked =
                json!({ "type": kind, "name": format!("n{name}"), "permissions": permissions });
            if let Some(span) = span {
                asked["expireAfter"] = json!(span);
            }
            let actor = if app {
                home.me()
            } else {
                caller(home, told, by)
            };
            told.add(home.create_access(&actor, &asked)?);
        }
        Step::Update {
            by,
            of,
            bare,
            permissions,
            span,
        } => {
            let Some(target) = told.any(of) else {
                return Ok(());
            };
            let id = if bare {
                base(target)
            } else {
                text(&target["id"])
            }
            .to_owned();
            let mut changes = json!({});
            if let Some(permissions) = permissions {
                changes["permissions"] = permissions;
            }
            changes["expires"] = json!(null);
            if let Some(span) = span {
                changes["expireAfter"] = json!(span);
            }
            let actor = caller(home, told, by);
            told.add(home.update_access(&actor, &id, &changes)?);
        }
        Step::Delete { by, of, bare } => {
            let Some(target) = told.any(of) else {
                return Ok(());
            };
            let id = if bare {
                base(target)
            } else {
                text(&target["id"])
            }
            .to_owned();
            let actor = caller(home, told, by);
            let is_app = target["type"] == "app";
            let answer = home.delete_access(&actor, &id)?;
            let id = text(&answer["accessDeletion"]["id"]).to_owned();
            if is_app {
                let children = told
                    .live()
                    .into_iter()
                    .filter(|child| author_base(text(&child["createdBy"])) == id);
                let children: Vec<String> = children.map(|child| base(child).to_owned()).collect();
                told.deleted.extend(children);
            }
            told.deleted.push(id);
        }
        Step::Wait(seconds) => home.clock.advance(Duration::from_secs(seconds.into())),
    }
    Ok(())
}

fn check(home: &Home, told: &Told) {
    let all = json!({ "includeExpired": true, "includeDeletions": true });
    let list = |actor: &Actor| home.read(actor, Method::AccessesGet, &all).unwrap();
    let ids = |list: &Value| {
        let items = list.as_array().unwrap().iter();
        let mut ids: Vec<String> = items.map(|item| text(&item["id"]).to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    let told_ids =
        |accesses: &[&Value]| ids(&Value::Array(accesses.iter().copied().cloned().collect()));
    let me = home.me();
    let listed = list(&me);
    let mut live = told_ids(&told.live());
    live.push(me.access.id.clone());
    live.sort_unstable();
    assert_eq!(ids(&listed["accesses"]), live);
    assert_eq!(
        listed["accessDeletions"].as_array().unwrap().len(),
        told.deleted.len()
    );

    let tree = home
        .look(|view| Tree::load(view, crate::stream::schema::Schema::usual()))
        .unwrap();
    let now = home.context.now();
    let mut names = Vec::new();
    for access in told.live() {
        names.push((access["type"].clone(), access["name"].clone()));
        let actor = home.through(access);
        let expired = actor.access.stored.is_expired(now);
        let found = open(home, access);
        assert_eq!(found.is_ok(), !expired, "{access}");
        if access["type"] == "app" {
            check_app(home, told, &actor, &tree, &list(&actor));
        }
    }
    let count = names.len();
    names.sort_by_key(|(kind, name)| (kind.to_string(), name.to_string()));
    names.dedup();
    assert_eq!(names.len(), count);
    for id in &told.deleted {
        let access = told.versions[id].last().unwrap();
        assert!(matches!(open(home, access), Err(TokenError::Unknown)));
        let gone = home.read(&me, Method::AccessesGetOne, &json!({ "id": id }));
        assert!(gone.is_err());
    }
    check_versions(home, told, &me);
}

/// It lists what it created, and nothing of that has more than it.
fn check_app(home: &Home, told: &Told, app: &Actor, tree: &Tree, listed: &Value) {
    let of_app = |child: &&Value| author_base(text(&child["createdBy"])) == app.access.id;
    let children: Vec<&Value> = told.live().into_iter().filter(of_app).collect();
    assert_eq!(listed["accesses"].as_array().unwrap().len(), children.len());
    let now = home.context.now();
    for child in children {
        let child = home.through(child);
        if child.access.stored.is_expired(now) {
            continue;
        }
        for stream in STREAMS {
            let may = |actor: &Actor, what| actor.access.rights().allows(tree, stream, what);
            for what in [
                Level::lists,
                Level::reads,
                Level::creates,
                Level::updates,
                Level::manages,
            ] {
                assert!(may(app, what) || !may(&child, what), "{stream}");
            }
        }
    }
}

/// Each version is what was answered when it was made.
fn check_versions(home: &Home, told: &Told, me: &Actor) {
    for (id, versions) in &told.versions {
        if told.deleted.contains(id) {
            continue;
        }
        let params = json!({ "id": id, "includeHistory": true });
        let whole = home.read(me, Method::AccessesGetOne, &params).unwrap();
        let (head, former) = versions.split_last().unwrap();
        assert_eq!(whole["access"], *head);
        assert_eq!(whole["history"], json!(former));
        for version in former {
            let one = home
                .read(me, Method::AccessesGetOne, &json!({ "id": version["id"] }))
                .unwrap();
            // The first has no serial, and its id stands for the present one.
            if version["id"] != id.as_str() {
                assert_eq!(one["access"], *version);
                assert_eq!(one["current"], head["id"]);
            }
        }
    }
}

fn open(home: &Home, access: &Value) -> Result<token::Found, TokenError> {
    let token = Secret::new(text(&access["token"]));
    home.look(|view| token::find(view, &home.context, &token))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn accesses_live_as_they_are_told(steps in prop::collection::vec(step(), 1..24)) {
        let mut home = Home::new();
        home.stream("health", None);
        home.stream("weight", Some("health"));
        home.stream("heart", Some("health"));
        home.stream("diary", None);
        let mut told = Told::default();
        for step in steps {
            // Whatever is refused leaves nothing.
            let _refused = take(&mut home, &mut told, step);
            check(&home, &told);
        }
    }
}
