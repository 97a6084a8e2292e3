//! Reads a method's parameters field by field and collects every violation (spec/pryv-api §1.8).
//!
//! Written by hand instead of with a schema library: the items must look as clients know them, and
//! what comes out is a typed struct, not a checked value.

use serde_json::{Map, Number, Value};

use crate::error::InvalidParameters;
use crate::violation::Violation;

/// The members of one object of parameters.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Path of the object itself: `#` for the root.
    path: String,
    /// Names that may be there.
    known: &'static [&'static str],
    violations: Vec<Violation>,
}

/// Whether null is a value of its own, the same as an absent field, or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Null {
    /// Wrong.
    Refused,
    /// As if the field were absent.
    Absent,
}

impl<'a> Fields<'a> {
    /// Opens an object whose fields must be among `known`; with `required` ones missing or others
    /// present, those are the first violations.
    ///
    /// # Errors
    /// If it is no object.
    pub(crate) fn strict(
        value: &'a Value,
        required: &[&str],
        known: &'static [&'static str],
    ) -> Result<Self, InvalidParameters> {
        Self::strict_at("#", value, required, known)
    }

    /// As [`Fields::strict`], of an object inside the parameters; `path` is its own.
    ///
    /// # Errors
    /// If it is no object.
    pub(crate) fn strict_at(
        path: &str,
        value: &'a Value,
        required: &[&str],
        known: &'static [&'static str],
    ) -> Result<Self, InvalidParameters> {
        let mut fields = Self::open(path, value, required)?;
        fields.known = known;
        #[cfg(test)]
        watch::knows(path, known);
        for name in fields.map.keys() {
            if !known.contains(&name.as_str()) {
                fields.violations.push(Violation::additional(path, name));
            }
        }
        Ok(fields)
    }

    /// Opens an object that may have other fields too.
    ///
    /// # Errors
    /// If it is no object.
    pub(crate) fn lenient(value: &'a Value, required: &[&str]) -> Result<Self, InvalidParameters> {
        Self::open("#", value, required)
    }

    fn open(path: &str, value: &'a Value, required: &[&str]) -> Result<Self, InvalidParameters> {
        let Value::Object(map) = value else {
            return Err(InvalidParameters(vec![Violation::wrong_type(
                path,
                &["object"],
            )]));
        };
        #[cfg(test)]
        watch::opens(path, required);
        let mut fields = Self {
            map,
            path: path.to_owned(),
            known: &[],
            violations: Vec::new(),
        };
        for name in required {
            if !map.contains_key(*name) {
                fields.violations.push(Violation::missing(path, name));
            }
        }
        Ok(fields)
    }

    /// The path of a field.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Records a violation.
    pub(crate) fn violated(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// Whether anything is wrong so far.
    pub(crate) fn has_violations(&self) -> bool {
        !self.violations.is_empty()
    }

    /// A field as it is.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a Value> {
        debug_assert!(
            self.known.is_empty() || self.known.contains(&name),
            "{name} is not known"
        );
        #[cfg(test)]
        watch::reads(&self.path, name);
        self.map.get(name)
    }

    /// A field of one JSON type; null and anything else as `null` says.
    fn typed<T>(
        &mut self,
        name: &str,
        null: Null,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.raw(name)?;
        if value.is_null() && null == Null::Absent {
            return None;
        }
        let found = read(value);
        if found.is_none() {
            let path = self.path_of(name);
            let allowed: &[&str] = if null == Null::Absent {
                &[expected, "null"]
            } else {
                &[expected]
            };
            self.violations.push(Violation::wrong_type(&path, allowed));
        }
        found
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, null: Null) -> Option<&'a str> {
        self.typed(name, null, "string", Value::as_str)
    }

    /// A text of at least one character.
    pub(crate) fn text_not_empty(&mut self, name: &str, null: Null) -> Option<&'a str> {
        let text = self.text(name, null)?;
        if text.is_empty() {
            let path = self.path_of(name);
            self.violations.push(Violation::too_short(&path, 1));
            return None;
        }
        Some(text)
    }

    /// A number, as it was written.
    pub(crate) fn number(&mut self, name: &str, null: Null) -> Option<&'a Number> {
        self.typed(name, null, "number", |value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// A number as a float.
    pub(crate) fn float(&mut self, name: &str) -> Option<f64> {
        self.number(name, Null::Refused).and_then(Number::as_f64)
    }

    /// A whole number from `min` up; what no count can reach is taken as the largest count.
    pub(crate) fn count(&mut self, name: &str, min: u32) -> Option<usize> {
        let number = self.number(name, Null::Refused)?.as_f64()?;
        let path = self.path_of(name);
        if number.fract() != 0.0 {
            self.violations
                .push(Violation::wrong_type(&path, &["integer"]));
            return None;
        }
        if number < f64::from(min) {
            self.violations
                .push(Violation::too_small(&path, i64::from(min)));
            return None;
        }
        Some(crate::number::saturating_count(number))
    }

    /// A whole number from 0 to `max`.
    pub(crate) fn count_to(&mut self, name: &str, max: u32) -> Option<usize> {
        let count = self.count(name, 0)?;
        if u32::try_from(count).is_ok_and(|count| count <= max) {
            return Some(count);
        }
        let path = self.path_of(name);
        self.violations
            .push(Violation::too_large(&path, i64::from(max)));
        None
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &str, null: Null) -> Option<bool> {
        self.typed(name, null, "boolean", Value::as_bool)
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &str, null: Null) -> Option<&'a Map<String, Value>> {
        self.typed(name, null, "object", Value::as_object)
    }

    /// An array of texts.
    pub(crate) fn texts(&mut self, name: &str, null: Null) -> Option<Vec<&'a str>> {
        let items = self.typed(name, null, "array", Value::as_array)?;
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text),
                None => {
                    let path = format!("{}/{i}", self.path_of(name));
                    self.violations
                        .push(Violation::wrong_type(&path, &["string"]));
                }
            }
        }
        Some(texts)
    }

    /// One of a few texts.
    pub(crate) fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<&'a str> {
        let text = self.text(name, Null::Refused)?;
        if !allowed.contains(&text) {
            let path = self.path_of(name);
            self.violations.push(Violation::not_in(&path, allowed));
            return None;
        }
        Some(text)
    }

    /// Everything that is wrong, if anything is.
    ///
    /// # Errors
    /// All violations.
    pub(crate) fn finish(self) -> Result<(), InvalidParameters> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(InvalidParameters(self.violations))
        }
    }
}

