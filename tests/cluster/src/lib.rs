//! Tests of clusters of real processes: see `tests/it`. How many rounds they run is said by
//! `HOMECORE_ROUNDS`; CI runs few, `HOMECORE_ROUNDS=100 cargo nextest run --profile soak -p homecore-cluster-tests`
//! runs what the promises are made on.
