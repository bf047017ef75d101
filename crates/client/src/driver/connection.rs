//! One connection of the driver: it moves bytes between a stream and the machine.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use zraft_core::{ConnEnd, ConnId, Instant, Machine};
use zraft_protocol::Timestamp;

use crate::transport::{ByteStream, Connecting, refusal};

use super::frontend::Progress;

/// The least space that a read is offered: one page holds several small answers.
const MIN_READ: usize = 4 << 10;

/// The most space that a read is offered. Larger reads save no measurable time, and an answer that the application
/// keeps holds the whole buffer.
const MAX_READ: usize = 128 << 10;

/// The space that the first read of a connection is offered, before its traffic is known.
const FIRST_READ: usize = 4 * MIN_READ;

/// How many bytes one turn reads, and how many it writes, before the driver looks at everything else again. It is
/// one read of full size.
const MAX_BYTES_PER_TURN: usize = MAX_READ;

/// How many pieces one vectored write takes. The array lies on the stack, and 64 pieces fill most socket buffers.
const MAX_SLICES: usize = 64;

pub(crate) struct Connection {
    pub(crate) id: ConnId,
    stream: Stream,
    read_size: usize,
    flush: Flush,
    write_half: WriteHalf,
}

enum Stream {
    Connecting(Connecting),
    Open(Box<dyn ByteStream>),
    /// The connection has ended, and the machine knows.
    Ended,
}

/// Whether the stream may hold back bytes that it has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Complete,
    /// Bytes were written since the last flush completed.
    Needed,
}

/// How far the stream's write half has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteHalf {
    Open,
    /// The machine wants it shut down once everything is written and flushed.
    ShutdownRequested,
    /// It is shut down. The driver goes on reading.
    ShutDown,
}

impl Connection {
    pub(crate) fn new(id: ConnId, connecting: Connecting) -> Self {
        Self {
            id,
            stream: Stream::Connecting(connecting),
            read_size: FIRST_READ,
            flush: Flush::Complete,
            write_half: WriteHalf::Open,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stream, Stream::Ended)
    }

    /// Shuts down the write half as soon as everything is written and flushed.
    pub(crate) fn request_shutdown(&mut self) {
        self.write_half = WriteHalf::ShutdownRequested;
    }

    /// Completes the attempt to connect, then reads what has arrived, up to a turn's share.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        machine: &mut Machine,
        now: Instant,
    ) -> Progress {
        if let Stream::Connecting(connecting) = &mut self.stream {
            match connecting.as_mut().poll(context) {
                Poll::Pending => return Progress::Idle,
                Poll::Ready(Ok(stream)) => {
                    self.stream = Stream::Open(stream);
                    machine.handle_opened(now, self.id);
                }
                Poll::Ready(Err(why)) => {
                    self.stream = Stream::Ended;
                    machine.handle_open_failed(now, self.id, why);
                    return Progress::Idle;
                }
            }
        }
        let mut total = 0;
        while total < MAX_BYTES_PER_TURN {
            let Stream::Open(stream) = &mut self.stream else { return Progress::Idle };
            // The machine may have given this connection up after the last read.
            let Some(buffer) = machine.recv_buffer(self.id) else { return Progress::Idle };
            let spare = reserve(buffer, self.read_size);
            let end = match pin!(stream.read_buf(buffer)).poll(context) {
                Poll::Pending => return Progress::Idle,
                Poll::Ready(Ok(0)) => ConnEnd::Eof,
                Poll::Ready(Ok(read)) => {
                    total += read;
                    self.adapt_read_size(read, spare);
                    machine.handle_received(now, self.id);
                    if spare - read < self.read_size / 2 {
                        // Once the answers are delivered, the next turn may use the same buffer again.
                        return Progress::More;
                    }
                    continue;
                }
                Poll::Ready(Err(error)) => {
                    if let Some(why) = refusal(&error) {
                        self.stream = Stream::Ended;
                        machine.handle_refused(now, self.id, why);
                        return Progress::Idle;
                    }
                    ConnEnd::Reset
                }
            };
            self.stream = Stream::Ended;
            machine.handle_ended(now, self.id, end);
            return Progress::Idle;
        }
        Progress::More
    }

    /// Offers large buffers while much arrives and small ones while little does, because an answer that the
    /// application keeps holds the buffer it was read into.
    fn adapt_read_size(&mut self, read: usize, spare: usize) {
        if read >= spare {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if read < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }

    /// Writes what the stream accepts, up to a turn's share, then flushes and shuts down if that is due.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        machine: &mut Machine,
        now: Instant,
        wall: Timestamp,
    ) -> Progress {
        let Stream::Open(stream) = &mut self.stream else { return Progress::Idle };
        let mut total = 0;
        let error = loop {
            let Some(output) = machine.transmit(now, wall, self.id) else { break None };
            if !output.has_remaining() {
                break None;
            }
            let written = {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let count = output.chunks_vectored(&mut slices);
                Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count])
            };
            match written {
                Poll::Pending => return Progress::Idle,
                Poll::Ready(Ok(0)) => break Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.flush = Flush::Needed;
                    output.advance(written);
                    machine.handle_written(now, self.id);
                    total += written;
                    if total >= MAX_BYTES_PER_TURN {
                        return Progress::More;
                    }
                }
                Poll::Ready(Err(error)) => break Some(error),
            }
        };
        let error = error.or_else(|| self.poll_flush_and_shutdown(context).err());
        if error.is_some() {
            // The last bytes of the peer may still wait to be read. Reading ends the connection at their end or with
            // the same error. If reading only waits, the failed write ends it.
            let _ = self.poll_read(context, machine, now);
            if !self.is_ended() {
                self.stream = Stream::Ended;
                machine.handle_ended(now, self.id, ConnEnd::Reset);
            }
        }
        Progress::Idle
    }

    /// Flushes, then shuts down the write half if the machine wants that. Each step that is pending is polled again in
    /// the next turn.
    fn poll_flush_and_shutdown(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Stream::Open(stream) = &mut self.stream else { return Ok(()) };
        if self.flush == Flush::Needed {
            match Pin::new(&mut *stream).poll_flush(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) => self.flush = Flush::Complete,
            }
        }
        // If the shutdown fails, the next read finds the reason.
        if self.write_half == WriteHalf::ShutdownRequested
            && Pin::new(stream).poll_shutdown(context).is_ready()
        {
            self.write_half = WriteHalf::ShutDown;
        }
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.stream {
            Stream::Connecting(_) => "Connecting",
            Stream::Open(_) => "Open",
            Stream::Ended => "Ended",
        };
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("stream", &stream)
            .field("flush", &self.flush)
            .field("write_half", &self.write_half)
            .finish_non_exhaustive()
    }
}

