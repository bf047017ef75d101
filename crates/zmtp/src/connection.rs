//! One connection: its input, output, events and heartbeats.

mod messages;
mod receiving;

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    Config, Error, Event, Instant, NotReady, SocketType, TxBuffer, command,
    frame::{self, Header},
    greeting, memory, tx,
};
pub use messages::Messages;
use receiving::Step;

/// An empty receive buffer with more capacity than this is freed, so that one burst does not occupy memory for the life
/// of a connection. It holds two reads of this project's client, so that steady traffic never reallocates.
const KEEP: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Handshake { version: (u8, u8) },
    Ready,
    Failed,
}

/// The state of one ZMTP connection, without its socket.
///
/// The caller owns the socket and the clock, and repeats these steps:
///
/// 1. Read from the socket into [`recv_buffer`](Self::recv_buffer), then call
///    [`handle_received`](Self::handle_received). Call [`handle_eof`](Self::handle_eof) at the end of the stream.
/// 2. Call [`handle_timeout`](Self::handle_timeout) if [`poll_timeout`](Self::poll_timeout) is due.
/// 3. Call [`poll_event`](Self::poll_event) until it returns `None`.
/// 4. Write the bytes in [`tx`](Self::tx) to the socket.
///
/// Every received byte shows that the peer is alive. Written bytes do not: the operating system accepts them even if
/// the peer is unreachable.
///
/// The crate root has an example.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    stage: Stage,
    failure: Option<Error>,
    rx: BytesMut,
    /// The length of `rx` at the end of the last call.
    known: usize,
    received: u64,
    handshake_bytes: usize,
    /// The number of bytes of an overlong message frame that are still to be skipped.
    skip: u64,
    /// Whether the peer closed its side. The connection fails once the received bytes are used up.
    ended: bool,
    /// The error with which the connection fails after the Oversized event that was just returned.
    fail_next: Option<Error>,
    /// Whether the last frame belongs to a message of several frames that is not complete.
    multipart: bool,
    messages: u64,
    message_bytes: u64,
    /// The number of bytes of the unfinished frame at the front of `rx` that `message_bytes` already counts.
    counted: usize,
    tx: TxBuffer,
    tx_total: u64,
    /// The number of PONGs queued since the last time that all of them were written.
    pongs: u32,
    /// The offset of the end of the last PONG, counted in all bytes ever queued.
    pongs_end: u64,
    opened: Instant,
    last_received: Instant,
    /// Where the heartbeat's waits begin: the last byte received, or a later restart of the timers.
    heartbeat_since: Instant,
    last_message: Instant,
    next_ping: Option<Instant>,
    /// The offset of the end of the last PING, counted in all bytes ever queued.
    ping_end: u64,
    /// Whether the timers were restarted and no byte has since shown that the peer is alive.
    restarted: bool,
    /// The TTL that the peer's last PING announced: the longest time that it may be silent.
    peer_ttl: Option<std::time::Duration>,
}

impl Connection {
    /// Creates a connection whose socket was opened at `now`. Our greeting and READY are queued in [`tx`](Self::tx).
    pub fn new(config: Config, now: Instant) -> Self {
        let mut connection = Self {
            config,
            stage: Stage::Greeting,
            failure: None,
            rx: BytesMut::new(),
            known: 0,
            received: 0,
            handshake_bytes: 0,
            skip: 0,
            ended: false,
            fail_next: None,
            multipart: false,
            messages: 0,
            message_bytes: 0,
            counted: 0,
            tx: TxBuffer::default(),
            tx_total: 0,
            pongs: 0,
            pongs_end: 0,
            opened: now,
            last_received: now,
            heartbeat_since: now,
            last_message: now,
            next_ping: None,
            ping_end: 0,
            restarted: false,
            peer_ttl: None,
        };
        // Queue all 64 bytes at once, and READY with them: JeroMQ sends ten bytes and then waits for ours.
        connection.put(&greeting::ours());
        connection.put(&command::ready(config.socket_type));
        connection
    }

