//! Takes typed values out of a table, remembering every problem with its key, and at the end every
//! key that nobody asked for.

use std::collections::BTreeSet;
use std::fmt;

use toml::Value;

/// One thing wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Problem {
    /// Full key, `section.key`.
    pub(crate) key: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The whole configuration while it is read.
#[derive(Debug)]
pub(crate) struct Reader {
    table: toml::Table,
    known: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// One section of it.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    prefix: String,
    table: Option<toml::Table>,
    known: &'a mut BTreeSet<String>,
    problems: &'a mut Vec<Problem>,
}

impl Reader {
    /// Of a merged table.
    pub(crate) fn new(table: toml::Table) -> Self {
        Self {
            table,
            known: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// A section by name; an absent one reads as empty.
    pub(crate) fn section(&mut self, name: &str) -> Section<'_> {
        self.known.insert(name.to_owned());
        let table = match self.table.get(name) {
            None => None,
            Some(Value::Table(table)) => Some(table.clone()),
            Some(other) => {
                self.problems.push(wrong_type(name, "a section", other));
                None
            }
        };
        Section {
            prefix: name.to_owned(),
            table,
            known: &mut self.known,
            problems: &mut self.problems,
        }
    }

    /// A top-level value that `check` reads, as JSON.
    pub(crate) fn json(
        &mut self,
        name: &str,
        check: impl FnOnce(&Value) -> Result<(), Problem>,
    ) -> Option<String> {
        self.known.insert(name.to_owned());
        self.known.insert(format!("{name}.*"));
        let value = self.table.get(name)?;
        let read = check(value).and_then(|()| {
            serde_json::to_string(value).map_err(|error| Problem {
                key: name.to_owned(),
                message: error.to_string(),
            })
        });
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, key: &str, message: &str) {
        self.problems.push(Problem {
            key: key.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Everything that is wrong, unknown keys included.
    pub(crate) fn finish(mut self) -> Result<(), Vec<Problem>> {
        let mut unknown = Vec::new();
        collect_unknown("", &self.table, &self.known, &mut unknown);
        for key in unknown {
            let keys = self.known.iter().map(String::as_str);
            let message = match nearest(&key, keys.filter(|known| !known.ends_with(".*"))) {
                Some(near) => format!("is no key of homecore; did you mean {near}?"),
                None => "is no key of homecore".to_owned(),
            };
            self.problems.push(Problem { key, message });
        }
        self.accept()
    }

    /// Everything that is wrong in what was asked for.
    pub(crate) fn accept(mut self) -> Result<(), Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort();
        self.problems.dedup();
        Err(self.problems)
    }
}

impl Section<'_> {
    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.insert(self.path(key));
        self.table.as_ref()?.get(key).cloned()
    }

    /// Whether the section has the key at all.
    pub(crate) fn mentions(&mut self, key: &str) -> bool {
        self.known.insert(self.path(key));
        self.table
            .as_ref()
            .is_some_and(|table| table.contains_key(key))
    }

    /// Whether the key is there and has nothing in it.
    pub(crate) fn is_empty(&mut self, key: &str) -> bool {
        match self.take(key) {
            Some(Value::Array(values)) => values.is_empty(),
            Some(Value::String(text)) => text.split(',').all(|part| part.trim().is_empty()),
            _ => false,
        }
    }

    /// Notes a problem of this section.
    pub(crate) fn problem(&mut self, key: &str, message: &str) {
        let key = self.path(key);
        self.problems.push(Problem {
            key,
            message: message.to_owned(),
        });
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => self.plain(key, text),
            other => {
                let problem = wrong_type(&self.path(key), "a text", &other);
                self.problems.push(problem);
                None
            }
        }
    }

