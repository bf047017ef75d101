//! Each frame that the machine reads, and what it means for the session.

use bytes::Bytes;
use zraft_core::{ConnId, DisconnectReason, Instant, RequestKind, StateName};
use zraft_protocol::{
    MemberId, PeekedId, RejectionReason, RequestErrorReason, ServerMessage, SessionCloseReason,
    peek_server,
};

use super::{Judge, KeepAlive, Session, Stage, Unusable, resume::Loss, watch};

/// What a frame means for the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Nothing,
    /// The session is open on it.
    Connected,
    /// Later frames on this connection mean nothing.
    Over,
}

/// Bytes that reach the machine in one read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    /// The read began within a message frame.
    pub(crate) mid_message: bool,
    /// How many of the bytes belong to message frames.
    pub(crate) message_bytes: u64,
    /// The read ended within such a frame.
    pub(crate) ends_mid_message: bool,
}

impl Judge {
    /// Bytes of the connection reach the machine, after the frames that they complete.
    pub(crate) fn bytes(&mut self, now: Instant, id: ConnId, read: Read) {
        self.promises.byte(now);
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == id) {
            attempt.last_bytes = now;
            attempt.mid_message = read.ends_mid_message;
        }
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.id == id) else { return };
        wire.last_bytes = now;
        wire.mid_message = read.ends_mid_message;
        // The member is not frozen, so nothing is sought beside it.
        self.tries.found_session();
        for attempt in &mut self.attempts {
            attempt.blameless = true;
        }
        if read.message_bytes == 0 {
            return;
        }
        let bytes = u32::try_from(read.message_bytes).unwrap_or(u32::MAX);
        let worth = watch::WORTH.saturating_mul(bytes);
        for keep_alive in &mut wire.keep_alives {
            let Some(written) = keep_alive.written else { break };
            let gap = now - wire.last_message_bytes.max(written);
            if read.mid_message || gap <= watch::FLOWING {
                keep_alive.flowed += gap.min(worth);
            }
        }
        wire.last_message_bytes = now;
    }

    /// A frame reaches the machine, which is in this state.
    pub(crate) fn received(
        &mut self,
        now: Instant,
        id: ConnId,
        frame: &Bytes,
        state: StateName,
        fits: bool,
    ) -> Meaning {
        let Some(wire) = self.any_wire(id) else {
            self.coverage.cell("superseded_connection", state);
            if let Ok(message) = ServerMessage::decode(frame) {
                self.count_cell(&message, state, None);
            }
            return Meaning::Nothing;
        };
        let stage = wire.stage;
        if stage == Stage::Over {
            return Meaning::Over;
        }
        let message = match ServerMessage::decode(frame) {
            Ok(message) if fits => message,
            _ => {
                self.coverage.cell("undecodable", state);
                if stage == Stage::Connected {
                    self.unusable(now, frame);
                }
                return Meaning::Nothing;
            }
        };
        let nonce = wire.nonce;
        self.count_cell(&message, state, Some(nonce));
        match stage {
            Stage::Connected => self.in_session(now, id, message),
            Stage::Asked { nonce, create } => self.answer_to(now, id, message, nonce, create),
            Stage::Fresh => match message {
                ServerMessage::SessionClosed { reason, leader_id } => {
                    self.names_leader(id, leader_id);
                    self.told_too_early(id, reason)
                }
                _ => Meaning::Nothing,
            },
            Stage::Over => Meaning::Over,
        }
    }

    fn over(&mut self, id: ConnId) -> Meaning {
        if let Some(wire) = self.any_wire_mut(id) {
            wire.stage = Stage::Over;
        }
        Meaning::Over
    }

    fn told_too_early(&mut self, id: ConnId, reason: SessionCloseReason) -> Meaning {
        // While the session has a connection, that one tells.
        let believed = self.session.is_some() && self.wire.is_none();
        if reason == SessionCloseReason::SessionExpired && believed {
            self.expiry_told = true;
        }
        self.over(id)
    }

    fn answer_to(
        &mut self,
        now: Instant,
        id: ConnId,
        message: ServerMessage,
        nonce: i64,
        create: bool,
    ) -> Meaning {
        match message {
            ServerMessage::SessionCreated { session_id, nonce: its }
                if create && its.get() == nonce =>
            {
                self.sessions += 1;
                self.session_ids.push(session_id.as_str().to_owned());
                self.delivered.push(Vec::new());
                self.new_notices();
                self.session = Some(Session {
                    id: session_id.as_str().to_owned(),
                    ids: Vec::new(),
                    outstanding: std::collections::BTreeMap::new(),
                    lowest: 0,
                    delivered: 0,
                    acknowledged: 0,
                    proof: now,
                    doubted: None,
                    untold: None,
                    denials: std::collections::BTreeMap::new(),
                    named: std::collections::BTreeMap::new(),
                });
                self.stands(now, id);
                Meaning::Connected
            }
            ServerMessage::SessionContinued { nonce: its } if !create && its.get() == nonce => {
                if let Some(session) = &mut self.session {
                    session.proof = now;
                    session.doubted = None;
                    session.denials.clear();
                    session.named.clear();
                }
                if self.wire.is_some() {
                    self.coverage.cell("frozen", StateName::Connected);
                    self.lost(now, DisconnectReason::HeartbeatTimeout);
                    self.left = self.wire.take();
                }
                self.stands(now, id);
                let resume = self.resume();
                if let Some(wire) = &mut self.wire {
                    wire.resume = resume;
                }
                Meaning::Connected
            }
            ServerMessage::SessionRejected { reason, nonce: its, leader_id }
                if its.get() == nonce =>
            {
                let member = self.any_wire(id).map_or(0, |wire| wire.member);
                self.rejected_by(member, reason, leader_id.as_ref());
                self.names_leader(id, leader_id);
                let believed = self.wire.is_none();
                match reason {
                    RejectionReason::SessionExpired if !create && believed => {
                        self.denied(now, member);
                    }
                    RejectionReason::InvalidCapabilities | RejectionReason::Other if believed => {
                        self.rejected_permanently = true;
                        self.attempts_are_blameless();
                    }
                    _ => {}
                }
                self.over(id)
            }
            ServerMessage::SessionClosed { reason, leader_id } => {
                self.names_leader(id, leader_id);
                self.told_too_early(id, reason)
            }
            _ => Meaning::Nothing,
        }
    }

    /// The attempt becomes the session's connection, and the others are over.
    fn stands(&mut self, now: Instant, id: ConnId) {
        self.tries.ends_a_pause(now);
        self.tries.found_session();
        let Some(place) = self.attempts.iter().position(|attempt| attempt.id == id) else { return };
        let mut wire = self.attempts.remove(place);
        self.attempts_are_blameless();
        wire.stage = Stage::Connected;
        wire.connected_at = now;
        wire.stood = true;
        wire.last_keep_alive = now;
        wire.progress = (0, now);
        self.wire = Some(wire);
        self.must_ask_for_members(now);
    }

    /// A member does not lead, and may name the leader.
    fn rejected_by(&mut self, member: usize, reason: RejectionReason, leader: Option<&MemberId>) {
        let named = leader.and_then(|leader| self.listed(leader));
        let Some(session) = self.session.as_mut().filter(|session| session.doubted.is_some())
        else {
            return;
        };
        if reason == RejectionReason::NotLeader {
            match named {
                Some(named) => drop(session.named.insert(member, named)),
                None => drop(session.named.remove(&member)),
            }
        }
    }

    /// A member says that the session expired, which may be false.
    fn denied(&mut self, now: Instant, member: usize) {
        let alone = !self.lists_other_than(member);
        let Some(session) = &mut self.session else { return };
        let begins = session.doubted.is_none();
        session.doubted.get_or_insert(now);
        session.named.remove(&member);
        let (denials, since) = session.denials.entry(member).or_insert((0, now));
        *denials += 1;
        let again = alone && now - *since >= std::time::Duration::from_secs(5);
        let often = *denials >= 3 && now - *since >= std::time::Duration::from_secs(10);
        let others = || session.named.iter().filter(|(other, _)| **other != member);
        let leads = others().count() > 0 && others().all(|(_, leader)| *leader == member);
        self.expiry_certain |= often && leads;
        if now - session.proof >= self.terms.session_timeout || again || self.expiry_certain {
            self.expiry_told = true;
        } else if begins {
            session.untold = Some(member);
        }
    }

    fn in_session(&mut self, now: Instant, id: ConnId, message: ServerMessage) -> Meaning {
        match message {
            ServerMessage::ClientResponse { request_id, result } => {
                self.command_answered(now, request_id.get(), Ok(result.into_bytes()));
            }
            ServerMessage::RequestError {
                request_id,
                reason: RequestErrorReason::ResponseEvicted,
            } => {
                let command = request_id.get();
                let pending =
                    self.session.as_ref().is_some_and(|s| s.outstanding.contains_key(&command));
                if pending && self.may_reject {
                    self.command_answered(now, command, Err(Unusable::Evicted));
                    return Meaning::Nothing;
                }
                self.demand(!pending, "no answer that is still wanted is evicted", || {
                    format!("command {command}")
                });
            }
            ServerMessage::QueryResponse { correlation_id, result } => {
                self.query_answered(now, correlation_id.as_bytes(), Ok(result.into_bytes()));
            }
            ServerMessage::KeepAliveResponse { timestamp } => {
                // An answer to a KeepAlive that was never written proves nothing.
                let at = timestamp.as_millis();
                let asked = |k: &KeepAlive| k.timestamp == at && k.written.is_some();
                if let Some(wire) = &mut self.wire
                    && let Some(place) = wire.keep_alives.iter().position(asked)
                {
                    let written = wire.keep_alives[place].written;
                    wire.keep_alives.drain(..=place);
                    wire.heard = true;
                    wire.silence.heard(written);
                    self.promises.probed(now, written);
                    self.tries.heard();
                    self.tries.stand();
                    if let Some(session) = &mut self.session {
                        session.proof = now;
                    }
                }
            }
            ServerMessage::SessionClosed { reason, leader_id } => {
                self.names_leader(id, leader_id);
                if reason == SessionCloseReason::SessionExpired {
                    self.expiry_told = true;
                }
                if let Some(wire) = &mut self.wire {
                    wire.told = true;
                }
                return self.over(id);
            }
            _ => {}
        }
        Meaning::Nothing
    }

    fn command_answered(&mut self, now: Instant, id: u64, answer: Result<Bytes, Unusable>) {
        let Some(session) = &mut self.session else { return };
        let Some(number) = session.outstanding.remove(&id) else { return };
        self.answered(now, number, answer);
    }

    fn query_answered(
        &mut self,
        now: Instant,
        correlation: &[u8],
        answer: Result<Bytes, Unusable>,
    ) {
        let number = self.by_correlation.get(correlation).copied().filter(|number| {
            let asked = &self.requests[*number];
            let live = asked.correlation.as_deref() == Some(correlation) && asked.settled.is_none();
            live && asked.answer.is_none()
        });
        match (number, answer) {
            (Some(number), answer) => self.answered(now, number, answer),
            (None, Ok(list)) => self.later_list(list),
            (None, Err(_)) => {}
        }
    }

    fn answered(&mut self, now: Instant, number: usize, answer: Result<Bytes, Unusable>) {
        self.sample_pace(now, number);
        let asked = &mut self.requests[number];
        asked.answer = Some(answer);
        self.liveness.led = Some(now);
        self.expected.push(number);
        if let Some(sent) = asked.sent_once {
            self.promises.slowest = self.promises.slowest.max(now - sent);
        }
        self.promises.fruitless = 0;
        self.tries.heard();
        if let Some(wire) = &mut self.wire {
            wire.answered = true;
            wire.heard = true;
            let here = asked.last_wire == Some(wire.id);
            wire.silence.answered(now, wire.on_it > usize::from(here));
            if let Some((_, id)) = asked.place {
                wire.overtaking.answered(id);
                wire.pace.answered(id);
            }
        }
        self.tries.stand();
        self.own_query_answered(now, number);
    }

    /// The frame cannot be used, but its beginning may tell which request it answers.
    fn unusable(&mut self, now: Instant, frame: &Bytes) {
        match peek_server(&frame.slice(..frame.len().min(64))) {
            Some(PeekedId::ClientResponse(id)) => {
                self.command_answered(now, id.get(), Err(Unusable::Undecodable));
            }
            Some(PeekedId::QueryResponse(id)) => {
                self.query_answered(now, id.as_bytes(), Err(Unusable::Undecodable));
            }
            _ => {}
        }
    }

    /// The machine is about to learn that the connection ended, or that it could not be opened.
    pub(crate) fn ended(&mut self, now: Instant, id: ConnId, state: StateName) {
        if self.any_wire(id).is_some() {
            self.coverage.cell("connection_lost", state);
            if self.wire.as_ref().is_some_and(|wire| wire.id == id) {
                self.drops(now);
            }
        } else {
            self.coverage.cell("superseded_connection", state);
        }
    }

    /// The member ended the connection. Counts a member that continued the session and served nothing.
    fn drops(&mut self, now: Instant) {
        let Some(wire) = self.wire.as_ref().filter(|wire| wire.stage == Stage::Connected) else {
            return;
        };
        if wire.served(now) {
            self.drops[wire.member] = 0;
        } else if self.terms.listed.contains(&wire.member) {
            self.drops[wire.member] += 1;
            // A search that began beside the connection goes on, and may ask it in its turn.
            self.dropped_by = Some(wire.member).filter(|_| !self.tries.is_under_way());
        }
    }

    /// Returns what the connection did that is lost now.
    pub(super) fn loss(&self) -> Loss {
        let wire = self.wire.as_ref();
        Loss {
            carried: wire.is_some_and(|wire| wire.carried),
            answered: wire.is_some_and(|wire| wire.answered),
            in_flight: wire.is_some_and(|wire| wire.on_it > 0),
            last_bytes: wire.map(|wire| wire.last_bytes),
            mid_message: wire.is_some_and(|wire| wire.mid_message),
        }
    }

    /// Counts a cell of the state table. `nonce` is that of the connection's handshake message, or 0 before it was sent. It is `None`
    /// for a closed connection, whose answers are taken to have the right nonce.
    fn count_cell(&mut self, message: &ServerMessage, state: StateName, nonce: Option<i64>) {
        let same = |its: &zraft_protocol::Nonce| nonce.is_none_or(|nonce| nonce == its.get());
        let event = match message {
            ServerMessage::SessionCreated { nonce, .. } if same(nonce) => "session_created",
            ServerMessage::SessionContinued { nonce } if same(nonce) => "session_continued",
            ServerMessage::SessionRejected { nonce, reason, .. } if same(nonce) => match reason {
                RejectionReason::NotLeader => "rejected_not_leader",
                RejectionReason::SessionExpired => "rejected_session_expired",
                _ => "rejected_permanently",
            },
            ServerMessage::SessionCreated { .. }
            | ServerMessage::SessionContinued { .. }
            | ServerMessage::SessionRejected { .. } => "other_nonce",
            ServerMessage::SessionClosed { reason: SessionCloseReason::SessionExpired, .. } => {
                "session_closed_expired"
            }
            ServerMessage::SessionClosed { .. } => "session_closed",
            ServerMessage::KeepAliveResponse { .. } => "keep_alive_response",
            ServerMessage::ClientResponse { .. } => "client_response",
            ServerMessage::ServerRequest { .. } => "server_request",
            ServerMessage::RequestError { .. } => "response_evicted",
            ServerMessage::QueryResponse { .. } => "query_response",
        };
        self.coverage.cell(event, state);
    }

    /// The application took a server request.
    pub(crate) fn took(&mut self, id: u64, payload: &Bytes) {
        let Some(session) = &mut self.session else {
            return self.violated("server requests come in a session", format!("{id}"));
        };
        let next = session.delivered + 1;
        if id != next {
            return self.violated(
                "server requests are delivered once, in order",
                format!("{id} where {next} is next"),
            );
        }
        session.delivered = id;
        self.promises.taken_in = self.sessions;
        if let Some(delivered) = self.delivered.last_mut() {
            delivered.push(payload.clone());
        }
        self.coverage.count("server requests", "delivered");
    }

    /// Returns the name of a request's kind, for the counters.
    pub(crate) fn kind_name(kind: RequestKind) -> &'static str {
        match kind {
            RequestKind::Command => "command",
            RequestKind::Query => "query",
        }
    }
}
