//! Users' blobs as files, in the folder of the user that they belong to.
//!
//! ```text
//! <user's folder>/blobs/<two hex digits>/<64 hex digits>   a blob, by SHA-256 of its bytes
//! <user's folder>/previews/<two hex digits>/<64 hex digits>.<what>   made of a blob; may be deleted
//! <staging>/<number>                                       blobs on their way in, emptied at start
//! ```
//!
//! A blob appears by one rename, after its bytes are on disk, so a crash leaves all of it or
//! nothing. The staging folder is on the file system of the users' folders.
//!
//! **Invariant:** nothing here is called from an async worker, and no blob is ever whole in memory.

mod blobfs;
mod derived;
mod files;

pub use blobfs::BlobFs;
