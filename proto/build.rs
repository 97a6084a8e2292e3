//! Compiles the `.proto` files, in Rust alone: no protoc on the machine is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "homecore/raft/v1/raft.proto",
        "homecore/platform/v1/platform.proto",
        "homecore/membership/v1/membership.proto",
        "homecore/archive/v1/archive.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
