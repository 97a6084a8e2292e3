//! `streams.get`: the part of the tree that an access may see (spec/pryv-api §5.2).

use std::collections::BTreeSet;

use homecore_store::{Document, StoreError, View};
use homecore_types::{ErrorId, Millis, limits};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cache::Trees;
use super::store::{ACCOUNT_ROOT, AUDIT_ROOT, Store, is_clients_own};
use super::tree::Tree;
use super::{STREAM_DEPTH_MAX, system};
use crate::actor::Actor;
use crate::audit;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::indexes::{self, STREAM_DELETED};
use crate::number::seconds;
use crate::permission::{Level, Parents, Rights};
use crate::reply::{ObjectWriter, Reply};

/// Tombstones read at once.
const DELETIONS_PAGE: usize = 1_000;

/// Parameters of `streams.get`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamsGet {
    /// List the children of this one; none: the roots.
    pub parent_id: Option<String>,
    /// List this one.
    pub id: Option<String>,
    /// With those in the trash.
    pub all: bool,
    /// Also list streams deleted after this time, in seconds.
    pub include_deletions_since: Option<f64>,
}

/// Why streams were not listed.
#[derive(Debug, Error)]
pub enum StreamsGetError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// Two ways to name the part at once.
    #[error("\"parentId\" and \"id\" cannot be given together")]
    Both,
    /// The access may not see it.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// There is no such stream, or it is in the trash and those were not asked for.
    #[error("Unknown referenced stream \"{id}\"")]
    Unknown {
        /// The parameter that names it.
        param: &'static str,
        /// As given.
        id: String,
    },
    /// More streams were deleted since then than are collected.
    #[error("Too many streams were deleted since then: ask for those deleted since a later time")]
    TooMany,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for StreamsGetError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Both => ErrorId::InvalidRequestStructure,
            Self::Forbidden => ErrorId::Forbidden,
            Self::Unknown { .. } => ErrorId::UnknownReferencedResource,
            Self::TooMany => ErrorId::TooManyResults,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Unknown { param, id } => Some(json!({ *param: id })),
            Self::Both | Self::Forbidden | Self::TooMany | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

impl StreamsGet {
    /// Reads the parameters.
    ///
    /// # Errors
    /// Of their form.
    pub fn parse(params: &Value) -> Result<Self, StreamsGetError> {
        let mut fields = Fields::lenient(params, &[])?;
        // Empty, as a form sends what was not filled in, is absent.
        let mut named = |name| {
            let id = fields.text(name, Null::Absent).map(str::to_owned);
            id.filter(|id| !id.is_empty())
        };
        let (parent_id, id) = (named("parentId"), named("id"));
        let mut read = Self {
            parent_id,
            id,
            all: fields.choice("state", &["default", "all"]) == Some("all"),
            include_deletions_since: fields.float("includeDeletionsSince"),
        };
        fields.finish()?;
        if read.parent_id.is_some() && read.id.is_some() {
            return Err(StreamsGetError::Both);
        }
        // All that there is: the roots.
        read.id = read.id.filter(|id| id != "*");
        Ok(read)
    }
}

/// Answers `streams.get`.
///
/// # Errors
/// See [`StreamsGetError`].
pub fn get(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, StreamsGetError> {
    let params = StreamsGet::parse(params)?;
    let tree = trees.current(view)?;
    let streams = list(view, &tree, actor, &params)?;
    let mut reply = ObjectWriter::new();
    reply.member("streams", &streams);
    if let Some(since) = params.include_deletions_since {
        // Streams are deleted in the local store only.
        let named = params.parent_id.as_deref().or(params.id.as_deref());
        let deletions = if named.is_none_or(is_clients_own) {
            deletions(view, since, limits::COLLECTED_ITEMS_MAX)?
        } else {
            Vec::new()
        };
        reply.array("streamDeletions", deletions.iter().map(Vec::as_slice));
    }
    Ok(reply.finish())
}

/// The listed streams as a JSON array.
fn list(
    view: &dyn View,
    tree: &Tree,
    actor: &Actor,
    params: &StreamsGet,
) -> Result<Vec<u8>, StreamsGetError> {
    let rights = actor.access.rights();
    let mut out = Listing {
        tree,
        rights,
        all: params.all,
        text: vec![b'['],
    };
    match (&params.parent_id, &params.id) {
        (Some(parent), _) => {
            out.check("parentId", parent)?;
            for id in audit::streams_below(view, parent)?.unwrap_or_else(|| out.children(parent)) {
                out.write(&id, Some(parent), 0);
            }
        }
        (None, Some(id)) => {
            out.check("id", id)?;
            out.write_root(id);
        }
        (None, None) => {
            for id in out.roots() {
                out.write_root(&id);
            }
        }
    }
    out.text.push(b']');
    Ok(out.text)
}

struct Listing<'a> {
    tree: &'a Tree,
    rights: &'a Rights,
    all: bool,
    text: Vec<u8>,
}

