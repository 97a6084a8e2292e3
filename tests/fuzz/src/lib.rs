//! What drives hostile input: valid seeds, changed again and again, into one function, until a time or
//! a number of cases is over. `libFuzzer` wants a nightly compiler; this wants none.
//!
//! An input that comes to an end no input came to before (another error, another kind of answer) joins
//! the seeds, which leads deeper than chance alone. Everything follows from one number: the seed, which
//! is printed and repeats a run. What goes wrong is shrunk before it is shown. A target fails by a panic,
//! by saying so, by taking too long or by taking too much memory.
//!
//! This crate knows nothing of homecore, so that every crate of it may use it for its tests; the targets
//! for what is public are in `tests/it`.

mod campaign;
mod chance;
mod mutation;
mod panics;
mod settings;
mod shrink;

pub use campaign::{Campaign, Fault, Memory, Report, Verdict};
pub use chance::Chance;
pub use settings::Settings;
