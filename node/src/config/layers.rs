//! Where configuration comes from, and in which order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::Value;

use super::reader::Problem;
use super::{Config, read};

/// Environment variables with this prefix are keys: `HOMECORE__HTTP__LISTEN` is `http.listen`.
const PREFIX: &str = "HOMECORE__";
/// Names the file, where no flag does.
const FILE_VARIABLE: &str = "HOMECORE_CONFIG";

/// What to read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file; none: no file.
    pub(crate) file: Option<PathBuf>,
    /// `key=value` of `--set`, strongest.
    pub(crate) set: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// Neither a file nor anything else says what to do.
    #[error("no configuration: give --config FILE (homecore init writes one)")]
    Missing,
    /// Keys are wrong.
    #[error("the configuration is invalid:\n{}", .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

/// The file to use if no flag names one: `$HOMECORE_CONFIG`, `./homecore.toml`,
/// `/etc/homecore/homecore.toml`.
pub(crate) fn default_path() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(FILE_VARIABLE) {
        return Some(PathBuf::from(named));
    }
    ["homecore.toml", "/etc/homecore/homecore.toml"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.try_exists().unwrap_or(false))
}

/// Reads all layers.
pub(crate) fn load(sources: &Sources) -> Result<Config, LoadError> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let told = |variable: &String| variable.starts_with(PREFIX);
    if sources.file.is_none() && sources.set.is_empty() && !environment.keys().any(told) {
        return Err(LoadError::Missing);
    }
    let file = match &sources.file {
        Some(path) => Some((path.as_path(), read_file(path)?)),
        None => None,
    };
    merge(file, &environment, &sources.set)
}

fn read_file(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::File {
        path: path.to_owned(),
        source,
    })
}

/// Merges the layers; pure.
pub(super) fn merge(
    file: Option<(&Path, String)>,
    environment: &BTreeMap<String, String>,
    set: &[String],
) -> Result<Config, LoadError> {
    let mut table = match file {
        Some((path, text)) => text
            .parse::<toml::Table>()
            .map_err(|error| LoadError::Syntax {
                path: path.to_owned(),
                message: error.to_string(),
            })?,
        None => toml::Table::new(),
    };
    let mut problems = Vec::new();
    let mut from_environment = BTreeMap::new();
    for (variable, value) in environment {
        if let Some(key) = variable.strip_prefix(PREFIX) {
            let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            match insert(&mut table, &path, value, variable) {
                Ok(()) => drop(from_environment.insert(path.join("."), variable)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    for pair in set {
        match pair.split_once('=') {
            Some((key, value)) => {
                let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
                from_environment.remove(key.trim());
                if let Err(problem) = insert(&mut table, &path, value.trim(), "--set") {
                    problems.push(problem);
                }
            }
            None => problems.push(Problem {
                key: "--set".to_owned(),
                message: format!("{pair:?} is not key=value"),
            }),
        }
    }
    match read(table) {
        Ok(config) if problems.is_empty() => Ok(config),
        Ok(_) => Err(LoadError::Problems(problems)),
        Err(mut more) => {
            for problem in &mut more {
                tell_source(problem, &from_environment);
            }
            problems.extend(more);
            Err(LoadError::Problems(problems))
        }
    }
}

/// Says of what came from the environment that it did: nobody finds it in the file.
fn tell_source(problem: &mut Problem, from_environment: &BTreeMap<String, &String>) {
    let below = format!("{}.", problem.key);
    let source = from_environment
        .iter()
        .find(|(key, _)| **key == problem.key || key.starts_with(&below));
    if let Some((_, variable)) = source {
        problem.message = format!("(from {variable}) {}", problem.message);
    }
}

fn insert(
    table: &mut toml::Table,
    path: &[String],
    value: &str,
    from: &str,
) -> Result<(), Problem> {
    let (last, sections) = path.split_last().ok_or_else(|| problem(path, from))?;
    if path.iter().any(String::is_empty) {
        return Err(problem(path, from));
    }
    let mut at = table;
    for section in sections {
        let entry = at
            .entry(section.clone())
            .or_insert_with(|| Value::Table(toml::Table::new()));
        at = match entry {
            Value::Table(inner) => inner,
            _ => return Err(problem(path, from)),
        };
    }
    at.insert(last.clone(), scalar(value));
    Ok(())
}

fn problem(path: &[String], from: &str) -> Problem {
    Problem {
        key: path.join("."),
        message: format!("(from {from}) is no key of homecore"),
    }
}

/// A value outside the file: what TOML reads in it (`true`, `3`, `["a"]`, `{…}`), else a text.
fn scalar(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<toml::Table>();
    match parsed.ok().and_then(|mut table| table.remove("value")) {
        Some(Value::Datetime(_) | Value::Float(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}
