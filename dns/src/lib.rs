//! Authoritative DNS server over an in-memory zone.
