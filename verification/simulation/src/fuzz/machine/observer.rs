//! Looks at everything that comes out of the machine, and knows what must hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use zraft_core::{
    Completion, ConnId, ConnectKey, Event, Failure, Instant, Machine, PingKey, RequestKey,
    RequestKind, ServerRequest, StateName,
};
use zraft_protocol::{
    ClientMessage, CorrelationId, Nonce, RequestId, ServerMessage, SessionId, Timestamp,
};
use zraft_zmtp::{Config, Connection};

use super::{MESSAGE, WINDOW, is_handshake};

/// A request, as its caller knows it.
struct Request {
    key: RequestKey,
    kind: RequestKind,
    settled: bool,
    /// Settled with "not executed".
    never_sent: bool,
    detached: bool,
    resolved: bool,
    /// The session it was seen in, and its id there.
    seen: Option<(usize, u64)>,
}

impl Request {
    fn is_pending(&self) -> bool {
        !self.settled || (self.detached && !self.resolved)
    }
}

/// The other end of a connection.
struct Peer {
    conn: ConnId,
    zmtp: Connection,
    handshake: Option<ClientMessage>,
    /// The machine said that the session stands.
    connected: bool,
    /// Commands that it got, and the last of those that an earlier one had got too.
    carried: BTreeSet<u64>,
    resent: u64,
}

pub(super) struct Observer {
    session_may_be_renewed: bool,
    requests: BTreeMap<Vec<u8>, Request>,
    by_key: HashMap<RequestKey, Vec<u8>>,
    keys: Vec<RequestKey>,
    connects: BTreeSet<u64>,
    connect_numbers: HashMap<ConnectKey, u64>,
    pings: HashMap<PingKey, bool>,
    disconnects: usize,
    /// The session's connection, or its last one.
    present: Option<ConnId>,
    peers: Vec<Peer>,
    sessions: usize,
    session_id: Option<SessionId>,
    /// Of the present session: commands by id, and the highest L.
    ids: BTreeMap<u64, Vec<u8>>,
    lowest: u64,
    /// A connection ended with bytes that had not reached the socket.
    cut: bool,
    queries: Vec<CorrelationId>,
    keep_alives: Vec<Timestamp>,
    /// Answers that were given to an id in this session.
    answers: BTreeMap<u64, BTreeSet<Bytes>>,
    /// Random bytes were delivered, whose meaning is unknown.
    wild: bool,
    delivered: u64,
    too_long: BTreeSet<u64>,
}

impl Observer {
    pub(super) fn new(session_may_be_renewed: bool) -> Self {
        Self {
            session_may_be_renewed,
            requests: BTreeMap::new(),
            by_key: HashMap::new(),
            keys: Vec::new(),
            connects: BTreeSet::new(),
            connect_numbers: HashMap::new(),
            pings: HashMap::new(),
            disconnects: 0,
            present: None,
            peers: Vec::new(),
            sessions: 0,
            session_id: None,
            ids: BTreeMap::new(),
            lowest: 0,
            cut: false,
            queries: Vec::new(),
            keep_alives: Vec::new(),
            answers: BTreeMap::new(),
            wild: false,
            delivered: 0,
            too_long: BTreeSet::new(),
        }
    }

    // ---- what a script may ask for

