//! What a raw client is told, and which of that cannot be.

use zraft_protocol::{
    ClientMessage, MemberId, Payload, RejectionReason, RequestErrorReason, RequestId,
    ServerMessage, SessionCloseReason,
};

use super::{Fate, Stage};
use crate::{
    cluster::application::REJECTED,
    world::{net::Line, plan::member_name, sim::Sim, trace::say},
};

impl Sim {
    /// A message reaches a raw client.
    pub(crate) fn raw_down(&mut self, line: Line, message: ServerMessage) {
        let Some(index) = self.raw_lines.get(&line).copied() else { return };
        self.trace.fact(self.now, 10, index as u64);
        say!(self.trace, self.now, "raw {index} reads {message:?}");
        self.raws[index].heard = self.now;
        match message {
            ServerMessage::SessionCreated { session_id, nonce } => {
                let raw = &mut self.raws[index];
                if raw.stage == Stage::Asked(nonce) && raw.session.is_none() {
                    raw.session = Some(session_id);
                    raw.sessions += 1;
                    (raw.delivered, raw.acknowledged) = (0, 0);
                    raw.stage = Stage::Bound;
                    self.coverage.count("raw client", "session created");
                }
            }
            ServerMessage::SessionContinued { nonce } => {
                if self.raws[index].stage == Stage::Asked(nonce) {
                    self.raws[index].stage = Stage::Bound;
                    self.coverage.count("raw client", "session continued");
                    self.raw_resends(index);
                }
            }
            ServerMessage::SessionRejected { reason, nonce, leader_id } => {
                if self.raws[index].stage != Stage::Asked(nonce) {
                    return;
                }
                match reason {
                    RejectionReason::NotLeader => {
                        self.coverage.count("raw client", "not the leader");
                        self.raw_moves_on(index, leader_id);
                    }
                    RejectionReason::SessionExpired => {
                        self.coverage.count("raw client", "session expired");
                        self.raws[index].session_ends();
                    }
                    _ => self.violated("a session is not rejected permanently", format!("{index}")),
                }
            }
            ServerMessage::SessionClosed { reason, leader_id } => match reason {
                SessionCloseReason::NotLeaderAnymore => {
                    let own = leader_id.as_ref().map(MemberId::as_str)
                        == Some(member_name(self.raws[index].member).as_str());
                    let what = if own { "unbound" } else { "not the leader any more" };
                    self.coverage.count("raw client", what);
                    self.raw_moves_on(index, leader_id);
                }
                SessionCloseReason::SessionExpired => {
                    self.coverage.count("raw client", "session ended");
                    self.raws[index].session_ends();
                    self.raw_moves_on(index, None);
                }
                _ => self.violated(
                    "no member sends what makes Scala and TypeScript clients end",
                    format!("raw client {index}: {reason:?}"),
                ),
            },
            ServerMessage::ClientResponse { request_id, result } => {
                self.raw_answered(index, request_id.get(), Fate::Answered(result.into_bytes()));
            }
            ServerMessage::RequestError {
                request_id,
                reason: RequestErrorReason::ResponseEvicted,
            } => self.raw_evicted(index, request_id.get()),
            ServerMessage::QueryResponse { correlation_id, result } => {
                self.raw_query_answered(index, correlation_id.as_str(), &result);
            }
            ServerMessage::ServerRequest { request_id, payload, .. } => {
                self.raw_takes(index, request_id.get(), &payload);
            }
            ServerMessage::KeepAliveResponse { .. } => {}
        }
    }

    pub(super) fn raw_answered(&mut self, index: usize, id: u64, fate: Fate) {
        let raw = &mut self.raws[index];
        let Some(number) = raw.ids.get(&id).copied() else {
            return self.violated("only what was sent is answered", format!("raw {index}: {id}"));
        };
        raw.pending.remove(&id);
        if let Fate::Answered(answer) = &fate
            && answer[..] != *REJECTED
            && let Ok(position) = <[u8; 8]>::try_from(&answer[..])
        {
            raw.seen = raw.seen.max(u64::from_be_bytes(position) + 1);
        }
        let before = &mut raw.commands[number].fate;
        if *before == Fate::Pending {
            *before = fate;
        } else if *before != fate {
            let detail = format!("raw client {index}, command {id}: {before:?}, now {fate:?}");
            self.violated("every copy of a command gets the same answer", detail);
        } else {
            self.coverage.count("raw client", "answer to a copy");
        }
    }

    /// A command gets no answer. That is right if the application rejected it, or for a late copy of what is below L.
    pub(super) fn raw_evicted(&mut self, index: usize, id: u64) {
        let raw = &self.raws[index];
        if raw.pending.contains_key(&id) {
            if !self.system.rejects_without_answer() {
                let detail = format!("raw client {index}, command {id}");
                return self.violated("no answer that is still wanted is evicted", detail);
            }
            self.coverage.count("raw client", "rejected without an answer");
            return self.raw_answered(index, id, Fate::Rejected);
        }
        if id >= raw.lowest()
            && raw.ids.get(&id).is_some_and(|n| raw.commands[*n].fate != Fate::Rejected)
        {
            let detail = format!("raw client {index}, command {id} from L on");
            self.violated("answers from L on are kept", detail);
        }
    }

    pub(super) fn raw_query_answered(&mut self, index: usize, name: &str, answer: &[u8]) {
        let Some(least) = self.raws[index].queries.remove(name) else { return };
        let Ok(length) = <[u8; 8]>::try_from(answer) else {
            return self.violated("a query is answered in its form", format!("raw {index}"));
        };
        let length = u64::from_be_bytes(length);
        if length < least {
            let detail =
                format!("raw client {index}: {length} commands where {least} were answered");
            self.violated("a query sees every command answered before it", detail);
        }
    }

    pub(super) fn raw_takes(&mut self, index: usize, id: u64, payload: &Payload) {
        let raw = &mut self.raws[index];
        let Some(session) = &raw.session else { return };
        let next = raw.delivered + 1;
        // What it acknowledged without having it is not sent again.
        if id >= next && id <= next.max(raw.acknowledged + 1) {
            if id > next {
                self.coverage.count("raw client", "never got what it acknowledged");
            }
            raw.delivered = id;
            let pushed = self.system.pushed(session.as_str());
            if pushed.get(id as usize - 1) != Some(payload.as_bytes()) {
                let detail = format!("raw client {index}: {id}");
                return self.violated("server requests are delivered as they were made", detail);
            }
        } else if id > raw.delivered {
            let detail = format!("raw client {index}: {id} after {}", raw.delivered);
            return self.violated("server requests have no gaps", detail);
        } else {
            self.coverage.count("raw client", "server request again");
        }
        let raw = &mut self.raws[index];
        let mut up_to = raw.delivered;
        if raw.plan.acks_ahead > 0 && raw.rng.percent(30) {
            up_to += raw.rng.range(1, raw.plan.acks_ahead);
            self.coverage.count("raw client", "acknowledges what it does not have");
        }
        raw.acknowledged = raw.acknowledged.max(up_to);
        let request_id = RequestId::new(up_to).expect("above 0");
        self.raw_sends(index, ClientMessage::ServerRequestAck { request_id });
    }
}
