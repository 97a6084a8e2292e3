//! Clusters of real stores in one process, over gRPC on the loopback interface.

mod cluster;
mod failover;
mod growth;
mod harness;
mod restart;
