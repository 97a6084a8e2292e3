//! From a schema's JSON to its rules.

use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Properties, Rest, Rule, Schema, TYPE_NAMES};

/// Schemas in schemas.
const DEPTH_MAX: usize = 32;
/// Schemas of one catalogue, with those inside others.
const SCHEMAS_MAX: usize = 50_000;
/// Patterns of one catalogue: each takes kilobytes.
const PATTERNS_MAX: usize = 500;
/// Bytes of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 64 * 1024;

/// Why a schema was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// Something else than an object.
    #[error("a schema is no object")]
    NotAnObject,
    /// The value of a word is not what it must be.
    #[error("the value of {word:?} is not allowed")]
    Malformed {
        /// Which word.
        word: &'static str,
    },
    /// A word that changes the meaning and is not known here.
    #[error("{word:?} is not supported")]
    Unsupported {
        /// Which word.
        word: &'static str,
    },
    /// No regular expression, or one that is not supported or too large.
    #[error("the pattern {pattern:?} is not supported")]
    Pattern {
        /// Which.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex_lite::Error,
    },
    /// Too deep, too many schemas or too many patterns.
    #[error("the catalogue holds too much")]
    TooMuch,
}

/// Compiles the schemas of one catalogue, within bounds.
#[derive(Debug, Default)]
pub struct Compiler {
    schemas: usize,
    patterns: usize,
    depth: usize,
}

type Words<'a> = &'a Map<String, Value>;
/// Makes a rule of several schemas.
type Make = fn(Vec<Schema>) -> Rule;

impl Compiler {
    /// Compiles a schema.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub fn compile(&mut self, schema: &Value) -> Result<Schema, SchemaError> {
        let words = schema.as_object().ok_or(SchemaError::NotAnObject)?;
        self.schemas += 1;
        self.depth += 1;
        if self.schemas > SCHEMAS_MAX || self.depth > DEPTH_MAX {
            return Err(SchemaError::TooMuch);
        }
        for word in ["$ref", "dependencies"] {
            if words.contains_key(word) {
                return Err(SchemaError::Unsupported { word });
            }
        }
        let mut rules = Vec::new();
        number_rules(words, &mut rules)?;
        self.text_rules(words, &mut rules)?;
        self.array_rules(words, &mut rules)?;
        self.object_rules(words, &mut rules)?;
        self.any_rules(words, &mut rules)?;
        rules.shrink_to_fit();
        self.depth -= 1;
        let types = types(words)?;
        Ok(Schema { types, rules })
    }

    fn text_rules(&mut self, words: Words<'_>, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(count(words, "minLength")?.map(Rule::MinLength));
        rules.extend(count(words, "maxLength")?.map(Rule::MaxLength));
        if let Some(pattern) = words.get("pattern") {
            let pattern = pattern
                .as_str()
                .ok_or(SchemaError::Malformed { word: "pattern" })?;
            rules.push(Rule::Pattern(Box::new(self.pattern(pattern)?)));
        }
        Ok(())
    }

    fn array_rules(&mut self, words: Words<'_>, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(count(words, "minItems")?.map(Rule::MinItems));
        rules.extend(count(words, "maxItems")?.map(Rule::MaxItems));
        match words.get("uniqueItems") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => rules.push(Rule::UniqueItems),
            Some(_) => {
                return Err(SchemaError::Malformed {
                    word: "uniqueItems",
                });
            }
        }
        match words.get("items") {
            None => {}
            Some(Value::Array(schemas)) => {
                let schemas = self.all(schemas)?;
                let rest = self.rest(words.get("additionalItems"))?;
                rules.push(Rule::Tuple(schemas, rest));
            }
            Some(schema) => rules.push(Rule::Items(Box::new(self.compile(schema)?))),
        }
        Ok(())
    }

    fn object_rules(&mut self, words: Words<'_>, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        rules.extend(count(words, "minProperties")?.map(Rule::MinProperties));
        rules.extend(count(words, "maxProperties")?.map(Rule::MaxProperties));
        if let Some(required) = words.get("required") {
            let names = texts(required).ok_or(SchemaError::Malformed { word: "required" })?;
            rules.push(Rule::Required(names));
        }
        let mut properties = Properties {
            rest: self.rest(words.get("additionalProperties"))?,
            ..Properties::default()
        };
        // Two types of the public catalogue have their list of required properties in here: what is
        // no schema says nothing.
        for (name, schema) in members(words, "properties")?.filter(|(_, s)| s.is_object()) {
            properties.named.push((name.clone(), self.compile(schema)?));
        }
        for (pattern, schema) in members(words, "patternProperties")? {
            let pattern = self.pattern(pattern)?;
            properties.patterns.push((pattern, self.compile(schema)?));
        }
        let free = matches!(properties.rest, Rest::Free);
        if !free || !properties.named.is_empty() || !properties.patterns.is_empty() {
            rules.push(Rule::Properties(Box::new(properties)));
        }
        Ok(())
    }

    fn any_rules(&mut self, words: Words<'_>, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
        if let Some(allowed) = words.get("enum") {
            let allowed = allowed
                .as_array()
                .ok_or(SchemaError::Malformed { word: "enum" })?;
            rules.push(Rule::Enum(allowed.clone()));
        }
        if let Some(schema) = words.get("not") {
            rules.push(Rule::Not(Box::new(self.compile(schema)?)));
        }
        let several: [(&'static str, Make); 3] = [
            ("anyOf", Rule::AnyOf),
            ("oneOf", Rule::OneOf),
            ("allOf", Rule::AllOf),
        ];
        for (word, rule) in several {
            match words.get(word) {
                None => {}
                Some(Value::Array(schemas)) if !schemas.is_empty() => {
                    rules.push(rule(self.all(schemas)?));
                }
                Some(_) => return Err(SchemaError::Malformed { word }),
            }
        }
        Ok(())
    }

    fn all(&mut self, schemas: &[Value]) -> Result<Vec<Schema>, SchemaError> {
        schemas.iter().map(|schema| self.compile(schema)).collect()
    }

    /// The public catalogue says `"true"` in one place: what is no schema and not false, is free.
    fn rest(&mut self, schema: Option<&Value>) -> Result<Rest, SchemaError> {
        match schema {
            Some(Value::Bool(false)) => Ok(Rest::None),
            Some(schema @ Value::Object(_)) => Ok(Rest::Each(Box::new(self.compile(schema)?))),
            Some(_) | None => Ok(Rest::Free),
        }
    }

    fn pattern(&mut self, pattern: &str) -> Result<Regex, SchemaError> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(SchemaError::TooMuch);
        }
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|source| SchemaError::Pattern {
                pattern: pattern.to_owned(),
                source,
            })
    }
}

