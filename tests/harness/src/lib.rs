//! Clusters of real processes, clients and waits, for tests and benches.
