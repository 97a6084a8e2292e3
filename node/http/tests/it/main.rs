//! The request path and the server, seen from outside.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test that uses them"
)]

mod app;
mod bodies;
mod server;
mod support;
mod unread;
mod uploads;
