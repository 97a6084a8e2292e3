//! The engine on real folders.

mod crashes;
mod suites;
mod uploads;
