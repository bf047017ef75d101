//! Text that shares the receive buffer's bytes.

use bytes::Bytes;

use crate::ValueError;

/// UTF-8 text over shared bytes. A clone copies no text and only counts a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(Bytes);

impl Text {
    /// Wraps a `String`. The caller has checked its length.
    pub(crate) fn from_string(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }

    #[inline]
    pub(crate) fn from_utf8(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Every constructor has checked that the bytes are UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// Returns [`ValueError::TooLong`] if the length is above the limit.
pub(crate) fn check_len(
    value: &'static str,
    length: usize,
    limit: usize,
) -> Result<(), ValueError> {
    if length > limit { Err(ValueError::TooLong { value, length, limit }) } else { Ok(()) }
}
