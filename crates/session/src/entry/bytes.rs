//! The bytes of an entry in memory, in one piece or in two.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The bytes of a log entry, in one piece or in two.
///
/// The format of an entry is one sequence of bytes, and so are its forms on disk and on the wire. The encoding of a command
/// ends with its payload, so a leader can keep the payload in the buffer in which it was received, with the fields before it
/// apart. Two values are equal if their bytes are, however they are divided.
#[derive(Clone, Default)]
pub struct EntryBytes {
    head: Bytes,
    /// `None` if all bytes are in `head`, and never empty.
    payload: Option<Bytes>,
}

static NOTHING: Bytes = Bytes::new();

impl EntryBytes {
    /// A payload of at least this length stays in the buffer in which it was received. A shorter one is copied: that costs less
    /// than two more reference counts in each place that the entry passes, and would otherwise keep the server's read buffer of
    /// 64 to 128 KiB in memory, more than a few times its own length.
    pub const SHARE_FROM: usize = 32 << 10;

    /// Returns the bytes of `head` followed by those of `payload`.
    #[must_use]
    pub fn of_pieces(head: Bytes, payload: Bytes) -> Self {
        if payload.is_empty() {
            return head.into();
        }
        match head.is_empty() {
            true => payload.into(),
            false => Self { head, payload: Some(payload) },
        }
    }

    /// Returns the pieces in order. If there is only one, the second is empty.
    #[must_use]
    pub fn pieces(&self) -> [&Bytes; 2] {
        [&self.head, self.payload.as_ref().unwrap_or(&NOTHING)]
    }

    /// Returns the pieces in order, as [`pieces`](Self::pieces).
    #[must_use]
    pub fn into_pieces(self) -> [Bytes; 2] {
        [self.head, self.payload.unwrap_or_default()]
    }

    /// Returns the number of bytes of both pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Returns true if there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Removes and returns the first `most` bytes, or all of them if there are fewer. Nothing is copied.
    pub fn split_to(&mut self, most: usize) -> Self {
        let [mut head, mut payload] = std::mem::take(self).into_pieces();
        let from_head = head.split_to(head.len().min(most));
        let from_payload = payload.split_to(payload.len().min(most - from_head.len()));
        *self = Self::of_pieces(head, payload);
        Self::of_pieces(from_head, from_payload)
    }

    /// Appends all bytes.
    ///
    /// # Panics
    /// If `out` is a fixed buffer without room for them.
    pub fn put_into(&self, out: &mut impl BufMut) {
        self.pieces().into_iter().for_each(|piece| out.put_slice(piece));
    }

    /// Returns all bytes in one piece. Two pieces are copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        if self.payload.is_none() {
            return self.head.clone();
        }
        let mut out = BytesMut::with_capacity(self.len());
        self.put_into(&mut out);
        out.freeze()
    }
}

impl<B: Into<Bytes>> From<B> for EntryBytes {
    fn from(bytes: B) -> Self {
        Self { head: bytes.into(), payload: None }
    }
}

impl PartialEq for EntryBytes {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |of: &Self| of.pieces().map(|piece| piece.to_vec()).concat();
        match (&self.payload, &other.payload) {
            (None, None) => self.head == other.head,
            _ => self.len() == other.len() && bytes(self) == bytes(other),
        }
    }
}

impl Eq for EntryBytes {}

impl fmt::Debug for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().fmt(f)
    }
}
