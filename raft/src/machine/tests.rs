//! What each command does, what the machine's files survive, and that every engine, grouping and
//! restart comes to the same state.

mod aliases;
mod cores;
mod emails;
mod fixture;
mod names;
mod placement;
mod platform;
mod random;
mod snapshots;
mod storage;
mod users;
