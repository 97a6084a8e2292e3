//! One core of a personal-data platform.

fn main() {}
