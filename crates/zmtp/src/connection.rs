//! One connection: what goes in and out of it, and its heartbeats.

mod messages;
mod receiving;

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    Config, Error, Event, Instant, NotReady, SocketType, TxBuffer, command, frame, greeting, tx,
};
pub use messages::Messages;
use receiving::Step;

/// A drained receive buffer that grew beyond this is given back.
const KEEP: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Handshake { version: (u8, u8) },
    Ready,
    Failed,
}

/// A ZMTP connection without its socket.
///
/// After reading into [`recv_buffer`](Self::recv_buffer) call [`handle_received`](Self::handle_received), then take
/// events until there are none; write what [`tx`](Self::tx) holds; call [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout). Any byte received is life of the peer; what we write is not.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    stage: Stage,
    failure: Option<Error>,
    rx: BytesMut,
    /// Length of `rx` when it was last looked at.
    known: usize,
    received: u64,
    handshake_bytes: usize,
    /// Bytes of a message frame that are still to be read past.
    skip: u64,
    /// The peer has closed its side: after what was received the connection is over.
    ended: bool,
    /// Fails once the present Oversized event is taken.
    fail_next: Option<Error>,
    /// Within a message of several frames.
    multipart: bool,
    messages: u64,
    message_bytes: u64,
    /// Bytes of the unfinished frame at the front of `rx` that `message_bytes` counts already.
    counted: usize,
    tx: TxBuffer,
    tx_total: u64,
    /// PONGs queued since all of them were last written.
    pongs: u32,
    /// Where the last PONG ends in all that was queued.
    pongs_end: u64,
    opened: Instant,
    last_received: Instant,
    last_message: Instant,
    next_ping: Option<Instant>,
    /// Where the last PING ends in all that was queued.
    ping_end: u64,
    /// The timers were restarted, and no byte came since that shows that the peer lives.
    restarted: bool,
    /// How long the peer said it may be silent.
    peer_ttl: Option<std::time::Duration>,
}