    // ---- input

    /// Returns the receive buffer. The caller reserves room at its end and reads into it.
    pub fn recv_buffer(&mut self) -> &mut BytesMut {
        &mut self.rx
    }

    /// Returns how many bytes the message at the front of the receive buffer still lacks; 0 if its header has not arrived, if it
    /// is complete, and if it is too long to be received.
    ///
    /// A caller that reserves this much reads the rest of the message without moving its beginning again. The peer has only
    /// announced these bytes, so the caller must bound what it reserves.
    pub fn missing(&self) -> usize {
        if self.stage != Stage::Ready || self.skip > 0 {
            return 0;
        }
        let header = Header::read(&self.rx)
            .filter(|header| !header.is_command() && header.length <= self.config.max_frame as u64);
        let whole = header.map_or(0, |header| header.size + header.length as usize);
        whole.saturating_sub(self.rx.len())
    }

    /// Handles the bytes that the caller has appended to the receive buffer.
    pub fn handle_received(&mut self, now: Instant) {
        let new = self.rx.len().saturating_sub(self.known);
        if new > 0 {
            self.received += new as u64;
            self.last_received = now;
            self.heartbeat_since = now;
            // Bytes of an unfinished handshake do not permit another restart: a slow peer could extend it without end.
            self.restarted &= self.stage != Stage::Ready;
        }
        if self.skip > 0 {
            self.skip_received();
        } else if self.stage == Stage::Failed {
            // No one reads these bytes.
            self.rx.clear();
        }
        self.known = self.rx.len();
    }

