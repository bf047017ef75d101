//! What the application asks for besides a session: requests and pings come in, or are refused.

use bytes::Bytes;

use super::{Completion, Machine, State, Timeout, settle::GaveUp};
use crate::{Instant, PingKey, RequestKey, RequestKind, failure::Failure, tables::wheel::Wheel};

impl Machine {
    /// Takes a request. It ends in exactly one [`Completion::Request`].
    ///
    /// # Errors
    /// The request is not taken, and so never executed: the client is Disconnected or draining, the queue is full, or
    /// the payload is empty or too long.
    #[inline]
    pub fn submit(
        &mut self,
        now: Instant,
        kind: RequestKind,
        payload: Bytes,
        timeout: Timeout,
    ) -> Result<RequestKey, Failure> {
        if !self.admits(payload.len()) {
            return Err(self.refuse(payload.len()));
        }
        let deadline = match timeout {
            Timeout::Default => self.requests.default_deadline(now, self.config.request_timeout),
            Timeout::After(timeout) => Some(Wheel::tick(now, timeout)),
            Timeout::Never => None,
        };
        Ok(self.requests.submit(now, kind, payload, deadline))
    }

    /// Returns true if a request with a payload of this length is taken.
    #[inline]
    fn admits(&self, len: usize) -> bool {
        self.config.admission().accepts_payload(len)
            && self.drain.is_none()
            && !matches!(self.state, State::Disconnected(_))
            && self.has_room(len)
    }

    /// Returns why a request is not taken.
    #[cold]
    fn refuse(&mut self, len: usize) -> Failure {
        self.stats.not_executed += 1;
        self.admit(len).err().unwrap_or(Failure::Overloaded)
    }

    fn admit(&self, len: usize) -> Result<(), Failure> {
        self.config.admission().check_payload(len)?;
        if self.drain.is_some() {
            return Err(Failure::Closed { sent: false });
        }
        if let State::Disconnected(disconnected) = &self.state {
            return Err(disconnected.failure());
        }
        if self.has_room(len) { Ok(()) } else { Err(Failure::Overloaded) }
    }

    /// Returns true if there is room for a request with a payload of this length.
    #[inline]
    pub fn has_room(&self, payload_len: usize) -> bool {
        let (queued, held) = (self.requests.queued(), self.requests.held_bytes());
        self.config.admission().has_room(queued, held, payload_len)
    }

    /// Cancels a request, as if its deadline passed now. Does nothing if the request has settled.
    pub fn cancel(&mut self, now: Instant, key: RequestKey) {
        if self.requests.slab.find(key).is_some() {
            self.give_up_waiting(now, key.slot, GaveUp::Cancelled);
        }
    }

    /// Measures the round trip by a KeepAlive. Ends in one [`Completion::Ping`].
    pub fn ping(&mut self, now: Instant) -> PingKey {
        let key = PingKey(self.next_call());
        if !matches!(self.state, State::Connected(_)) {
            self.out.complete(Completion::Ping { key, result: Err(Failure::NotConnected) });
        } else if !self.liveness.ping(now, key) {
            self.out.complete(Completion::Ping { key, result: Err(Failure::Overloaded) });
        }
        key
    }
}
