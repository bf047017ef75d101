//! Clients that behave like the Scala and TypeScript ones. They send messages past the simulated sockets, and each keeps a small
//! account: what it sent, what it was told, and which of that cannot be.
//!
//! - ZeroMQ reconnects without a word. The client then believes that it is still bound, and its next message comes unbound.
//! - It has no window: everything that waits is sent, and all of it again at every interval.
//! - Its lowest pending id stays behind.
//! - It ends on SessionClosed(Shutdown) and SessionClosed(SessionError), so a member never sends them.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use zraft_core::Instant;
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload,
    RejectionReason, RequestErrorReason, RequestId, ServerMessage, SessionCloseReason, SessionId,
    Timestamp,
};

use crate::{
    cluster::application::REJECTED,
    random::Rng,
    world::{
        calendar::What,
        net::Line,
        plan::member_name,
        sim::Sim,
        system::{CloseHow, Listening},
        trace::say,
    },
};

/// Connections of raw clients are numbered from here on.
pub(crate) const FIRST_LINE: Line = 1 << 48;
/// A handshake or a silent member is given up after this time.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// What a seed draws of a raw client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawPlan {
    commands: u64,
    burst: u64,
    pause: Duration,
    latency: Duration,
    keep_alive: Duration,
    resend: Duration,
    /// How far its lowest pending id stays behind.
    lag: u64,
}

impl RawPlan {
    pub(crate) fn draw(rng: &mut Rng, session_timeout: Duration) -> Self {
        Self {
            commands: rng.range(5, 30),
            burst: rng.pick(&[1, 3, 12]),
            pause: rng.millis(20, 400),
            latency: rng.micros(50, 5_000),
            keep_alive: (session_timeout / 3).min(rng.millis(300, 2_000)),
            resend: rng.millis(300, 2_000),
            lag: rng.pick(&[0, 0, 5, 1_000]),
        }
    }
}

/// What became of a command of a raw client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Pending,
    Answered(Bytes),
    /// The application rejected it without an answer.
    Rejected,
    /// Its session has ended.
    Unknown,
}

/// A command that a raw client sent.
#[derive(Debug)]
pub(crate) struct RawCommand {
    pub(crate) session: SessionId,
    pub(crate) id: u64,
    pub(crate) payload: Bytes,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has said nothing on its connection, or has none.
    Fresh,
    Asked(Nonce),
    /// It believes that its session is bound.
    Bound,
    /// It has sent CloseSession.
    Closing,
    /// Its session has ended, and it wants no other.
    Over,
}

#[derive(Debug)]
pub(crate) struct Raw {
    plan: RawPlan,
    rng: Rng,
    line: Option<Line>,
    member: usize,
    stage: Stage,
    since: Instant,
    heard: Instant,
    session: Option<SessionId>,
    sessions: u64,
    /// The commands of the present session by their ids, as places in `commands`.
    ids: BTreeMap<u64, usize>,
    /// Of these the ones without an answer.
    pending: BTreeMap<u64, usize>,
    pub(crate) commands: Vec<RawCommand>,
    left: u64,
    resent: Instant,
    kept_alive: Instant,
    delivered: u64,
    /// Queries that wait, and how many commands must be in their answers.
    queries: BTreeMap<String, u64>,
    asked: u64,
    /// The highest position that an answer named, plus one.
    seen: u64,
    leaving: bool,
}

impl Raw {
    pub(crate) fn new(plan: RawPlan, rng: Rng, now: Instant) -> Self {
        Self {
            left: plan.commands,
            plan,
            rng,
            line: None,
            member: 0,
            stage: Stage::Fresh,
            since: now,
            heard: now,
            session: None,
            sessions: 0,
            ids: BTreeMap::new(),
            pending: BTreeMap::new(),
            commands: Vec::new(),
            resent: now,
            kept_alive: now,
            delivered: 0,
            queries: BTreeMap::new(),
            asked: 0,
            seen: 0,
            leaving: false,
        }
    }

    fn lowest(&self) -> u64 {
        let next = self.ids.len() as u64 + 1;
        let lowest = self.pending.keys().next().copied().unwrap_or(next);
        lowest.saturating_sub(self.plan.lag).max(1)
    }

    /// The session is over: what waited for an answer has none.
    fn session_ends(&mut self) {
        for number in std::mem::take(&mut self.pending).into_values() {
            self.commands[number].fate = Fate::Unknown;
        }
        self.ids.clear();
        self.queries.clear();
        self.session = None;
        self.stage = if self.leaving { Stage::Over } else { Stage::Fresh };
    }

    /// Returns true if it has left for the last time.
    pub(crate) fn has_left(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:?}, {} pending, {} to send", self.stage, self.pending.len(), self.left)
    }
}

