//! A client that finds a user's core, follows a 421 once and remembers.
