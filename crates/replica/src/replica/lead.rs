//! One leadership: from the election in a term to its end. Nothing of it outlives the term.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use zraft_protocol::{Nonce, RejectionReason, RequestId};
use zraft_session::{Acknowledgement, Admission, Entry, Genesis, Operation, Payload, SessionId};

use super::{
    ConnectionId, Replica, STALL,
    connections::{HELD_OVERHEAD, SessionRequest},
    hand_over::HandOver,
    queries::Queries,
    suspension::Suspension,
    timers::Timer,
};
use crate::{RaftId, StopReason};

/// Entries proposed at once, and their bytes. More than one Append holds only adds to the time in which nothing else
/// happens.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;
/// All sessions' acknowledgements of this time share one entry, so they cost at most 20 entries a second.
const ACK_INTERVAL: Duration = Duration::from_millis(50);
/// Tick entries are at least this far apart: each costs an fsync on every member.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Lead {
    pub(super) term: u64,
    /// The index of the entry by which the leadership began.
    noop: u64,
    serving: bool,
    /// The leader stood still and answers nothing until a round shows that it still leads.
    pub(super) suspended: Option<Suspension>,
    /// The operations to append to the log, in order.
    queue: VecDeque<Queued>,
    /// The payload bytes of the commands among them.
    queued_bytes: usize,
    /// The earliest arrival of a command in the queue that had waited for room: it came before its place says.
    waited: Option<u64>,
    arrivals: u64,
    pub(super) sessions: BTreeMap<SessionId, SessionLead>,
    pub(super) creating: BTreeMap<SessionId, Creating>,
    /// Among these is every session with commands that wait for room, unless it is ending.
    pub(super) waiting: BTreeSet<SessionId>,
    /// Sessions with server requests that were not sent for want of acknowledgements.
    pub(super) lagging: BTreeSet<SessionId>,
    pub(super) queries: Queries,
    acks: BTreeMap<SessionId, RequestId>,
    acks_due: Option<Duration>,
    last_acks: Option<Duration>,
    last_tick: Option<Duration>,
    pub(super) hand_over: Option<HandOver>,
    /// Members whose programs support another feature level than the configuration says.
    pub(super) levels: BTreeMap<RaftId, u32>,
    /// Members that have said in this term that their disk is nearly full.
    pub(super) low: BTreeSet<RaftId>,
    /// When this leader, whose disk is nearly full, last began to hand over to a member that has space.
    pub(super) sought_space: Option<Duration>,
    /// What the members' applications support, as they have said in this term.
    pub(super) application_levels: BTreeMap<RaftId, u32>,
}

#[derive(Debug)]
struct Queued {
    operation: Operation,
    /// A command that had waited for room keeps its own, which is earlier than its place in the queue says.
    arrival: u64,
    /// The connection that a command came on.
    from: Option<ConnectionId>,
}

#[derive(Debug)]
pub(super) struct Creating {
    pub(super) connection: ConnectionId,
    pub(super) nonce: Nonce,
}

/// What a leader knows of a session besides its replicated state.
#[derive(Debug)]
pub(super) struct SessionLead {
    pub(super) bound: Option<ConnectionId>,
    pub(super) admission: Admission,
    /// Commands that are in the log, or in the queue, and not applied.
    pub(super) in_flight: BTreeSet<RequestId>,
    /// Commands for whose answers there is no room. Those of a session that is ending never run.
    pub(super) waiting: BTreeMap<RequestId, Waiting>,
    /// The last index that was proposed for this session.
    pub(super) last_proposed: u64,
    pub(super) deadline: Duration,
    /// An entry that ends the session is in the log or in the queue. Nothing else is appended for it.
    pub(super) ending: bool,
    pub(super) overrun_since: Option<Duration>,
    /// ContinueSessions that came while the session was ending.
    pub(super) continues: Vec<(ConnectionId, Nonce)>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) connection: ConnectionId,
    pub(super) payload: Payload,
    pub(super) arrival: u64,
}

/// Returns what an operation counts against the limit of its connection.
fn held_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Command { payload, .. } => payload.len() + HELD_OVERHEAD,
        _ => 0,
    }
}

impl SessionLead {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            bound: None,
            admission: Admission::new(),
            in_flight: BTreeSet::new(),
            waiting: BTreeMap::new(),
            last_proposed: 0,
            deadline,
            ending: false,
            overrun_since: None,
            continues: Vec::new(),
        }
    }
}

impl Lead {
    pub(super) fn is_serving(&self) -> bool {
        self.serving
    }

    /// Puts an operation into the queue. Returns its place in the order of arrivals.
    pub(super) fn push(&mut self, operation: Operation) -> u64 {
        self.push_from(None, operation)
    }

    /// Puts a command that came on this connection into the queue.
    pub(super) fn push_from(&mut self, from: Option<ConnectionId>, operation: Operation) -> u64 {
        let arrival = self.next_arrival();
        self.push_as_of(arrival, from, operation);
        arrival
    }

