//! Payloads and capabilities.

use std::{collections::BTreeMap, fmt, ops::Deref};

use bytes::Bytes;

use crate::{
    ValueError,
    text::{Text, check_len},
};

/// The application's bytes, opaque to the protocol. `Debug` shows their length only.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Bytes);

impl Payload {
    /// The most bytes that the signed length field can tell.
    pub const MAX_LEN: usize = i32::MAX as usize;

    /// A payload.
    ///
    /// # Errors
    /// When it is longer than 2^31 - 1 bytes.
    #[inline]
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, ValueError> {
        let bytes = bytes.into();
        check_len("payload", bytes.len(), Self::MAX_LEN)?;
        Ok(Self(bytes))
    }

    /// The bytes, shared.
    #[inline]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes.
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

/// What a client tells the server about itself when it opens a session: names and values, in order, at least one.
///
/// `Debug` shows the names only: a value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Capabilities(Vec<(Text, Text)>);

impl Capabilities {
    /// The most entries that their count can tell, and the most bytes of a name or a value.
    pub const MAX: usize = 65_535;

    /// Capabilities in this order. Of a repeated name the last value counts, in the first one's place.
    ///
    /// # Errors
    /// When there is none, or when an entry or their number is too large for the wire.
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

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a name.
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

/// Gathers capabilities; finds repeated names without comparing each with each.
#[derive(Default)]
pub(crate) struct Builder {
    entries: Vec<(Text, Text)>,
    /// Not a hash map: that would bring randomness into this crate, or let a peer choose keys that collide.
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

    /// `None` when there is no entry.
    pub(crate) fn build(self) -> Option<Capabilities> {
        (!self.entries.is_empty()).then_some(Capabilities(self.entries))
    }
}
