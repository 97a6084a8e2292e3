//! Accounts, streams, events, accesses and permissions, over the store and two ports.
//!
//! The logic of every method is a plain function over a view or a transaction of one user's data;
//! [`Kernel`] is the thin asynchronous shell that brings it to the store's threads. Answers are wire
//! JSON (adr/0001), so that any facade may send them as they are.
//!
//! **Invariant:** no HTTP, no SQL, no knowledge of Raft. What the kernel needs of the platform it
//! asks through [`ports`]; the adapters live in the binary.

pub mod access;
pub mod account;
pub mod actor;
pub(crate) mod answers;
pub mod archive;
pub mod attachment;
pub mod audit;
pub mod batch;
pub mod describe;
pub mod error;
pub mod event;
mod fields;
pub mod indexes;
pub mod integrity;
pub mod kernel;
pub mod method;
pub mod mfa;
mod number;
pub mod password;
mod patch;
pub mod permission;
pub mod ports;
pub mod preview;
pub mod profile;
pub mod registration;
pub mod reply;
pub mod session;
pub mod settings;
pub mod shared_secret;
mod slug;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod trust;
pub mod violation;

pub use actor::{Actor, Credential, Owner};
pub use error::{Error, Refusal};
pub use event::pages::{EventPages, EventsPart};
pub use event::stored::StoredEvent;
pub use kernel::Kernel;
pub use method::Method;
pub use reply::Reply;
pub use settings::Settings;
pub use stream::deletion::{StreamDeleted, StreamDeletion};
pub use violation::Violation;
