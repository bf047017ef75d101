use std::io::{self, Read};

use twox_hash::{XxHash3_64, XxHash3_128};

use super::{MAGIC, MAX_CHUNK, RestoreError, SnapshotSummary, VERSION};
use crate::StateHash;

/// Reads a snapshot's body from its chunks. Verifies each chunk before it returns a byte of it.
pub(super) struct BodyReader<R> {
    input: R,
    chunk: Vec<u8>,
    /// The number of bytes of `chunk` that were returned.
    used: usize,
    chunks: u64,
    body: u64,
    read: u64,
    hash: XxHash3_128,
    /// True once the end was read.
    ended: bool,
}

impl<R: Read> BodyReader<R> {
    pub(super) fn begin(input: R) -> Result<Self, RestoreError> {
        let mut reader = Self {
            input,
            chunk: Vec::new(),
            used: 0,
            chunks: 0,
            body: 0,
            read: 0,
            hash: XxHash3_128::new(),
            ended: false,
        };
        if reader.array::<8>()? != MAGIC {
            return Err(RestoreError::NotASnapshot);
        }
        match u16::from_be_bytes(reader.array()?) {
            VERSION => Ok(reader),
            version => Err(RestoreError::UnsupportedVersion(version)),
        }
    }

    /// Reads what is left of the body.
    pub(super) fn skip_rest(&mut self) -> Result<(), RestoreError> {
        while !self.ended {
            self.next_chunk()?;
        }
        self.used = self.chunk.len();
        Ok(())
    }

    /// Verifies that the body was read to its end.
    pub(super) fn finish(mut self) -> Result<SnapshotSummary, RestoreError> {
        if self.used == self.chunk.len() && !self.ended {
            self.next_chunk()?;
        }
        if self.used < self.chunk.len() || !self.ended {
            return Err(RestoreError::invalid("bytes follow the application's state"));
        }
        Ok(SnapshotSummary { hash: StateHash(self.hash.finish_128()), bytes: self.read })
    }

    /// Reads the next chunk, or the end. The chunk before it must be used up.
    fn next_chunk(&mut self) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { chunk: self.chunks };
        let length = u32::from_be_bytes(self.array()?) as usize;
        self.chunk.clear();
        self.used = 0;
        if length == 0 {
            let body = u64::from_be_bytes(self.array()?);
            let hash = u128::from_be_bytes(self.array()?);
            if body != self.body || hash != self.hash.finish_128() {
                return Err(damaged);
            }
            self.ended = true;
            return Ok(());
        }
        if length > MAX_CHUNK {
            return Err(damaged);
        }
        let checksum = u64::from_be_bytes(self.array()?);
        self.chunk.resize(length, 0);
        self.input.read_exact(&mut self.chunk)?;
        self.read += length as u64;
        if checksum != XxHash3_64::oneshot_with_seed(self.chunks, &self.chunk) {
            self.chunk.clear();
            return Err(damaged);
        }
        self.hash.write(&self.chunk);
        self.chunks += 1;
        self.body += length as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut array = [0; N];
        self.input.read_exact(&mut array)?;
        self.read += N as u64;
        Ok(array)
    }
}

impl<R: Read> Read for BodyReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() && !self.ended && !bytes.is_empty() {
            self.next_chunk()?;
        }
        let taken = bytes.len().min(self.chunk.len() - self.used);
        bytes[..taken].copy_from_slice(&self.chunk[self.used..self.used + taken]);
        self.used += taken;
        Ok(taken)
    }
}
