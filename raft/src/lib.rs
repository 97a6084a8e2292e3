//! The platform store: what every core must agree on, replicated by Raft.
//!
//! ```text
//!   Handle ── write, current, queries, status
//!     │
//!   openraft ── log (SQLite, group commit) ── network (gRPC)
//!     │
//!   state_machine ── machine (one thread) ── engine: sled, redb or memory
//!                       └── Directory: what is read without asking anyone
//! ```
//!
//! The truth is the log and the newest snapshot file, both synced; the engine below the machine is a
//! view of them. openraft's generics end at [`Handle`].

pub mod codec;
pub mod command;
pub mod directory;
pub mod engine;
mod files;
pub mod ground;
mod handle;
pub mod identity;
pub mod keys;
mod log;
pub mod machine;
pub mod membership;
pub mod network;
pub mod records;
mod room;
pub mod snapshot;
mod state_machine;
mod types;

pub use handle::{
    FoundError, Handle, Options, PeerLiveness, Presence, ReadError, Role, StartError, Status,
    Timings, WriteError, has_live_quorum,
};
pub use identity::Identity;
pub use log::{LogError, medium, memory};
pub use network::platform_service::PlatformService;
pub use network::raft_service::{Caller, RaftService};
pub use network::{PeerError, Peers};

/// An error with its causes, where only text can be passed on.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
