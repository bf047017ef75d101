//! The machine: inputs from the application and the network come in with the time; outputs say what to do.

mod connect;
mod connected;
mod connecting;
mod disconnected;
mod discovery;
mod drain;
mod interface;
mod members;
mod outputs;
mod own_query;
mod received;
mod session;
mod settle;
mod submit;
mod time;
mod transmit;

use std::fmt;

use bytes::{Bytes, BytesMut};
use zraft_protocol::{MemberId, Nonce, RequestId, SessionId, Timestamp};
use zraft_zmtp::TxBuffer;

use crate::{
    ConnId, Instant, PingKey, RequestKey, ServerRequest,
    config::Config,
    event::{Event, StateName},
    failure::Failure,
    link::Link,
    policy::{liveness::Liveness, members::Members, quarantine::Quarantine},
    resend::Resend,
    rng::Rng,
    stats::{Recorder, Stats},
    tables::requests::Requests,
};
use connect::Callers;
use connected::Connected;
use connecting::{ConnectingNew, Search};
use disconnected::Disconnected;
use discovery::Discovery;
use drain::Drain;
pub use interface::{Action, Completion, ConnEnd, OpenFailure, Timeout};
use outputs::Outputs;
use own_query::OwnQuery;
use session::Session;
use time::Clock;

