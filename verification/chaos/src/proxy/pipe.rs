//! One direction of a proxied connection: the bytes in it, and when they move on.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Buf, Bytes};
use tokio::{net::TcpStream, time::Instant};

use super::LinkQuality;

/// The greatest number of bytes held. When it is reached the proxy stops reading, so that a blocked reader stops its
/// writer.
const CAPACITY: usize = 64 << 10;
/// The greatest number of bytes in one read. The buffer lives on the stack.
const READ: usize = 16 << 10;
/// A slow link passes bytes in pieces worth this much time: short enough to look steady, long enough to need few
/// wake-ups.
const PIECE: Duration = Duration::from_millis(10);

/// The way in which a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

/// The bytes that one direction of a connection holds, and when they may move on.
#[derive(Debug)]
pub(super) struct Pipe {
    held: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// How the source ended, and when.
    end: Option<(Instant, End)>,
    /// The slow link passes nothing before this moment.
    busy_until: Instant,
    /// Whether the sink accepted fewer bytes than it was offered.
    blocked: bool,
}

impl Pipe {
    pub(super) fn new(now: Instant) -> Self {
        Self { held: VecDeque::new(), bytes: 0, end: None, busy_until: now, blocked: false }
    }

    /// Returns true if the pipe has room and its source has not ended.
    pub(super) fn wants(&self) -> bool {
        self.end.is_none() && self.bytes < CAPACITY
    }

    /// Returns true if the pipe waits for its sink to become writable.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Reads from the source as much as there is room for.
    pub(super) fn take(&mut self, source: &TcpStream, now: Instant) {
        let mut buffer = [0; READ];
        while self.wants() {
            let room = READ.min(CAPACITY - self.bytes);
            match source.try_read(&mut buffer[..room]) {
                Ok(0) => self.end = Some((now, End::Fin)),
                Ok(read) => {
                    self.bytes += read;
                    self.held.push_back((now, Bytes::copy_from_slice(&buffer[..read])));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.end = Some((now, End::Reset)),
            }
        }
    }

    /// Writes the bytes that are due to the sink. Returns the end once everything before it is written and it is due.
    ///
    /// # Errors
    /// Returns the error of the sink if it no longer accepts bytes.
    pub(super) fn give(
        &mut self,
        sink: &TcpStream,
        link: LinkQuality,
        now: Instant,
    ) -> io::Result<Option<End>> {
        self.blocked = false;
        if link.blackhole {
            return Ok(None);
        }
        while let Some((came, bytes)) = self.held.front_mut() {
            if *came + link.delay > now || self.busy_until > now {
                return Ok(None);
            }
            let piece = bytes.len().min(piece(link));
            match sink.try_write(&bytes[..piece]) {
                Ok(written) => {
                    bytes.advance(written);
                    if bytes.is_empty() {
                        self.held.pop_front();
                    }
                    self.bytes -= written;
                    if let Some(rate) = link.bytes_per_second {
                        self.busy_until = now
                            + Duration::from_secs(1)
                                .mul_f64(written as f64 / f64::from(rate.get()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end.filter(|(came, _)| *came + link.delay <= now).map(|(_, end)| end))
    }

    /// Returns the time at which the next bytes or the end become due, or `None` if something else must happen first.
    pub(super) fn due(&self, link: LinkQuality) -> Option<Instant> {
        if link.blackhole || self.blocked {
            return None;
        }
        match self.held.front() {
            Some((came, _)) => Some((*came + link.delay).max(self.busy_until)),
            None => self.end.map(|(came, _)| came + link.delay),
        }
    }
}

fn piece(link: LinkQuality) -> usize {
    link.bytes_per_second.map_or(usize::MAX, |rate| {
        let bytes = f64::from(rate.get()) * PIECE.as_secs_f64();
        (bytes as usize).max(1)
    })
}
