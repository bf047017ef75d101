//! The tracker of server requests: each is delivered once, in order, and acknowledged after that.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use zraft_protocol::{RequestId, Timestamp};

use crate::{Instant, ServerRequest};

/// At most this many payload bytes of server requests are held for the application. The server keeps what does not fit.
const MAX_HELD_BYTES: usize = 64 << 20;
/// An acknowledgement waits at most this long for further deliveries. Each one costs the server a log entry.
const ACK_DELAY: Duration = Duration::from_millis(50);
/// An acknowledgement waits for at most this many deliveries.
const ACK_BATCH: u64 = 32;

/// What became of a server request that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Held,
    Duplicate,
    /// There is no room. The server will send it again.
    GaveWay,
}

#[derive(Debug)]
enum Held {
    Request {
        payload: Bytes,
        created_at: Timestamp,
    },
    /// Too long to be kept, or undecodable; skipped when its turn comes.
    Skip,
}

/// The server requests of one session.
#[derive(Debug)]
pub(crate) struct ServerRequests {
    max_held: usize,
    /// The last id delivered. Everything up to it may be acknowledged.
    delivered: u64,
    /// The last id handed to the application.
    handed: u64,
    /// Payload bytes of the requests that were handed over and are not delivered, by id.
    handed_bytes: BTreeMap<u64, usize>,
    /// Requests that wait for their turn, by id.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    acknowledged: u64,
    /// When the next acknowledgement must be sent.
    ack_due: Option<Instant>,
}

impl ServerRequests {
    pub(crate) fn new(max_held: usize) -> Self {
        Self {
            max_held,
            delivered: 0,
            handed: 0,
            handed_bytes: BTreeMap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            acknowledged: 0,
            ack_due: None,
        }
    }

    /// A server request arrived.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        id: RequestId,
        payload: Bytes,
        created_at: Timestamp,
    ) -> Arrival {
        self.hold(now, id.get(), Held::Request { payload, created_at })
    }

    /// A server request arrived that is too long or undecodable. Only its id is known.
    pub(crate) fn arrived_unusable(&mut self, now: Instant, id: RequestId) -> Arrival {
        let arrival = self.hold(now, id.get(), Held::Skip);
        self.skip(now);
        arrival
    }

    fn hold(&mut self, now: Instant, id: u64, request: Held) -> Arrival {
        if id <= self.delivered {
            // The acknowledgement was lost, or has not arrived yet.
            self.ack_soon(now);
            return Arrival::Duplicate;
        }
        if id <= self.handed || self.held.contains_key(&id) {
            return Arrival::Duplicate;
        }
        let bytes = request.bytes();
        if id != self.delivered + 1 {
            while self.is_full(bytes) {
                match self.held.last_key_value() {
                    Some((&highest, _)) if highest > id => self.drop_held(highest),
                    _ => return Arrival::GaveWay,
                }
            }
        }
        self.held_bytes += bytes;
        self.held.insert(id, request);
        // The next in order always has room. The highest ids give way to it.
        while self.held.len() > 1
            && (self.held_bytes > MAX_HELD_BYTES || self.count() > self.max_held)
        {
            match self.held.last_key_value() {
                Some((&highest, _)) if highest > id => self.drop_held(highest),
                _ => break,
            }
        }
        Arrival::Held
    }

    fn count(&self) -> usize {
        self.held.len() + self.handed_bytes.len()
    }

    /// Returns true if a request with this many bytes has no room.
    fn is_full(&self, more: usize) -> bool {
        self.count() >= self.max_held || self.held_bytes.saturating_add(more) > MAX_HELD_BYTES
    }

    fn drop_held(&mut self, id: u64) {
        if let Some(request) = self.held.remove(&id) {
            self.held_bytes -= request.bytes();
        }
    }

    /// Hands the next request in order to the application.
    pub(crate) fn next(&mut self) -> Option<ServerRequest> {
        let id = self.handed + 1;
        let request_id = RequestId::new(id).ok()?;
        match self.held.remove(&id)? {
            Held::Request { payload, created_at } => {
                self.handed = id;
                self.handed_bytes.insert(id, payload.len());
                Some(ServerRequest { request_id, payload, created_at })
            }
            skip @ Held::Skip => {
                self.held.insert(id, skip);
                None
            }
        }
    }

    /// The application has this request now. Returns false for an id that is not the next in the order handed over.
    pub(crate) fn done(&mut self, now: Instant, id: RequestId) -> bool {
        let id = id.get();
        if self.handed_bytes.first_key_value().is_none_or(|(first, _)| *first != id) {
            return false;
        }
        if let Some(bytes) = self.handed_bytes.remove(&id) {
            self.held_bytes -= bytes;
        }
        self.deliver(now, id);
        self.skip(now);
        true
    }

    fn deliver(&mut self, now: Instant, id: u64) {
        self.delivered = id;
        self.ack_soon(now);
        if self.delivered - self.acknowledged >= ACK_BATCH {
            self.ack_due = Some(now);
        }
    }

    /// Skips requests that cannot be used, once everything before them is delivered.
    fn skip(&mut self, now: Instant) {
        while self.delivered == self.handed
            && matches!(self.held.first_key_value(), Some((&id, Held::Skip)) if id == self.handed + 1)
        {
            self.held.pop_first();
            self.handed += 1;
            self.deliver(now, self.handed);
        }
    }

    fn ack_soon(&mut self, now: Instant) {
        self.ack_due.get_or_insert(now + ACK_DELAY);
    }

    /// Returns when the next acknowledgement must be sent.
    pub(crate) fn ack_due(&self) -> Option<Instant> {
        self.ack_due
    }

    /// Takes the acknowledgement for everything delivered so far.
    pub(crate) fn take_ack(&mut self) -> Option<RequestId> {
        self.ack_due.take()?;
        self.acknowledged = self.delivered;
        RequestId::new(self.acknowledged).ok()
    }

    /// Returns how many requests are held for the application.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.count()
    }
}

