//! One connection of the driver: bytes between a socket and the machine.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use zraft_core::{ConnEnd, ConnId, Endpoint, Instant, Machine};
use zraft_protocol::Timestamp;

use crate::transport::{self, Opening, Stream};

/// The least space offered to a read.
const MIN_READ: usize = 4 << 10;

/// The most space offered to a read, once reads have filled less.
const MAX_READ: usize = 128 << 10;

/// How much is read, and how much written, before the driver looks at everything else again.
const TURN: usize = 128 << 10;

/// How many pieces one write takes.
const SLICES: usize = 64;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    stage: Stage,
    read_size: usize,
    /// The machine wants the write half shut down when all is written.
    finish: bool,
}

enum Stage {
    Opening(Opening),
    Open(Stream),
    /// Ended, and the machine knows.
    Ended,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
            Self::Ended => "Ended",
        })
    }
}

impl Connection {
    pub(crate) fn open(id: ConnId, endpoint: Endpoint) -> Self {
        let stage = Stage::Opening(transport::open(endpoint));
        Self { id, stage, read_size: 4 * MIN_READ, finish: false }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    pub(crate) fn finish(&mut self) {
        self.finish = true;
    }

    /// Opens, then reads what can be read. True: there is more, ask again.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        machine: &mut Machine,
        now: Instant,
    ) -> bool {
        if let Stage::Opening(opening) = &mut self.stage {
            match opening.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(stream)) => {
                    self.stage = Stage::Open(stream);
                    machine.handle_opened(now, self.id);
                }
                Poll::Ready(Err(why)) => {
                    self.stage = Stage::Ended;
                    machine.handle_open_failed(now, self.id, why);
                    return false;
                }
            }
        }
        let mut total = 0;
        while total < TURN {
            let Stage::Open(stream) = &mut self.stage else { return false };
            // The machine may have had enough of this connection in the meantime.
            let Some(buffer) = machine.recv_buffer(self.id) else { return false };
            let spare = reserve(buffer, self.read_size);
            let end = match pin!(stream.read_buf(buffer)).poll(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => ConnEnd::Eof,
                Poll::Ready(Ok(read)) => {
                    total += read;
                    self.adapt(read, spare);
                    machine.handle_received(now, self.id);
                    if spare - read < self.read_size / 2 {
                        // Once the answers are handed out, the same buffer may serve again.
                        return true;
                    }
                    continue;
                }
                Poll::Ready(Err(_)) => ConnEnd::Reset,
            };
            self.stage = Stage::Ended;
            machine.handle_ended(now, self.id, end);
            return false;
        }
        true
    }

    /// Large reads while much comes, small buffers while little does: what the application keeps
    /// of an answer keeps the buffer it was read into.
    fn adapt(&mut self, read: usize, spare: usize) {
        if read >= spare {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if read < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }

    /// Writes what can be written. True: there is more, ask again.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        machine: &mut Machine,
        now: Instant,
        wall: Timestamp,
    ) -> bool {
        let Stage::Open(stream) = &mut self.stage else { return false };
        let mut total = 0;
        let error = loop {
            let Some(output) = machine.transmit(now, wall, self.id) else { break None };
            if !output.has_remaining() {
                break None;
            }
            let written = {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = output.chunks_vectored(&mut slices);
                Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count])
            };
            match written {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => break Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    output.advance(written);
                    machine.handle_written(now, self.id);
                    total += written;
                    if total >= TURN {
                        return true;
                    }
                }
                Poll::Ready(Err(error)) => break Some(error),
            }
        };
        if error.is_some() {
            // What the peer said before it went is still there to be read; the end of that, or
            // the same error, ends the connection. Where reading only waits, this does.
            self.poll_read(context, machine, now);
            if !self.is_ended() {
                self.stage = Stage::Ended;
                machine.handle_ended(now, self.id, ConnEnd::Reset);
            }
        } else if self.finish {
            self.finish = false;
            // Of TCP and Unix sockets this never waits; an error shows up at the next read.
            let _ = Pin::new(stream).poll_shutdown(context);
        }
        false
    }
}

/// Makes room for a read, and tells how much there is. Half of an allocation is used before there
/// is a new one, unless nobody holds anything in it: then it serves again, from its front.
fn reserve(buffer: &mut BytesMut, size: usize) -> usize {
    if buffer.capacity() - buffer.len() < size / 2 {
        // The beginning of a frame counts, so that what serves again need not grow.
        let begun = if buffer.len() < size / 2 { buffer.len() } else { 0 };
        buffer.reserve(size - begun);
    }
    buffer.capacity() - buffer.len()
}