/// What parsers read, for the tests that compare it with their descriptions.
#[cfg(test)]
pub(crate) mod watch {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    /// What was asked of one object of parameters.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Seen {
        pub(crate) required: BTreeSet<String>,
        /// The names that may be there, where others may not.
        pub(crate) known: Option<BTreeSet<String>>,
        pub(crate) read: BTreeSet<String>,
    }

    thread_local! {
        static SEEN: RefCell<BTreeMap<String, Seen>> = const { RefCell::new(BTreeMap::new()) };
    }

    fn note(path: &str, what: impl FnOnce(&mut Seen)) {
        SEEN.with_borrow_mut(|seen| what(seen.entry(path.to_owned()).or_default()));
    }

    fn owned(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    pub(super) fn opens(path: &str, required: &[&str]) {
        note(path, |seen| seen.required = owned(required));
    }

    pub(super) fn knows(path: &str, known: &[&str]) {
        note(path, |seen| seen.known = Some(owned(known)));
    }

    pub(super) fn reads(path: &str, name: &str) {
        note(path, |seen| {
            seen.read.insert(name.to_owned());
        });
    }

    /// Runs something on this thread: what was asked of which object.
    pub(crate) fn watched<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<String, Seen>) {
        SEEN.take();
        let done = work();
        (done, SEEN.take())
    }
}
