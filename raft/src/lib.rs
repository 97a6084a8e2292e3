//! The platform store: a replicated state machine over openraft.
