//! The two manifests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::layout::Section;

/// The only format that is known.
pub(crate) const FORMAT: u64 = 1;

/// `manifest.json`: written last, its presence says that the archive is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 1.
    pub format_version: u64,
    /// Version of the server that wrote it.
    #[serde(default)]
    pub core_version: String,
    /// Where it comes from.
    #[serde(default)]
    pub config: Config,
    /// `full` or `incremental`.
    #[serde(default)]
    pub backup_type: String,
    /// Milliseconds.
    #[serde(default)]
    pub backup_timestamp: Value,
    /// Seconds: nothing later is in it.
    #[serde(default)]
    pub snapshot_before: Value,
    /// The users that are in it.
    #[serde(default)]
    pub users: Vec<UserManifest>,
    /// Files of lines are gzip.
    #[serde(default)]
    pub compressed: Option<bool>,
}

/// What wrote an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Its storage engine.
    #[serde(default)]
    pub engine: Value,
    /// Its domain or address.
    #[serde(default)]
    pub domain: Value,
}

/// `user-manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserManifest {
    /// The internal id, name of the folder.
    pub user_id: String,
    /// The name.
    #[serde(default)]
    pub username: String,
    /// Milliseconds.
    #[serde(default)]
    pub backup_timestamp: Value,
    /// How many records each section has.
    #[serde(default)]
    pub stats: BTreeMap<String, Value>,
    /// The files of sections that have several, in order.
    #[serde(default)]
    pub chunks: BTreeMap<String, Vec<String>>,
    /// How much is not in it because it was damaged when it was written; homecore alone says so.
    #[serde(default, skip_serializing_if = "is_none")]
    pub damaged_left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl UserManifest {
    /// How many records a section has, if it says so.
    #[must_use]
    pub fn count(&self, section: Section) -> Option<u64> {
        self.stats.get(section.name()).and_then(Value::as_u64)
    }
}
