//! Text that shares the bytes it was received in.

use bytes::Bytes;

use crate::ValueError;

/// UTF-8 text over shared bytes: cloning costs a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(Bytes);

impl Text {
    /// Checked by the caller or by `str`.
    pub(crate) fn from_string(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }

    #[inline]
    pub(crate) fn from_utf8(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Every way to make a `Text` has checked this.
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

/// Checks a length against a limit.
pub(crate) fn check_len(
    value: &'static str,
    length: usize,
    limit: usize,
) -> Result<(), ValueError> {
    if length > limit { Err(ValueError::TooLong { value, length, limit }) } else { Ok(()) }
}
