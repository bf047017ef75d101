//! Each frame that the machine writes: ids, L, windows, handshakes.

use bytes::Bytes;
use zraft_core::{ConnId, Instant, RequestKind, StateName};
use zraft_protocol::ClientMessage;

use super::{
    Judge, KeepAlive, Resume, Stage, Wire, pace,
    prompt::{Overtaking, Silence},
    watch::STANDS,
};

/// No id is more than this many windows above L: the server keeps an answer for every id from L on.
const SPAN: u64 = 8;
/// After this many losses in a row at a member that served nothing, another member is asked.
const DROPS: u32 = 3;

impl Judge {
    /// The machine opens a connection.
    pub(crate) fn opens(&mut self, now: Instant, id: ConnId, member: usize) {
        let captor = self.dropped_by.take() == Some(member) && self.drops[member] >= DROPS;
        let alone = !self.lists_other_than(member);
        self.demand(
            !captor || alone,
            "a member that drops the session again and again is left",
            || format!("member {} after {DROPS} losses in a row", member + 1),
        );
        self.one_connection_each(member);
        self.beside_others(now);
        self.tries_again(now, member);
        self.attempts.push(Wire {
            id,
            member,
            since: now,
            stage: Stage::Fresh,
            nonce: 0,
            asked_at: now,
            connected_at: now,
            stood: false,
            carried: false,
            answered: false,
            heard: false,
            mid_message: false,
            progress: (0, now),
            outsider: None,
            blameless: false,
            pace: pace::Copies::default(),
            on_it: 0,
            left_at: None,
            copies: 0,
            resent: false,
            settled: 0,
            last_old: 0,
            keep_alives: std::collections::VecDeque::new(),
            last_keep_alive: now,
            last_bytes: now,
            last_message_bytes: now,
            written: 0,
            taken_at: now,
            encoded: 0,
            close_session: false,
            told: false,
            resume: Resume::Nothing,
            silence: Silence::default(),
            overtaking: Overtaking::default(),
        });
    }

    /// The machine closes a connection.
    pub(crate) fn closes(&mut self, now: Instant, id: ConnId) {
        let wire = if self.wire.as_ref().is_some_and(|wire| wire.id == id) {
            if self.wire.as_ref().is_some_and(|wire| {
                wire.stage == Stage::Connected && now - wire.connected_at >= STANDS
            }) {
                self.tries.stand();
            }
            self.wire.take()
        } else if self.left.as_ref().is_some_and(|left| left.id == id) {
            self.left.take()
        } else if let Some(place) = self.attempts.iter().position(|attempt| attempt.id == id) {
            Some(self.attempts.remove(place))
        } else {
            return;
        };
        let Some(wire) = wire else { return };
        self.tries.closes(now, &wire);
        if wire.nonce != 0 {
            self.past_nonces.push_back(wire.nonce);
            if self.past_nonces.len() > 3 {
                self.past_nonces.pop_front();
            }
        }
    }

    /// TCP's handshake is done.
    pub(crate) fn opened(&mut self, now: Instant, id: ConnId) {
        if let Some(wire) = self.any_wire_mut(id) {
            wire.last_bytes = now;
        }
    }

