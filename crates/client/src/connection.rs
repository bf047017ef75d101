//! One connection of the driver: bytes between a socket and the machine.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
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
pub(crate) struct Connection<S = Stream> {
    pub(crate) id: ConnId,
    stage: Stage<S>,
    read_size: usize,
    /// Bytes were written, and the stream was not flushed since.
    unflushed: bool,
    /// The machine wants the write half shut down when all is written.
    finish: bool,
}

enum Stage<S> {
    Opening(Opening<S>),
    Open(S),
    /// Ended, and the machine knows.
    Ended,
}

impl<S> std::fmt::Debug for Stage<S> {
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
        Self::at(id, stage)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn at(id: ConnId, stage: Stage<S>) -> Self {
        Self { id, stage, read_size: 4 * MIN_READ, unflushed: false, finish: false }
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
                    self.unflushed = true;
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
        let error = error.or_else(|| self.poll_settle_output(context).err());
        if error.is_some() {
            // What the peer said before it went is still there to be read; the end of that, or
            // the same error, ends the connection. Where reading only waits, this does.
            self.poll_read(context, machine, now);
            if !self.is_ended() {
                self.stage = Stage::Ended;
                machine.handle_ended(now, self.id, ConnEnd::Reset);
            }
        }
        false
    }

    /// Flushes when everything is written, then shuts the write half down if the machine wants
    /// that. Each is polled again on the next turn until it is done.
    fn poll_settle_output(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Stage::Open(stream) = &mut self.stage else { return Ok(()) };
        if self.unflushed {
            let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(context) else {
                return Ok(());
            };
            flushed?;
            self.unflushed = false;
        }
        if self.finish && Pin::new(stream).poll_shutdown(context).is_ready() {
            // If it failed, the next read finds that out.
            self.finish = false;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::ReadBuf;
    use zraft_core::{Action, Config};

    use super::*;

    const NOW: Instant = Instant::from_nanos(1);

    /// A stream that keeps what is written until it is flushed, and makes its callers wait.
    #[derive(Default)]
    struct Buffering {
        kept: usize,
        flushed: usize,
        /// How often flushing, and shutting down, still waits.
        waits: usize,
        shut_down: usize,
    }

    impl Buffering {
        fn poll_wait(&mut self) -> Poll<io::Result<()>> {
            if self.waits == 0 {
                return Poll::Ready(Ok(()));
            }
            self.waits -= 1;
            Poll::Pending
        }
    }

    impl AsyncRead for Buffering {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Buffering {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.kept += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            std::task::ready!(self.poll_wait())?;
            self.flushed += std::mem::take(&mut self.kept);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            assert_eq!(self.kept, 0, "shut down before it was flushed");
            std::task::ready!(self.poll_wait())?;
            self.shut_down += 1;
            Poll::Ready(Ok(()))
        }
    }

    /// A machine that has a greeting to write, and its connection.
    fn greeting(waits: usize) -> (Machine, Connection<Buffering>) {
        let config = Config::builder().member("node-1", "tcp://127.0.0.1:1").capability("a", "b");
        let mut machine = Machine::new(config.build().unwrap(), 1, NOW);
        machine.connect(NOW, None);
        let Some(Action::Open { conn, .. }) = machine.poll_action(NOW) else {
            panic!("the machine opens a connection")
        };
        machine.handle_opened(NOW, conn);
        let stream = Buffering { waits, ..Buffering::default() };
        (machine, Connection::at(conn, Stage::Open(stream)))
    }

    fn write(machine: &mut Machine, connection: &mut Connection<Buffering>) {
        let mut context = Context::from_waker(Waker::noop());
        connection.poll_write(&mut context, machine, NOW, Timestamp::from_millis(0));
    }

    fn stream(connection: &mut Connection<Buffering>) -> &mut Buffering {
        let Stage::Open(stream) = &mut connection.stage else { panic!("it ended") };
        stream
    }

    #[test]
    fn the_stream_is_flushed_until_it_is_done() {
        let (mut machine, mut connection) = greeting(2);
        for _ in 0..2 {
            write(&mut machine, &mut connection);
            assert!(stream(&mut connection).kept > 0 && stream(&mut connection).flushed == 0);
        }
        write(&mut machine, &mut connection);
        assert!(stream(&mut connection).kept == 0 && stream(&mut connection).flushed > 0);
    }

    #[test]
    fn a_stream_that_was_flushed_is_not_flushed_again_before_the_next_write() {
        let (mut machine, mut connection) = greeting(0);
        write(&mut machine, &mut connection);
        stream(&mut connection).waits = 1;
        write(&mut machine, &mut connection);
        assert_eq!(stream(&mut connection).waits, 1);
    }

    #[test]
    fn the_write_half_is_shut_down_after_the_flush() {
        let (mut machine, mut connection) = greeting(1);
        connection.finish();
        write(&mut machine, &mut connection);
        assert_eq!((stream(&mut connection).flushed, stream(&mut connection).shut_down), (0, 0));
        write(&mut machine, &mut connection);
        assert!(stream(&mut connection).flushed > 0);
        assert_eq!(stream(&mut connection).shut_down, 1);
    }

    #[test]
    fn the_shutdown_is_polled_until_it_is_done_and_not_after() {
        let (mut machine, mut connection) = greeting(0);
        write(&mut machine, &mut connection);
        connection.finish();
        stream(&mut connection).waits = 2;
        for shut_down in [0, 0, 1, 1] {
            write(&mut machine, &mut connection);
            assert_eq!(stream(&mut connection).shut_down, shut_down);
        }
    }
}
