//! Compiles what replaces the system's chance and time in the processes that simulate. It is linked into
//! this package's tests and into nothing else.

fn main() {
    println!("cargo::rerun-if-changed=src/entropy.c");
    for object in cc::Build::new()
        .file("src/entropy.c")
        .compile_intermediates()
    {
        println!("cargo::rustc-link-arg-tests={}", object.display());
    }
}
