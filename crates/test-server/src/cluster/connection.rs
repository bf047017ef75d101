//! The task of one connection. It carries bytes to the engine and back, many messages at a time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Sleep, sleep_until};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_zmtp::{Config, Connection, Error, Event};

use super::shared::{ConnectionNumber, Incoming, Orders, Shared};
use super::stats::TransportStats;
use super::stream::Stream;
use crate::engine::{CloseHow, ClosedFor};

/// The room that a read gets: a read of this size fetches hundreds of usual requests with one system call.
const READ_ROOM: usize = 64 << 10;
/// The bytes that the task reads before it handles them, so that one fast peer does not starve the others.
const READ_TURN: usize = 256 << 10;
/// The messages handed to the engine under one lock. More would save few locks and make other tasks wait longer.
const BATCH: usize = 1024;
/// The time that a closing connection has to send its queued messages. A peer that reads takes them at once.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// The interval at which the task checks whether the peer of an unread connection has closed it. Only the release of its
/// file descriptor depends on it.
const CLOSED_CHECK: Duration = Duration::from_secs(1);

pub(crate) struct ConnectionTask {
    shared: Arc<Shared>,
    number: ConnectionNumber,
    wake: Arc<Notify>,
    stream: Stream,
    connection: Connection,
    /// The received bytes hold no further whole message.
    drained: bool,
    /// The peer has ended its side of the stream.
    eof: bool,
    incoming: VecDeque<Incoming>,
    outbox: Vec<ServerMessage>,
    scratch: BytesMut,
    orders: Orders,
    timer: Pin<Box<Sleep>>,
    /// The time of the last check of a connection that is not read.
    unread_since: tokio::time::Instant,
    /// Bytes received and sent that the cluster's figures do not include yet.
    uncounted: (u64, u64),
}

/// Why a connection ends.
enum End {
    /// The peer or the network ended it.
    Peer,
    /// The engine or the cluster closes it.
    Ordered(CloseHow),
    /// The peer broke a rule or reached a limit, which is counted and reported.
    Refused(fn(&mut TransportStats) -> &mut u64, ClosedFor),
}

impl ConnectionTask {
    pub(crate) fn new(
        shared: Arc<Shared>,
        number: ConnectionNumber,
        wake: Arc<Notify>,
        stream: Stream,
    ) -> Self {
        let limits = &shared.limits;
        let mut config = Config::server();
        config.max_frame = limits.message_size;
        config.skip_limit = 0;
        config.handshake_timeout = limits.handshake_timeout;
        config.idle_timeout = Some(limits.idle_timeout);
        let connection = Connection::new(config, shared.now());
        let now = tokio::time::Instant::now();
        Self {
            number,
            wake,
            stream,
            connection,
            drained: false,
            eof: false,
            incoming: VecDeque::new(),
            outbox: Vec::new(),
            scratch: BytesMut::new(),
            orders: Orders { read: true, close: None, bound: false },
            timer: Box::pin(sleep_until(now)),
            unread_since: now,
            uncounted: (0, 0),
            shared,
        }
    }

