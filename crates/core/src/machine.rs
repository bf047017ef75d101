//! The machine: what the application and the network say goes in, with the time; what is to be done comes out.

mod connected;
mod connecting;
mod disconnected;
mod drain;
mod interface;
mod received;
mod settle;
mod time;
mod transmit;

use std::{cell::Cell, collections::VecDeque, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use zraft_protocol::{MemberId, Nonce, RequestId, SessionId, Timestamp};
use zraft_zmtp::TxBuffer;

use crate::{
    ConnId, ConnectKey, Instant, PingKey, RequestKey, RequestKind, ServerRequest,
    config::Config,
    event::{Event, Events, StateName},
    failure::{ConnectionCause, Failure},
    link::Link,
    policy::{liveness::Liveness, members::Members, quarantine::Quarantine},
    resend::Resend,
    rng::Rng,
    stats::Stats,
    tables::{requests::Requests, server_requests::ServerRequests, wheel::Wheel},
};
use drain::Drain;
pub use interface::{Action, Completion, ConnEnd, OpenFailure, Timeout};

/// Room for completions that is kept when there are none.
const KEPT_COMPLETIONS: usize = 1 << 14;

/// An attempt at a session connection, or the pause before the next.
#[derive(Debug)]
struct Attempt {
    phase: AttemptPhase,
    /// Counts the attempts since the session was lost, or since connect().
    number: u32,
    /// A jump of the clock restarted its timer: the next one does not.
    restarted: bool,
}

#[derive(Debug)]
enum AttemptPhase {
    Trying { nonce: Nonce, until: Instant },
    Pausing { until: Instant },
}

#[derive(Debug)]
struct Connected {
    since: Instant,
    /// An answer of any kind came on this connection.
    heard: bool,
}

#[derive(Debug)]
enum State {
    Disconnected,
    ConnectingNew(Attempt),
    ConnectingExisting(Attempt),
    Connected(Connected),
}

/// A session that the server knows.
#[derive(Debug)]
struct Session {
    id: SessionId,
    /// The member where it was last Connected.
    member: usize,
    /// The last time the server was known to know it.
    proof: Instant,
    /// How the last connection ended.
    ended: LastEnd,
    /// When it was first said to have expired, which may be false.
    doubted: Option<Instant>,
    tracker: ServerRequests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastEnd {
    /// By the loss of the connection.
    Lost,
    /// By a SessionClosed.
    Told,
    /// By our leaving a member that was silent.
    Silent,
}

#[derive(Debug)]
struct Waiter {
    key: ConnectKey,
    until: Option<Instant>,
}

/// The session state machine of one client: no clock, no socket, no runtime, no randomness of its own.
///
/// Every input takes the time `now`, which must not go backwards. After any input the caller takes what came out:
/// [`poll_action`](Self::poll_action), [`transmit`](Self::transmit), [`poll_completion`](Self::poll_completion),
/// [`poll_event`](Self::poll_event), [`poll_server_request`](Self::poll_server_request), and calls
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout), after reading what can be read.
pub struct Machine {
    config: Config,
    rng: Rng,
    state: State,
    link: Option<Link>,
    connections: u64,
    session: Option<Session>,
    /// The session that expired last, while Disconnected because of it.
    expired: Option<SessionId>,
    requests: Requests,
    /// The time of the last request with the default timeout, and its tick.
    deadline: (Instant, Option<u64>),
    members: Members,
    resend: Resend,
    liveness: Liveness,
    quarantine: Quarantine,
    /// How long the next SessionCreated is waited for.
    create_wait: Duration,
    /// The attempt goes on even when no caller of connect() waits.
    unattended: bool,
    waiters: Vec<Waiter>,
    keys: u64,
    drain: Option<Drain>,
    /// Why the last attempt failed, and where.
    last_failure: Option<(String, ConnectionCause)>,
    /// The clock jumped: request deadlines wait for a moment.
    grace: time::Grace,
    /// When the driver was last told to come back.
    promised: Cell<Option<Instant>>,
    /// The latest time it was told.
    latest: Instant,
    /// The clock jumped, and what could be read may not be read yet.
    jumped: bool,
    actions: VecDeque<Action>,
    completions: VecDeque<Completion>,
    events: Events,
    stats: Stats,
}

impl Machine {
    /// A client that is Disconnected. `seed` feeds nonces, correlation ids and jitter: give each client its own.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let random = rng.next();
        Self {
            members: Members::new(config.members.len(), config.reconnect_backoff),
            resend: Resend::new(config.resend_interval),
            liveness: Liveness::new(
                config.keep_alive_interval,
                config.connection_timeout,
                config.heartbeat_timeout,
                config.resend_interval,
                config.members.len() > 1,
            ),
            create_wait: config.connection_timeout,
            deadline: (now, config.request_timeout.map(|time| Wheel::tick(now, time))),
            config,
            rng,
            state: State::Disconnected,
            link: None,
            connections: 0,
            session: None,
            expired: None,
            requests: Requests::new(now, random),
            quarantine: Quarantine::default(),
            unattended: false,
            waiters: Vec::new(),
            keys: 0,
            drain: None,
            last_failure: None,
            grace: time::Grace::default(),
            promised: Cell::new(None),
            latest: now,
            jumped: false,
            actions: VecDeque::new(),
            completions: VecDeque::new(),
            events: Events::default(),
            stats: Stats::default(),
        }
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Asks for a session. The state has changed when this returns, so what is submitted after it is queued; but during a
    /// [`disconnect`](Self::disconnect) it waits for the end of that, and what is submitted until then is refused as closed.
    ///
    /// Answered by [`Completion::Connect`]: at once when Connected, within `timeout` else. The timeout concerns this
    /// call alone; an attempt ends when no call waits for it any more and no session was established since.
    pub fn connect(&mut self, now: Instant, timeout: Option<Duration>) -> ConnectKey {
        let key = ConnectKey(self.next_key());
        if self.drain.is_none() && matches!(self.state, State::Connected(_)) {
            self.completions.push_back(Completion::Connect { key, result: Ok(()) });
            return key;
        }
        self.waiters.push(Waiter { key, until: timeout.map(|timeout| now + timeout) });
        if self.drain.is_none() && matches!(self.state, State::Disconnected) {
            self.start(now);
        }
        key
    }

    /// The caller of a connect() no longer waits. No completion follows.
    pub fn cancel_connect(&mut self, now: Instant, key: ConnectKey) {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.key != key);
        if self.waiters.len() < before {
            let cause = self.last_failure();
            self.give_up_if_unattended(now, &cause);
        }
    }

    /// Takes a request. Answered by [`Completion::Request`], exactly once.
    ///
    /// # Errors
    /// When the request is not taken, and so never executed: Disconnected, draining, too much waits already, or the
    /// payload is empty or too long.
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
            Timeout::Default => self.default_deadline(now),
            Timeout::After(timeout) => Some(Wheel::tick(now, timeout)),
            Timeout::Never => None,
        };
        Ok(self.requests.submit(now, kind, payload, deadline))
    }

    /// What is submitted at the same time has the same deadline: it is reckoned once.
    #[inline]
    fn default_deadline(&mut self, now: Instant) -> Option<u64> {
        if self.deadline.0 != now {
            self.deadline = (now, self.config.request_timeout.map(|time| Wheel::tick(now, time)));
        }
        self.deadline.1
    }

    #[inline]
    fn admits(&self, len: usize) -> bool {
        self.config.admission().accepts_payload(len)
            && self.drain.is_none()
            && !matches!(self.state, State::Disconnected)
            && self.has_room(len)
    }

    /// Why a request is not taken.
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
        if matches!(self.state, State::Disconnected) {
            return Err(match &self.expired {
                Some(id) => Failure::SessionExpired { session_id: Some(id.clone()), sent: false },
                None => Failure::NotConnected,
            });
        }
        if self.has_room(len) { Ok(()) } else { Err(Failure::Overloaded) }
    }

    /// Whether a request with a payload of this length would be taken, as far as room goes.
    #[inline]
    pub fn has_room(&self, payload_len: usize) -> bool {
        let (queued, held) = (self.requests.queued(), self.requests.held_bytes());
        self.config.admission().has_room(queued, held, payload_len)
    }

    /// Gives a request up, as if its deadline passed now. Does nothing for a key that is settled.
    pub fn cancel(&mut self, now: Instant, key: RequestKey) {
        if self.requests.slab.find(key).is_some() {
            self.give_up_waiting(now, key.slot, settle::GaveUp::Cancelled);
        }
    }

    /// Measures the round trip by a KeepAlive. Answered by [`Completion::Ping`].
    pub fn ping(&mut self, now: Instant) -> PingKey {
        let key = PingKey(self.next_key());
        if !matches!(self.state, State::Connected(_)) {
            self.completions
                .push_back(Completion::Ping { key, result: Err(Failure::NotConnected) });
        } else if !self.liveness.ping(now, key) {
            self.completions.push_back(Completion::Ping { key, result: Err(Failure::Overloaded) });
        }
        key
    }

    /// Hands over the next server request, in order. It is held until [`server_request_done`] is called for it.
    ///
    /// [`server_request_done`]: Self::server_request_done
    pub fn poll_server_request(&mut self) -> Option<ServerRequest> {
        self.session.as_mut()?.tracker.next()
    }

    /// The application took a server request, or handled it: it may be acknowledged. In the order handed over.
    pub fn server_request_done(&mut self, now: Instant, id: RequestId) {
        if let Some(session) = &mut self.session
            && session.tracker.done(now, id)
        {
            self.stats.server_requests += 1;
        }
    }

    // ---- outputs

    /// What to do next with sockets.
    pub fn poll_action(&mut self, _now: Instant) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is a completion.
    #[inline]
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// The next completion.
    #[inline]
    pub fn poll_completion(&mut self) -> Option<Completion> {
        let completion = self.completions.pop_front();
        if self.completions.is_empty() && self.completions.capacity() > KEPT_COMPLETIONS {
            self.completions = VecDeque::new();
        }
        completion
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether an event is made of every message. Costs; off at first.
    pub fn observe_messages(&mut self, on: bool) {
        self.events.messages = on;
    }

    /// The present state.
    pub fn state(&self) -> StateName {
        self.state.name()
    }

    /// The session, if there is one.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session.as_ref().map(|session| &session.id)
    }

    /// The member that the session is connected to.
    pub fn member_id(&self) -> Option<&MemberId> {
        match (&self.state, &self.link) {
            (State::Connected(_), Some(link)) => Some(&self.config.members[link.member].id),
            _ => None,
        }
    }

    /// Counts and sizes.
    pub fn stats(&self) -> Stats {
        let (bytes_in, bytes_out) = self
            .link
            .as_ref()
            .map_or((0, 0), |link| (link.zmtp.bytes_received(), link.zmtp.tx_written()));
        Stats {
            in_flight: self.requests.in_flight() as u64,
            detached: self.requests.detached() as u64,
            queued: self.requests.queued() as u64,
            queued_bytes: self.requests.held_bytes() as u64,
            smoothed_answer: self.resend.smoothed(),
            bytes_in: self.stats.bytes_in + bytes_in,
            bytes_out: self.stats.bytes_out + bytes_out,
            ..self.stats
        }
    }

    /// How often an entry of the request tables was looked at: for the tests of their cost. Counted with debug assertions
    /// only.
    #[doc(hidden)]
    pub fn table_visits(&self) -> u64 {
        self.requests.visits()
    }

    // ---- the network's buffers

    /// Where the driver reads to, and then calls [`handle_received`](Self::handle_received). `None` for a connection
    /// that is not wanted any more.
    pub fn recv_buffer(&mut self, conn: ConnId) -> Option<&mut BytesMut> {
        let link = self.link.as_mut().filter(|link| link.id == conn)?;
        Some(link.zmtp.recv_buffer())
    }

    /// Encodes what may go now, and gives what waits to be written. The driver writes from it, advances it, and calls
    /// [`handle_written`](Self::handle_written). `wall` fills the timestamps on the wire, nothing else. `None` when
    /// nothing is to be written any more: the connection is not wanted, or its write half was shut.
    pub fn transmit(
        &mut self,
        now: Instant,
        wall: Timestamp,
        conn: ConnId,
    ) -> Option<&mut TxBuffer> {
        if self.link.as_ref().is_none_or(|link| link.id != conn || !link.open)
            || self.write_half_is_shut()
        {
            return None;
        }
        self.latest = now;
        // After a jump of the clock what can be read is read first, and the timers start anew.
        if !self.jumped {
            self.fill(now, wall);
        }
        self.link.as_mut().map(|link| link.zmtp.tx())
    }

    // ---- helpers of the states

    fn next_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    fn enter(&mut self, state: State) {
        let (old_state, new_state) = (self.state.name(), state.name());
        self.state = state;
        if old_state != new_state {
            self.events.push(Event::StateChange { old_state, new_state });
        }
    }

    fn member(&self, index: usize) -> (MemberId, String) {
        let member = &self.config.members[index];
        (member.id.clone(), member.endpoint.to_string())
    }

    /// Drops the connection, if there is one. From here on nothing that it says is believed.
    fn close_link(&mut self) {
        if let Some(link) = self.link.take() {
            self.stats.bytes_in += link.zmtp.bytes_received();
            self.stats.bytes_out += link.zmtp.tx_written();
            self.actions.push_back(Action::Close { conn: link.id });
        }
    }

    fn draw_nonce(&mut self) -> Nonce {
        loop {
            if let Ok(nonce) = Nonce::new(self.rng.next() as i64) {
                return nonce;
            }
        }
    }

    fn last_failure(&self) -> Failure {
        // However the other members failed, a session can only be opened at the leader.
        if let Some((giver, leader_id)) = self.members.unconfigured() {
            let cause = ConnectionCause::LeaderNotConfigured { leader_id: leader_id.clone() };
            return Failure::Connection { endpoint: Some(self.member(giver).1), cause };
        }
        let (endpoint, cause) = match &self.last_failure {
            Some((endpoint, cause)) => (Some(endpoint.clone()), cause.clone()),
            None => (None, ConnectionCause::TimedOut),
        };
        Failure::Connection { endpoint, cause }
    }
}

/// Shows neither secrets nor payloads, nor a million requests.
impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("state", &self.state())
            .field("session_id", &self.session_id())
            .field("member_id", &self.member_id())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl State {
    fn name(&self) -> StateName {
        match self {
            Self::Disconnected => StateName::Disconnected,
            Self::ConnectingNew(_) => StateName::ConnectingNewSession,
            Self::ConnectingExisting(_) => StateName::ConnectingExistingSession,
            Self::Connected(_) => StateName::Connected,
        }
    }
}
