//! The platform on a simulated network, clock and disk: see `tests/it` and the README.