impl Listing<'_> {
    /// Where the trees begin that an access sees. A stream with an entry of its own begins one unless
    /// it is shown below another.
    fn roots(&self) -> Vec<String> {
        let (tree, rights) = (self.tree, self.rights);
        let mut roots: Vec<String> = Vec::new();
        if *rights == Rights::Personal {
            roots.push(AUDIT_ROOT.to_owned());
        }
        if rights.star().is_some_and(Level::lists) {
            let visible = |id: &&str| rights.allows(tree, id, Level::lists);
            roots.extend(
                tree.local_roots()
                    .into_iter()
                    .filter(visible)
                    .map(str::to_owned),
            );
        }
        if *rights == Rights::Personal {
            roots.push(ACCOUNT_ROOT.to_owned());
        }
        let named: BTreeSet<&str> = rights.named().map(|(id, _)| id).collect();
        for (id, level) in rights.named() {
            let known = id != "*" && tree.contains(id) && Store::of(id) != Store::SharedSecrets;
            let begins = known && level.lists() && !self.is_shown_below_another(id, &named);
            if begins && !roots.iter().any(|root| root == id) {
                roots.push(id.to_owned());
            }
        }
        roots
    }

    /// Whether a stream is reached from one above it: up to one with an entry of its own, or to a root, all
    /// are visible, and none is hidden in the trash.
    fn is_shown_below_another(&self, id: &str, named: &BTreeSet<&str>) -> bool {
        let mut above = self.tree.ancestry(id).skip(1).peekable();
        while let Some(parent) = above.next() {
            let visible = self.rights.allows(self.tree, parent, Level::lists);
            if !visible || (!self.all && self.tree.is_trashed(parent)) {
                return false;
            }
            if named.contains(parent) || above.peek().is_none() {
                return true;
            }
        }
        false
    }

    /// Whether a stream that was named may be listed and is there.
    fn check(&self, param: &'static str, id: &str) -> Result<(), StreamsGetError> {
        if !self.rights.allows(self.tree, id, Level::lists) {
            return Err(StreamsGetError::Forbidden);
        }
        if !self.tree.contains(id) || (!self.all && self.tree.is_trashed(id)) {
            return Err(StreamsGetError::Unknown {
                param,
                id: id.to_owned(),
            });
        }
        Ok(())
    }

    fn write_root(&mut self, id: &str) {
        let parent = self
            .tree
            .parent_of(id)
            .filter(|parent| self.rights.allows(self.tree, parent, Level::lists))
            .map(str::to_owned);
        self.write(id, parent.as_deref(), 0);
    }

    /// Children that are listed below a stream: those that are visible and, unless all were asked
    /// for, not in the trash.
    fn children(&self, id: &str) -> Vec<String> {
        let stored = self.tree.children_of(id).map(|child| child.to_string());
        let system = system::children_of(self.tree.schema(), id).map(str::to_owned);
        stored
            .chain(system)
            .filter(|child| self.rights.allows(self.tree, child, Level::lists))
            .collect()
    }

    /// Writes a stream with everything visible below it. The nesting is bounded on creation.
    fn write(&mut self, id: &str, parent: Option<&str>, depth: usize) {
        if depth > STREAM_DEPTH_MAX || (!self.all && self.tree.is_trashed(id)) {
            return;
        }
        let head: Option<Map<String, Value>> = match self.tree.get(id) {
            Some(stream) => Some(stream.to_wire(id, parent)),
            None => system::to_wire(self.tree.schema(), id, parent),
        };
        let Some(head) = head else { return };
        if self.text.last() == Some(&b'}') {
            self.text.push(b',');
        }
        let head = Value::Object(head).to_string();
        self.text
            .extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
        self.text.extend_from_slice(b",\"children\":[");
        // The children of the audit log are found by id only.
        if id != AUDIT_ROOT {
            for child in self.children(id) {
                // Hidden account fields are listed by naming their parent only.
                let schema = self.tree.schema();
                if schema.get(&child).is_none_or(|stream| stream.shown) {
                    self.write(&child, Some(id), depth + 1);
                }
            }
        }
        self.text.extend_from_slice(b"]}");
    }
}

/// Tombstones of streams, newest first; so many at most.
fn deletions(view: &dyn View, since: f64, most: usize) -> Result<Vec<Vec<u8>>, StreamsGetError> {
    let mut found = Vec::new();
    let mut scan = indexes::range(STREAM_DELETED, &[], since, f64::INFINITY, true);
    scan.limit = DELETIONS_PAGE;
    loop {
        let page = view.scan(&scan)?;
        for (_, document) in &page {
            // One that was imported was deleted before it was written here.
            let deleted = deleted_at(document);
            if deleted.as_seconds() > since {
                if found.len() >= most {
                    return Err(StreamsGetError::TooMany);
                }
                let item = json!({ "id": document.id, "deleted": seconds(deleted) });
                found.push(item.to_string().into_bytes());
            }
        }
        match page.last() {
            Some((key, last)) if page.len() == scan.limit => {
                scan.after = Some((key.clone(), last.id.clone()));
            }
            _ => return Ok(found),
        }
    }
}

/// When a stream was deleted, as its tombstone says.
fn deleted_at(document: &Document) -> Millis {
    let said = serde_json::from_slice::<Value>(&document.body)
        .ok()
        .and_then(|body| body.get("deleted").and_then(Value::as_f64));
    said.map_or(document.written_at, Millis::from_seconds)
}

#[cfg(test)]
mod tests;
