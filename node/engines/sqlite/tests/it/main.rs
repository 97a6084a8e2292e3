//! The SQLite engine and journal against the suites, against the memory engine as a model, and
//! under [`homecore_store::Users`] with crashes.

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod model;
#[cfg(test)]
mod suites;
