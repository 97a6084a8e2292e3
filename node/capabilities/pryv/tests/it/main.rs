//! The Pryv API over the whole request path, in process: real kernel on the memory engine, a
//! platform that is a map.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test that uses them"
)]

mod access_requests;
mod accesses;
mod account;
mod admin;
mod aliases;
mod attachments;
mod bodies;
mod events;
mod lookups;
mod mfa;
mod openapi;
mod previews;
mod profile;
mod registration;
mod reset;
mod robustness;
mod routing;
mod shared_secrets;
mod streams;
mod support;
mod system;
mod usernames;
mod users;