impl Held {
    fn bytes(&self) -> usize {
        match self {
            Self::Request { payload, .. } => payload.len(),
            Self::Skip => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn id(id: u64) -> RequestId {
        RequestId::new(id).unwrap()
    }

    fn arrive(tracker: &mut ServerRequests, number: u64, bytes: usize) -> Arrival {
        tracker.arrived(NOW, id(number), Bytes::from(vec![0; bytes]), Timestamp::from_millis(0))
    }

    fn deliver_all(tracker: &mut ServerRequests) -> Vec<u64> {
        let mut seen = Vec::new();
        while let Some(request) = tracker.next() {
            seen.push(request.request_id.get());
            tracker.done(NOW, request.request_id);
        }
        seen
    }

    #[test]
    fn request_behind_a_gap_is_held_until_the_gap_is_filled() {
        let mut tracker = ServerRequests::new(10);
        assert_eq!(arrive(&mut tracker, 2, 1), Arrival::Held);
        assert_eq!(deliver_all(&mut tracker), []);
        assert_eq!(tracker.take_ack(), None);
        assert_eq!(arrive(&mut tracker, 1, 1), Arrival::Held);
        assert_eq!(deliver_all(&mut tracker), [1, 2]);
        assert_eq!(tracker.take_ack(), Some(id(2)));
    }

    #[test]
    fn the_next_in_order_always_has_room_and_the_highest_ids_give_way() {
        let mut tracker = ServerRequests::new(3);
        for number in [4, 3, 5] {
            assert_eq!(arrive(&mut tracker, number, 1), Arrival::Held);
        }
        assert_eq!(arrive(&mut tracker, 6, 1), Arrival::GaveWay);
        assert_eq!(arrive(&mut tracker, 2, 1), Arrival::Held, "5 gave way");
        assert_eq!(arrive(&mut tracker, 1, MAX_HELD_BYTES + 1), Arrival::Held);
        assert!(tracker.held() <= 3);
        assert_eq!(deliver_all(&mut tracker)[0], 1);
    }

    #[test]
    fn unusable_request_is_skipped_in_its_turn_and_acknowledged() {
        let mut tracker = ServerRequests::new(10);
        arrive(&mut tracker, 1, 1);
        tracker.arrived_unusable(NOW, id(2));
        arrive(&mut tracker, 3, 1);
        assert_eq!(deliver_all(&mut tracker), [1, 3]);
        assert_eq!(tracker.take_ack(), Some(id(3)));
    }

    #[test]
    fn acknowledgement_waits_for_50_ms_or_32_deliveries() {
        let mut tracker = ServerRequests::new(100);
        for number in 1..=31 {
            arrive(&mut tracker, number, 1);
        }
        deliver_all(&mut tracker);
        assert_eq!(tracker.ack_due(), Some(NOW + ACK_DELAY));
        arrive(&mut tracker, 32, 1);
        deliver_all(&mut tracker);
        assert_eq!(tracker.ack_due(), Some(NOW));
    }

    #[test]
    fn at_most_64_mib_are_held() {
        let half = MAX_HELD_BYTES / 2;
        for order in [[2, 1], [1, 2], [2, 3]] {
            let mut tracker = ServerRequests::new(10);
            for number in order {
                assert_eq!(arrive(&mut tracker, number, half), Arrival::Held);
            }
            assert_eq!(tracker.held(), 2, "{order:?}");
            assert_eq!(arrive(&mut tracker, 4, 1), Arrival::GaveWay);
        }
        let mut tracker = ServerRequests::new(10);
        arrive(&mut tracker, 2, half);
        arrive(&mut tracker, 1, half + 1);
        assert_eq!(tracker.held(), 1, "2 gave way");
    }
}