/// The session state machine of one client.
///
/// It has no clock, socket, runtime or randomness: every input takes the time, and the seed of [`new`](Self::new) feeds
/// all that is random. A *driver* connects it with the world. The driver of `zraft-client` is one; the simulation is
/// another.
///
/// # Inputs
///
/// The application's side calls [`connect`](Self::connect), [`submit`](Self::submit), [`cancel`](Self::cancel),
/// [`ping`](Self::ping), [`server_request_done`](Self::server_request_done), [`update_members`](Self::update_members) and
/// [`disconnect`](Self::disconnect) at any time. The network's side reports what happens to each connection, in this order:
///
/// 1. [`handle_opened`](Self::handle_opened) or [`handle_open_failed`](Self::handle_open_failed), after
///    [`Action::Open`].
/// 2. Bytes: append what was read to [`recv_buffer`](Self::recv_buffer), then call
///    [`handle_received`](Self::handle_received). Write from the buffer of [`transmit`](Self::transmit), advance it
///    by what the socket took, then call [`handle_written`](Self::handle_written).
/// 3. [`handle_ended`](Self::handle_ended), once, after the last byte. Not after [`Action::Close`].
///
/// Inputs for a connection that the machine has closed are ignored, so a driver need not race with
/// [`Action::Close`].
///
/// # Outputs
///
/// Any input can cause outputs. After inputs, and before it sleeps, the driver takes all of them, in this order:
///
/// 1. [`poll_action`](Self::poll_action) until `None`: connections to open, shut down or close.
/// 2. [`transmit`](Self::transmit) for the open connection, until the socket takes no more. This encodes requests, so
///    it belongs into each turn even if nothing was read.
/// 3. [`poll_completion`](Self::poll_completion), [`poll_event`](Self::poll_event) and
///    [`poll_server_request`](Self::poll_server_request) until `None`.
/// 4. [`poll_timeout`](Self::poll_timeout): sleep until then at most. Any input or call of `transmit` can change it.
///
/// # What must hold
///
/// - `now` never goes backwards, over all calls.
/// - Bytes that can be read are read before [`handle_timeout`](Self::handle_timeout) is called, so an answer that has
///   arrived is on time.
/// - The driver calls `handle_timeout` soon after the time that `poll_timeout` gave. If it comes more than a second
///   late, the machine assumes that the process or the computer was stopped and does not conclude anything from the
///   time that passed.
/// - Each request that [`submit`](Self::submit) accepts ends in exactly one [`Completion::Request`], and each call of
///   connect() and ping() in exactly one completion of its kind, unless connect() was cancelled. Calls of disconnect()
///   that overlap share one.
/// - The driver takes completions after each input. Their number is limited only by what the configuration admits.
///
/// # Example
///
/// A complete driver. The network is a few lines of memory, and the cluster is one member that knows two messages.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::{Buf, BufMut};
/// use zraft_core::{Action, Completion, Config, ConnId, Instant, Machine, RequestKind, Timeout};
/// use zraft_core::protocol::{ClientMessage, Payload, ServerMessage, SessionId, Timestamp};
/// use zraft_zmtp::{Connection, Event};
///
/// /// The member: creates a session, and answers each command with its payload in capitals.
/// fn answer(message: ClientMessage) -> Option<ServerMessage> {
///     match message {
///         ClientMessage::CreateSession { nonce, .. } => {
///             let session_id = SessionId::new("0b54d8ae").ok()?;
///             Some(ServerMessage::SessionCreated { session_id, nonce })
///         }
///         ClientMessage::ClientRequest { request_id, payload, .. } => {
///             let result = Payload::new(payload.into_bytes().to_ascii_uppercase()).ok()?;
///             Some(ServerMessage::ClientResponse { request_id, result })
///         }
///         _ => None,
///     }
/// }
///
/// let mut now = Instant::ZERO;
/// let config = Config::builder()
///     .member("node-1", "tcp://127.0.0.1:7001")
///     .capability("name", "example")
///     .build()?;
/// let mut machine = Machine::new(config, 42, now);
/// let mut member = Connection::new(zraft_zmtp::Config::server(), now);
///
/// machine.connect(now, Some(Duration::from_secs(5)));
/// let key = machine.submit(now, RequestKind::Command, "hello".into(), Timeout::Default)?;
///
/// let mut open: Option<ConnId> = None;
/// let result = 'turns: loop {
///     // Sockets.
///     while let Some(action) = machine.poll_action(now) {
///         match action {
///             Action::Open { conn, .. } => {
///                 machine.handle_opened(now, conn);
///                 open = Some(conn);
///             }
///             Action::ShutdownWrite { .. } => {}
///             Action::Close { .. } => open = None,
///         }
///     }
///     if let Some(conn) = open {
///         // Read first.
///         if let Some(buffer) = machine.recv_buffer(conn) {
///             buffer.put(member.tx());
///             machine.handle_received(now, conn);
///         }
///         // Then the time, then write.
///         if machine.poll_timeout().is_some_and(|at| at <= now) {
///             machine.handle_timeout(now);
///         }
///         let wall = Timestamp::from_millis(1_700_000_000_000);
///         while let Some(output) = machine.transmit(now, wall, conn) {
///             if !output.has_remaining() {
///                 break;
///             }
///             let length = output.chunk().len();
///             member.handle_bytes(now, output.chunk());
///             output.advance(length);
///             machine.handle_written(now, conn);
///         }
///     }
///     // Outputs for the application.
///     while let Some(completion) = machine.poll_completion() {
///         match completion {
///             Completion::Connect { result, .. } => result?,
///             Completion::Request { key: answered, result, .. } if answered == key => {
///                 break 'turns result?;
///             }
///             _ => {}
///         }
///     }
///     while let Some(event) = machine.poll_event() {
///         println!("{}", event.name());
///     }
///     // The other end of the wire.
///     while let Some(event) = member.poll_event(now) {
///         if let Event::Message(frame) = event
///             && let Some(reply) = answer(ClientMessage::decode(&frame)?)
///         {
///             let mut frame = Vec::new();
///             reply.encode(&mut frame);
///             member.send(&frame)?;
///         }
///     }
///     // A real driver sleeps here until `poll_timeout`, or until a socket is ready or a caller comes.
///     now = now + Duration::from_millis(1);
/// };
/// assert_eq!(result, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine {
    config: Config,
    rng: Rng,
    stats: Stats,
    latencies: Recorder,
    counters: Counters,
    state: State,
    /// The session that the server knows, in the states that have one: ConnectingExistingSession and Connected.
    session: Option<Session>,
    /// The session's connection, in Connected.
    link: Option<Link>,
    /// The search for the session's next connection: in the two connecting states, and in Connected if the member seems
    /// frozen.
    search: Search,
    requests: Requests,
    members: Members,
    resend: Resend,
    liveness: Liveness,
    quarantine: Quarantine,
    /// The calls of connect() that wait.
    callers: Callers,
    /// The disconnect() under way.
    drain: Option<Drain>,
    own_query: OwnQuery,
    discovery: Discovery,
    clock: Clock,
    out: Outputs,
}

