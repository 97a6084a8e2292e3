//! The `streams` parameter of `events.get`: its three forms, and what is wrong with others
//! (spec/pryv-api §4.4). What the ids mean is decided in [`super::select`].

use serde_json::Value;

use crate::error::InvalidStructure;
use crate::stream::store::Store;

/// A stream in a query: with everything below it, or alone (`id!`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Which stream.
    pub id: String,
    /// With its descendants.
    pub deep: bool,
}

/// Events in one of `any`, in each of `all`, and in none of `not`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// At least one; `*` only alone.
    pub any: Vec<Selector>,
    /// Each of them.
    pub all: Vec<Selector>,
    /// None of them.
    pub not: Vec<Selector>,
}

/// A well-formed query: clauses that are or-ed. None where everything readable is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsQuery {
    /// The clauses, each of one store.
    pub clauses: Vec<Clause>,
}

/// Characters that no stream id in a query may hold (spec/pryv-api App. B.5).
const FORBIDDEN: &[char] = &['"', '\'', '\\', '\0', '\u{8}', '\t', '\n', '\r', '\u{1a}'];

/// Bytes of a wrong name that are repeated to who sent it.
const SHOWN_BYTES: usize = 200;
/// Most ids and clauses of one query together.
const PARTS_MAX: usize = 10_000;

impl StreamsQuery {
    /// Whether it asks for the audit log.
    #[must_use]
    pub fn names_audit(&self) -> bool {
        let mut named = self.clauses.iter().flat_map(|clause| &clause.any);
        named.any(|selector| Store::of(&selector.id) == Store::Audit)
    }

    /// Reads the parameter: an id, ids, an object, objects, or any of these as JSON text.
    ///
    /// # Errors
    /// [`InvalidStructure`] with what is wrong.
    pub fn parse(param: &Value) -> Result<Self, InvalidStructure> {
        match param {
            Value::String(text) if text.starts_with(['[', '{', '"']) => {
                let inner: Value = serde_json::from_str(text).map_err(|error| {
                    wrong(format!(
                        "the \"streams\" parameter is not valid JSON: {error}"
                    ))
                })?;
                Self::from_json(&inner)
            }
            other => Self::from_json(other),
        }
    }

    fn from_json(value: &Value) -> Result<Self, InvalidStructure> {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one @ (Value::String(_) | Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err(wrong("\"streams\" must hold stream ids or objects")),
        };
        if items.len() > PARTS_MAX {
            return Err(too_many());
        }
        if items.iter().all(Value::is_string) {
            let ids = items.iter().map(selector).collect::<Result<Vec<_>, _>>()?;
            return Self::from_ids(ids);
        }
        let mut clauses = Vec::with_capacity(items.len());
        let mut parts = items.len();
        for item in items {
            let Value::Object(object) = item else {
                return Err(wrong(
                    "\"streams\" cannot mix ids, objects and other values",
                ));
            };
            // Counted before anything is made of them.
            let lists = object.values().filter_map(Value::as_array);
            parts = parts.saturating_add(lists.map(Vec::len).sum());
            if parts > PARTS_MAX {
                return Err(too_many());
            }
            clauses.push(clause(object)?);
        }
        Ok(Self { clauses })
    }

    /// A plain list: ids of one store make one clause.
    fn from_ids(ids: Vec<Selector>) -> Result<Self, InvalidStructure> {
        let mut clauses: Vec<Clause> = Vec::new();
        for selector in ids {
            let same_store = clauses.iter_mut().find(|clause| {
                let store = clause.any.first().map(|first| Store::of(&first.id));
                store == Some(Store::of(&selector.id))
            });
            match same_store {
                Some(clause) => clause.any.push(selector),
                None => clauses.push(Clause {
                    any: vec![selector],
                    ..Clause::default()
                }),
            }
        }
        for clause in &clauses {
            check_star(&clause.any)?;
        }
        Ok(Self { clauses })
    }
}

impl Clause {
    /// Everything that can be read.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            any: vec![Selector {
                id: "*".to_owned(),
                deep: true,
            }],
            ..Self::default()
        }
    }

    /// Whether it asks for everything.
    #[must_use]
    pub fn is_star(&self) -> bool {
        self.any.iter().any(|selector| selector.id == "*")
    }
}

fn clause(object: &serde_json::Map<String, Value>) -> Result<Clause, InvalidStructure> {
    let mut clause = Clause::default();
    for (name, value) in object {
        let list = match name.as_str() {
            "any" => &mut clause.any,
            "all" => &mut clause.all,
            "not" => &mut clause.not,
            other => {
                return Err(wrong(format!(
                    "unknown property {:?} in \"streams\"",
                    shown(other)
                )));
            }
        };
        let Value::Array(items) = value else {
            return Err(wrong(format!("{name:?} in \"streams\" must be an array")));
        };
        *list = items.iter().map(selector).collect::<Result<_, _>>()?;
    }
    if clause.any.is_empty() {
        return Err(wrong(
            "each object in \"streams\" needs a non-empty \"any\"",
        ));
    }
    check_star(&clause.any)?;
    if clause
        .all
        .iter()
        .chain(&clause.not)
        .any(|selector| selector.id == "*")
    {
        return Err(wrong(
            "\"*\" cannot be used in \"all\" or \"not\" of \"streams\"",
        ));
    }
    if clause.is_star() && !clause.all.is_empty() {
        return Err(wrong(
            "\"*\" cannot be combined with \"all\" in \"streams\"",
        ));
    }
    let mut stores = clause
        .any
        .iter()
        .chain(&clause.all)
        .chain(&clause.not)
        .map(|selector| Store::of(&selector.id));
    let first = stores.next();
    if stores.any(|store| Some(store) != first) {
        return Err(wrong(
            "one object in \"streams\" cannot name streams of two stores",
        ));
    }
    Ok(clause)
}

fn selector(value: &Value) -> Result<Selector, InvalidStructure> {
    let Value::String(text) = value else {
        return Err(wrong("\"streams\" must hold stream ids only"));
    };
    let (id, deep) = match text.strip_suffix('!') {
        Some(id) => (id, false),
        None => (text.as_str(), true),
    };
    if id.is_empty() || id == "#*" || id.contains(FORBIDDEN) {
        return Err(wrong(format!(
            "{:?} in \"streams\" is not a stream id",
            shown(text)
        )));
    }
    if id == "*" && !deep {
        return Err(wrong("\"*!\" in \"streams\" is not a stream id"));
    }
    Ok(Selector {
        id: id.to_owned(),
        deep,
    })
}

/// As much of a text as an answer repeats: escaped it may be six times as long.
fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN_BYTES))
        .unwrap_or_default()
}

fn check_star(ids: &[Selector]) -> Result<(), InvalidStructure> {
    if ids.len() > 1 && ids.iter().any(|selector| selector.id == "*") {
        return Err(wrong(
            "\"*\" cannot be combined with other ids in \"streams\"",
        ));
    }
    Ok(())
}

fn too_many() -> InvalidStructure {
    wrong(format!("\"streams\" may have {PARTS_MAX} parts, not more"))
}

fn wrong(reason: impl Into<String>) -> InvalidStructure {
    InvalidStructure {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
