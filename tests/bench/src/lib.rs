//! Benchmarks: figures beside a peer, one command.
