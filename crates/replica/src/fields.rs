//! Reads the fields of this crate's formats. Numbers are big-endian. Nothing is allocated from an announced length.

use bytes::{BufMut, Bytes};
use zraft_protocol::MemberId;

use crate::{MemberInfo, RaftId};

/// Bytes that are not what this version of the program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A newer member wrote the bytes.
    #[error("format version {0} is not supported; upgrade this member")]
    UnsupportedVersion(u8),
    /// The message or record is of a kind that does not exist.
    #[error("kind {0} is unknown")]
    UnknownKind(u8),
    /// The bytes end within a field.
    #[error("the bytes end within {0}")]
    Truncated(&'static str),
    /// Everything was read and bytes are left.
    #[error("{0} bytes are left over")]
    TrailingBytes(usize),
    /// A field holds a value that it cannot have.
    #[error("{0} is invalid")]
    Invalid(&'static str),
}

type Result<T> = std::result::Result<T, FormatError>;

/// Terms and indexes end here. No cluster reaches it, and below it the engine's sums cannot overflow.
pub(crate) const MAX_NUMBER: u64 = 1 << 62;

pub(crate) struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(FormatError::TrailingBytes(left)),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let rest = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>);
        let array = rest.ok_or(FormatError::Truncated(field))?;
        self.at += N;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A term, an index or a position: below [`MAX_NUMBER`].
    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64> {
        match self.u64(field)? {
            number if number < MAX_NUMBER => Ok(number),
            _ => Err(FormatError::Invalid(field)),
        }
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormatError::Invalid(field)),
        }
    }

    pub(crate) fn id(&mut self, field: &'static str) -> Result<RaftId> {
        RaftId::new(self.number(field)?).ok_or(FormatError::Invalid(field))
    }

    /// u32 length and bytes, which share the buffer.
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes> {
        let length = self.u32(field)? as usize;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(FormatError::Truncated(field))?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String> {
        let length = usize::from(self.u16(field)?);
        if length > MemberInfo::MAX_TEXT {
            return Err(FormatError::Invalid(field));
        }
        let bytes = self.bytes.get(self.at..self.at + length);
        let bytes = bytes.ok_or(FormatError::Truncated(field))?;
        let text = std::str::from_utf8(bytes).map_err(|_| FormatError::Invalid(field))?;
        self.at += length;
        Ok(text.to_owned())
    }

    /// u16 length and bytes, of which a version reads what it knows.
    pub(crate) fn extension(&mut self) -> Result<&'a [u8]> {
        let length = usize::from(self.u16("the extension")?);
        let bytes = self.bytes.get(self.at..self.at + length);
        self.at += length;
        bytes.ok_or(FormatError::Truncated("the extension"))
    }

    pub(crate) fn member(&mut self) -> Result<MemberInfo> {
        let name = self.text("a member's name")?;
        let name = MemberId::new(name).map_err(|_| FormatError::Invalid("a member's name"))?;
        let address = self.text("a member's address")?;
        Ok(MemberInfo { name, address, feature_level: self.u32("a member's feature level")? })
    }

    /// Ids in rising order, as a set is written.
    pub(crate) fn ids<C: FromIterator<RaftId>>(&mut self, field: &'static str) -> Result<C> {
        let count = self.u16(field)?;
        let mut last = 0;
        let mut next = || {
            let id = self.id(field)?;
            if id.get() <= last {
                return Err(FormatError::Invalid(field));
            }
            last = id.get();
            Ok(id)
        };
        (0..count).map(|_| next()).collect()
    }
}

pub(crate) fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    // Entries and chunks are far shorter than 4 GiB: their limits are 1 GiB and 1 MiB.
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

pub(crate) fn put_text(out: &mut impl BufMut, text: &str) {
    // At most MAX_TEXT, which is checked before a member is taken into a configuration.
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

pub(crate) fn put_member(out: &mut impl BufMut, member: &MemberInfo) {
    put_text(out, member.name.as_str());
    put_text(out, &member.address);
    out.put_u32(member.feature_level);
}

pub(crate) fn put_ids<'a>(out: &mut impl BufMut, ids: impl ExactSizeIterator<Item = &'a RaftId>) {
    out.put_u16(ids.len() as u16);
    for id in ids {
        out.put_u64(id.get());
    }
}
