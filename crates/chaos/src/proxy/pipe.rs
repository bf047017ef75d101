//! What one direction of one connection holds.

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Buf, Bytes};
use tokio::{net::TcpStream, time::Instant};

use super::Link;

/// Bytes held at most; beyond, nothing is read.
const CAPACITY: usize = 64 << 10;
/// What is read at once, at most.
const READ: usize = 16 << 10;
/// A slow link passes what it does in pieces of this time's worth.
const PIECE: Duration = Duration::from_millis(10);

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

/// What one direction of one connection holds, and when it may go on.
#[derive(Debug)]
pub(super) struct Pipe {
    held: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// The source has ended, and when that came.
    end: Option<(Instant, End)>,
    /// The link is busy until then.
    busy_until: Instant,
    /// The sink took less than it was offered.
    blocked: bool,
}

impl Pipe {
    pub(super) fn new(now: Instant) -> Self {
        Self { held: VecDeque::new(), bytes: 0, end: None, busy_until: now, blocked: false }
    }

    /// Whether it would take more.
    pub(super) fn wants(&self) -> bool {
        self.end.is_none() && self.bytes < CAPACITY
    }

    /// Whether it waits for its sink to take more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Takes in what the source has.
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

    /// Gives on what is due; tells when the end is.
    ///
    /// # Errors
    /// When the sink takes nothing any more.
    pub(super) fn give(
        &mut self,
        sink: &TcpStream,
        link: Link,
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

    /// When something will be due that is not yet.
    pub(super) fn due(&self, link: Link) -> Option<Instant> {
        if link.blackhole || self.blocked {
            return None;
        }
        match self.held.front() {
            Some((came, _)) => Some((*came + link.delay).max(self.busy_until)),
            None => self.end.map(|(came, _)| came + link.delay),
        }
    }
}

fn piece(link: Link) -> usize {
    link.bytes_per_second.map_or(usize::MAX, |rate| {
        let bytes = f64::from(rate.get()) * PIECE.as_secs_f64();
        (bytes as usize).max(1)
    })
}