/// The state, with what serves that state alone.
#[derive(Debug)]
enum State {
    Disconnected(Disconnected),
    ConnectingNew(ConnectingNew),
    ConnectingExisting,
    Connected(Connected),
}

/// Numbers that are never used twice.
#[derive(Debug, Default)]
struct Counters {
    connections: u64,
    calls: u64,
}

impl Machine {
    /// Returns a client that is Disconnected. Give each client its own `seed`: it feeds nonces, correlation ids and
    /// jitter.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let random = rng.next();
        let latencies = Recorder::default();
        Self {
            members: Members::new(&config.members, config.reconnect_backoff),
            resend: Resend::new(config.resend_interval),
            liveness: Liveness::new(&config),
            requests: Requests::new(now, random),
            config,
            rng,
            stats: Stats::new(&latencies),
            latencies,
            counters: Counters::default(),
            state: State::Disconnected(Disconnected::default()),
            session: None,
            link: None,
            search: Search::default(),
            quarantine: Quarantine::default(),
            callers: Callers::default(),
            drain: None,
            own_query: OwnQuery::default(),
            discovery: Discovery::default(),
            clock: Clock::new(now),
            out: Outputs::default(),
        }
    }

    /// Returns the configuration that the machine was made with, and with the members of the last
    /// [`update_members`](Self::update_members).
    pub fn config(&self) -> &Config {
        &self.config
    }

    // ---- server requests

    /// Returns the next server request, in order. It counts as held until [`server_request_done`] is called for it.
    ///
    /// [`server_request_done`]: Self::server_request_done
    pub fn poll_server_request(&mut self) -> Option<ServerRequest> {
        self.session.as_mut()?.tracker.next()
    }

    /// The application took this server request, or handled it, so it may be acknowledged. Server requests are done
    /// in the order in which they were handed over; any other id is ignored.
    pub fn server_request_done(&mut self, now: Instant, id: RequestId) {
        if let Some(session) = &mut self.session
            && session.tracker.done(now, id)
        {
            self.stats.server_requests += 1;
        }
    }

    // ---- outputs

    /// Returns what to do next with sockets.
    pub fn poll_action(&mut self, _now: Instant) -> Option<Action> {
        self.out.next_action()
    }

    /// Returns true if [`poll_completion`](Self::poll_completion) has one.
    #[inline]
    pub fn has_completions(&self) -> bool {
        self.out.has_completions()
    }

    /// Returns the next completion if it is an answer, that is, a [`Completion::Request`] with a result. A driver that has
    /// many answers takes them faster so; for all else it calls [`poll_completion`](Self::poll_completion).
    #[inline]
    pub fn poll_answer(&mut self) -> Option<(RequestKey, Bytes)> {
        self.out.next_answer()
    }

    /// Returns the next completion.
    #[inline]
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.out.next_completion()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.next_event()
    }

    /// Makes an event of every message, or stops doing so. Off at first: it costs a copy of each message.
    pub fn observe_messages(&mut self, on: bool) {
        self.out.observe_messages(on);
    }

    /// Returns the present state.
    pub fn state(&self) -> StateName {
        self.state.name()
    }

    /// Returns the id of the session, if there is one.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session.as_ref().map(|session| &session.id)
    }

    /// Returns the member that the session is connected to.
    pub fn member_id(&self) -> Option<&MemberId> {
        match (&self.state, &self.link) {
            (State::Connected(_), Some(link)) => Some(&link.to.id),
            _ => None,
        }
    }

    /// Returns counts since the machine was made, and present sizes.
    pub fn stats(&self) -> Stats {
        let links = self.link.iter().chain(self.search.links());
        let (bytes_in, bytes_out) = links.fold((0, 0), |(received, written), link| {
            (received + link.zmtp.bytes_received(), written + link.zmtp.tx_written())
        });
        Stats {
            in_flight: self.requests.in_flight() as u64,
            detached: self.requests.detached() as u64,
            queued: self.requests.queued() as u64,
            queued_bytes: self.requests.held_bytes() as u64,
            smoothed_answer: self.resend.smoothed(),
            bytes_in: self.stats.bytes_in + bytes_in,
            bytes_out: self.stats.bytes_out + bytes_out,
            latency: self.stats.latency.clone(),
            ..self.stats
        }
    }

    /// Returns how often an entry of the request tables was looked at. Counted with debug assertions only, for tests of
    /// what a command costs.
    #[doc(hidden)]
    pub fn table_visits(&self) -> u64 {
        self.requests.visits()
    }

    // ---- the network's buffers

    /// Returns the buffer to append received bytes to; then call [`handle_received`](Self::handle_received). `None`
    /// if the connection is closed.
    pub fn recv_buffer(&mut self, conn: ConnId) -> Option<&mut BytesMut> {
        Some(self.link_mut(conn)?.zmtp.recv_buffer())
    }

    /// Encodes what may be sent now, and returns the buffer to write from. Advance it by what the socket took, then
    /// call [`handle_written`](Self::handle_written).
    ///
    /// `wall`, the time of day, fills the timestamps on the wire and decides nothing. `None` if nothing can be written any
    /// more: the connection is not open, or its write half was shut down.
    pub fn transmit(
        &mut self,
        now: Instant,
        wall: Timestamp,
        conn: ConnId,
    ) -> Option<&mut TxBuffer> {
        let is_session = self.is_session(conn);
        if !self.link(conn)?.open || is_session && self.write_half_is_shut() {
            return None;
        }
        self.clock.latest = now;
        // After a jump of the clock what can be read is read first, and the timers start again.
        if !self.clock.jumped {
            if is_session {
                self.fill_session(now, wall);
            } else {
                self.fill_handshake(now, conn);
            }
        }
        self.link_mut(conn).map(|link| link.zmtp.tx())
    }

    // ---- helpers of the states

    fn next_call(&mut self) -> u64 {
        self.counters.calls += 1;
        self.counters.calls
    }

    fn next_connection(&mut self) -> ConnId {
        self.counters.connections += 1;
        ConnId(self.counters.connections)
    }

    fn enter(&mut self, state: State) {
        let (old_state, new_state) = (self.state.name(), state.name());
        self.state = state;
        if old_state != new_state {
            self.out.event(Event::StateChange { old_state, new_state });
        }
    }

    /// Returns true if this is the session's connection.
    #[inline]
    fn is_session(&self, conn: ConnId) -> bool {
        self.link.as_ref().is_some_and(|link| link.id == conn)
    }

    /// Returns this connection, if it is the session's or an attempt's.
    #[inline]
    fn link(&self, conn: ConnId) -> Option<&Link> {
        let session = self.link.as_ref().filter(|link| link.id == conn);
        session.or_else(|| self.search.link(conn))
    }

    #[inline]
    fn link_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        let session = self.link.as_mut().filter(|link| link.id == conn);
        session.or_else(|| self.search.link_mut(conn))
    }

    /// Closes the session's connection, if there is one.
    fn close_link(&mut self) {
        if let Some(link) = self.link.take() {
            self.forget_link(link);
        }
    }

    /// Closes a connection that the machine no longer holds. From here on its bytes are ignored.
    fn forget_link(&mut self, link: Link) {
        self.stats.bytes_in += link.zmtp.bytes_received();
        self.stats.bytes_out += link.zmtp.tx_written();
        self.out.act(Action::Close { conn: link.id });
    }

    fn draw_nonce(&mut self) -> Nonce {
        loop {
            if let Ok(nonce) = Nonce::new(self.rng.next() as i64) {
                return nonce;
            }
        }
    }

    fn fail_pings(&mut self, pings: Vec<PingKey>, why: &Failure) {
        for key in pings {
            self.out.complete(Completion::Ping { key, result: Err(why.clone()) });
        }
    }
}

/// Shows neither secrets nor payloads, and no table of a million requests.
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
            Self::Disconnected(_) => StateName::Disconnected,
            Self::ConnectingNew(_) => StateName::ConnectingNewSession,
            Self::ConnectingExisting => StateName::ConnectingExistingSession,
            Self::Connected(_) => StateName::Connected,
        }
    }
}