fn types(words: Words<'_>) -> Result<Vec<&'static str>, SchemaError> {
    const WORD: SchemaError = SchemaError::Malformed { word: "type" };
    let names = match words.get("type") {
        None => return Ok(Vec::new()),
        Some(Value::String(name)) => vec![name.clone()],
        Some(several) => texts(several)
            .filter(|names| !names.is_empty())
            .ok_or(WORD)?,
    };
    names
        .iter()
        .map(|name| {
            TYPE_NAMES
                .into_iter()
                .find(|known| known == name)
                .ok_or(WORD)
        })
        .collect()
}

fn number_rules(words: Words<'_>, rules: &mut Vec<Rule>) -> Result<(), SchemaError> {
    let number = |word: &'static str| match words.get(word) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.clone())),
        Some(_) => Err(SchemaError::Malformed { word }),
    };
    let flag = |word: &'static str| match words.get(word) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(SchemaError::Malformed { word }),
    };
    let exclusive = flag("exclusiveMinimum")?;
    rules.extend(number("minimum")?.map(|limit| Rule::Minimum { limit, exclusive }));
    let exclusive = flag("exclusiveMaximum")?;
    rules.extend(number("maximum")?.map(|limit| Rule::Maximum { limit, exclusive }));
    if let Some(step) = number("multipleOf")? {
        if step.as_f64().is_none_or(|step| step <= 0.0) {
            return Err(SchemaError::Malformed { word: "multipleOf" });
        }
        rules.push(Rule::MultipleOf(step));
    }
    Ok(())
}

fn count(words: Words<'_>, word: &'static str) -> Result<Option<usize>, SchemaError> {
    words
        .get(word)
        .map(|count| {
            count
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(SchemaError::Malformed { word })
        })
        .transpose()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

fn members<'a>(
    words: Words<'a>,
    word: &'static str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, SchemaError> {
    match words.get(word) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(SchemaError::Malformed { word }),
    }
    .map(|members| members.into_iter().flatten())
}