    /// A message was encoded into the write buffer; its frame ends at `end` of the stream.
    pub(crate) fn sent(&mut self, now: Instant, id: ConnId, frame: &Bytes, end: u64) {
        self.frames += 1;
        let message = match ClientMessage::decode(frame) {
            Ok(message) => message,
            Err(error) => return self.violated("what is sent decodes", error.to_string()),
        };
        let Some(wire) = self.any_wire_mut(id) else {
            return self.violated("nothing is sent on a closed connection", format!("{message:?}"));
        };
        if wire.close_session {
            self.violated("nothing follows CloseSession", format!("{message:?}"));
            return;
        }
        wire.encoded = end;
        let stage = wire.stage;
        match &message {
            ClientMessage::CreateSession { nonce, .. }
            | ClientMessage::ContinueSession { nonce, .. } => {
                let create = matches!(message, ClientMessage::CreateSession { .. });
                wire.asked_at = now;
                wire.stage = Stage::Asked { nonce: nonce.get(), create };
                wire.nonce = nonce.get();
                self.demand(stage == Stage::Fresh, "one handshake message per connection", || {
                    format!("{message:?} in {stage:?}")
                });
                if let ClientMessage::ContinueSession { session_id, .. } = &message {
                    let own = self.session_id() == Some(session_id.as_str());
                    self.demand(own, "the session continued is its own", String::new);
                } else {
                    let none = self.session.is_none();
                    self.demand(none, "no session is created while one stands", String::new);
                    self.creates_apart(now, id);
                }
                return;
            }
            _ if stage != Stage::Connected => {
                return self.violated(
                    "nothing before the session's answer",
                    format!("{message:?} in {stage:?}"),
                );
            }
            _ => {}
        }
        match message {
            ClientMessage::ClientRequest {
                request_id, lowest_pending_request_id, payload, ..
            } => {
                self.request_frames += 1;
                let lowest = lowest_pending_request_id.get();
                self.command_sent(now, request_id.get(), lowest, payload.as_bytes());
            }
            ClientMessage::Query { correlation_id, payload, .. } => {
                let correlation = Bytes::copy_from_slice(correlation_id.as_bytes());
                self.query_sent(now, correlation, payload.as_bytes());
            }
            ClientMessage::KeepAlive { timestamp } => {
                wire.last_keep_alive = now;
                let timestamp = timestamp.as_millis();
                wire.keep_alives.push_back(KeepAlive {
                    timestamp,
                    sent: now,
                    end,
                    written: None,
                    flowed: std::time::Duration::ZERO,
                });
                self.coverage.cell("keep_alive_tick", StateName::Connected);
            }
            ClientMessage::ServerRequestAck { request_id } => self.acknowledged(request_id.get()),
            ClientMessage::CloseSession { .. } => {
                wire.close_session = true;
                let asked = self.disconnecting.is_some();
                self.demand(asked, "a session is closed only when asked", String::new);
                self.all_acknowledged(now);
            }
            message => self.violated("a client never sends this", format!("{message:?}")),
        }
    }

    fn command_sent(&mut self, now: Instant, id: u64, lowest: u64, payload: &Bytes) {
        let Some(number) = self.by_payload(payload) else {
            return self.violated("a payload is sent as it was submitted", format!("command {id}"));
        };
        let present = self.sessions;
        let Some(session) = &mut self.session else { return };
        let asked = &mut self.requests[number];
        let next = session.ids.len() as u64 + 1;
        let first = asked.place.is_none();
        let rule = |rule, detail| Some((rule, detail));
        let mut broken = None;
        if asked.kind != RequestKind::Command {
            broken = rule("a query is not sent as a command", format!("{id}"));
        }
        match asked.place {
            None if id != next => {
                broken = rule("ids are 1, 2, 3… and never reused", format!("{id}, not {next}"));
            }
            None => {
                session.ids.push(number);
                session.outstanding.insert(id, number);
                asked.place = Some((present, id));
            }
            Some((of, _)) if of != present => {
                broken = rule("a command of one session is never sent in another", format!("{id}"));
            }
            Some((_, known)) if known != id => {
                broken = rule("a resend carries the same id", format!("{known}, now {id}"));
            }
            Some(_) if !session.outstanding.contains_key(&id) => {
                broken = rule("what is answered or abandoned is not sent", format!("{id}"));
            }
            Some(_) => {}
        }
        if matches!(asked.settled, Some(super::Settled::NotExecuted)) {
            broken = rule("what was called not executed is not sent", format!("{id}"));
        }
        let expected = session.outstanding.first_key_value().map_or(id, |(lowest, _)| *lowest);
        if lowest > id || lowest < session.lowest {
            broken = broken.or_else(|| {
                rule(
                    "L never decreases and never exceeds its id",
                    format!("{lowest} of {id}, after {}", session.lowest),
                )
            });
        } else if lowest > expected {
            broken = broken
                .or_else(|| rule("L passes nothing pending", format!("{lowest} over {expected}")));
        } else if lowest < expected.min(id) {
            broken = broken.or_else(|| {
                rule(
                    "L is the lowest neither answered nor abandoned",
                    format!("{lowest}, not {expected}"),
                )
            });
        }
        session.lowest = session.lowest.max(lowest);
        let outstanding = session.outstanding.len();
        if id - lowest.min(id) > SPAN * self.terms.max_in_flight as u64 {
            broken = broken.or_else(|| rule("the span of ids", format!("{id} over {lowest}")));
        }
        if outstanding > self.terms.max_in_flight {
            broken = broken.or_else(|| {
                rule("at most maxInFlight commands", format!("{outstanding} on the wire"))
            });
        }
        if let Some((rule, detail)) = broken {
            return self.violated(rule, detail);
        }
        self.request_on_wire(now, number, first, id);
    }

