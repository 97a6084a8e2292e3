//! The wire as real clients use it, against real processes: recorded exchanges, and the official
//! clients.

mod javascript;
mod recorded;
