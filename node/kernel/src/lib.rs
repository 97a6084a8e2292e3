//! Accounts, streams, events, accesses and permissions, over the store and two ports.
//!
//! **Invariant:** no HTTP, no SQL, no knowledge of Raft. What the kernel needs of the platform it
//! asks through [`ports`]; the adapters live in the binary.

pub mod ports;
