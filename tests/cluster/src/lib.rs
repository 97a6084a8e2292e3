//! Clusters of real processes with kills.