    /// One of the requests submitted last.
    pub(super) fn key(&self, back: u8) -> Option<RequestKey> {
        let back = 1 + usize::from(back % 8);
        self.keys.len().checked_sub(back).map(|at| self.keys[at])
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    fn peer(&mut self, conn: ConnId) -> &mut Peer {
        self.peers.iter_mut().find(|peer| peer.conn == conn).expect("a connection")
    }

    fn handshake(&self, conn: ConnId) -> Option<&ClientMessage> {
        self.peers.iter().find(|peer| peer.conn == conn)?.handshake.as_ref()
    }

    /// The nonce that this connection waits for.
    pub(super) fn nonce(&self, conn: ConnId) -> Option<Nonce> {
        match self.handshake(conn)? {
            ClientMessage::CreateSession { nonce, .. }
            | ClientMessage::ContinueSession { nonce, .. } => Some(*nonce),
            _ => None,
        }
    }

    /// Returns true if this connection asked to continue its session, and `None` if it asked for nothing yet.
    pub(super) fn continues(&self, conn: ConnId) -> Option<bool> {
        let asked = self.handshake(conn)?;
        Some(matches!(asked, ClientMessage::ContinueSession { .. }))
    }

    pub(super) fn keep_alive(&self) -> Option<Timestamp> {
        self.keep_alives.last().copied()
    }

    /// The oldest command that waits for its answer.
    pub(super) fn command(&self) -> Option<RequestId> {
        let waits = |payload: &Vec<u8>| self.requests.get(payload).is_some_and(Request::is_pending);
        let id = self.ids.iter().find(|(_, payload)| waits(payload))?.0;
        RequestId::new(*id).ok()
    }

    pub(super) fn query(&self, back: u8) -> Option<CorrelationId> {
        let at = self.queries.len().checked_sub(1 + usize::from(back % 8))?;
        Some(self.queries[at].clone())
    }

    pub(super) fn next_server_request(&self) -> RequestId {
        RequestId::new(self.delivered + 1).unwrap()
    }

    // ---- what went in

    pub(super) fn submitted(&mut self, key: RequestKey, kind: RequestKind, payload: Vec<u8>) {
        assert!(payload.len() <= MESSAGE, "a payload that is too long is refused");
        assert!(self.by_key.insert(key, payload.clone()).is_none(), "a key is used once");
        self.keys.push(key);
        let request = Request {
            key,
            kind,
            settled: false,
            never_sent: false,
            detached: false,
            resolved: false,
            seen: None,
        };
        self.requests.insert(payload, request);
    }

    pub(super) fn connecting(&mut self, key: ConnectKey) {
        let number = self.connect_numbers.len() as u64;
        assert!(self.connect_numbers.insert(key, number).is_none(), "a key is used once");
        self.connects.insert(number);
    }

    pub(super) fn connect_cancelled(&mut self, key: ConnectKey) {
        self.connects.remove(&self.connect_numbers[&key]);
    }

    pub(super) fn pinged(&mut self, key: PingKey) {
        assert!(self.pings.insert(key, false).is_none(), "a key is used once");
    }

    pub(super) fn disconnecting(&mut self) {
        self.disconnects += 1;
    }

    pub(super) fn opened(&mut self, conn: ConnId, now: Instant) {
        let zmtp = Connection::new(Config { max_frame: 1 << 20, ..Config::server() }, now);
        self.peers.push(Peer {
            conn,
            zmtp,
            handshake: None,
            connected: false,
            carried: BTreeSet::new(),
            resent: 0,
        });
    }

    pub(super) fn anything_was_said(&mut self) {
        self.wild = true;
    }

    pub(super) fn said(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::ClientResponse { request_id, result } => {
                let answers = self.answers.entry(request_id.get()).or_default();
                answers.insert(result.as_bytes().clone());
            }
            ServerMessage::ServerRequest { request_id, payload, .. } if payload.len() > MESSAGE => {
                self.too_long.insert(request_id.get());
            }
            _ => {}
        }
    }

    // ---- what came out

    pub(super) fn completed(&mut self, completion: Completion) {
        match completion {
            Completion::Request { key, result, detached } => {
                let payload = &self.by_key[&key];
                let request = self.requests.get_mut(payload).unwrap();
                assert!(!request.settled, "a request settles once");
                check_result(request, &result);
                if detached {
                    assert!(request.kind == RequestKind::Command);
                    assert!(result.as_ref().is_err_and(Failure::maybe_executed));
                }
                request.settled = true;
                request.detached = detached;
                if request.kind == RequestKind::Command
                    && result.as_ref().is_err_and(|failure| !failure.maybe_executed())
                {
                    assert!(request.seen.is_none(), "it was sent: {result:?}");
                    request.never_sent = true;
                }
                let seen = request.seen;
                self.check_answer(seen, &result);
            }
            Completion::Resolution { key, result } => {
                let payload = &self.by_key[&key];
                let request = self.requests.get_mut(payload).unwrap();
                assert!(request.detached && !request.resolved, "a detached one resolves once");
                check_result(request, &result);
                assert!(result.as_ref().err().is_none_or(Failure::maybe_executed));
                request.resolved = true;
                let seen = request.seen;
                self.check_answer(seen, &result);
            }
            Completion::Connect { key, .. } => {
                let waited = self.connects.remove(&self.connect_numbers[&key]);
                assert!(waited, "a connect() ends once, and not after it was cancelled");
            }
            Completion::Ping { key, .. } => {
                let answered = self.pings.get_mut(&key).unwrap();
                assert!(!std::mem::replace(answered, true), "a ping ends once");
            }
            Completion::Disconnected => {
                assert!(self.disconnects > 0, "disconnect() was called");
            }
        }
    }

