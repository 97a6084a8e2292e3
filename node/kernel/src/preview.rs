//! Previews of pictures that are attached to events (spec/pryv-api §9.6).
//!
//! Who may read the event may see the preview. One is made when it is first asked for, of the event's
//! first file, and kept beside the file's blob for as long as it is used ([`homecore_store::blob`]);
//! that a file is no picture is kept, too, so that nobody pays twice to find it out. How large a
//! picture may be is decided by its header ([`homecore_previews::Bounds`]); how many are made at
//! once and how many requests may wait, by the [`workshop`].

use std::panic::UnwindSafe;
use std::time::Duration;

use bytes::Bytes;
pub use figures::PreviewFigures;
pub use homecore_previews::Wish;
use homecore_previews::{Bounds, RenderError, Size, look, render};
use homecore_store::blob::DerivedName;
use homecore_store::{BlobHash, StoreError, View};
use homecore_types::{ErrorId, Millis, limits};
use thiserror::Error;

use crate::actor::Actor;
use crate::attachment::get::{self, GetError};
use crate::error::Refusal;
use crate::stream::cache::Trees;

pub(crate) mod figures;
mod shell;
mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod workshop;

/// The type of events that have previews.
const PICTURE: &str = "picture/attached";
/// Of how previews are made: a new one, and those of before are not found any more.
const VERSION: u32 = 1;
/// How long a client is asked to wait before it tries again.
const BUSY_RETRY: Duration = Duration::from_secs(2);

const BOUNDS: Bounds = Bounds {
    side_max: limits::PREVIEW_SIDE_MAX,
    pixels_max: limits::PREVIEW_PIXELS_MAX,
    decoded_bytes_max: limits::PREVIEW_DECODED_BYTES_MAX,
    scanned_samples_max: limits::PREVIEW_SCANNED_SAMPLES_MAX,
};

/// What an operator decides about previews (`previews.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewSettings {
    /// What was not used for this long is deleted.
    pub max_age: Duration,
    /// What all of a core may take; beyond it the longest unused go first.
    pub bytes_max: u64,
}

impl Default for PreviewSettings {
    fn default() -> Self {
        Self {
            max_age: limits::PREVIEW_MAX_AGE,
            bytes_max: limits::PREVIEWS_BYTES_MAX,
        }
    }
}

/// A preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// A JPEG.
    pub jpeg: Bytes,
    /// Another for other bytes: letters, digits and dashes.
    pub tag: String,
    /// When the event was last changed.
    pub modified: Millis,
}

/// Why there is no preview.
#[derive(Debug, Error)]
pub enum PreviewError {
    /// Of the event.
    #[error(transparent)]
    Event(#[from] GetError),
    /// It has no file, or the file is gone.
    #[error("Corrupt event data: expected an attached file.")]
    NoFile,
    /// The file is no picture, or none of which a preview can be made.
    #[error("No preview can be made of the attached file: {0}")]
    NoPicture(NoPicture),
    /// Too many are wanted, or it took too long.
    #[error("Too many previews are being made at this moment, please try again")]
    Busy,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for PreviewError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Event(error) => error.id(),
            Self::NoFile | Self::NoPicture(_) => ErrorId::CorruptedData,
            Self::Busy => ErrorId::ApiUnavailable,
            Self::Store(error) => error.id(),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Event(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(BUSY_RETRY),
            Self::Event(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            Self::NoFile | Self::NoPicture(_) => None,
        }
    }
}

/// What is wrong with a file; it will be as long as the file is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoPicture {
    /// See [`RenderError::UnknownFormat`].
    #[error("it is no JPEG, PNG, GIF or WebP picture")]
    UnknownFormat,
    /// See [`RenderError::TooLarge`].
    #[error("it is too large")]
    TooLarge,
    /// See [`RenderError::Broken`].
    #[error("it cannot be decoded")]
    Broken,
}

impl From<RenderError> for NoPicture {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::UnknownFormat => Self::UnknownFormat,
            RenderError::TooLarge => Self::TooLarge,
            RenderError::Broken(cause) => {
                tracing::debug!(%cause, "an attached picture cannot be decoded");
                Self::Broken
            }
        }
    }
}

/// What is known of a file after it was looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Facts {
    /// It is a picture of this size.
    Picture(Size),
    /// It is none.
    None(NoPicture),
}

impl Facts {
    /// As it is kept.
    fn to_text(self) -> String {
        match self {
            Self::Picture(size) => format!("{}x{}", size.width, size.height),
            Self::None(NoPicture::UnknownFormat) => "unknown-format".to_owned(),
            Self::None(NoPicture::TooLarge) => "too-large".to_owned(),
            Self::None(NoPicture::Broken) => "broken".to_owned(),
        }
    }

    /// Reads what was kept; none if it is damaged.
    fn parse(text: &[u8]) -> Option<Self> {
        match std::str::from_utf8(text).ok()? {
            "unknown-format" => Some(Self::None(NoPicture::UnknownFormat)),
            "too-large" => Some(Self::None(NoPicture::TooLarge)),
            "broken" => Some(Self::None(NoPicture::Broken)),
            size => {
                let (width, height) = size.split_once('x')?;
                let (width, height) = (width.parse().ok()?, height.parse().ok()?);
                (width > 0 && height > 0).then_some(Self::Picture(Size { width, height }))
            }
        }
    }
}

/// The name under which the facts of a blob are kept.
fn facts_name(hash: BlobHash) -> Option<DerivedName> {
    DerivedName::new(hash, &format!("facts-{VERSION}"))
}

/// The name under which a preview of a blob is kept.
fn preview_name(hash: BlobHash, size: Size) -> Option<DerivedName> {
    let what = format!("{}x{}-{VERSION}", size.width, size.height);
    DerivedName::new(hash, &what)
}

/// The file of which previews of an event are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    hash: BlobHash,
    modified: Millis,
}

/// The picture of an event that the caller may read; none if it is not an event of that kind.
///
/// # Errors
/// See [`PreviewError`].
pub fn find(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
) -> Result<Option<Source>, PreviewError> {
    let files = get::files(view, trees, actor, event)?;
    if files.kind != PICTURE {
        return Ok(None);
    }
    let first = files.attachments.first().ok_or(PreviewError::NoFile)?;
    Ok(Some(Source {
        hash: first.hash().ok_or(PreviewError::NoFile)?,
        modified: Millis::from_seconds(files.modified),
    }))
}

/// The size of a picture as it is seen.
fn measure(bytes: &[u8]) -> Result<Size, NoPicture> {
    caught(|| look(bytes, &BOUNDS))
}

/// Makes a preview of this size.
fn make(bytes: &[u8], size: Size) -> Result<Vec<u8>, NoPicture> {
    caught(|| render(bytes, size, &BOUNDS))
}

/// Decoders read what strangers sent: one that panics has met a broken picture, no more.
fn caught<T>(decode: impl FnOnce() -> Result<T, RenderError> + UnwindSafe) -> Result<T, NoPicture> {
    match std::panic::catch_unwind(decode) {
        Ok(decoded) => decoded.map_err(NoPicture::from),
        Err(_panic) => {
            tracing::warn!("the decoder of an attached picture panicked");
            Err(NoPicture::Broken)
        }
    }
}
