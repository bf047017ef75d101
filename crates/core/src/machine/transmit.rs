//! What is written, and in which order: keep-alives, acknowledgements, copies of due requests, new work.

use zraft_protocol::{
    ClientMessage, CloseReason, CorrelationId, Payload, RequestId, Timestamp, encode,
};

use super::Machine;
use crate::{
    ConnId, Instant, RequestKind,
    event::Event,
    link::Frame,
    resend::{Limit, Turn},
    tables::queries::TEXT,
};

/// The server keeps an answer for each id from L on, so no new id is further above L than this many windows. Eight keep
/// the window full while an old command waits for its answer.
const ID_SPAN: u64 = 8;

/// Which request is sent next.
enum Choice {
    /// The one in this slot, for the first time in this session.
    New(u32),
    /// A copy of the one in this slot.
    Copy(u32, Limit),
    None,
}

impl Machine {
    /// Sends CreateSession or ContinueSession, once per connection. Nothing else is sent before its answer.
    pub(super) fn fill_handshake(&mut self, now: Instant, conn: ConnId) {
        if !self.search.link(conn).is_some_and(|link| link.zmtp.is_ready()) {
            return;
        }
        let Some(nonce) = self.may_ask(now, conn) else { return };
        let message = match &self.session {
            Some(session) => {
                ClientMessage::ContinueSession { session_id: session.id.clone(), nonce }
            }
            None => ClientMessage::CreateSession {
                capabilities: self.config.capabilities.clone(),
                nonce,
            },
        };
        self.send_on(conn, message);
    }

    /// Sends a message on the session's connection.
    fn send(&mut self, message: ClientMessage) {
        if let Some(conn) = self.link.as_ref().map(|link| link.id) {
            self.send_on(conn, message);
        }
    }

    fn send_on(&mut self, conn: ConnId, message: ClientMessage) {
        let Some(link) = self.link_mut(conn) else { return };
        link.send(&message);
        if self.out.observes_messages() {
            self.out.event(Event::MessageSent { message });
        }
    }

    pub(super) fn fill_session(&mut self, now: Instant, wall: Timestamp) {
        let ready = self.link.as_ref().is_some_and(|link| link.zmtp.is_ready());
        if !ready || self.is_closing() {
            return;
        }
        self.fill_keep_alive(now, wall);
        self.resend.tick(now, &mut self.requests);
        self.fill_acks(now);
        while self.link.as_ref().is_some_and(crate::link::Link::has_room) {
            match self.choose(now) {
                Choice::New(slot) | Choice::Copy(slot, _) if !self.has_room_for(slot) => break,
                Choice::New(slot) => {
                    self.send_new(slot, wall);
                    if self.resend.is_idle() && !self.quarantine.one_at_a_time() {
                        self.fill_new(wall);
                        break;
                    }
                }
                Choice::Copy(slot, limit) => self.send_copy(now, slot, limit, wall),
                Choice::None => break,
            }
        }
        self.close_when_drained(now);
    }

    fn fill_keep_alive(&mut self, now: Instant, wall: Timestamp) {
        if self.liveness.wants_keep_alive() {
            let timestamp = self.liveness.keep_alive(now, wall);
            self.send(ClientMessage::KeepAlive { timestamp });
            if let Some(link) = &mut self.link {
                link.note(Frame::KeepAlive);
            }
        }
    }

    /// Returns true if this request's frame fits into what may be encoded ahead of the socket.
    #[inline]
    pub(super) fn has_room_for(&self, slot: u32) -> bool {
        let length = self.requests.slab.get(slot).payload.len();
        self.link.as_ref().is_some_and(|link| link.has_room_for(length))
    }

    /// Sends new work as far as window and buffer allow. Nothing else is left to choose from.
    fn fill_new(&mut self, wall: Timestamp) {
        while self.link.as_ref().is_some_and(crate::link::Link::has_room)
            && let Choice::New(slot) = self.choose_new()
            && self.has_room_for(slot)
        {
            self.send_new(slot, wall);
        }
    }

    fn fill_acks(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let room = self.link.as_ref().is_some_and(crate::link::Link::has_room);
        if room
            && session.tracker.ack_due().is_some_and(|due| due <= now)
            && let Some(request_id) = session.tracker.take_ack()
        {
            self.send(ClientMessage::ServerRequestAck { request_id });
        }
    }

    /// Sends the last acknowledgement, and CloseSession.
    pub(super) fn send_close(&mut self) {
        if let Some(request_id) =
            self.session.as_mut().and_then(|session| session.tracker.take_ack())
        {
            self.send(ClientMessage::ServerRequestAck { request_id });
        }
        self.send(ClientMessage::CloseSession { reason: CloseReason::ClientShutdown });
    }

