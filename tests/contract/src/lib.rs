//! The wire against golden samples and real clients: reads recorded exchanges, puts our ids and
//! tokens into them, compares answers, and keeps the list of differences honest; and generates requests
//! from the document in which a core describes its routes ([`fuzz`]).

mod bindings;
mod compare;
mod differences;
mod exchange;
pub mod fuzz;

pub use bindings::Bindings;
pub use compare::{Difference, compare};
pub use differences::{Allowance, Judge};
pub use exchange::{Exchange, Message, Request, read_exchanges};
