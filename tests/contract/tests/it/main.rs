//! The wire as real clients use it, against clusters of real processes.

mod javascript;
