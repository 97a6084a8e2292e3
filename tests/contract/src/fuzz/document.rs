//! The document as the fuzz reads it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// The whole document.
#[derive(Clone, Debug)]
pub struct Document {
    root: Value,
    operations: Vec<Operation>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// The verb, in capitals.
    pub verb: String,
    /// The path, with names in braces.
    pub path: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Schemas of bodies by their content types.
    pub(crate) bodies: BTreeMap<String, Value>,
    /// The names of the ways to say who asks.
    pub(crate) security: Vec<String>,
    /// By status: schemas by content types.
    pub(crate) responses: BTreeMap<u16, BTreeMap<String, Value>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) in_path: bool,
    pub(crate) required: bool,
    pub(crate) schema: Value,
}

impl Document {
    /// Reads one.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn read(root: Value) -> anyhow::Result<Self> {
        let mut operations = Vec::new();
        let paths = root.get("paths").and_then(Value::as_object);
        for (path, verbs) in paths.context("there are no paths")? {
            for (verb, operation) in verbs.as_object().context("a path has no verbs")? {
                let read = Operation::read(verb, path, operation);
                operations.push(read.with_context(|| format!("{verb} {path}"))?);
            }
        }
        Ok(Self { root, operations })
    }

    /// Every operation.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// A schema, or the one that it refers to.
    pub(crate) fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        target
            .and_then(|target| self.root.pointer(target.trim_start_matches('#')))
            .unwrap_or(schema)
    }
}

impl Operation {
    fn read(verb: &str, path: &str, operation: &Value) -> anyhow::Result<Self> {
        let text = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.map(str::to_owned)
                .with_context(|| format!("{name} is missing"))
        };
        let list = |name: &str| {
            let list = operation.get(name).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let mut parameters = Vec::new();
        for parameter in list("parameters") {
            parameters.push(Parameter {
                name: text(&parameter, "name")?,
                in_path: text(&parameter, "in")? == "path",
                required: parameter.get("required") == Some(&Value::Bool(true)),
                schema: parameter.get("schema").cloned().unwrap_or_default(),
            });
        }
        let security = list("security");
        let security = security.iter().filter_map(Value::as_object);
        let mut responses = BTreeMap::new();
        let found = operation.get("responses").and_then(Value::as_object);
        for (status, response) in found.context("there are no responses")? {
            responses.insert(status.parse()?, schemas(response));
        }
        Ok(Self {
            id: text(operation, "operationId")?,
            verb: verb.to_uppercase(),
            path: path.to_owned(),
            parameters,
            bodies: operation
                .get("requestBody")
                .map(schemas)
                .unwrap_or_default(),
            security: security.flat_map(|one| one.keys().cloned()).collect(),
            responses,
        })
    }

    /// Whether objects that it answers have `meta`, as far as the document tells.
    pub(crate) fn has_meta(&self) -> bool {
        let good = self.responses.range(200..300);
        let mut schemas = good.filter_map(|(_, contents)| contents.get("application/json"));
        schemas.any(|schema| schema.to_string().contains("\"#/components/schemas/Meta\""))
    }
}

/// The schemas of contents by their types.
fn schemas(holder: &Value) -> BTreeMap<String, Value> {
    let content = holder.get("content").and_then(Value::as_object);
    let schema = |content: &Value| content.get("schema").cloned().unwrap_or_default();
    content
        .into_iter()
        .flatten()
        .map(|(kind, content)| (kind.clone(), schema(content)))
        .collect()
}
