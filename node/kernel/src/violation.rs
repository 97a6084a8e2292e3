//! Validation items: what exactly is wrong with a parameter (spec/pryv-api §1.8).
//!
//! Codes, messages and paths are those that clients of the original server see.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// One thing that is wrong with the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which rule was broken.
    pub code: Cow<'static, str>,
    /// The rule's operands; absent in the friendlier items of registration.
    pub params: Option<Value>,
    /// For people.
    pub message: String,
    /// `#` and a JSON pointer to the offending value.
    pub path: String,
    /// The parameter's name; only in the friendlier items of registration.
    pub param: Option<String>,
}

impl Violation {
    /// A value of another JSON type than the one or the several that are allowed.
    #[must_use]
    pub fn wrong_type(path: &str, expected: &[&str]) -> Self {
        let operand = match expected {
            [one] => json!(one),
            several => json!(several),
        };
        Self::item(
            "INVALID_TYPE",
            operand,
            format!("must be {}", expected.join(",")),
            path,
        )
    }

    /// A property that must be there and is not; `parent` is the path of the object.
    #[must_use]
    pub fn missing(parent: &str, name: &str) -> Self {
        Self::item(
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            json!(name),
            format!("must have required property '{name}'"),
            &format!("{parent}/"),
        )
    }

    /// A property that must not be there; `parent` is the path of the object.
    #[must_use]
    pub fn additional(parent: &str, name: &str) -> Self {
        Self::item(
            "OBJECT_ADDITIONAL_PROPERTIES",
            json!(name),
            "must NOT have additional properties".to_owned(),
            parent,
        )
    }

    /// A text that does not match.
    #[must_use]
    pub fn pattern(path: &str, pattern: &str) -> Self {
        Self::item(
            "PATTERN",
            json!(pattern),
            format!("must match pattern \"{pattern}\""),
            path,
        )
    }

    /// A value that is none of those allowed.
    #[must_use]
    pub fn not_in(path: &str, allowed: &[&str]) -> Self {
        Self::item(
            "ENUM_MISMATCH",
            json!(allowed),
            "must be equal to one of the allowed values".to_owned(),
            path,
        )
    }

    /// A text that is too short.
    #[must_use]
    pub fn too_short(path: &str, min: usize) -> Self {
        Self::item(
            "MIN_LENGTH",
            json!(min),
            format!("must NOT have fewer than {min} characters"),
            path,
        )
    }

    /// A text that is too long.
    #[must_use]
    pub fn too_long(path: &str, max: usize) -> Self {
        Self::item(
            "MAX_LENGTH",
            json!(max),
            format!("must NOT have more than {max} characters"),
            path,
        )
    }

    /// An array with too few items.
    #[must_use]
    pub fn too_few(path: &str, min: usize) -> Self {
        Self::item(
            "ARRAY_LENGTH_SHORT",
            json!(min),
            format!("must NOT have fewer than {min} items"),
            path,
        )
    }

    /// An array with too many items.
    #[must_use]
    pub fn too_many(path: &str, max: usize) -> Self {
        Self::item(
            "ARRAY_LENGTH_LONG",
            json!(max),
            format!("must NOT have more than {max} items"),
            path,
        )
    }

    /// A number that is too small.
    #[must_use]
    pub fn too_small(path: &str, min: i64) -> Self {
        Self::item("MINIMUM", json!(min), format!("must be >= {min}"), path)
    }

    /// A number that is too large.
    #[must_use]
    pub fn too_large(path: &str, max: i64) -> Self {
        Self::item("MAXIMUM", json!(max), format!("must be <= {max}"), path)
    }

    /// An item of registration: a code of its own, and the field's name.
    #[must_use]
    pub fn of_field(
        code: impl Into<Cow<'static, str>>,
        message: &str,
        path: &str,
        param: &str,
    ) -> Self {
        Self {
            code: code.into(),
            params: None,
            message: message.to_owned(),
            path: path.to_owned(),
            param: Some(param.to_owned()),
        }
    }

    /// The wire form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut item = Map::new();
        item.insert("code".to_owned(), Value::from(&*self.code));
        if let Some(params) = &self.params {
            item.insert("params".to_owned(), params.clone());
        }
        item.insert("message".to_owned(), Value::from(self.message.as_str()));
        item.insert("path".to_owned(), Value::from(self.path.as_str()));
        if let Some(param) = &self.param {
            item.insert("param".to_owned(), Value::from(param.as_str()));
        }
        Value::Object(item)
    }

    /// The wire form of many.
    #[must_use]
    pub fn list(violations: &[Self]) -> Value {
        Value::Array(violations.iter().map(Self::to_json).collect())
    }

    /// A rule, its operand, and what to say of it.
    #[must_use]
    pub fn item(code: &'static str, operand: Value, message: String, path: &str) -> Self {
        Self {
            code: Cow::Borrowed(code),
            params: Some(Value::Array(vec![operand])),
            message,
            path: path.to_owned(),
            param: None,
        }
    }
}
