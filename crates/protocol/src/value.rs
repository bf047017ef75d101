//! The compound values of messages: payloads and capabilities.

use std::{collections::BTreeMap, fmt, ops::Deref};

use bytes::Bytes;

use crate::{
    ValueError,
    text::{Text, check_len},
};

/// The application's bytes, opaque to the protocol. `Debug` shows only their length.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Bytes);

impl Payload {
    /// The greatest length in bytes: the wire's length field is a signed 32-bit number.
    pub const MAX_LEN: usize = i32::MAX as usize;

    /// Creates a payload without copying the bytes.
    ///
    /// # Errors
    /// Returns [`ValueError::TooLong`] above [`MAX_LEN`](Self::MAX_LEN), 2^31 - 1 bytes.
    #[inline]
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, ValueError> {
        let bytes = bytes.into();
        check_len("payload", bytes.len(), Self::MAX_LEN)?;
        Ok(Self(bytes))
    }

    /// Returns the bytes; a clone of them shares the allocation.
    #[inline]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Converts the payload into its bytes.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    #[inline]
    pub(crate) fn from_wire(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// The names and values by which a client describes itself when it opens a session. There is at least one, and their
/// order is kept.
///
/// `Debug` shows only the names, because a value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Capabilities(Vec<(Text, Text)>);

impl Capabilities {
    /// The greatest number of entries, and the greatest length in bytes of a name or a value: the wire's count and
    /// length fields are unsigned 16-bit numbers.
    pub const MAX: usize = 65_535;

    /// Creates capabilities in the given order. If a name is repeated, its first position and its last value are kept.
    ///
    /// # Errors
    /// Returns [`ValueError::Empty`] without entries, [`ValueError::TooLong`] if a name or a value has more than
    /// [`MAX`](Self::MAX) bytes, and [`ValueError::TooMany`] above `MAX` entries.
    pub fn new<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Self, ValueError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut capabilities = Builder::default();
        for (name, value) in entries {
            let (name, value) = (name.into(), value.into());
            check_len("capability name", name.len(), Self::MAX)?;
            check_len("capability value", value.len(), Self::MAX)?;
            capabilities.put(Text::from_string(name), Text::from_string(value));
        }
        let count = capabilities.entries.len();
        if count > Self::MAX {
            return Err(ValueError::TooMany { value: "capabilities", count, limit: Self::MAX });
        }
        capabilities.build().ok_or(ValueError::Empty { value: "capabilities" })
    }

    /// Returns an iterator over names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of a name, or `None` if there is no such name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(each, value)| (each == name).then_some(value))
    }

    pub(crate) fn entries(&self) -> &[(Text, Text)] {
        &self.0
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, _)| (name, format_args!("***")))).finish()
    }
}

/// Collects capabilities and finds repeated names in O(n log n): a peer can send 65,535 of them.
#[derive(Default)]
pub(crate) struct Builder {
    entries: Vec<(Text, Text)>,
    /// The index of each name in `entries`. Not a hash map: a seeded one would bring randomness into this crate, and
    /// with an unseeded one a peer could choose names that collide.
    places: BTreeMap<Text, usize>,
}

impl Builder {
    pub(crate) fn put(&mut self, name: Text, value: Text) {
        match self.places.get(&name) {
            Some(place) => self.entries[*place].1 = value,
            None => {
                self.places.insert(name.clone(), self.entries.len());
                self.entries.push((name, value));
            }
        }
    }

    /// Returns `None` if there are no entries.
    pub(crate) fn build(self) -> Option<Capabilities> {
        (!self.entries.is_empty()).then_some(Capabilities(self.entries))
    }
}
