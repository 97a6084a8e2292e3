//! The wire as real clients use it, against real processes: recorded exchanges, the
//! official clients, and generated requests.

mod fuzz;
mod javascript;
mod recorded;
mod tokens;