    fn push_as_of(&mut self, arrival: u64, from: Option<ConnectionId>, operation: Operation) {
        self.queued_bytes += held_bytes(&operation);
        self.queue.push_back(Queued { operation, arrival, from });
    }

    /// Takes the commands out of the queue again. They wait, in their order, until they are judged again.
    pub(super) fn set_commands_aside(&mut self) {
        for queued in std::mem::take(&mut self.queue) {
            let Queued { operation, arrival, from } = queued;
            match (operation, from) {
                (Operation::Command { session, request_id, payload, .. }, Some(connection)) => {
                    self.queued_bytes -= payload.len() + HELD_OVERHEAD;
                    let Some(state) = self.sessions.get_mut(&session) else { continue };
                    state.in_flight.remove(&request_id);
                    state.waiting.insert(request_id, Waiting { connection, payload, arrival });
                    self.waiting.insert(session);
                }
                (operation, from) => self.queue.push_back(Queued { operation, arrival, from }),
            }
        }
    }

    pub(super) fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// Puts a command into the queue that has waited for room since its arrival.
    pub(super) fn push_waited(&mut self, from: ConnectionId, operation: Operation, arrival: u64) {
        self.push_as_of(arrival, Some(from), operation);
        self.waited = Some(self.waited.map_or(arrival, |waited| waited.min(arrival)));
    }

    /// The arrival of the first operation that is not in the log.
    pub(super) fn first_queued(&self) -> Option<u64> {
        let first = self.queue.front()?.arrival;
        Some(self.waited.map_or(first, |waited| waited.min(first)))
    }

    /// Remembers an acknowledgement until the next Acknowledge entry.
    pub(super) fn acknowledge(&mut self, session: SessionId, up_to: RequestId, now: Duration) {
        let ack = self.acks.entry(session).or_insert(up_to);
        *ack = up_to.max(*ack);
        let earliest = self.last_acks.map_or(now, |last| last + ACK_INTERVAL);
        self.acks_due.get_or_insert(now.max(earliest));
    }

    pub(super) fn forget_session(&mut self, session: &SessionId) {
        self.waiting.remove(session);
        self.lagging.remove(session);
        self.acks.remove(session);
    }
}

impl Replica {
    pub(super) fn begin_lead(&mut self) {
        let term = self.standing.term;
        self.lead = Some(Lead {
            term,
            noop: self.engine.start_of_last_term(),
            serving: false,
            suspended: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            waited: None,
            arrivals: 0,
            sessions: BTreeMap::new(),
            creating: BTreeMap::new(),
            waiting: BTreeSet::new(),
            lagging: BTreeSet::new(),
            queries: Queries::default(),
            acks: BTreeMap::new(),
            acks_due: None,
            last_acks: None,
            last_tick: None,
            hand_over: None,
            levels: BTreeMap::new(),
            low: BTreeSet::new(),
            sought_space: None,
            application_levels: BTreeMap::new(),
        });
    }

    /// Tells everyone that this member leads no more. Their commands may still run; the next leader answers them.
    pub(super) fn end_lead(&mut self) {
        let Some(lead) = self.lead.take() else { return };
        self.timers.end_lead();
        // The successor is the best hint until it is heard.
        self.successor = lead.hand_over.as_ref().and_then(HandOver::successor);
        let hint = self.hint();
        let ending = lead.sessions.into_values().flat_map(|session| session.continues);
        let creating = lead.creating.into_values();
        let mut handshakes: Vec<_> = ending.collect();
        handshakes.extend(creating.map(|creating| (creating.connection, creating.nonce)));
        handshakes.extend(lead.queries.into_unknown());
        for (connection, nonce) in handshakes {
            self.reject(connection, nonce, RejectionReason::NotLeader);
        }
        for each in lead.suspended.into_iter().flat_map(|suspended| suspended.deferred) {
            self.take_deferred(each);
        }
        if self.closing {
            // Messages that this leader held because it did not serve yet.
            self.reject_held();
        }
        for connection in self.connections.bound() {
            self.turn_away(connection, hint.clone());
        }
    }

    /// Begins to serve once the entry by which the leadership began is applied: everything before it is then, too.
    pub(super) fn serve_if_ready(&mut self) {
        let applied = self.applying.view.applied;
        if !self.lead.as_ref().is_some_and(|lead| !lead.serving && applied >= lead.noop) {
            return;
        }
        let (now, seed) = (self.now.monotonic, self.random());
        let view = &self.applying.view;
        let Some(lead) = self.lead.as_mut() else { return };
        lead.serving = true;
        // The first entry after the leader's own. The view shows whether it is the cluster's first of its kind.
        lead.push(Operation::Genesis(Genesis { term: lead.term, seed }));
        let deadline = now + view.settings.session_timeout();
        for (session, _) in view.sessions.iter() {
            lead.sessions.insert(session.clone(), SessionLead::new(deadline));
            self.timers.set(deadline, Timer::Expiry(session.clone()));
        }
        if view.genesis == 0 {
            lead.push(Operation::Settings(self.config.settings.clone()));
        }
        for (connection, request) in self.connections.take_held() {
            self.serve_handshake(connection, request);
        }
        self.seek_space();
    }

