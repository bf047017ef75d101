//! ZMTP as a peer writes it, by hand: nothing here uses what is under test.

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

pub(crate) const GREETING: usize = 64;

/// Greeting and READY of a peer with this socket type.
pub(crate) fn handshake(socket_type: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(GREETING, 0);
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    ready.push(socket_type.len() as u8);
    ready.extend_from_slice(socket_type.as_bytes());
    bytes.extend_from_slice(&frame(COMMAND, &ready));
    bytes
}

pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    bytes.extend_from_slice(body);
    bytes
}

/// A frame's header, when it is whole.
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) length: u64,
    /// Of the header itself.
    pub(crate) size: usize,
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.first()?;
        if flags & LONG == 0 {
            return bytes.get(1).map(|length| Self { flags, length: (*length).into(), size: 2 });
        }
        let length = bytes.get(1..9)?.try_into().ok().map(u64::from_be_bytes)?;
        Some(Self { flags, length, size: 9 })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Text behind a length of one byte, and what follows it.
pub(crate) fn short_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let length = usize::from(*length);
    (rest.len() >= length).then(|| rest.split_at(length))
}

/// The socket type that READY tells, from what follows its name; `None` when malformed.
pub(crate) fn ready_socket_type(mut properties: &[u8]) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    while !properties.is_empty() {
        let (name, rest) = short_text(properties)?;
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let value = rest.get(4..)?.get(..length)?;
        if name.eq_ignore_ascii_case(b"socket-type") {
            told = value.to_vec();
        }
        properties = &rest[4 + length..];
    }
    Some(told)
}
