use std::{
    fmt,
    io::{self, Write},
};

use zraft_protocol::{RequestId, SessionId};

use crate::Time;

/// The output to which an application writes its state: any bytes through [`Write`], or fields, which [`SnapshotInput`]
/// reads back.
///
/// Numbers are big-endian. Every method fails only if the underlying output does.
///
/// [`SnapshotInput`]: crate::SnapshotInput
pub struct SnapshotOutput<'a>(&'a mut dyn Write);

impl<'a> SnapshotOutput<'a> {
    /// Returns an output that writes to `output`, unbuffered.
    pub fn new(output: &'a mut dyn Write) -> Self {
        Self(output)
    }

    /// Writes one byte.
    pub fn write_u8(&mut self, value: u8) -> io::Result<()> {
        self.0.write_all(&[value])
    }

    /// Writes 4 bytes.
    pub fn write_u32(&mut self, value: u32) -> io::Result<()> {
        self.0.write_all(&value.to_be_bytes())
    }

    /// Writes 8 bytes.
    pub fn write_u64(&mut self, value: u64) -> io::Result<()> {
        self.0.write_all(&value.to_be_bytes())
    }

    /// Writes 8 bytes.
    pub fn write_i64(&mut self, value: i64) -> io::Result<()> {
        self.0.write_all(&value.to_be_bytes())
    }

    /// Writes bytes after their length, which takes 4 bytes.
    ///
    /// # Errors
    /// Also if there are 2^32 bytes or more.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.write_u32(length)?;
        self.0.write_all(bytes)
    }

    /// Writes a text like [`write_bytes`](Self::write_bytes).
    ///
    /// # Errors
    /// Also if it has 2^32 bytes or more.
    pub fn write_text(&mut self, text: &str) -> io::Result<()> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes the id of a session.
    pub fn write_session_id(&mut self, id: &SessionId) -> io::Result<()> {
        // A session id has 1 to 255 bytes.
        self.write_u8(id.as_bytes().len() as u8)?;
        self.0.write_all(id.as_bytes())
    }

    /// Writes the id of a request, 8 bytes.
    pub fn write_request_id(&mut self, id: RequestId) -> io::Result<()> {
        self.write_u64(id.get())
    }

    /// Writes a moment, 8 bytes.
    pub fn write_time(&mut self, time: Time) -> io::Result<()> {
        self.write_u64(time.as_millis())
    }
}

impl Write for SnapshotOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl fmt::Debug for SnapshotOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotOutput").finish_non_exhaustive()
    }
}