    fn query_sent(&mut self, now: Instant, correlation: Bytes, payload: &Bytes) {
        self.own_query_sent(now, payload);
        let Some(number) = self.by_payload(payload) else {
            return self.violated("a payload is sent as it was submitted", "a query");
        };
        let known = self.by_correlation.get(&correlation).copied();
        let asked = &mut self.requests[number];
        let (kind, settled) = (asked.kind, asked.settled.is_some());
        let first = asked.correlation.is_none();
        let mut broken = None;
        if kind != RequestKind::Query {
            broken = Some("a command is not sent as a query");
        } else if settled {
            broken = Some("a settled query is not sent");
        } else if known.is_some_and(|known| known != number) {
            broken = Some("a correlation id names one query");
        } else if asked.correlation.as_ref().is_some_and(|before| *before != correlation) {
            broken = Some("a resent query keeps its correlation id");
        }
        if let Some(rule) = broken {
            return self.violated(rule, format!("query {number}"));
        }
        if first {
            asked.correlation = Some(correlation.clone());
            self.by_correlation.insert(correlation, number);
            self.queries_out += 1;
            let out = self.queries_out;
            self.demand(out <= self.terms.max_in_flight, "at most maxInFlight queries", || {
                format!("{out} on the wire")
            });
        }
        self.request_on_wire(now, number, first, 0);
    }

    fn request_on_wire(&mut self, now: Instant, number: usize, first: bool, id: u64) {
        self.not_resent_too_early(now, number, id);
        let Some(wire) = &mut self.wire else { return };
        let asked = &mut self.requests[number];
        let here = asked.last_wire == Some(wire.id);
        asked.resent |= !first;
        asked.written_at = None;
        wire.carried = true;
        if !here {
            wire.on_it += 1;
        }
        asked.last_wire = Some(wire.id);
        asked.sent_once = first.then_some(now);
        wire.silence.sent(number, wire.encoded);
        if id > 0 {
            wire.overtaking.sent(id);
            wire.pace.sent(id);
        }
        let mut broken = None;
        if !first {
            self.coverage.cell("resend_due", StateName::Connected);
            self.coverage.count("resend", if here { "on the connection" } else { "on another" });
        }
        wire.resent |= here || (!first && wire.resume != Resume::Burst);
        let counted = here || (!first && wire.resume == Resume::Slow);
        if counted {
            wire.copies += 1;
            // Any answer on the connection ends the doubling, also one to a request of an earlier connection.
            if wire.settled == 0 && !wire.answered {
                let least = self.terms.resend_interval;
                broken = wire.pace.unanswered(now, wire.copies, least);
            }
            // One, then two more for each answer; one more in each resend interval; and a new start at one whenever a request
            // settles.
            let time = (now - wire.connected_at).as_nanos() / self.terms.resend_interval.as_nanos();
            let most = 3 + 3 * wire.settled + time as u64;
            if wire.copies > most {
                let copies = wire.copies;
                broken = Some((
                    "due requests go in slow start",
                    format!("{copies} copies where {most} may go"),
                ));
            }
        }
        if !here && !first && id > 0 {
            if id < wire.last_old {
                let last = wire.last_old;
                broken = Some(("resends of a resume go in id order", format!("{id} after {last}")));
            }
            wire.last_old = id;
        }
        if let Some((rule, detail)) = broken {
            self.violated(rule, detail);
        }
    }

    fn acknowledged(&mut self, id: u64) {
        let Some(session) = &mut self.session else { return };
        let (delivered, before) = (session.delivered, session.acknowledged);
        session.acknowledged = before.max(id);
        self.acknowledged_now();
        self.demand(id <= delivered, "never acknowledged past what was delivered", || {
            format!("{id} where {delivered} were delivered")
        });
        self.demand(id >= before, "acknowledgements do not go back", || {
            format!("{id} after {before}")
        });
    }

    /// The socket has taken `total` bytes of the connection.
    pub(crate) fn written(&mut self, now: Instant, id: ConnId, total: u64) {
        let stall = self.terms.stall_bytes();
        let Some(wire) = self.any_wire_mut(id) else { return };
        if total > wire.written {
            wire.taken_at = now;
        }
        wire.written = total;
        if total - wire.progress.0 >= stall {
            wire.progress = (total, now);
        }
        let written = wire.silence.written(now, total);
        for keep_alive in &mut wire.keep_alives {
            if keep_alive.written.is_none() && keep_alive.end <= total {
                keep_alive.written = Some(now);
            }
        }
        for number in written {
            self.requests[number].written_at = Some(now);
        }
    }
}
