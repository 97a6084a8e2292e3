//! A name as a key of millions: up to 22 bytes stand in the key itself, longer ones behind a pointer.
//! Copying a bucket of the table then copies bytes, instead of allocating for each name in it.

use std::fmt;
use std::sync::Arc;

const SHORT: usize = 22;

/// A username.
#[derive(Clone)]
pub(super) enum Name {
    /// Length and bytes.
    Short(u8, [u8; SHORT]),
    /// Too long for that.
    Long(Arc<str>),
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(length, bytes)
            }
            _ => Self::Long(Arc::from(text)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            // The bytes were a text when they came: the fallback is never taken.
            Self::Short(length, bytes) => bytes
                .get(..usize::from(*length))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    /// Whether it is this one.
    pub(super) fn is(&self, text: &str) -> bool {
        self.as_bytes() == text.as_bytes()
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
