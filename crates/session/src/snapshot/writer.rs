use std::io::{self, Write};

use twox_hash::{XxHash3_64, XxHash3_128};

use super::{MAGIC, MAX_CHUNK, SnapshotSummary, VERSION};
use crate::StateHash;

/// Cuts a snapshot's body into chunks.
pub(super) struct BodyWriter<W> {
    output: W,
    chunk: Vec<u8>,
    chunks: u64,
    body: u64,
    written: u64,
    hash: XxHash3_128,
}

impl<W: Write> BodyWriter<W> {
    pub(super) fn begin(output: W) -> io::Result<Self> {
        let mut writer = Self {
            output,
            chunk: Vec::with_capacity(MAX_CHUNK),
            chunks: 0,
            body: 0,
            written: 0,
            hash: XxHash3_128::new(),
        };
        writer.put(&MAGIC)?;
        writer.put(&VERSION.to_be_bytes())?;
        Ok(writer)
    }

    pub(super) fn finish(mut self) -> io::Result<SnapshotSummary> {
        self.end_chunk()?;
        let hash = StateHash(self.hash.finish_128());
        self.put(&0_u32.to_be_bytes())?;
        self.put(&self.body.to_be_bytes())?;
        self.put(&hash.to_bytes())?;
        self.output.flush()?;
        Ok(SnapshotSummary { hash, bytes: self.written })
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.hash.write(&self.chunk);
        let checksum = XxHash3_64::oneshot_with_seed(self.chunks, &self.chunk);
        self.chunks += 1;
        self.body += self.chunk.len() as u64;
        let mut chunk = std::mem::take(&mut self.chunk);
        // At most MAX_CHUNK bytes.
        self.put(&(chunk.len() as u32).to_be_bytes())?;
        self.put(&checksum.to_be_bytes())?;
        self.put(&chunk)?;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }
}

impl<W: Write> Write for BodyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == MAX_CHUNK {
            self.end_chunk()?;
        }
        let taken = bytes.len().min(MAX_CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Does nothing: where chunks end must not depend on it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
