//! What a raw client does by itself: it connects, asks for its session, submits, and sends everything again.

use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload, RequestId,
    Timestamp,
};

use super::{Fate, PATIENCE, RawCommand, Stage};
use crate::world::{calendar::What, plan::member_name, sim::Sim, system::Listening, trace::say};

/// A client that has nothing to submit looks around this often.
const AT_REST: Duration = Duration::from_millis(50);

impl Sim {
    /// A raw client's turn.
    pub(crate) fn raw_turn(&mut self, index: usize) {
        let now = self.now;
        let raw = &mut self.raws[index];
        let mut pause = raw.plan.pause;
        if raw.left == 0 || raw.stage != Stage::Bound {
            pause = pause.max(AT_REST);
        }
        if self.healing.is_some() {
            pause = pause.min(Duration::from_millis(100));
        }
        if raw.stage == Stage::Over {
            self.raw_leaves_line(index);
            return;
        }
        self.queue.push(now + pause, What::Raw(index));
        let raw = &self.raws[index];
        if raw.line.is_none() {
            self.raw_connects(index);
        } else if raw.stage != Stage::Fresh && now - raw.since.max(raw.heard) > PATIENCE {
            self.raw_moves_on(index, None);
            return;
        }
        if self.raws[index].line.is_none() {
            return;
        }
        match self.raws[index].stage {
            Stage::Fresh => self.raw_asks(index),
            Stage::Bound => self.raw_works(index),
            Stage::Asked(_) | Stage::Closing | Stage::Over => {}
        }
    }

    /// Connects to the member in turn. A client that believes that it is bound stays so: its socket does this by itself.
    pub(super) fn raw_connects(&mut self, index: usize) {
        let member = self.raws[index].member;
        let port = self.net.ports[member];
        self.raw_line += 1;
        let line = self.raw_line;
        let accepts = port.listening == Listening::Open && !port.silent;
        if accepts && self.system.connected(self.now, line, member) {
            let raw = &mut self.raws[index];
            raw.line = Some(line);
            raw.heard = self.now;
            raw.since = self.now;
            self.raw_lines.insert(line, index);
            say!(self.trace, self.now, "raw {index} connects to member {}", member + 1);
        } else {
            self.raw_moves_on(index, None);
        }
    }

    pub(super) fn raw_leaves_line(&mut self, index: usize) {
        if let Some(line) = self.raws[index].line.take() {
            self.raw_lines.remove(&line);
            self.raw_unread.remove(&line);
            self.system.disconnected(self.now, line);
        }
    }

    /// Turns to another member: the one that a hint names, or the next.
    pub(super) fn raw_moves_on(&mut self, index: usize, hint: Option<MemberId>) {
        self.raw_leaves_line(index);
        let members = self.members;
        let hinted =
            hint.and_then(|hint| (0..members).find(|member| member_name(*member) == hint.as_str()));
        let raw = &mut self.raws[index];
        raw.member = hinted.unwrap_or((raw.member + 1) % members);
        if raw.stage != Stage::Over {
            raw.stage = Stage::Fresh;
        }
    }

    pub(super) fn raw_asks(&mut self, index: usize) {
        let now = self.now;
        let raw = &mut self.raws[index];
        if raw.leaving && raw.session.is_none() {
            raw.stage = Stage::Over;
            return;
        }
        let nonce = Nonce::new(raw.rng.range(1, i64::MAX as u64) as i64).expect("not 0");
        raw.stage = Stage::Asked(nonce);
        raw.since = now;
        let message = match raw.session.clone() {
            Some(session_id) => ClientMessage::ContinueSession { session_id, nonce },
            None => {
                let kind = ("kind".to_owned(), "raw".to_owned());
                let capabilities = Capabilities::new([kind]).expect("short");
                ClientMessage::CreateSession { capabilities, nonce }
            }
        };
        self.raw_sends(index, message);
    }

