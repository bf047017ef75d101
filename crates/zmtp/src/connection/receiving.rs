//! Reads the receive buffer: the peer's greeting and handshake, then its frames.

use bytes::{Buf, Bytes, BytesMut};

use super::{Connection, KEEP, Stage};
use crate::{
    Error, Event, Instant, Peer,
    command::{self, Command},
    frame::{self, Header},
    greeting, memory,
};

/// Length in bytes of the head that is kept of an overlong message. Enough to recognise the message, such as by an id.
const HEAD: usize = 64;
/// The longest command after the handshake in bytes. Known commands have at most a few dozen bytes, and an unknown one gets
/// as much memory as a whole handshake.
const MAX_COMMAND: u64 = 4096;
/// At most this many PONGs are queued: a peer that floods PINGs without reading would otherwise grow the transmit
/// buffer.
const MAX_PONGS: u32 = 32;

/// The result of reading at the front of the receive buffer.
pub(super) enum Step {
    Event(Event),
    /// Something was consumed without an event; read on.
    Again,
    /// More bytes must arrive first.
    Wait,
}

impl Connection {
    pub(super) fn greeting(&mut self) -> Result<Step, Error> {
        let Some(version) = greeting::take(&mut self.rx)? else { return Ok(Step::Wait) };
        self.handshake_bytes = greeting::LEN;
        self.stage = Stage::Handshake { version };
        Ok(Step::Again)
    }

    pub(super) fn handshake(&mut self, now: Instant, version: (u8, u8)) -> Result<Step, Error> {
        let Some(header) = Header::read(&self.rx) else { return Ok(Step::Wait) };
        if !header.is_command() || header.has_more() {
            return Err(Error::Protocol("a message before READY"));
        }
        let left = self.config.handshake_limit.saturating_sub(self.handshake_bytes + header.size);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > left {
            return Err(Error::HandshakeTooLong);
        }
        if self.rx.len() < header.size + length {
            return Ok(Step::Wait);
        }
        self.handshake_bytes += header.size + length;
        self.rx.advance(header.size);
        let body = self.rx.split_to(length);
        match Command::read(&body)? {
            Command::Ready { socket_type } => {
                let name = socket_type.unwrap_or_default();
                let partner = self.config.socket_type.partner();
                if name != partner.name().as_bytes() {
                    self.put(&command::error("Invalid socket type"));
                    return Err(Error::SocketType(name.escape_ascii().to_string()));
                }
                self.stage = Stage::Ready;
                self.restarted = false;
                self.last_message = now;
                self.next_ping = self.config.heartbeat.map(|beat| now + beat.interval);
                Ok(Step::Event(Event::Ready(Peer { version, socket_type: partner })))
            }
            Command::Error { reason } => Err(Error::PeerError(reason.escape_ascii().to_string())),
            Command::Ping { .. } | Command::Pong | Command::Unknown => Ok(Step::Again),
        }
    }

    #[inline]
    pub(super) fn frame(&mut self, now: Instant) -> Result<Step, Error> {
        if self.skip > 0 {
            self.skip_received();
            if self.skip > 0 {
                return Ok(Step::Wait);
            }
        }
        let Some(header) = Header::read(&self.rx) else {
            if self.rx.first().is_some_and(|flags| flags & frame::COMMAND == 0) {
                self.count_unfinished();
            }
            return Ok(Step::Wait);
        };
        if header.length > i64::MAX as u64 {
            return Err(Error::FrameTooLong(header.length));
        }
        if header.is_command() {
            return self.command(now, header);
        }
        if header.length > self.config.max_frame as u64 {
            return self.oversized(now, header);
        }
        let whole = header.size + header.length as usize;
        if self.rx.len() < whole {
            self.count_unfinished();
            return Ok(Step::Wait);
        }
        self.message_bytes += (whole - self.counted) as u64;
        self.counted = 0;
        self.last_message = now;
        if header.has_more() || self.multipart {
            self.rx.advance(whole);
            return Ok(self.part(header));
        }
        self.rx.advance(header.size);
        let message = self.rx.split_to(whole - header.size).freeze();
        if message.len() > KEEP && self.rx.len() <= message.len() {
            // A part of a large allocation keeps all of it alive, so copy the rest into a new one.
            self.rx = BytesMut::from(&self.rx[..]);
        }
        self.messages += 1;
        Ok(Step::Event(Event::Message(message)))
    }

    /// Counts the bytes in the buffer, which all belong to one unfinished message frame.
    fn count_unfinished(&mut self) {
        self.message_bytes += (self.rx.len() - self.counted) as u64;
        self.counted = self.rx.len();
    }

    /// Discards one frame of a message of several frames. The last frame gives the event.
    fn part(&mut self, header: Header) -> Step {
        self.multipart = header.has_more();
        if self.multipart { Step::Again } else { Step::Event(Event::MultipartDiscarded) }
    }

    fn oversized(&mut self, now: Instant, header: Header) -> Result<Step, Error> {
        let limit = self.config.skip_limit;
        let part = header.has_more() || self.multipart;
        // A frame of a multipart message gives no Oversized event, so do not wait for its head.
        if limit == 0 || (part && header.length > limit) {
            return Err(Error::FrameTooLong(header.length));
        }
        let head = HEAD.min(usize::try_from(header.length).unwrap_or(HEAD));
        if self.rx.len() < header.size + head {
            self.count_unfinished();
            return Ok(Step::Wait);
        }
        self.rx.advance(header.size);
        let head = Bytes::copy_from_slice(&self.rx[..head]);
        self.last_message = now;
        if header.length > limit {
            self.fail_next = Some(Error::FrameTooLong(header.length));
        } else {
            // `skip_received` counts the body, so remove the part of it that was counted already.
            self.message_bytes = self.message_bytes - self.counted as u64 + header.size as u64;
            self.counted = 0;
            self.skip = header.length;
            self.skip_received();
        }
        if part {
            return Ok(self.part(header));
        }
        self.messages += 1;
        Ok(Step::Event(Event::Oversized { length: header.length, head }))
    }

    pub(super) fn skip_received(&mut self) {
        let step = self.rx.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.rx.advance(step);
        self.skip -= step as u64;
        self.message_bytes += step as u64;
        memory::release_buffer(&mut self.rx, KEEP);
    }

    fn command(&mut self, now: Instant, header: Header) -> Result<Step, Error> {
        if header.has_more() {
            return Err(Error::Protocol("a command with more than one frame"));
        }
        if header.length > MAX_COMMAND {
            return Err(Error::FrameTooLong(header.length));
        }
        let length = header.length as usize;
        if self.rx.len() < header.size + length {
            return Ok(Step::Wait);
        }
        self.rx.advance(header.size);
        let body = self.rx.split_to(length);
        match Command::read(&body)? {
            Command::Ping { ttl_tenths, context } => {
                self.peer_ttl = (ttl_tenths > 0)
                    .then(|| std::time::Duration::from_millis(u64::from(ttl_tenths) * 100));
                self.heartbeat_since = self.heartbeat_since.max(now);
                if self.tx.written() >= self.pongs_end {
                    self.pongs = 0;
                }
                if self.pongs < MAX_PONGS {
                    self.pongs += 1;
                    self.put(&command::pong(context));
                    self.pongs_end = self.tx_total;
                }
                Ok(Step::Again)
            }
            Command::Error { reason } => Err(Error::PeerError(reason.escape_ascii().to_string())),
            Command::Ready { .. } => Err(Error::Protocol("a second READY")),
            // A PONG shows that the peer is alive, like any other byte. Nothing else depends on it.
            Command::Pong | Command::Unknown => Ok(Step::Again),
        }
    }
}
