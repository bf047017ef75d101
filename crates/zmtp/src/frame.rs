//! Frame headers: flags, and a length of one or eight bytes.

pub(crate) const MORE: u8 = 0x01;
pub(crate) const LONG: u8 = 0x02;
pub(crate) const COMMAND: u8 = 0x04;

/// The longest header.
pub(crate) const MAX_HEADER: usize = 9;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    /// Bytes of the header itself.
    pub(crate) size: usize,
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header; `None` while it is not whole.
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

/// Hands a header to `put`.
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
