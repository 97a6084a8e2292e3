//! `accesses.checkApp` (spec/pryv-api §3.9): what a consent page shows of an app's request.

use std::collections::BTreeMap;

use homecore_store::View;
use homecore_types::ErrorId;
use serde_json::{Map, Value, json};

use super::create::expire_after;
use super::error::AccessError;
use super::permissions::{self, Asked};
use super::{AccessType, StoredAccess, lookup, tracking};
use crate::actor::Actor;
use crate::error::InvalidParameters;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::permission::{Parents, Permission};
use crate::reply::{ObjectWriter, Reply};
use crate::stream::cache::Trees;
use crate::stream::store::Store;
use crate::stream::system;
use crate::stream::tree::Tree;
use crate::violation::Violation;

/// The method id.
const METHOD: &str = "accesses.checkApp";

/// Parameters of `accesses.checkApp`.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    app: String,
    device: Option<String>,
    permissions: Vec<Asked>,
    client_data: Option<Map<String, Value>>,
}

impl Request {
    fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const REQUIRED: &[&str] = &["requestingAppId", "requestedPermissions"];
        const KNOWN: &[&str] = &[
            "requestingAppId",
            "requestedPermissions",
            "deviceName",
            "clientData",
            "expireAfter",
            "token",
        ];
        let mut fields = Fields::strict(params, REQUIRED, KNOWN)?;
        let app = fields.text_not_empty("requestingAppId", Null::Refused);
        let device = fields.text_not_empty("deviceName", Null::Refused);
        // A consent page sends the whole request, and with it what the access is to be made with.
        fields.text_not_empty("token", Null::Refused);
        expire_after(&mut fields);
        let entries = permissions::read(&mut fields, "requestedPermissions").unwrap_or_default();
        if !fields.has_violations() {
            let nameless = |asked: &Asked| {
                asked.default_name.is_none()
                    && asked.permission.stream_id().is_some_and(|id| id != "*")
            };
            for i in (0..entries.len()).filter(|i| entries.get(*i).is_some_and(nameless)) {
                let path = format!("{}/{i}", fields.path_of("requestedPermissions"));
                fields.violated(Violation::missing(&path, "defaultName"));
            }
        }
        let read = Self {
            app: app.unwrap_or_default().to_owned(),
            device: device.map(str::to_owned),
            permissions: entries,
            client_data: fields.object("clientData", Null::Absent).cloned(),
        };
        fields.finish()?;
        Ok(read)
    }

    /// Whether an access is what the app asks for.
    fn is_met_by(&self, access: &StoredAccess) -> bool {
        let texts = |permissions: &[Permission]| {
            let mut texts: Vec<String> = permissions
                .iter()
                .map(|permission| permission.to_json().to_string())
                .collect();
            texts.sort_unstable();
            texts
        };
        let stored = access.permissions.as_deref().unwrap_or_default();
        texts(stored) == texts(&permissions::stored(&self.permissions))
            && access.client_data == self.client_data
    }
}

/// Answers the access that an app has already, or what it would get:
/// `{"matchingAccess"}` or `{"checkedPermissions", "mismatchingAccess"?, "error"?}`.
///
/// # Errors
/// See [`AccessError`].
pub fn check_app(
    view: &dyn View,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, AccessError> {
    if !actor.is_personal() {
        return Err(AccessError::WrongCaller { method: METHOD });
    }
    let request = Request::parse(params)?;
    permissions::check_characters(&request.permissions)?;
    let present = lookup::named(
        view,
        AccessType::App,
        &request.app,
        request.device.as_deref(),
    )?;
    let mut reply = ObjectWriter::new();
    if let Some((id, access)) = present {
        let wire = tracking::shown(view, context, actor, &id, &access)?;
        let wire = Value::Object(wire).to_string();
        if request.is_met_by(&access) && !access.is_expired(context.now()) {
            reply.member("matchingAccess", wire.as_bytes());
            return Ok(reply.finish());
        }
        reply.member("mismatchingAccess", wire.as_bytes());
    }
    let tree = trees.current(view)?;
    let mut checked = Checked::default();
    for asked in &request.permissions {
        checked.add(&tree, asked);
    }
    let entries = Value::Array(checked.entries).to_string();
    reply.member("checkedPermissions", entries.as_bytes());
    if checked.renamed {
        let error = json!({
            "id": ErrorId::ItemAlreadyExists.wire(),
            "message": "Some streams exist already under the names that the app gives them",
        });
        reply.member("error", error.to_string().as_bytes());
    }
    Ok(reply.finish())
}

/// Entries as the page shows them and sends them back.
#[derive(Debug, Default)]
struct Checked {
    entries: Vec<Value>,
    /// Names of roots that would be made, by the ids that they would have.
    claimed: BTreeMap<String, String>,
    /// A default name was changed.
    renamed: bool,
}

impl Checked {
    fn add(&mut self, tree: &Tree, asked: &Asked) {
        let Value::Object(mut entry) = asked.permission.to_json() else {
            return;
        };
        let names = (asked.permission.stream_id(), &asked.default_name);
        if let (Some(id), Some(default_name)) = names
            && id != "*"
        {
            let (key, name) = match name_of(tree, id) {
                Some(name) => ("name", name),
                None => ("defaultName", self.claim(tree, id, default_name)),
            };
            entry.insert(key.to_owned(), Value::from(name));
        }
        self.entries.push(Value::Object(entry));
    }

    /// A name that a root made for `id` can have.
    fn claim(&mut self, tree: &Tree, id: &str, default_name: &str) -> String {
        if Store::of(id) != Store::Local {
            return default_name.to_owned();
        }
        // The first entry makes the stream of all that name it.
        if let Some(name) = self.claimed.get(id) {
            return name.clone();
        }
        let numbered = (1_u32..).map(|n| format!("{default_name} ({n})"));
        let name = std::iter::once(default_name.to_owned())
            .chain(numbered)
            .find(|name| {
                tree.child_named(None, name).is_none()
                    && !self.claimed.values().any(|claimed| claimed == name)
            })
            .unwrap_or_else(|| default_name.to_owned());
        self.renamed |= name != default_name;
        self.claimed.insert(id.to_owned(), name.clone());
        name
    }
}

/// The name of a stream that exists, also in the trash.
fn name_of(tree: &Tree, id: &str) -> Option<String> {
    if let Some(stream) = tree.get(id) {
        return Some(stream.name.clone());
    }
    if !tree.contains(id) {
        return None;
    }
    let wire = system::to_wire(tree.schema(), id, None)?;
    Some(wire.get("name")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