    pub(super) fn serve_handshake(&mut self, connection: ConnectionId, request: SessionRequest) {
        match request {
            SessionRequest::Create { capabilities, nonce } => {
                self.create_session(connection, capabilities, nonce);
            }
            SessionRequest::Continue { session, nonce } => {
                self.continue_session(connection, session, nonce);
            }
        }
    }

    /// Does what a leader does after every input. Returns true if the engine was moved.
    pub(super) fn lead_on(&mut self) -> Result<bool, StopReason> {
        let proposed = self.must_propose() && self.propose_queued()?;
        let read = self.begin_round()?;
        self.release_queries();
        let handed_over = self.go_on_handing_over()?;
        Ok(proposed || read || handed_over)
    }

    /// Returns true if the queue does not wait for the next poll: it fills a batch, or counts too much against a
    /// connection's limit, or a hand-over is about to refuse it.
    fn must_propose(&self) -> bool {
        let most = BATCH_BYTES.min(self.config.limits.waiting_bytes / 2);
        self.lead.as_ref().is_some_and(|lead| {
            lead.queue.len() >= BATCH_ENTRIES
                || lead.queued_bytes >= most
                || lead.hand_over.is_some()
        })
    }

    pub(super) fn propose_queued(&mut self) -> Result<bool, StopReason> {
        let Some(lead) = self.lead.as_mut() else { return Ok(false) };
        let full = self.applying.unapplied_bytes() > self.config.limits.unapplied_bytes;
        if lead.queue.is_empty() || full || self.engine.is_transferring() {
            return Ok(false);
        }
        let time = self.clock.stamp(self.now.wall, self.now.monotonic);
        let mut entries = Vec::new();
        let mut bytes = 0;
        for queued in lead.queue.iter_mut().take(BATCH_ENTRIES) {
            // Lent to the entry, because a copy of a command costs an allocation.
            let operation = std::mem::replace(&mut queued.operation, Operation::Tick);
            let entry = Entry { time, operation };
            let encoded = entry.encode_shared();
            queued.operation = entry.operation;
            bytes += encoded.len();
            entries.push(encoded);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        let count = entries.len();
        // Refused: the commands are held. They go after the transfer's abort or some commits, or end with the lead.
        let Ok(first) = self.engine.propose(entries) else { return Ok(false) };
        let mut proposed = Vec::new();
        for (index, queued) in (first..).zip(lead.queue.drain(..count)) {
            lead.queued_bytes -= held_bytes(&queued.operation);
            if let Operation::Command { session, .. } | Operation::EndSession { session, .. } =
                &queued.operation
                && let Some(session) = lead.sessions.get_mut(session)
            {
                session.last_proposed = index;
            }
            if let (Some(connection), Operation::Command { payload, .. }) =
                (queued.from, &queued.operation)
            {
                proposed.push((connection, payload.len()));
            }
        }
        if lead.queue.is_empty() {
            lead.waited = None;
        }
        for (connection, bytes) in proposed {
            self.release_request(connection, bytes);
        }
        self.engine.drain()?;
        Ok(true)
    }

    /// The next time at which a leader does something by itself.
    pub(super) fn leader_due(&self) -> Option<Duration> {
        let lead = self.lead.as_ref()?;
        let stalled = self.write_since.filter(|_| lead.hand_over.is_none());
        let stalled = stalled.map(|since| since + STALL);
        let due = [lead.acks_due, self.tick_due(lead), stalled, self.cut_off_at()];
        due.into_iter().flatten().min()
    }

    /// When the application's tick is due, if no other entry is on its way to let time pass.
    fn tick_due(&self, lead: &Lead) -> Option<Duration> {
        let tick = self.applying.view.next_tick?;
        // Any other entry lets time pass, too.
        let moving =
            !lead.queue.is_empty() || self.engine.last_index() != self.applying.view.applied;
        if !lead.serving || moving {
            return None;
        }
        let wait = tick.saturating_duration_since(self.now.wall);
        let due = self.now.monotonic + wait;
        Some(lead.last_tick.map_or(due, |last| due.max(last + TICK_INTERVAL)))
    }

    pub(super) fn check_leader_times(&mut self) {
        let now = self.now.monotonic;
        let Some(lead) = self.lead.as_ref() else { return };
        let ticks = self.tick_due(lead).is_some_and(|due| due <= now);
        let Some(lead) = self.lead.as_mut() else { return };
        if lead.acks_due.is_some_and(|due| due <= now) {
            (lead.acks_due, lead.last_acks) = (None, Some(now));
            let acks = std::mem::take(&mut lead.acks).into_iter();
            let acks = acks.map(|(session, up_to)| Acknowledgement { session, up_to }).collect();
            lead.push(Operation::Acknowledge(acks));
        }
        if ticks {
            lead.last_tick = Some(now);
            lead.push(Operation::Tick);
        }
    }
}
