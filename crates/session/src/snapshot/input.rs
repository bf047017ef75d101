use std::{
    fmt,
    io::{self, Read},
};

use bytes::Bytes;
use zraft_protocol::{Payload, RequestId, SessionId};

use super::RestoreError;
use crate::Time;

/// The capacity that a vector gets before its bytes are read: an announced length alone allocates no more than this. Most
/// fields fit.
const FIRST_ALLOCATION: usize = 4096;

/// The input from which an application reads its state: any bytes through [`Read`], or the fields that [`SnapshotOutput`]
/// wrote.
///
/// Memory grows with the bytes that are read, never with an announced length. Every method fails with
/// [`RestoreError::Truncated`] if the state ends first, and with [`RestoreError::Invalid`] if the field cannot be what
/// it should be.
///
/// [`SnapshotOutput`]: crate::SnapshotOutput
pub struct SnapshotInput<'a>(&'a mut dyn Read);

impl<'a> SnapshotInput<'a> {
    /// Returns an input that reads from `input`, unbuffered.
    pub fn new(input: &'a mut dyn Read) -> Self {
        Self(input)
    }

    /// Reads one byte.
    pub fn read_u8(&mut self) -> Result<u8, RestoreError> {
        self.read_array().map(u8::from_be_bytes)
    }

    /// Reads 4 bytes.
    pub fn read_u32(&mut self) -> Result<u32, RestoreError> {
        self.read_array().map(u32::from_be_bytes)
    }

    /// Reads 8 bytes.
    pub fn read_u64(&mut self) -> Result<u64, RestoreError> {
        self.read_array().map(u64::from_be_bytes)
    }

    /// Reads 8 bytes.
    pub fn read_i64(&mut self) -> Result<i64, RestoreError> {
        self.read_array().map(i64::from_be_bytes)
    }

    /// Reads bytes after their length.
    pub fn read_bytes(&mut self) -> Result<Bytes, RestoreError> {
        let length = self.read_u32()? as usize;
        self.exactly(length).map(Bytes::from)
    }

    /// Reads bytes after their length, as a payload.
    pub fn read_payload(&mut self) -> Result<Payload, RestoreError> {
        let bytes = self.read_bytes()?;
        Payload::new(bytes).map_err(|_| RestoreError::invalid("a payload is too long"))
    }

    /// Reads a text after its length.
    pub fn read_text(&mut self) -> Result<String, RestoreError> {
        let length = self.read_u32()? as usize;
        self.utf8(length)
    }

    /// Reads the id of a session.
    pub fn read_session_id(&mut self) -> Result<SessionId, RestoreError> {
        let length = self.read_u8()?;
        let text = self.utf8(length.into())?;
        SessionId::new(text).map_err(|_| RestoreError::invalid("a session id is empty"))
    }

    /// Reads the id of a request.
    pub fn read_request_id(&mut self) -> Result<RequestId, RestoreError> {
        let id = self.read_u64()?;
        RequestId::new(id).map_err(|_| RestoreError::invalid("a request id is too large"))
    }

    /// Reads a moment.
    pub fn read_time(&mut self) -> Result<Time, RestoreError> {
        let millis = self.read_u64()?;
        if millis > Time::MAX.as_millis() {
            return Err(RestoreError::invalid("a time is too large"));
        }
        Ok(Time::from_millis(millis))
    }

    /// Reads a fixed number of bytes.
    pub fn read_array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut array = [0; N];
        self.0.read_exact(&mut array)?;
        Ok(array)
    }

    fn utf8(&mut self, length: usize) -> Result<String, RestoreError> {
        let bytes = self.exactly(length)?;
        String::from_utf8(bytes).map_err(|_| RestoreError::invalid("a text is not UTF-8"))
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION));
        self.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(RestoreError::Truncated);
        }
        // Growing left up to as much free room again, which would stay allocated with the bytes.
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

impl Read for SnapshotInput<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl fmt::Debug for SnapshotInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotInput").finish_non_exhaustive()
    }
}
