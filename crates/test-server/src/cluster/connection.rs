//! The task of one connection: bytes to the engine and back, many messages at a time.

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

/// Room made for a read, and what one turn reads at most before others have theirs.
const READ_ROOM: usize = 64 << 10;
const READ_TURN: usize = 256 << 10;
/// Messages that are handed in together at most.
const BATCH: usize = 1024;
/// How long a connection is kept to send what is queued, once it is to be closed.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// How often a connection that is not read is looked at, to see whether its peer has gone.
const GONE_CHECK: Duration = Duration::from_secs(1);

pub(crate) struct Task {
    shared: Arc<Shared>,
    number: ConnectionNumber,
    wake: Arc<Notify>,
    stream: Stream,
    connection: Connection,
    /// Nothing more can be parsed out of what was read.
    drained: bool,
    /// The peer will send no more.
    eof: bool,
    incoming: VecDeque<Incoming>,
    outbox: Vec<ServerMessage>,
    scratch: BytesMut,
    orders: Orders,
    timer: Pin<Box<Sleep>>,
    /// When the last connection check or read was, for those that are not read.
    unread_since: tokio::time::Instant,
    counted: (u64, u64),
}

/// Why a connection is over.
enum End {
    /// The peer, or the network.
    Peer,
    /// An order of the engine or of the cluster.
    Ordered(CloseHow),
    /// A rule or a limit, to be counted and reported.
    Refused(fn(&mut TransportStats) -> &mut u64, ClosedFor),
}

impl Task {
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
            counted: (0, 0),
            shared,
        }
    }

    /// Serves the connection until it ends. `_alive` tells the cluster that somebody still runs.
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
            // What cannot be sent by then is lost.
            let _ = tokio::time::timeout(FLUSH_TIME, self.flush()).await;
        }
        let (received, sent) = self.uncounted();
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

    /// Does what can be done now, then waits for more.
    async fn turn(&mut self) -> Result<(), End> {
        let mut failed = None;
        loop {
            if self.orders.read && self.incoming.is_empty() && !self.drained {
                failed = self.parse()?;
            }
            self.meet();
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
            // What this turn has written makes room; the engine learns of it in the next.
            self.count_bytes();
        }
        self.wait().await
    }

    /// Takes messages out of what was read.
    fn parse(&mut self) -> Result<Option<End>, End> {
        let now = self.shared.now();
        // Until its peer speaks for a session, any message may be the one after which nothing more
        // is to be read.
        let batch = if self.orders.bound { BATCH } else { 1 };
        while self.incoming.len() < batch {
            let Some(event) = self.connection.poll_event(now) else {
                self.drained = true;
                break;
            };
            match event {
                Event::Ready(_) => {
                    if !self.shared.introduce(self.number) {
                        return Err(End::Ordered(CloseHow::Reset));
                    }
                    // It may be at a frozen member.
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

    /// Meets the engine.
    fn meet(&mut self) {
        let queued = self.connection.tx_queued();
        self.orders =
            self.shared.exchange(self.number, queued, &mut self.incoming, &mut self.outbox);
    }

    fn encode(&mut self) {
        for message in self.outbox.drain(..) {
            self.scratch.clear();
            message.encode(&mut self.scratch);
            // It fails only on a connection that is over.
            let _ = self.connection.send(&self.scratch);
        }
    }

    /// Writes what the socket takes; true if it took anything.
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
                    self.counted.1 += taken as u64;
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
        // A peer that does not take its answers gets no more questions in.
        let room = self.connection.tx_queued() <= self.shared.limits.queued_bytes / 2;
        let read = self.orders.read && self.incoming.is_empty() && room;
        let due = if self.orders.read {
            self.connection.poll_timeout().map(|at| self.shared.deadline(at))
        } else {
            Some(self.unread_since + GONE_CHECK)
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
                    self.counted.0 += count as u64;
                    if count < room {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What had come before a reset is lost with it, as with the live server.
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
        // Nothing is read, so an end is only to be seen in what the system says of the socket.
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

    fn uncounted(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.counted)
    }

    /// Adds what this connection has moved to the cluster's figures, now and then.
    fn count_bytes(&mut self) {
        if self.counted.0 + self.counted.1 > (1 << 20) {
            let (received, sent) = self.uncounted();
            let mut inner = self.shared.look();
            inner.stats.bytes_received += received;
            inner.stats.bytes_sent += sent;
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
