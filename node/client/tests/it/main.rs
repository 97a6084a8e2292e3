//! The client against a cluster of fake cores: what it follows, remembers, forgets and refuses.

mod fake;
mod follow;
mod platform;
mod user;