impl Sim {
    /// A raw client's turn.
    pub(crate) fn raw_turn(&mut self, index: usize) {
        let now = self.now;
        let raw = &mut self.raws[index];
        let pause = if self.healing.is_some() {
            raw.plan.pause.min(Duration::from_millis(100))
        } else {
            raw.plan.pause
        };
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
    fn raw_connects(&mut self, index: usize) {
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

    fn raw_leaves_line(&mut self, index: usize) {
        if let Some(line) = self.raws[index].line.take() {
            self.raw_lines.remove(&line);
            self.system.disconnected(self.now, line);
        }
    }

    /// Turns to another member: the one that a hint names, or the next.
    fn raw_moves_on(&mut self, index: usize, hint: Option<MemberId>) {
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

    fn raw_asks(&mut self, index: usize) {
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
    fn raw_works(&mut self, index: usize) {
        let now = self.now;
        let raw = &mut self.raws[index];
        if raw.leaving {
            raw.stage = Stage::Closing;
            raw.since = now;
            let reason = CloseReason::ClientShutdown;
            return self.raw_sends(index, ClientMessage::CloseSession { reason });
        }
        if now - raw.kept_alive >= raw.plan.keep_alive {
            raw.kept_alive = now;
            let timestamp = Timestamp::from_millis(now.as_nanos() as i64 / 1_000_000);
            self.raw_sends(index, ClientMessage::KeepAlive { timestamp });
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

    fn raw_submits(&mut self, index: usize) {
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

    fn raw_resends(&mut self, index: usize) {
        let raw = &mut self.raws[index];
        raw.resent = self.now;
        for (id, number) in raw.pending.clone() {
            self.raw_sends_command(index, id, number);
        }
    }

    fn raw_sends_command(&mut self, index: usize, id: u64, number: usize) {
        let raw = &self.raws[index];
        let message = ClientMessage::ClientRequest {
            request_id: RequestId::new(id).expect("ids are small"),
            lowest_pending_request_id: RequestId::new(raw.lowest().min(id)).expect("ids are small"),
            payload: Payload::new(raw.commands[number].payload.clone()).expect("short"),
            created_at: Timestamp::from_millis(0),
        };
        self.raw_sends(index, message);
    }

    fn raw_queries(&mut self, index: usize) {
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

    fn raw_sends(&mut self, index: usize, message: ClientMessage) {
        let raw = &self.raws[index];
        let Some(line) = raw.line else { return };
        say!(self.trace, self.now, "raw {index} sends {message:?}");
        self.queue.push(self.now + raw.plan.latency, What::RawUp(line, Box::new(message)));
    }

    /// A message of a raw client reaches the member, unless its connection has ended.
    pub(crate) fn raw_up(&mut self, line: Line, message: ClientMessage) {
        if !self.raw_lines.contains_key(&line) {
            return;
        }
        if self.system.reads(line) {
            self.system.received(self.now, line, message);
        } else {
            // The process stands still: the bytes wait in its socket.
            let at = self.now + Duration::from_millis(50);
            self.queue.push(at, What::RawUp(line, Box::new(message)));
        }
    }

    /// A member sends a message to a raw client.
    pub(crate) fn raw_told(&mut self, line: Line, message: ServerMessage) {
        if let Some(index) = self.raw_lines.get(&line) {
            let at = self.now + self.raws[*index].plan.latency;
            self.queue.push(at, What::RawDown(line, Box::new(message)));
        }
    }

    /// A member has closed the connection of a raw client, which learns it after what was sent before.
    pub(crate) fn raw_closed(&mut self, line: Line, how: CloseHow) {
        let Some(index) = self.raw_lines.get(&line) else { return };
        let latency = self.raws[*index].plan.latency;
        let at = if how == CloseHow::Flush { self.now + latency } else { self.now };
        self.queue.push(at, What::RawEnd(line));
    }

    /// The connection has ended at the client. Its socket will connect again to the same member.
    pub(crate) fn raw_end(&mut self, line: Line) {
        let Some(index) = self.raw_lines.remove(&line) else { return };
        let raw = &mut self.raws[index];
        raw.line = None;
        if matches!(raw.stage, Stage::Asked(_) | Stage::Closing) {
            raw.stage = Stage::Fresh;
        }
    }

    /// A raw client's socket loses its connection and connects again, without a word to the client.
    pub(crate) fn raw_reconnects(&mut self) -> bool {
        let bound = |raw: &Raw| raw.line.is_some() && raw.stage == Stage::Bound;
        let bound: Vec<usize> = (0..self.raws.len()).filter(|i| bound(&self.raws[*i])).collect();
        if bound.is_empty() {
            return false;
        }
        let index = self.rng.pick(&bound);
        self.raw_leaves_line(index);
        self.raw_connects(index);
        true
    }

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
                    raw.delivered = 0;
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

    fn raw_answered(&mut self, index: usize, id: u64, fate: Fate) {
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
    fn raw_evicted(&mut self, index: usize, id: u64) {
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

    fn raw_query_answered(&mut self, index: usize, name: &str, answer: &[u8]) {
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

    fn raw_takes(&mut self, index: usize, id: u64, payload: &Payload) {
        let raw = &mut self.raws[index];
        let Some(session) = &raw.session else { return };
        if id == raw.delivered + 1 {
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
        let delivered = self.raws[index].delivered;
        let request_id = RequestId::new(delivered).expect("above 0");
        self.raw_sends(index, ClientMessage::ServerRequestAck { request_id });
    }

    /// Returns true if all its commands are answered and it has every server request of its session.
    pub(crate) fn raw_settled(&self, index: usize) -> bool {
        let raw = &self.raws[index];
        let Some(session) = &raw.session else { return false };
        raw.left == 0
            && raw.pending.is_empty()
            && raw.stage == Stage::Bound
            && raw.line.is_some_and(|line| self.system.is_bound(line))
            && raw.delivered as usize == self.system.pushed(session.as_str()).len()
            && self.system.unacknowledged(session.as_str()) == Some(0)
    }

    pub(crate) fn raw_leaves(&mut self, index: usize) {
        self.raws[index].leaving = true;
    }
}
