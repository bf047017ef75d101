//! Frames between members: u32 length, big-endian, and the bytes of a handshake or peer message. They travel on TCP, or
//! on TLS over it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zraft_replica::PeerFrame;

/// The longest frame: an Append holds 512 KiB of entries or a single one, and the replicated settings allow payloads of up to
/// 1 GiB. The fields around them take far less than 128 KiB.
pub(super) const MAX_FRAME: usize = (1 << 30) + (128 << 10);
/// The buffer grows by this much at a time, so that an announced length alone costs no memory.
const READ_STEP: usize = 256 << 10;

/// Appends a frame.
pub(super) fn put(out: &mut BytesMut, body: &[u8]) {
    // No message reaches 4 GiB: a chunk is at most 1 MiB, and the log refuses longer entries.
    out.put_u32(body.len() as u32);
    out.put_slice(body);
}

/// Appends a frame whose body is this message, without encoding it elsewhere first.
pub(super) fn put_frame(out: &mut BytesMut, frame: &PeerFrame) {
    let start = out.len();
    out.put_u32(0);
    frame.encode_into(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A connection between two members. TLS may hold written bytes back until the flush.
pub(super) trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for S {}

/// Reads and writes frames.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    buffer: BytesMut,
}

/// The frames of a connection with or without TLS.
pub(super) type PeerFrames = Frames<Box<dyn Bytestream>>;

impl<S> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Returns the stream, to write frames that [`put`] has made.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    /// Writes one frame.
    pub(super) async fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(4 + body.len());
        put(&mut frame, body);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }
}

impl<S: AsyncRead + Unpin> Frames<S> {
    /// Returns the next frame, or none at the end of the stream. Losing the future loses no bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the frame is longer than `most`, [`io::ErrorKind::UnexpectedEof`] if the stream
    /// ends within it, or an error of the stream.
    pub(super) async fn next(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        loop {
            let mut needed = 4;
            if let Some(head) = self.buffer.first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > most {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                needed += length;
                if self.buffer.len() >= needed {
                    self.buffer.advance(4);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            let missing = needed - self.buffer.len();
            self.buffer.reserve(missing.clamp(READ_STEP / 16, READ_STEP));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                let whole = self.buffer.is_empty();
                return if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use zraft_replica::{EntryBytes, EntryKind, LogEntry, PeerMessage, Position, RaftId};

    use super::*;

    async fn read(bytes: &[u8], most: usize) -> (Vec<Bytes>, Option<io::ErrorKind>) {
        let mut reader = Frames::new(bytes);
        let mut frames = Vec::new();
        loop {
            match reader.next(most).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error.kind())),
            }
        }
    }

    fn frames(bodies: &[&[u8]]) -> BytesMut {
        let mut out = BytesMut::new();
        bodies.iter().for_each(|body| put(&mut out, body));
        out
    }

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let long = vec![7; 3 * READ_STEP];
        let bodies: [&[u8]; 3] = [b"one", b"", &long];
        let (found, error) = read(&frames(&bodies), long.len()).await;
        assert_eq!((found.len(), error), (3, None));
        for (found, body) in found.iter().zip(bodies) {
            assert_eq!(&found[..], body);
        }
    }

    #[test]
    fn message_is_put_as_its_encoding_is_and_pieces_of_an_entry_as_one() {
        let id = |number| RaftId::new(number).expect("not 0");
        let long = Bytes::from(vec![7; 100_000]);
        let frame = |data| {
            let entry = LogEntry { index: 5, term: 2, kind: EntryKind::Normal, data };
            let previous = Position { index: 4, term: 2 };
            let message =
                PeerMessage::Append { term: 2, previous, commit: 4, entries: vec![entry] };
            PeerFrame { from: id(1), to: id(2), message }
        };
        let whole = frame(long.clone().into()).encode();
        let mut out = frames(&[b"another"]);
        put_frame(&mut out, &frame(EntryBytes::of_pieces(long.slice(..50), long.slice(50..))));
        assert_eq!(out, frames(&[b"another", &whole]));
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_or_too_long_is_an_error() {
        let bytes = frames(&[b"whole", b"cut"]);
        for end in 10..bytes.len() {
            let (found, error) = read(&bytes[..end], 5).await;
            assert_eq!((found.len(), error), (1, Some(io::ErrorKind::UnexpectedEof)));
        }
        let (found, error) = read(&bytes, 4).await;
        assert_eq!((found.len(), error), (0, Some(io::ErrorKind::InvalidData)));
    }
}
