//! The words every homecore crate shares: ids, error ids, time, limits, and the two seams through
//! which the outside's clock and chance come in.
//!
//! **Invariant:** no IO (but for the one system clock and the one system entropy source in
//! [`clock`] and [`entropy`]), no async runtime, no knowledge of HTTP, SQL or Raft.

pub mod clock;
pub mod entropy;
pub mod error_id;
pub mod id;
pub mod json;
pub mod limits;
pub mod seal;
pub mod secret;

pub use clock::{Clock, Millis, SystemClock};
pub use entropy::{Entropy, SystemEntropy};
pub use error_id::ErrorId;
pub use id::{ClusterId, CoreId, Email, IdError, NodeId, UserId, Username};
pub use secret::Secret;
