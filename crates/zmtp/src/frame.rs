//! Frame headers: one byte of flags and a length of one or eight bytes.

// The flags of RFC 37.
pub(crate) const MORE: u8 = 0x01;
pub(crate) const LONG: u8 = 0x02;
pub(crate) const COMMAND: u8 = 0x04;

/// The size of the longest header in bytes: the flags and an eight-byte length.
pub(crate) const MAX_HEADER: usize = 9;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    /// The size of the header itself in bytes, 2 or 9.
    pub(crate) size: usize,
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header. Returns `None` if it is incomplete.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.first()?;
        if flags & LONG == 0 {
            return Some(Self { flags, size: 2, length: u64::from(*bytes.get(1)?) });
        }
        let length = u64::from_be_bytes(*bytes.get(1..)?.first_chunk::<8>()?);
        Some(Self { flags, size: 9, length })
    }

    pub(crate) fn is_command(self) -> bool {
        self.flags & COMMAND != 0
    }

    pub(crate) fn has_more(self) -> bool {
        self.flags & MORE != 0
    }
}

/// Passes the shortest header for a body of `length` bytes to `put`.
#[inline]
pub(crate) fn write(flags: u8, length: usize, put: impl FnOnce(&[u8])) {
    if let Ok(short) = u8::try_from(length) {
        put(&[flags, short]);
    } else {
        let mut header = [flags | LONG; 9];
        header[1..].copy_from_slice(&(length as u64).to_be_bytes());
        put(&header);
    }
}
