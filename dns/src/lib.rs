//! The authoritative DNS server of a homecore platform: one zone, `{core}.{domain}` and
//! `{username}.{domain}` among its names, answered from memory.
//!
//! The parts, from the inside out: [`facts`] are what the platform knows; [`zone`] turns them into
//! answers and is pure; [`source`] hands the present zone to whoever answers; [`handler`] turns a
//! query's bytes into an answer's bytes; [`limit`] keeps the server from being used as an
//! amplifier; [`server`] owns the sockets. An answer needs no disk, no consensus and no lock but a
//! short one in the rate limiter. This crate knows nothing of Raft: whoever runs it publishes a
//! new [`Zone`] when a fact has changed.
//!
//! Why an own handler and own loops around hickory's messages: `adr/0001`.

pub mod facts;
pub mod handler;
pub mod limit;
mod name;
pub mod server;
pub mod source;
pub mod stats;
pub mod zone;

pub use facts::{Caa, CoreFact, Mx, RecordSet, SoaFacts, ZoneFacts};
pub use limit::RateLimit;
pub use server::{BindError, Options, ServeError, Server};
pub use source::{SharedZone, ZoneSource};
pub use stats::{Stats, StatsSnapshot};
pub use zone::{Answer, Names, Problem, Question, RecordError, Zone, ZoneError, check_record};
