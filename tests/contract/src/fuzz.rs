//! Generated requests over `/openapi.json`: valid ones, and such that are wrong in many ways, for every
//! operation and with every kind of caller. What is answered must be what the document says.

mod bodies;
mod document;
mod judge;
mod requests;
mod values;
mod wire;
mod world;

pub use document::{Document, Operation};
pub use homecore_fuzz_tests::Chance;
pub use judge::{Verdict, judge};
pub use requests::generate;
pub use wire::{Answer, Asked, Failure, send};
pub use world::World;
