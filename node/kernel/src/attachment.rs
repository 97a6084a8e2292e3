//! Files attached to events (spec/pryv-api §4.11).
//!
//! What an event stores of a file is what clients see of it, without `readToken`, which is another
//! for each access and is added on the way out ([`token::ReadTokens`]). The bytes are a blob of the
//! user's; its name is the file's `integrity`, and the event's index entries say that it refers to
//! it (node/adr/0004).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_store::blob::{Download, PinnedBlob};
use homecore_store::{BlobHash, StoreError};
use homecore_types::{UserId, entropy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::stored::Head;
use crate::kernel::Context;

pub mod edit;
pub mod get;
mod shell;
pub(crate) mod tend;
#[cfg(test)]
mod tests;
pub mod token;

/// Longest file name.
pub const FILE_NAME_BYTES_MAX: usize = 1_024;
/// Longest media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

const INTEGRITY: &str = "sha256-";

/// A file of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Made by the server.
    pub id: String,
    /// As the client sent it.
    pub file_name: String,
    /// Media type, as the client sent it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// `sha256-` and the hash in base64.
    pub integrity: String,
}

impl Attachment {
    /// The blob that holds the bytes; none if the integrity is of another kind.
    #[must_use]
    pub fn hash(&self) -> Option<BlobHash> {
        hash_of(&self.integrity)
    }

    /// The hash in base64, as in a `Digest` header.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.integrity
            .strip_prefix(INTEGRITY)
            .unwrap_or(&self.integrity)
    }

    fn to_wire(&self) -> Value {
        let mut map = Map::new();
        map.insert("id".to_owned(), Value::from(self.id.as_str()));
        map.insert("fileName".to_owned(), Value::from(self.file_name.as_str()));
        map.insert("type".to_owned(), Value::from(self.kind.as_str()));
        map.insert("size".to_owned(), Value::from(self.size));
        map.insert("integrity".to_owned(), Value::from(self.integrity.as_str()));
        Value::Object(map)
    }
}

/// The wire form of attachments.
#[must_use]
pub fn to_wire(attachments: &[Attachment]) -> Value {
    attachments.iter().map(Attachment::to_wire).collect()
}

/// The blob of an integrity.
#[must_use]
pub fn hash_of(integrity: &str) -> Option<BlobHash> {
    let bytes = STANDARD.decode(integrity.strip_prefix(INTEGRITY)?).ok()?;
    BlobHash::from_bytes(&bytes)
}

/// The integrity of a blob.
pub(crate) fn integrity_of(hash: &BlobHash) -> String {
    format!("{INTEGRITY}{}", STANDARD.encode(hash.as_bytes()))
}

/// What of an attachment counts for keys and sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedBlob {
    /// See [`Attachment::integrity`].
    #[serde(default)]
    pub integrity: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
}

impl From<&Attachment> for AttachedBlob {
    fn from(attachment: &Attachment) -> Self {
        Self {
            integrity: attachment.integrity.clone(),
            size: attachment.size,
        }
    }
}

/// The blobs of an event, each once.
#[must_use]
pub fn blobs(attachments: &[AttachedBlob]) -> std::collections::BTreeSet<BlobHash> {
    attachments
        .iter()
        .filter_map(|attached| hash_of(&attached.integrity))
        .collect()
}

/// A file that was received and is on disk.
#[derive(Debug)]
pub struct NewFile {
    /// As the client sent it.
    pub name: String,
    /// Media type, as the client sent it.
    pub kind: String,
    /// Its bytes.
    pub blob: PinnedBlob,
}

/// Attachments of files, with new ids.
pub(crate) fn attachments(context: &Context, files: &[NewFile]) -> Vec<Attachment> {
    files
        .iter()
        .map(|file| Attachment {
            id: entropy::wire_id(context.entropy.as_ref()),
            file_name: file.name.clone(),
            kind: file.kind.clone(),
            size: file.blob.size(),
            integrity: integrity_of(&file.blob.hash()),
        })
        .collect()
}

/// Must be called wherever an event with attachments is deleted, or changed so that it loses some:
/// their bytes are deleted after the commit, unless another event has them. Forgetting it, or a
/// crash, costs disk until the next pass over all blobs, no more.
pub fn let_go(context: &Context, user: &UserId, before: &Head, after: Option<&Head>) {
    if before.attachments.is_empty() {
        return;
    }
    let kept = blobs(after.map_or(&[], |after| &after.attachments));
    for hash in blobs(&before.attachments).difference(&kept) {
        context.blobs.suspect(user, *hash);
    }
}

/// A file has fewer bytes than it had when it was opened.
#[must_use]
pub fn cut_short() -> StoreError {
    StoreError::Corrupted {
        what: "a blob ended early".to_owned(),
    }
}

/// A file that is being read.
#[derive(Debug)]
pub struct OpenFile {
    /// What is known of it.
    pub attachment: Attachment,
    /// The name of its bytes.
    pub hash: BlobHash,
    /// Its bytes.
    pub download: Download,
}