    /// An answer is one that was given to this id in this session.
    fn check_answer(&self, seen: Option<(usize, u64)>, result: &Result<Bytes, Failure>) {
        if let (Some((session, id)), Ok(answer), false) = (seen, result, self.wild) {
            assert_eq!(session, self.sessions, "a late answer of an old session");
            let given = self.answers.get(&id).is_some_and(|given| given.contains(answer));
            assert!(given, "its own answer");
        }
    }

    /// The session has this connection. `cut`: bytes of an earlier one had not reached the socket.
    pub(super) fn stands(&mut self, conn: ConnId, cut: bool) {
        self.present = Some(conn);
        self.cut |= cut;
        self.keep_alives.clear();
    }

    pub(super) fn event(&mut self, event: &Event, session_id: Option<&SessionId>) {
        match event {
            Event::Connected { session_id: connected, resumed, .. } => {
                let present = self.present.expect("a connection");
                assert_eq!(self.continues(present), Some(*resumed), "what was asked for");
                let peer = self.peer(present);
                assert!(!std::mem::replace(&mut peer.connected, true), "once per connection");
                if *resumed {
                    assert_eq!(self.session_id.as_ref(), Some(connected));
                } else {
                    self.sessions += 1;
                    self.session_id = session_id.cloned();
                    self.ids.clear();
                    self.answers.clear();
                    self.queries.clear();
                    self.too_long.clear();
                    (self.lowest, self.delivered) = (0, 0);
                    self.cut = false;
                }
            }
            // Of bytes that mean nothing, one read may hold more than are kept.
            Event::Lagged(_) => assert!(self.wild, "events were lost though all were taken"),
            _ => {}
        }
    }

    /// Bytes were written: reads them as a member does. `fresh`: none of them had waited since before the last input.
    pub(super) fn wrote(&mut self, conn: ConnId, now: Instant, bytes: &[u8], fresh: bool) {
        self.peer(conn).zmtp.handle_bytes(now, bytes);
        loop {
            let Some(event) = self.peer(conn).zmtp.poll_event(now) else { break };
            match event {
                zraft_zmtp::Event::Ready(_) => {}
                zraft_zmtp::Event::Message(frame) => {
                    let message = ClientMessage::decode(&frame).expect("what is sent decodes");
                    self.message(conn, message, fresh);
                }
                // ERROR to a member of another socket type.
                zraft_zmtp::Event::Failed(zraft_zmtp::Error::PeerError(_)) => {}
                other => panic!("the machine sent something odd: {other:?}"),
            }
        }
    }

    fn message(&mut self, conn: ConnId, message: ClientMessage, fresh: bool) {
        if is_handshake(&message) {
            if let ClientMessage::ContinueSession { session_id, .. } = &message {
                assert_eq!(Some(session_id), self.session_id.as_ref());
            }
            let before = self.peer(conn).handshake.replace(message);
            assert!(before.is_none(), "one handshake message per connection");
            return;
        }
        assert_eq!(self.present, Some(conn), "the session has another connection");
        assert!(self.peer(conn).connected, "before the session's answer: {message:?}");
        match message {
            ClientMessage::ClientRequest {
                request_id, lowest_pending_request_id, payload, ..
            } => self.command_sent(
                conn,
                request_id.get(),
                lowest_pending_request_id.get(),
                payload.to_vec(),
                fresh,
            ),
            ClientMessage::Query { correlation_id, payload, .. } => {
                let request = self.requests.get(&payload[..]).expect("a query that was submitted");
                assert!(request.kind == RequestKind::Query);
                if !self.queries.contains(&correlation_id) {
                    self.queries.push(correlation_id.to_detached());
                }
            }
            ClientMessage::ServerRequestAck { request_id } => {
                let done = |id| id <= self.delivered || self.wild || self.too_long.contains(&id);
                assert!(done(request_id.get()), "{request_id} was not delivered");
            }
            ClientMessage::KeepAlive { timestamp } => self.keep_alives.push(timestamp),
            ClientMessage::CloseSession { .. } => {
                assert!(self.disconnects > 0 || self.session_may_be_renewed);
            }
            other => panic!("a client never sends {other:?}"),
        }
    }