    /// A text that was really filled in.
    fn plain(&mut self, key: &str, text: String) -> Option<String> {
        let problem = if text.contains("REPLACE") {
            "still has its placeholder value".to_owned()
        } else if text.contains("${") {
            format!(
                "{text:?} holds ${{…}}, which is not filled in here: write the value, or set {} in the environment",
                format!("HOMECORE__{}", self.path(key).replace('.', "__")).to_uppercase()
            )
        } else if text.contains(char::is_control) {
            format!("{text:?} holds a control character")
        } else {
            return Some(text);
        };
        self.problem(key, &problem);
        None
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(value) => Some(value),
            other => {
                let problem = wrong_type(&self.path(key), "true or false", &other);
                self.problems.push(problem);
                None
            }
        }
    }

    /// A whole number between two bounds, both included.
    pub(crate) fn number(&mut self, key: &str, least: u32, most: u32) -> Option<u32> {
        match self.take(key)? {
            Value::Integer(value) => {
                match u32::try_from(value)
                    .ok()
                    .filter(|n| (least..=most).contains(n))
                {
                    Some(number) => Some(number),
                    None => {
                        self.problem(
                            key,
                            &format!("must be between {least} and {most}, is {value}"),
                        );
                        None
                    }
                }
            }
            other => {
                let problem = wrong_type(&self.path(key), "a whole number", &other);
                self.problems.push(problem);
                None
            }
        }
    }

    /// A text that something parses.
    pub(crate) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(text)
            .map_err(|error| self.problem(key, &error.to_string()))
            .ok()
    }

    /// As [`Section::parsed`], and a problem if it is absent.
    pub(crate) fn required<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(String) -> Result<T, E>,
    ) -> Option<T> {
        if !self.mentions(key) {
            self.problem(key, "is needed");
            return None;
        }
        self.parsed(key, parse)
    }

    /// A list of texts that something parses. A single text is taken apart at its commas, so that
    /// the environment can give a list.
    pub(crate) fn list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(String) -> Result<T, E>,
    ) -> Vec<T> {
        let values = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(Value::String(text)) => text
                .split(',')
                .map(|part| Value::String(part.trim().to_owned()))
                .filter(|part| part.as_str() != Some(""))
                .collect(),
            Some(single) => vec![single],
        };
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Value::String(text) => match self.plain(key, text).map(&parse) {
                    Some(Ok(item)) => parsed.push(item),
                    Some(Err(error)) => self.problem(key, &error.to_string()),
                    None => {}
                },
                other => {
                    let problem = wrong_type(&self.path(key), "a list of texts", &other);
                    self.problems.push(problem);
                }
            }
        }
        parsed
    }

    /// A section inside this one.
    pub(crate) fn table(&mut self, key: &str) -> Option<Section<'_>> {
        match self.take(key)? {
            Value::Table(table) => Some(Section {
                prefix: self.path(key),
                table: Some(table),
                known: self.known,
                problems: self.problems,
            }),
            other => {
                let problem = wrong_type(&self.path(key), "a section", &other);
                self.problems.push(problem);
                None
            }
        }
    }

    /// A section whose keys are free names, each a section.
    pub(crate) fn tables<T>(
        &mut self,
        key: &str,
        read: impl Fn(Section<'_>) -> T,
    ) -> Vec<(String, T)> {
        let names: Vec<String> = match self.take(key) {
            Some(Value::Table(table)) => table.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let Some(mut outer) = self.table(key) else {
            return Vec::new();
        };
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            if let Some(inner) = outer.table(&name) {
                all.push((name, read(inner)));
            }
        }
        all
    }
}

/// The problem of a value of another type.
pub(super) fn wrong_type(key: &str, wanted: &str, found: &Value) -> Problem {
    Problem {
        key: key.to_owned(),
        message: format!("must be {wanted}, is {} {found}", found.type_str()),
    }
}

fn collect_unknown(
    prefix: &str,
    table: &toml::Table,
    known: &BTreeSet<String>,
    unknown: &mut Vec<String>,
) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        if known.contains(&format!("{path}.*")) {
            continue;
        }
        if !known.contains(&path) {
            unknown.push(path);
        } else if let Value::Table(inner) = value {
            collect_unknown(&path, inner, known, unknown);
        }
    }
}

/// The known word that differs least, if it differs little.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, by rows.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let substitute = row.get(j).copied().unwrap_or(0) + usize::from(from != *to);
            let delete = row.get(j + 1).copied().unwrap_or(0) + 1;
            let insert = next.get(j).copied().unwrap_or(0) + 1;
            next.push(substitute.min(delete).min(insert));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