    /// Copies `bytes` into the receive buffer and handles them.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.rx.extend_from_slice(bytes);
        self.handle_received(now);
    }

    /// Handles the end of the stream. [`poll_event`](Self::poll_event) first returns the events of the bytes received
    /// before, then the failure.
    pub fn handle_eof(&mut self, _now: Instant) {
        self.ended = true;
    }

    /// Handles the timers that are due at `now`. Read from the socket before: bytes that wait there may show that the
    /// peer is alive.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Failed => {}
            Stage::Greeting | Stage::Handshake { .. } => {
                if self.opened + self.config.handshake_timeout <= now {
                    self.fail(Error::HandshakeTimeout);
                }
            }
            Stage::Ready => {
                if self.silence_deadline().is_some_and(|at| at <= now) {
                    self.fail(Error::HeartbeatTimeout);
                } else if self.idle_deadline().is_some_and(|at| at <= now) {
                    self.fail(Error::IdleTimeout);
                } else if self.next_ping.is_some_and(|at| at <= now) {
                    self.ping(now);
                }
            }
        }
    }

    /// Restarts all timers at `now` and queues a PING at once. Call it after the clock jumped, such as after a suspend.
    ///
    /// A second call does nothing unless a byte has arrived since the first: with a driver that always wakes late,
    /// nothing would ever time out otherwise.
    pub fn restart_timers(&mut self, now: Instant) {
        if std::mem::replace(&mut self.restarted, true) {
            return;
        }
        self.opened = now;
        self.heartbeat_since = now;
        self.last_message = now;
        if self.stage == Stage::Ready && self.config.heartbeat.is_some() {
            self.ping(now);
        }
    }

    // ---- events

    /// Returns the next event. Frames leave the receive buffer only here, so no queue of events can grow.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        if let Some(error) = self.fail_next.take() {
            self.fail(error);
        }
        if let Some(error) = self.failure.take() {
            return Some(Event::Failed(error));
        }
        let event = loop {
            let step = match self.stage {
                Stage::Failed => break None,
                Stage::Greeting => self.greeting(),
                Stage::Handshake { version } => self.handshake(now, version),
                Stage::Ready => self.frame(now),
            };
            match step {
                Ok(Step::Event(event)) => break Some(event),
                Ok(Step::Again) => {}
                Ok(Step::Wait) if self.ended => {
                    let ready = self.stage == Stage::Ready;
                    self.fail(if ready { Error::Closed } else { Error::ClosedDuringHandshake });
                    break self.failure.take().map(Event::Failed);
                }
                Ok(Step::Wait) => break None,
                Err(error) => {
                    self.fail(error);
                    break self.failure.take().map(Event::Failed);
                }
            }
        };
        if event.is_none() {
            memory::release_buffer(&mut self.rx, KEEP);
        }
        self.known = self.rx.len();
        event
    }

    /// Returns the whole messages at the front of the receive buffer as one batch, up to the first frame of another
    /// sort.
    ///
    /// This is a faster way than [`poll_event`](Self::poll_event) to take many messages. If it returns `None`, call
    /// `poll_event` for what is next.
    pub fn poll_messages(&mut self, now: Instant) -> Option<Messages> {
        let plain = self.stage == Stage::Ready
            && self.skip == 0
            && !self.multipart
            && self.failure.is_none()
            && self.fail_next.is_none();
        if !plain {
            return None;
        }
        // A longer message gets its own allocation in `poll_event`, so that a holder of a small one does not keep it
        // alive.
        let longest = self.config.max_frame.min(KEEP) as u64;
        let (count, length) = messages::whole(&self.rx, longest);
        if count == 0 {
            return None;
        }
        self.messages += count;
        self.message_bytes += (length - self.counted) as u64;
        self.counted = 0;
        self.last_message = now;
        let bytes = self.rx.split_to(length).freeze();
        self.known = self.rx.len();
        Some(Messages::new(bytes))
    }

    fn fail(&mut self, error: Error) {
        if self.stage == Stage::Failed {
            return;
        }
        // During the handshake, keep the queued bytes: they may hold the ERROR that tells the peer why it is refused.
        if self.stage == Stage::Ready {
            self.tx.clear();
        }
        self.stage = Stage::Failed;
        self.failure = Some(error);
        self.rx = BytesMut::new();
        self.known = 0;
        self.skip = 0;
        self.counted = 0;
    }

    // ---- output

    /// Returns the transmit buffer with the bytes that wait to be written.
    pub fn tx(&mut self) -> &mut TxBuffer {
        &mut self.tx
    }

    /// Returns the number of bytes that wait to be written.
    pub fn tx_queued(&self) -> usize {
        self.tx.remaining()
    }

    /// Returns the number of bytes ever queued. After a message was queued, this is the offset at which it ends.
    pub fn tx_total(&self) -> u64 {
        self.tx_total
    }

    /// Returns the number of bytes ever written. A message is written once this reaches the offset at which it ends.
    pub fn tx_written(&self) -> u64 {
        self.tx.written()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.tx.put_slice(bytes);
        self.tx_total += bytes.len() as u64;
    }

    /// Queues a message by copying it.
    ///
    /// # Errors
    /// Returns [`NotReady`] before the handshake is complete and after the connection has failed.
    pub fn send(&mut self, message: &[u8]) -> Result<(), NotReady> {
        self.begin_message(message.len())?;
        self.put_slice(message);
        Ok(())
    }

    /// Queues a message. From 16 KiB on it is not copied.
    ///
    /// # Errors
    /// Returns [`NotReady`] before the handshake is complete and after the connection has failed.
    pub fn send_shared(&mut self, message: Bytes) -> Result<(), NotReady> {
        self.begin_message(message.len())?;
        self.put_shared(message);
        Ok(())
    }

    /// Queues a message made of a head in pieces, a middle and an end. From 16 KiB on the middle is not copied.
    ///
    /// # Errors
    /// Returns [`NotReady`] before the handshake is complete and after the connection has failed.
    #[inline(always)]
    pub fn send_parts<const N: usize>(
        &mut self,
        head: [&[u8]; N],
        middle: &Bytes,
        end: &[u8],
    ) -> Result<(), NotReady> {
        let copied = head.iter().map(|piece| piece.len()).sum::<usize>() + end.len();
        let length = copied + middle.len();
        let shared = middle.len() >= tx::SHARE_FROM;
        self.tx.reserve(frame::MAX_HEADER + if shared { copied } else { length });
        self.begin_message(length)?;
        for piece in head {
            self.tx.put_slice(piece);
        }
        if shared {
            self.tx.put_shared(middle.clone());
        } else {
            self.tx.put_slice(middle);
        }
        self.tx.put_slice(end);
        self.tx_total += length as u64;
        Ok(())
    }

    /// Begins a message of `length` bytes.
    ///
    /// The caller must supply exactly these bytes with [`put_slice`](Self::put_slice) and
    /// [`put_shared`](Self::put_shared) before it calls any other method.
    ///
    /// # Errors
    /// Returns [`NotReady`] before the handshake is complete and after the connection has failed.
    #[inline]
    pub fn begin_message(&mut self, length: usize) -> Result<(), NotReady> {
        if self.stage != Stage::Ready {
            return Err(NotReady);
        }
        let (tx, total) = (&mut self.tx, &mut self.tx_total);
        frame::write(0, length, |header| {
            tx.put_slice(header);
            *total += header.len() as u64;
        });
        Ok(())
    }

    /// Appends bytes to the message that was begun, by copying them.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Appends bytes to the message that was begun. From 16 KiB on they are not copied.
    #[inline]
    pub fn put_shared(&mut self, bytes: Bytes) {
        self.tx_total += bytes.len() as u64;
        self.tx.put_shared(bytes);
    }

    // ---- time

    /// Queues a PING now, and restarts the interval of PINGs. Does nothing before the handshake is complete, without
    /// heartbeats, and while a PING waits to be written.
    pub fn ping_now(&mut self, now: Instant) {
        if self.stage == Stage::Ready {
            self.ping(now);
        }
    }

    fn ping(&mut self, now: Instant) {
        let Some(beat) = self.config.heartbeat else { return };
        self.next_ping = Some(now + beat.interval);
        // Send a PING whether or not the last one was answered: the peer may enforce the TTL that we announced, and
        // PINGs may be all it receives from us. Queue at most one: further PINGs in the same write would tell the peer
        // nothing more.
        if self.tx.written() >= self.ping_end {
            self.put(&command::ping(beat.ttl_tenths()));
            self.ping_end = self.tx_total;
        }
    }

    fn silence_deadline(&self) -> Option<Instant> {
        let ours = self.config.heartbeat.map(|beat| beat.timeout);
        [ours, self.peer_ttl].into_iter().flatten().min().map(|wait| self.heartbeat_since + wait)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.config.idle_timeout.map(|wait| self.last_message + wait)
    }

    /// Returns the time at which the caller must call [`handle_timeout`](Self::handle_timeout), or `None` if no timer
    /// runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Failed => None,
            Stage::Greeting | Stage::Handshake { .. } => {
                Some(self.opened + self.config.handshake_timeout)
            }
            Stage::Ready => [self.silence_deadline(), self.idle_deadline(), self.next_ping]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    // ---- facts

    /// Returns true if the handshake is complete and the connection has not failed.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Returns the number of messages received, overlong ones included and discarded multipart messages not.
    pub fn received_messages(&self) -> u64 {
        self.messages
    }

    /// Returns the number of bytes received.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Returns the number of received bytes that belong to message frames. It includes unfinished frames and excludes
    /// commands. It is up to date once [`poll_event`](Self::poll_event) has returned `None`.
    pub fn message_bytes_received(&self) -> u64 {
        self.message_bytes
    }

    /// Returns true if the last received bytes belong to an unfinished message frame.
    pub fn mid_message(&self) -> bool {
        self.skip > 0 || self.counted > 0
    }

    /// Returns the time at which the last byte arrived.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Returns the socket type of this side.
    pub fn socket_type(&self) -> SocketType {
        self.config.socket_type
    }
}