    /// Sends what is new, what was not answered, and a KeepAlive.
    pub(super) fn raw_works(&mut self, index: usize) {
        let now = self.now;
        let raw = &mut self.raws[index];
        if raw.leaving {
            raw.stage = Stage::Closing;
            raw.since = now;
            let reason = CloseReason::ClientShutdown;
            return self.raw_sends(index, ClientMessage::CloseSession { reason });
        }
        if now - raw.kept_alive >= raw.plan.keep_alive {
            self.raw_keeps_alive(index);
        }
        let raw = &mut self.raws[index];
        if now - raw.resent >= raw.plan.resend {
            self.raw_resends(index);
        }
        let raw = &mut self.raws[index];
        let count = raw.rng.range(1, raw.plan.burst).min(raw.left);
        for _ in 0..count {
            self.raw_submits(index);
        }
        if count > 0 && self.raws[index].rng.percent(20) {
            self.raw_queries(index);
        }
    }

    fn raw_keeps_alive(&mut self, index: usize) {
        self.raws[index].kept_alive = self.now;
        let timestamp = Timestamp::from_millis(self.now.as_nanos() as i64 / 1_000_000);
        self.raw_sends(index, ClientMessage::KeepAlive { timestamp });
    }

    /// Lets every client that has a session send a KeepAlive or commands, or come back on a new connection, with its session
    /// or believing that it still has it.
    pub(crate) fn raws_show_life(&mut self) {
        for index in 0..self.raws.len() {
            if self.raws[index].line.is_none() || self.raws[index].stage != Stage::Bound {
                continue;
            }
            // A client that connects again to a member that stands still is not accepted, and leaves it.
            let reads = self.raws[index].line.is_some_and(|line| self.system.reads(line));
            match self.rng.below(if reads { 5 } else { 2 }) {
                1 if self.raws[index].left > 0 => {
                    for _ in 0..self.raws[index].left.min(3) {
                        self.raw_submits(index);
                    }
                }
                0 | 1 => self.raw_keeps_alive(index),
                2 => {
                    self.raw_leaves_line(index);
                    self.raw_connects(index);
                }
                _ => {
                    // It has noticed, and asks for its session.
                    self.raw_leaves_line(index);
                    self.raws[index].stage = Stage::Fresh;
                    self.raw_connects(index);
                    if self.raws[index].line.is_some() {
                        self.raw_asks(index);
                    }
                }
            }
        }
    }

    pub(super) fn raw_submits(&mut self, index: usize) {
        let raw = &mut self.raws[index];
        let Some(session) = raw.session.clone() else { return };
        raw.left -= 1;
        let (number, id) = (raw.commands.len(), raw.ids.len() as u64 + 1);
        let payload = Bytes::from(format!("r{index}.{number}:"));
        raw.commands.push(RawCommand { session, id, payload, fate: Fate::Pending });
        raw.ids.insert(id, number);
        raw.pending.insert(id, number);
        self.facts.commands += 1;
        self.raw_sends_command(index, id, number);
    }

    pub(super) fn raw_resends(&mut self, index: usize) {
        let raw = &mut self.raws[index];
        raw.resent = self.now;
        for (id, number) in raw.pending.clone() {
            self.raw_sends_command(index, id, number);
        }
    }

    pub(super) fn raw_sends_command(&mut self, index: usize, id: u64, number: usize) {
        let raw = &self.raws[index];
        let message = ClientMessage::ClientRequest {
            request_id: RequestId::new(id).expect("ids are small"),
            lowest_pending_request_id: RequestId::new(raw.lowest().min(id)).expect("ids are small"),
            payload: Payload::new(raw.commands[number].payload.clone()).expect("short"),
            created_at: Timestamp::from_millis(0),
        };
        self.raw_sends(index, message);
    }

    pub(super) fn raw_queries(&mut self, index: usize) {
        let raw = &mut self.raws[index];
        raw.asked += 1;
        let name = format!("raw-{index}-{}", raw.asked);
        let correlation_id = CorrelationId::new(name.clone()).expect("short");
        raw.queries.insert(name, raw.seen);
        self.facts.queries += 1;
        let message = ClientMessage::Query {
            correlation_id,
            payload: Payload::new(Bytes::new()).expect("empty"),
            created_at: Timestamp::from_millis(0),
        };
        self.raw_sends(index, message);
    }

    pub(super) fn raw_sends(&mut self, index: usize, message: ClientMessage) {
        let raw = &self.raws[index];
        let Some(line) = raw.line else { return };
        say!(self.trace, self.now, "raw {index} sends {message:?}");
        self.queue.push(self.now + raw.plan.latency, What::RawUp(line, Box::new(message)));
    }
}
