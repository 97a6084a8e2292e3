//! The values that the platform store keeps. Each is stored behind a format version
//! (`keys::Space::VERSION`); a field is added with `#[serde(default)]`, a changed meaning is a new
//! version with a conversion from the previous one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use homecore_types::{CoreId, Millis, NodeId, UserId, Username};
use serde::{Deserialize, Serialize};

/// Where a core can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreAddresses {
    /// `host:port` of its gRPC listener.
    pub rpc: String,
    /// Base URL of its HTTP API, ending in `/`.
    pub url: String,
    /// Addresses that the zone gives out for it.
    #[serde(default)]
    pub ipv4: Vec<Ipv4Addr>,
    /// Addresses that the zone gives out for it.
    #[serde(default)]
    pub ipv6: Vec<Ipv6Addr>,
    /// A name that the zone gives out for it, where it has no address of its own.
    #[serde(default)]
    pub cname: Option<String>,
    /// The hosting that it belongs to (spec/platform §3.4).
    #[serde(default)]
    pub hosting: Option<String>,
}

/// A member of the cluster, past ones included: their ids are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Its name.
    pub id: CoreId,
    /// Its number in the consensus group.
    pub node: NodeId,
    /// Where it is.
    pub addresses: CoreAddresses,
    /// The key that it joined with (hex SHA-256), empty for the founder.
    pub key: String,
    /// Whether it serves yet.
    pub state: CoreState,
    /// Whether the operator lets it take new users.
    pub available: bool,
    /// Users that live on it, reserved ones included.
    pub users: u64,
    /// When it was admitted.
    pub joined_at: Millis,
    /// When it was removed.
    #[serde(default)]
    pub removed_at: Option<Millis>,
}

/// Where a core is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoreState {
    /// Admitted, not serving yet.
    Joining,
    /// Serving.
    Serving,
    /// Removed for good.
    Removed,
}

/// A user, as far as the platform knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name of the folder on the home core.
    pub id: UserId,
    /// The present name.
    pub username: Username,
    /// The home core.
    pub core: CoreId,
    /// Unique account fields, field → value.
    pub unique: BTreeMap<String, String>,
    /// Further account fields that listings show.
    pub indexed: BTreeMap<String, String>,
    /// Set while only reserved.
    pub reservation: Option<Reservation>,
    /// The invitation that this registration uses.
    #[serde(default)]
    pub invitation: Option<String>,
    /// When the names were taken.
    pub created_at: Millis,
    /// Names that it had and that still lead to it, oldest first; nobody else can have them. Left out
    /// where there are none: then the value is the one that releases without it write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Username>,
    /// How often its name was changed; at least once where this was written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub name_changes: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a user holds beside its name and fields. Fields are added at the end, and all but the last are
/// always written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserHoldings {
    /// Addresses beside the present one, which is the unique field `email`; nobody else can have them.
    pub emails: Vec<String>,
    /// How often the addresses changed.
    pub email_changes: u32,
    /// Random aliases, each of an access; nobody else can have them. Left out where there are none: then
    /// the value is the one that releases without it write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Username>,
}

/// Names held for an account that does not exist yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The attempt.
    pub id: String,
    /// Swept after this.
    pub deadline: Millis,
}

/// A join token; its secret is known only to whom it was printed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The only core that it admits.
    pub core: CoreId,
    /// When it was made.
    pub issued_at: Millis,
    /// When it ends.
    pub expires_at: Millis,
    /// Who used it: hex SHA-256 of the key, and the node id given.
    #[serde(default)]
    pub consumed_by: Option<(String, NodeId)>,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_at: Option<Millis>,
}

/// Records of one label (spec/platform §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// A.
    #[serde(default)]
    pub a: Vec<Ipv4Addr>,
    /// AAAA.
    #[serde(default)]
    pub aaaa: Vec<Ipv6Addr>,
    /// CNAME; then nothing else is answered.
    #[serde(default)]
    pub cname: Option<String>,
    /// TXT, one string each.
    #[serde(default)]
    pub txt: Vec<String>,
    /// CAA: flags, tag, value.
    #[serde(default)]
    pub caa: Vec<(u8, String, String)>,
}

/// An invitation to register (spec/platform §3.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// When it was made.
    pub created_at: Millis,
    /// By whom: `admin` or `config-seed`.
    pub created_by: String,
    /// Free text.
    pub description: String,
    /// When it was used.
    #[serde(default)]
    pub consumed_at: Option<Millis>,
    /// By which username.
    #[serde(default)]
    pub consumed_by: Option<String>,
}

/// The state of an access request (spec/platform §3.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequest {
    /// `NEED_SIGNIN`, then one of the final states.
    pub status: String,
    /// The rest of the state as JSON; of accepted ones sealed with a key derived from the poll key.
    pub payload: Vec<u8>,
    /// When it is forgotten.
    pub deadline: Millis,
}

/// Configuration that is the same on every core; the platform store is its authority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlatformConfig {
    /// Counts changes, from 1.
    pub version: u64,
    /// The zone that the platform serves; none: path addressing only.
    #[serde(default)]
    pub domain: Option<String>,
    /// Everything else, section by section, as the configuration file has it (JSON text).
    #[serde(default)]
    pub sections: BTreeMap<String, String>,
    /// The version at which the declaration of account fields ([`PlatformConfig::FIELDS`]) changed last: what the
    /// founder wrote (1; 0 where an earlier release founded it), then counted by the state machine, whatever a
    /// command says.
    #[serde(default)]
    pub fields_version: u64,
}

impl PlatformConfig {
    /// The section that declares account fields.
    pub const FIELDS: &str = "custom";
}

/// Secrets encrypted under the cluster key, which every member holds on its own disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecrets {
    /// Version, nonce, ciphertext and tag.
    pub envelope: Vec<u8>,
}

impl std::fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedSecrets({} bytes)", self.envelope.len())
    }
}