    fn command_sent(&mut self, conn: ConnId, id: u64, lowest: u64, payload: Vec<u8>, fresh: bool) {
        // What was encoded and never reached the socket's other end may come later than new work.
        let last = self.ids.last_key_value().map_or(0, |(id, _)| *id);
        let known = self.ids.contains_key(&id);
        assert!(known || id == last + 1 || self.cut, "{id} after {last} for the first time");
        let first = self.ids.entry(id).or_insert_with(|| payload.clone());
        assert_eq!(*first, payload, "an id carries one payload");
        let request = self.requests.get_mut(&payload).expect("a command that was submitted");
        assert!(request.kind == RequestKind::Command);
        assert!(!request.never_sent, "it was called not executed");
        let place = *request.seen.get_or_insert((self.sessions, id));
        assert_eq!(place, (self.sessions, id), "one command, one session, one id");
        assert!(lowest <= id, "L {lowest} of {id}");
        assert!(lowest >= self.lowest, "L {lowest} after {}", self.lowest);
        assert!(id - lowest <= 8 * WINDOW as u64, "the span of ids");
        self.lowest = lowest;
        for (passed, payload) in self.ids.range(..lowest) {
            assert!(!self.requests[payload].is_pending(), "L {lowest} passed {passed}");
        }
        // It may stand for one that was encoded and never reached the socket's other end.
        let named = self.ids.get(&lowest).filter(|_| fresh);
        let pending = named.is_none_or(|payload| self.requests[payload].is_pending());
        assert!(pending, "L {lowest} is over");
        let peer = self.peer(conn);
        if peer.carried.insert(id) && known {
            assert!(id > peer.resent, "{id} is carried over after {}", peer.resent);
            peer.resent = id;
        }
    }

    pub(super) fn server_request(&mut self, request: &ServerRequest) {
        let id = request.request_id.get();
        assert!(id > self.delivered, "{id} is delivered after {}", self.delivered);
        let skipped = self.delivered + 1..id;
        let told = |id: u64| self.too_long.contains(&id);
        assert!(self.wild || skipped.clone().all(told), "{skipped:?} was left out");
        self.delivered = id;
    }

    pub(super) fn check(&self, machine: &Machine) {
        let stats = machine.stats();
        let pending = self.requests.values().filter(|request| request.is_pending());
        assert_eq!(stats.queued + stats.in_flight + stats.detached, pending.count() as u64);
        let pending = self.requests.iter().filter(|(_, request)| request.is_pending());
        let held: usize = pending.map(|(payload, _)| payload.len()).sum();
        assert_eq!(stats.queued_bytes, held as u64, "payloads are held until they settle");
        let on_the_wire = self.ids.values().filter(|payload| self.requests[*payload].is_pending());
        assert!(on_the_wire.count() <= WINDOW, "the window of commands");
        assert!(stats.in_flight + stats.detached <= 2 * WINDOW as u64, "the window of queries");
        if machine.state() == StateName::Disconnected {
            assert_eq!(stats.queued_bytes, 0, "Disconnected with everything settled");
            assert!(self.connects.is_empty(), "no connect() waits for nothing");
        }
    }

    pub(super) fn finished(&self, machine: &Machine) {
        // A connect() during disconnect() starts again after it, and may still be under way.
        for (payload, request) in &self.requests {
            let about = String::from_utf8_lossy(payload);
            assert!(!request.is_pending(), "{about} ({:?}) never ended", request.key);
        }
        if machine.state() != StateName::Connected {
            assert!(self.pings.values().all(|answered| *answered), "every ping ends");
        }
    }
}

fn check_result(request: &Request, result: &Result<Bytes, Failure>) {
    if let Err(failure) = result {
        let unknown = failure.maybe_executed();
        assert!(!unknown || request.kind == RequestKind::Command, "{failure:?} of a query");
    }
}