    fn choose(&mut self, now: Instant) -> Choice {
        let turn = if self.quarantine.one_at_a_time() {
            self.resend.next_alone(&self.requests, self.quarantine.alone())
        } else {
            self.resend.next(now, &self.requests)
        };
        match turn {
            Turn::Copy(slot, limit) => Choice::Copy(slot, limit),
            Turn::NewWork => self.choose_new(),
            Turn::Nothing => Choice::None,
        }
    }

    #[inline]
    fn choose_new(&self) -> Choice {
        let limit = self.config.max_in_flight;
        let commands = &self.requests.commands;
        let command = commands.pending() < limit
            && commands.next_id() - commands.lowest() <= ID_SPAN * limit as u64;
        let query = self.requests.queries_pending() < limit;
        match self.requests.first_queued(command, query) {
            Some(slot) => Choice::New(slot),
            None => Choice::None,
        }
    }

    #[inline(always)]
    fn send_new(&mut self, slot: u32, wall: Timestamp) {
        let Some(link) = &self.link else { return };
        self.requests.hand_over(slot, link.id);
        self.stats.sent += 1;
        self.send_request(slot, wall);
    }

    fn send_copy(&mut self, now: Instant, slot: u32, limit: Limit, wall: Timestamp) {
        let Some(link) = &mut self.link else { return };
        let entry = self.requests.slab.get(slot);
        if entry.sent_on == link.id {
            link.on_the_wire -= 1;
        }
        self.resend.resent(now, &mut self.requests, slot, limit, &mut self.rng);
        self.stats.resent += 1;
        if self.quarantine.one_at_a_time() {
            self.quarantine.sent_alone(self.requests.slab.key(slot));
        }
        self.send_request(slot, wall);
    }

    #[inline(always)]
    fn send_request(&mut self, slot: u32, wall: Timestamp) {
        let Some(link) = &mut self.link else { return };
        let key = self.requests.slab.key(slot);
        let entry = self.requests.slab.get(slot);
        let (id, length) = (entry.id, entry.payload.len());
        let payload = &entry.payload;
        match entry.kind {
            RequestKind::Command => {
                let lowest = self.requests.commands.lowest();
                let (Ok(request_id), Ok(lowest)) = (RequestId::new(id), RequestId::new(lowest))
                else {
                    return;
                };
                let head = encode::ClientRequestHead::new(request_id, lowest, length);
                link.send_request(head.pieces(), payload, wall);
            }
            RequestKind::Query => {
                let text = self.requests.correlation_text(slot, id);
                let mut head = [0; encode::QUERY_HEAD + TEXT];
                encode::query_head(&mut &mut head[..], &text, length);
                link.send_request([&head], payload, wall);
            }
        }
        link.note(Frame::Request(key));
        link.carried = true;
        link.on_the_wire += 1;
        if self.out.observes_messages() {
            self.note_sent(slot, wall);
        }
    }

    fn note_sent(&mut self, slot: u32, created_at: Timestamp) {
        let entry = self.requests.slab.get(slot);
        let Ok(payload) = Payload::new(entry.payload.clone()) else { return };
        let message = match entry.kind {
            RequestKind::Command => {
                let lowest = RequestId::new(self.requests.commands.lowest());
                let (Ok(request_id), Ok(lowest_pending_request_id)) =
                    (RequestId::new(entry.id), lowest)
                else {
                    return;
                };
                ClientMessage::ClientRequest {
                    request_id,
                    lowest_pending_request_id,
                    payload,
                    created_at,
                }
            }
            RequestKind::Query => {
                let text = self.requests.correlation_text(slot, entry.id);
                let text = String::from_utf8_lossy(&text).into_owned();
                let Ok(correlation_id) = CorrelationId::new(text) else { return };
                ClientMessage::Query { correlation_id, payload, created_at }
            }
        };
        self.out.event(Event::MessageSent { message });
    }

    /// The socket took bytes of the buffer that [`transmit`](Self::transmit) returned. Answers to the frames whose
    /// last byte it took are awaited from now on. Ignored for a connection that was closed.
    pub fn handle_written(&mut self, now: Instant, conn: ConnId) {
        // Nothing that an attempt writes is awaited.
        let Some(link) = self.link.as_mut().filter(|link| link.id == conn) else { return };
        while let Some(frame) = link.next_written() {
            match frame {
                Frame::KeepAlive => self.liveness.written(now),
                Frame::Request(key) => {
                    if self.resend.written(now, &mut self.requests, key, conn) {
                        self.liveness.request_written(now);
                    }
                }
            }
        }
        if link.zmtp.tx_queued() > 0 {
            link.pushed = now;
        }
        self.liveness.bytes_written(now, link.zmtp.tx_written());
        self.shut_down_when_written(now);
    }
}
