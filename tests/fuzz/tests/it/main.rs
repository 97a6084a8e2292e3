//! Hostile bytes into everything that reads what others wrote: see `README.md` beside this crate.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "so does a test fail"
)]

mod archives;
mod dns;
mod forms;
mod journal;
mod methods;
mod platform;
mod queries;
mod records;
mod rpc;

use homecore_fuzz_tests::Memory;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What this process has allocated.
#[derive(Debug)]
struct Allocated;

impl Memory for Allocated {
    fn begin(&self) -> usize {
        ALLOCATOR.reset_peak_usage();
        ALLOCATOR.current_usage()
    }

    fn most(&self) -> usize {
        ALLOCATOR.peak_usage()
    }
}

const MEGABYTE: usize = 1024 * 1024;
