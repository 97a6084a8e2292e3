//! Small pictures of pictures (spec/pryv-api §9.6): from the bytes of a file to the bytes of a
//! progressive JPEG, nothing else. No files, no threads, no clock.
//!
//! The bytes come from strangers. What decoding may cost is known from the header alone, before
//! anything is decoded: pixels, the bytes that they take in memory, and for a JPEG how often its
//! pixels are gone over ([`Bounds`]). Nothing of a file but its pixels reaches a preview: where it was
//! taken, by whom and with what stays behind; only which side is up is honoured.

mod jpeg;
mod render;
mod size;
mod webp;

pub use render::{Bounds, RenderError, look, render};
pub use size::{SIDE_MAX, Size, Wish};