    /// Serves the connection until it ends. `_alive` is dropped when the task ends.
    pub(crate) async fn run(mut self, _alive: mpsc::Sender<()>) {
        let end = loop {
            match self.turn().await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        let ordered_reset = matches!(end, End::Ordered(CloseHow::Reset));
        let mut refused: Option<fn(&mut TransportStats) -> &mut u64> = None;
        let (how, reason) = match end {
            End::Peer => (CloseHow::Reset, None),
            End::Ordered(how) => (how, None),
            End::Refused(counter, reason) => {
                refused = Some(counter);
                (CloseHow::Flush, Some(reason))
            }
        };
        if how == CloseHow::Flush {
            // Messages that cannot be sent in this time are lost.
            let _ = tokio::time::timeout(FLUSH_TIME, self.flush()).await;
        }
        let (received, sent) = self.take_uncounted();
        let Self { shared, number, stream, .. } = self;
        if ordered_reset {
            stream.reset();
        } else {
            drop(stream);
        }
        shared.ended(number, reason, |stats| {
            if let Some(counter) = refused {
                *counter(stats) += 1;
            }
            stats.bytes_received += received;
            stats.bytes_sent += sent;
        });
    }

    /// Handles what has arrived, writes what the socket takes, and waits until there is more to do.
    async fn turn(&mut self) -> Result<(), End> {
        let mut failed = None;
        loop {
            if self.orders.read && self.incoming.is_empty() && !self.drained {
                failed = self.parse()?;
            }
            self.exchange();
            if let Some(how) = self.orders.close {
                self.encode();
                return Err(End::Ordered(how));
            }
            self.encode();
            let more = !self.drained && failed.is_none();
            if !more || !self.orders.read || !self.incoming.is_empty() {
                break;
            }
        }
        if let Some(end) = failed {
            return Err(end);
        }
        if self.eof && self.drained {
            return Err(End::Peer);
        }
        if self.write()? {
            // The engine learns in the next turn that its queue is shorter.
            self.count_bytes();
        }
        self.wait().await
    }

    /// Takes messages out of the received bytes. Returns `Some` if the connection fails behind them.
    fn parse(&mut self) -> Result<Option<End>, End> {
        let now = self.shared.now();
        // Before a session is bound, the engine may stop reading after any message.
        let batch = if self.orders.bound { BATCH } else { 1 };
        while self.incoming.len() < batch {
            let Some(event) = self.connection.poll_event(now) else {
                self.drained = true;
                break;
            };
            match event {
                Event::Ready(_) => {
                    if !self.shared.connected(self.number) {
                        return Err(End::Ordered(CloseHow::Reset));
                    }
                    // The member may be frozen and read nothing.
                    break;
                }
                Event::Message(frame) => {
                    self.incoming.push_back(match ClientMessage::decode(&frame) {
                        Ok(message) => Incoming::Message(message),
                        Err(_) => Incoming::Undecodable,
                    });
                }
                Event::Failed(error) => return Ok(Some(end_of(&error))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Hands the parsed messages to the engine and fetches messages and orders.
    fn exchange(&mut self) {
        let queued = self.connection.tx_queued();
        self.orders =
            self.shared.exchange(self.number, queued, &mut self.incoming, &mut self.outbox);
    }

    fn encode(&mut self) {
        for message in self.outbox.drain(..) {
            self.scratch.clear();
            message.encode(&mut self.scratch);
            // Fails only on a connection that has failed, which the next event reports.
            let _ = self.connection.send(&self.scratch);
        }
    }

    /// Writes what the socket takes. Returns true if it took any byte.
    fn write(&mut self) -> Result<bool, End> {
        let mut wrote = false;
        let out = self.connection.tx();
        while out.has_remaining() {
            let mut slices = [io::IoSlice::new(&[]); 16];
            let count = out.chunks_vectored(&mut slices);
            match self.stream.try_write(&slices[..count]) {
                Ok(0) => return Err(End::Peer),
                Ok(taken) => {
                    out.advance(taken);
                    self.uncounted.1 += taken as u64;
                    wrote = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Peer),
            }
        }
        Ok(wrote)
    }

    async fn flush(&mut self) {
        self.encode();
        while self.write().is_ok() && self.connection.tx().has_remaining() {
            if self.stream.ready(Interest::WRITABLE).await.is_err() {
                break;
            }
        }
    }

    async fn wait(&mut self) -> Result<(), End> {
        let pending = self.connection.tx_queued() > 0;
        // Read no further requests from a peer that does not read its answers.
        let room = self.connection.tx_queued() <= self.shared.limits.queued_bytes / 2;
        let read = self.orders.read && self.incoming.is_empty() && room;
        let due = if self.orders.read {
            self.connection.poll_timeout().map(|at| self.shared.deadline(at))
        } else {
            Some(self.unread_since + CLOSED_CHECK)
        };
        if let Some(due) = due
            && (self.timer.is_elapsed() || due < self.timer.deadline())
        {
            self.timer.as_mut().reset(due);
        }
        let interest = match (read, pending) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let ready = async {
            match interest {
                Some(interest) => self.stream.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            ready = ready => match ready {
                Ok(ready) if read && (ready.is_readable() || ready.is_read_closed()) => {
                    self.read()?;
                }
                Ok(_) => {}
                Err(_) => return Err(End::Peer),
            },
            () = self.timer.as_mut(), if due.is_some() => self.timed_out().await?,
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        let mut turn = 0;
        while turn < READ_TURN {
            let buffer = self.connection.recv_buffer();
            if buffer.capacity() - buffer.len() < READ_ROOM / 8 {
                buffer.reserve(READ_ROOM);
            }
            let room = buffer.capacity() - buffer.len();
            match self.stream.try_read(buffer) {
                Ok(0) => {
                    self.eof = true;
                    break;
                }
                Ok(count) => {
                    turn += count;
                    self.uncounted.0 += count as u64;
                    if count < room {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A reset drops the bytes received before it, as on a live server.
                Err(_) => return Err(End::Peer),
            }
        }
        if turn > 0 {
            self.connection.handle_received(self.shared.now());
            self.drained = false;
        }
        Ok(())
    }

    async fn timed_out(&mut self) -> Result<(), End> {
        if self.orders.read {
            self.connection.handle_timeout(self.shared.now());
            self.drained = false;
            return Ok(());
        }
        // The task does not read, so only the socket's readiness shows that the peer has closed it.
        self.unread_since = tokio::time::Instant::now();
        let ready = self.stream.ready(Interest::READABLE | Interest::WRITABLE);
        tokio::select! {
            biased;
            ready = ready => match ready {
                Ok(ready) if ready.is_read_closed() || ready.is_write_closed() => Err(End::Peer),
                Ok(_) => Ok(()),
                Err(_) => Err(End::Peer),
            },
            () = std::future::ready(()) => Ok(()),
        }
    }

    fn take_uncounted(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.uncounted)
    }

    /// Adds this connection's bytes to the cluster's figures once they reach 1 MiB, to lock rarely.
    fn count_bytes(&mut self) {
        if self.uncounted.0 + self.uncounted.1 > (1 << 20) {
            let (received, sent) = self.take_uncounted();
            let mut state = self.shared.lock();
            state.stats.bytes_received += received;
            state.stats.bytes_sent += sent;
        }
    }
}

fn end_of(error: &Error) -> End {
    let reason = match error {
        Error::FrameTooLong(_) => format!("{error}: the limit message_size is reached"),
        _ => error.to_string(),
    };
    let counter: fn(&mut TransportStats) -> &mut u64 = match error {
        Error::HandshakeTimeout | Error::HandshakeTooLong => |stats| &mut stats.closed_handshake,
        Error::FrameTooLong(_) => |stats| &mut stats.closed_oversized,
        Error::IdleTimeout | Error::HeartbeatTimeout => |stats| &mut stats.closed_idle,
        _ => |stats| &mut stats.closed_protocol,
    };
    End::Refused(counter, ClosedFor::Transport(reason))
}
