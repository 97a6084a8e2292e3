//! One file a figure: what is set up, what is measured, and beside what.

pub(crate) mod accounts;
pub(crate) mod data;
pub(crate) mod directory;
pub(crate) mod dns;
pub(crate) mod failover;
pub(crate) mod files;
pub(crate) mod hostile;
pub(crate) mod idle;
pub(crate) mod registrations;
pub(crate) mod requests;
pub(crate) mod writes;