impl Connection {
    /// A connection whose socket opened just now. Greeting and READY wait in [`tx`](Self::tx).
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
            last_message: now,
            next_ping: None,
            ping_end: 0,
            restarted: false,
            peer_ttl: None,
        };
        // All 64 bytes at once, and READY with them: JeroMQ sends ten bytes and waits for ours.
        connection.put(&greeting::ours());
        connection.put(&command::ready(config.socket_type));
        connection
    }

    // ---- input

    /// Where received bytes go: reserve room at its end and read into it.
    pub fn recv_buffer(&mut self) -> &mut BytesMut {
        &mut self.rx
    }

    /// Bytes were appended to the receive buffer.
    pub fn handle_received(&mut self, now: Instant) {
        let new = self.rx.len().saturating_sub(self.known);
        if new > 0 {
            self.received += new as u64;
            self.last_received = now;
            // Bytes of an unfinished handshake do not extend it.
            self.restarted &= self.stage != Stage::Ready;
        }
        if self.skip > 0 {
            self.skip_received();
        } else if self.stage == Stage::Failed {
            // Nobody reads it any more.
            self.rx.clear();
        }
        self.known = self.rx.len();
    }

    /// Takes bytes by copying them.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.rx.extend_from_slice(bytes);
        self.handle_received(now);
    }

    /// The stream has ended. Events of what was received before still come, then the failure.
    pub fn handle_eof(&mut self, _now: Instant) {
        self.ended = true;
    }

    /// Does what is due at `now`. Read what can be read before.
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

    /// Starts all waits again at `now` and sends a PING at once: the clock jumped. Does nothing the second time without a
    /// byte in between; a driver that always wakes late would otherwise never time anything out.
    pub fn restart_timers(&mut self, now: Instant) {
        if std::mem::replace(&mut self.restarted, true) {
            return;
        }
        self.opened = now;
        self.last_received = now;
        self.last_message = now;
        if self.stage == Stage::Ready && self.config.heartbeat.is_some() {
            self.ping(now);
        }
    }

    // ---- events

    /// The next event. Frames are cut from the receive buffer only here, so nothing piles up.
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
        if event.is_none() && self.rx.is_empty() && self.rx.try_reclaim(KEEP + 1) {
            self.rx = BytesMut::new();
        }
        self.known = self.rx.len();
        event
    }

    /// The messages that lie whole in the receive buffer, up to the first thing that is none: for whoever takes many at
    /// once. `None`: [`poll_event`](Self::poll_event) says what is next.
    pub fn poll_messages(&mut self, now: Instant) -> Option<Messages> {
        let plain = self.stage == Stage::Ready
            && self.skip == 0
            && !self.multipart
            && self.failure.is_none()
            && self.fail_next.is_none();
        if !plain {
            return None;
        }
        // What is longer is cut by itself, so that nobody holds more than he uses.
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
        // What tells the peer why it is refused may still go; nothing else may.
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

    /// What waits to be written.
    pub fn tx(&mut self) -> &mut TxBuffer {
        &mut self.tx
    }

    /// Bytes that wait to be written.
    pub fn tx_queued(&self) -> usize {
        self.tx.remaining()
    }

    /// All bytes ever queued: where the frame queued last ends.
    pub fn tx_total(&self) -> u64 {
        self.tx_total
    }

    /// All bytes ever written.
    pub fn tx_written(&self) -> u64 {
        self.tx.written()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.tx.put_slice(bytes);
        self.tx_total += bytes.len() as u64;
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Before the handshake is done and after the end.
    pub fn send(&mut self, message: &[u8]) -> Result<(), NotReady> {
        self.begin_message(message.len())?;
        self.put_slice(message);
        Ok(())
    }

    /// Queues a message; a long one is not copied.
    ///
    /// # Errors
    /// Before the handshake is done and after the end.
    pub fn send_shared(&mut self, message: Bytes) -> Result<(), NotReady> {
        self.begin_message(message.len())?;
        self.put_shared(message);
        Ok(())
    }

    /// Queues a message: the pieces of its head, a middle that is not copied if it is long, and its end.
    ///
    /// # Errors
    /// Before the handshake is done and after the end.
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

    /// Begins a message of `length` bytes, which must follow by [`put_slice`](Self::put_slice) and
    /// [`put_shared`](Self::put_shared) before anything else is called.
    ///
    /// # Errors
    /// Before the handshake is done and after the end.
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

    /// Goes on with the message that was begun.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Goes on with the message that was begun; many bytes are not copied.
    #[inline]
    pub fn put_shared(&mut self, bytes: Bytes) {
        self.tx_total += bytes.len() as u64;
        self.tx.put_shared(bytes);
    }

    // ---- time

    fn ping(&mut self, now: Instant) {
        let Some(beat) = self.config.heartbeat else { return };
        self.next_ping = Some(now + beat.interval);
        // A PING goes whether or not the last one was answered: the peer may honour the TTL that we announced, and our
        // PINGs may be all it receives. But only one waits for the socket: more of them, written at once, tell no more.
        if self.tx.written() >= self.ping_end {
            self.put(&command::ping(beat.ttl_tenths()));
            self.ping_end = self.tx_total;
        }
    }

    fn silence_deadline(&self) -> Option<Instant> {
        let ours = self.config.heartbeat.map(|beat| beat.timeout);
        [ours, self.peer_ttl].into_iter().flatten().min().map(|wait| self.last_received + wait)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.config.idle_timeout.map(|wait| self.last_message + wait)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
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

    /// The handshake is done and the connection has not failed.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Messages received, overlong ones included.
    pub fn received_messages(&self) -> u64 {
        self.messages
    }

    /// All bytes received.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Bytes received that belong to message frames, unfinished ones included, commands not. Up to date once
    /// [`poll_event`](Self::poll_event) has nothing more.
    pub fn message_bytes_received(&self) -> u64 {
        self.message_bytes
    }

    /// The last bytes received belong to a message frame that goes on.
    pub fn mid_message(&self) -> bool {
        self.skip > 0 || self.counted > 0
    }

    /// When the last byte came.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Which side we are.
    pub fn socket_type(&self) -> SocketType {
        self.config.socket_type
    }
}
