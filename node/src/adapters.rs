//! The kernel's and the zone's ports, answered from the platform store. One file a port.

mod accesses;
pub(crate) mod codes;
pub(crate) mod directory;
pub(crate) mod event_types;
pub(crate) mod mail;
pub(crate) mod names;
pub(crate) mod platform;
pub(crate) mod syslog;
