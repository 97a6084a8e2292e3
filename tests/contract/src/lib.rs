//! The wire against golden samples and real clients.
