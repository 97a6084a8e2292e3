//! What cores say to each other, as generated from the `.proto` files beside this crate.
//!
//! One module a package, each with its messages, `*_client` and `*_server`. Packages are versioned;
//! a field number is never used again (checked by `cargo xtask tidy`).

/// Generated code: not written by hand, so not held to our lints.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::use_self,
    clippy::doc_markdown,
    clippy::or_fun_call,
    clippy::unused_async,
    clippy::enum_glob_use,
    clippy::uninlined_format_args,
    clippy::large_futures,
    clippy::expect_used,
    clippy::panic,
    reason = "generated"
)]
mod generated {
    pub mod raft {
        tonic::include_proto!("homecore.raft.v1");
    }
    pub mod platform {
        tonic::include_proto!("homecore.platform.v1");
    }
    pub mod membership {
        tonic::include_proto!("homecore.membership.v1");
    }
    pub mod archive {
        tonic::include_proto!("homecore.archive.v1");
    }
}

pub use generated::{archive, membership, platform, raft};
