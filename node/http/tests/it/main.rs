//! The request path and the server, seen from outside.

mod app;
mod server;
mod support;