/// Makes space for a read and returns how much there is.
///
/// An allocation is used down to half a read before it is replaced. If nothing else holds a part of it then, its
/// memory is reused from the front.
fn reserve(buffer: &mut BytesMut, size: usize) -> usize {
    if buffer.capacity() - buffer.len() < size / 2 {
        // The beginning of a frame counts as part of the size, so that a reused allocation need not grow.
        let begun = if buffer.len() < size / 2 { buffer.len() } else { 0 };
        buffer.reserve(size - begun);
    }
    buffer.capacity() - buffer.len()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use tokio::io::{AsyncRead, ReadBuf};
    use zraft_core::{Action, Config};

    use super::*;

    const NOW: Instant = Instant::from_nanos(1);

    /// What a [`HoldingStream`] was asked to do. The test keeps a reference.
    #[derive(Clone, Debug, Default)]
    struct Log {
        /// Bytes accepted and not flushed.
        held: usize,
        flushed: usize,
        /// How many further flushes and shutdowns are pending before one completes.
        pending: usize,
        shutdowns: usize,
    }

    impl Log {
        fn poll_pending(&mut self) -> Poll<io::Result<()>> {
            if self.pending == 0 {
                return Poll::Ready(Ok(()));
            }
            self.pending -= 1;
            Poll::Pending
        }
    }

    /// A stream that holds back what is written until it is flushed.
    struct HoldingStream(Arc<Mutex<Log>>);

    impl AsyncRead for HoldingStream {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for HoldingStream {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().held += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut log = self.0.lock().unwrap();
            std::task::ready!(log.poll_pending())?;
            log.flushed += std::mem::take(&mut log.held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut log = self.0.lock().unwrap();
            assert_eq!(log.held, 0, "shut down before the flush completed");
            std::task::ready!(log.poll_pending())?;
            log.shutdowns += 1;
            Poll::Ready(Ok(()))
        }
    }

    /// A machine with a greeting to write, and its open connection.
    struct Opened {
        machine: Machine,
        connection: Connection,
        log: Arc<Mutex<Log>>,
    }

    impl Opened {
        fn new(pending: usize) -> Self {
            let config =
                Config::builder().member("node-1", "tcp://127.0.0.1:1").capability("a", "b");
            let mut machine = Machine::new(config.build().unwrap(), 1, NOW);
            machine.connect(NOW, None);
            let Some(Action::Open { conn, .. }) = machine.poll_action(NOW) else {
                panic!("the machine opens a connection")
            };
            let log = Arc::new(Mutex::new(Log { pending, ..Log::default() }));
            let stream: Box<dyn ByteStream> = Box::new(HoldingStream(log.clone()));
            let mut connection = Connection::new(conn, Box::pin(std::future::ready(Ok(stream))));
            let mut context = Context::from_waker(Waker::noop());
            assert_eq!(connection.poll_read(&mut context, &mut machine, NOW), Progress::Idle);
            Self { machine, connection, log }
        }

        fn write(&mut self) {
            let mut context = Context::from_waker(Waker::noop());
            let wall = Timestamp::from_millis(0);
            let progress = self.connection.poll_write(&mut context, &mut self.machine, NOW, wall);
            assert_eq!(progress, Progress::Idle);
        }

        fn log(&self) -> Log {
            self.log.lock().unwrap().clone()
        }

        fn set_pending(&self, pending: usize) {
            self.log.lock().unwrap().pending = pending;
        }
    }

    #[test]
    fn pending_flush_is_polled_until_it_completes() {
        let mut opened = Opened::new(2);
        for _ in 0..2 {
            opened.write();
            assert!(opened.log().held > 0 && opened.log().flushed == 0);
        }
        opened.write();
        assert!(opened.log().held == 0 && opened.log().flushed > 0);
    }

    #[test]
    fn flushed_stream_is_not_flushed_again_before_the_next_write() {
        let mut opened = Opened::new(0);
        opened.write();
        opened.set_pending(1);
        opened.write();
        assert_eq!(opened.log().pending, 1);
    }

    #[test]
    fn write_half_is_shut_down_only_after_the_flush_completes() {
        let mut opened = Opened::new(1);
        opened.connection.request_shutdown();
        opened.write();
        assert_eq!((opened.log().flushed, opened.log().shutdowns), (0, 0));
        opened.write();
        assert!(opened.log().flushed > 0);
        assert_eq!(opened.log().shutdowns, 1);
    }

    #[test]
    fn pending_shutdown_is_polled_until_it_completes_and_not_after() {
        let mut opened = Opened::new(0);
        opened.write();
        opened.connection.request_shutdown();
        opened.set_pending(2);
        for shutdowns in [0, 0, 1, 1] {
            opened.write();
            assert_eq!(opened.log().shutdowns, shutdowns);
        }
    }
}
