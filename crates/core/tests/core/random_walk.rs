//! Random scripts of inputs, checked against the invariants that hold after each of them.
//!
//! The model's cluster executes each command once per session and id, as the real one does. It repeats the cached answer
//! to a copy, and reports an eviction below the highest L that it has executed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::common::*;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use zraft_core::{
    Completion, ConnId, Failure, OnSessionExpired, RequestKey, RequestKind, StateName, Timeout,
};
use zraft_protocol::{
    ClientMessage, Payload, RejectionReason, ServerMessage, SessionCloseReason, SessionId,
};

const WINDOW: u64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Submit {
        query: bool,
        timeout: u64,
    },
    Cancel(u8),
    /// The member being asked accepts or refuses the connection.
    Accept,
    Refuse,
    /// The member handles this many of its received messages.
    Serve {
        messages: u8,
        fate: Fate,
    },
    /// A member handles messages that it received on connections that have ended.
    ServeOld(u8),
    Reject(u8),
    HangUp,
    Reset,
    Closed(u8, u8),
    Pass(u64),
    /// The process is stopped for this long.
    Stop(u64),
    Deaf(bool),
    Notify(u64),
    Deliver,
    Garbage(u8),
    Connect(u64),
    Disconnect(u64),
    Ping,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Answer,
    /// The command is executed, and the answer is lost.
    Mute,
    /// The command is lost before it is executed.
    Drop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![6 => Just(Fate::Answer), 2 => Just(Fate::Mute), 1 => Just(Fate::Drop)];
    let step = prop_oneof![
        30 => (any::<bool>(), 1..20_000_u64)
            .prop_map(|(query, timeout)| Step::Submit { query, timeout }),
        3 => any::<u8>().prop_map(Step::Cancel),
        20 => Just(Step::Accept),
        2 => Just(Step::Refuse),
        40 => (1..20_u8, fate).prop_map(|(messages, fate)| Step::Serve { messages, fate }),
        5 => (1..20_u8).prop_map(Step::ServeOld),
        2 => any::<u8>().prop_map(Step::Reject),
        2 => Just(Step::HangUp),
        2 => Just(Step::Reset),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(reason, hint)| Step::Closed(reason, hint)),
        15 => (1..300_u64).prop_map(Step::Pass),
        8 => (300..8_000_u64).prop_map(Step::Pass),
        1 => (8_000..100_000_u64).prop_map(Step::Pass),
        1 => (1..200_000_u64).prop_map(Step::Stop),
        1 => any::<bool>().prop_map(Step::Deaf),
        3 => (0..12_u64).prop_map(Step::Notify),
        3 => Just(Step::Deliver),
        1 => any::<u8>().prop_map(Step::Garbage),
        3 => (1..30_000_u64).prop_map(Step::Connect),
        1 => (1..6_000_u64).prop_map(Step::Disconnect),
        1 => Just(Step::Ping),
    ];
    prop::collection::vec(step, 1..200)
}

/// A connection as the member at its other end sees it.
#[derive(Default)]
struct Wire {
    handshakes: usize,
    /// The session bound to the connection; `None` until the session message is answered.
    session: Option<u64>,
    unserved: VecDeque<ClientMessage>,
}

/// A session as the cluster keeps it.
#[derive(Default)]
struct ServerSession {
    highest_lowest: u64,
    answers: BTreeMap<u64, Bytes>,
}

/// A request as its caller knows it.
#[derive(Default)]
struct Caller {
    payload: String,
    query: bool,
    settled: Option<Result<Bytes, Failure>>,
    detached: bool,
    resolved: bool,
}

struct Walk {
    world: World,
    wires: BTreeMap<ConnId, Wire>,
    sessions: Vec<ServerSession>,
    executed: Vec<String>,
    callers: HashMap<RequestKey, Caller>,
    keys: Vec<RequestKey>,
    submitted: u64,
    /// The session and id of each command seen on the wire, by payload.
    seen: HashMap<String, (u64, u64)>,
    /// Ids seen in the present session, and the highest L.
    ids: BTreeMap<u64, String>,
    lowest: u64,
    delivered: Vec<u64>,
}

impl Walk {
    fn new(renew: bool, seed: u64) -> Self {
        let then = if renew { OnSessionExpired::NewSession } else { OnSessionExpired::Terminate };
        let config = three().max_in_flight(WINDOW as usize).max_queued(20).on_session_expired(then);
        let mut world = World::seeded(config, seed);
        world.answers_keep_alives = true;
        world.connect();
        Self {
            world,
            wires: BTreeMap::new(),
            sessions: Vec::new(),
            executed: Vec::new(),
            callers: HashMap::new(),
            keys: Vec::new(),
            submitted: 0,
            seen: HashMap::new(),
            ids: BTreeMap::new(),
            lowest: 0,
            delivered: Vec::new(),
        }
    }

    /// The connection that is open, if there is one.
    fn open(&self) -> Option<ConnId> {
        let peer = self.world.peers.last()?;
        (peer.open && !peer.closed).then_some(peer.conn)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit { query, timeout } => self.submit(query, timeout),
            Step::Cancel(which) => {
                if !self.keys.is_empty() {
                    let key = self.keys[usize::from(which) % self.keys.len()];
                    self.world.machine.cancel(self.world.now, key);
                }
            }
            Step::Accept => {
                if let Some(member) = self.world.asks() {
                    self.world.accept(&member);
                }
            }
            Step::Refuse => {
                if let Some(member) = self.world.asks() {
                    self.world.refuse(&member);
                }
            }
            Step::Serve { messages, fate } => {
                for _ in 0..messages {
                    let Some(conn) = self.open() else { break };
                    let Some(message) = self.wires.entry(conn).or_default().unserved.pop_front()
                    else {
                        break;
                    };
                    self.serve(conn, message, fate);
                    self.observe();
                }
            }
            Step::ServeOld(messages) => {
                let open = self.open();
                let old: Vec<ConnId> =
                    self.wires.keys().copied().filter(|conn| Some(*conn) != open).collect();
                for conn in old {
                    for _ in 0..messages {
                        let message = self.wires.get_mut(&conn).unwrap().unserved.pop_front();
                        let Some(message) = message else { break };
                        let bound = self.wires[&conn].session.is_some();
                        if bound && matches!(message, ClientMessage::ClientRequest { .. }) {
                            self.execute(conn, &message);
                        }
                    }
                }
            }
            Step::Reject(which) => self.reject(which),
            Step::HangUp => self.end(World::hang_up),
            Step::Reset => self.end(World::reset),
            Step::Closed(reason, hint) => {
                let reasons = SessionCloseReason::ALL;
                let reason = reasons[usize::from(reason) % reasons.len()];
                let hints = [None, Some("node-1"), Some("node-2"), Some("node-3"), Some("else")];
                let hint = hints[usize::from(hint) % hints.len()];
                self.end(|world, conn| world.closed(conn, reason, hint));
            }
            Step::Pass(time) => self.world.advance(millis(time)),
            Step::Stop(time) => {
                self.world.sleep(millis(time));
                self.world.wake();
            }
            Step::Deaf(deaf) => {
                self.world.answers_keep_alives = !deaf;
                if let Some(peer) = self.world.peers.last_mut() {
                    peer.answers_keep_alives = !deaf;
                }
            }
            Step::Notify(id) => {
                if let Some(conn) = self.open() {
                    self.world.server_request(conn, id, "note");
                }
            }
            Step::Deliver => {
                let ids = self.world.deliver();
                self.delivered.extend(ids);
            }
            Step::Garbage(byte) => {
                if let Some(conn) = self.open()
                    && self.wires.get(&conn).is_some_and(|wire| wire.handshakes > 0)
                {
                    let frame = [b'z', b'r', b'a', b'f', b't', 1, byte, 0, 0];
                    self.world.say_bytes(conn, &frame);
                }
            }
            Step::Connect(timeout) => {
                self.world.machine.connect(self.world.now, Some(millis(timeout)));
            }
            Step::Disconnect(timeout) => {
                self.world.machine.disconnect(self.world.now, millis(timeout));
            }
            Step::Ping => {
                self.world.machine.ping(self.world.now);
            }
        }
        self.world.pump();
        self.observe();
    }

    fn end(&mut self, end: impl FnOnce(&mut World, ConnId)) {
        if let Some(conn) = self.open()
            && self.wires.get(&conn).is_some_and(|wire| wire.handshakes > 0)
        {
            end(&mut self.world, conn);
        }
    }

    fn submit(&mut self, query: bool, timeout: u64) {
        self.submitted += 1;
        let payload = format!("{}{}", if query { "q" } else { "c" }, self.submitted);
        let kind = if query { RequestKind::Query } else { RequestKind::Command };
        let timeout = match timeout {
            0..100 => Timeout::Never,
            timeout => Timeout::After(millis(timeout)),
        };
        let machine = &mut self.world.machine;
        if let Ok(key) = machine.submit(self.world.now, kind, payload.clone().into(), timeout) {
            let caller = Caller { payload, query, ..Caller::default() };
            assert!(self.callers.insert(key, caller).is_none(), "a key is used once");
            self.keys.push(key);
        }
    }

    fn reject(&mut self, which: u8) {
        let Some(conn) = self.open() else { return };
        let nonce = match self.wires.entry(conn).or_default().unserved.front() {
            Some(
                ClientMessage::CreateSession { nonce, .. }
                | ClientMessage::ContinueSession { nonce, .. },
            ) => *nonce,
            _ => return,
        };
        let (reason, hint) = match which % 8 {
            0 => (RejectionReason::SessionExpired, None),
            1 => (RejectionReason::NotLeader, Some("node-1")),
            2 => (RejectionReason::NotLeader, Some("node-2")),
            3 if which > 200 => (RejectionReason::Other, None),
            _ => (RejectionReason::NotLeader, None),
        };
        self.world.reject(conn, nonce, reason, hint);
    }

    fn serve(&mut self, conn: ConnId, message: ClientMessage, fate: Fate) {
        match message {
            ClientMessage::CreateSession { nonce, .. } => {
                if matches!(fate, Fate::Answer) {
                    self.sessions.push(ServerSession::default());
                    let number = self.sessions.len() as u64;
                    let session_id = SessionId::new(format!("session-{number}")).unwrap();
                    self.wires.get_mut(&conn).unwrap().session = Some(number);
                    (self.ids, self.lowest) = (BTreeMap::new(), 0);
                    self.delivered.clear();
                    self.world.say(conn, ServerMessage::SessionCreated { session_id, nonce });
                }
            }
            ClientMessage::ContinueSession { nonce, session_id } => {
                let number = self.sessions.len();
                assert_eq!(session_id.as_str(), format!("session-{number}"));
                if matches!(fate, Fate::Answer) {
                    self.wires.get_mut(&conn).unwrap().session = Some(number as u64);
                    self.world.say(conn, ServerMessage::SessionContinued { nonce });
                }
            }
            ref request @ ClientMessage::ClientRequest { .. } if !matches!(fate, Fate::Drop) => {
                let answer = self.execute(conn, request);
                if matches!(fate, Fate::Answer) {
                    self.world.say(conn, answer);
                }
            }
            ClientMessage::Query { correlation_id, payload, .. } => {
                if matches!(fate, Fate::Answer) {
                    let answer = ServerMessage::QueryResponse { correlation_id, result: payload };
                    self.world.say(conn, answer);
                }
            }
            ClientMessage::CloseSession { .. } => self.world.hang_up(conn),
            _ => {}
        }
    }

    /// Executes a command, or answers it from the deduplication cache.
    fn execute(&mut self, conn: ConnId, message: &ClientMessage) -> ServerMessage {
        let ClientMessage::ClientRequest { request_id, lowest_pending_request_id, payload, .. } =
            message
        else {
            unreachable!();
        };
        let number = self.wires[&conn].session.unwrap();
        let session = &mut self.sessions[number as usize - 1];
        let (id, lowest) = (request_id.get(), lowest_pending_request_id.get());
        let request_id = *request_id;
        if let Some(answer) = session.answers.get(&id) {
            assert_eq!(answer, payload.as_bytes(), "an id carries one payload");
            let result = Payload::new(answer.clone()).unwrap();
            return ServerMessage::ClientResponse { request_id, result };
        }
        if id < session.highest_lowest {
            let reason = zraft_protocol::RequestErrorReason::ResponseEvicted;
            return ServerMessage::RequestError { request_id, reason };
        }
        session.highest_lowest = session.highest_lowest.max(lowest);
        session.answers = session.answers.split_off(&session.highest_lowest);
        session.answers.insert(id, payload.as_bytes().clone());
        self.executed.push(String::from_utf8(payload.to_vec()).unwrap());
        ServerMessage::ClientResponse { request_id, result: payload.clone() }
    }

    /// Checks all outputs of the machine.
    fn observe(&mut self) {
        for completion in std::mem::take(&mut self.world.completions) {
            self.observe_completion(completion);
        }
        for index in 0..self.world.peers.len() {
            let conn = self.world.peers[index].conn;
            let messages: Vec<ClientMessage> = self.world.peers[index].inbox.drain(..).collect();
            for message in messages {
                self.observe_message(conn, &message);
                self.wires.entry(conn).or_default().unserved.push_back(message);
            }
        }
        for event in self.world.events.drain(..) {
            assert!(!matches!(event, zraft_core::Event::Lagged(_)));
        }
        let stats = self.world.machine.stats();
        let held: usize = self.pending().map(|caller| caller.payload.len()).sum();
        assert_eq!(stats.queued_bytes, held as u64, "payloads are held until they settle");
        let pending = self.pending().count() as u64;
        assert_eq!(stats.queued + stats.in_flight + stats.detached, pending);
        if self.world.state() == StateName::Disconnected {
            assert_eq!(pending, 0, "Disconnected with everything settled");
        }
    }

    /// Requests that have not settled.
    fn pending(&self) -> impl Iterator<Item = &Caller> {
        self.callers
            .values()
            .filter(|caller| caller.settled.is_none() || (caller.detached && !caller.resolved))
    }

    fn observe_message(&mut self, conn: ConnId, message: &ClientMessage) {
        let wire = self.wires.entry(conn).or_default();
        match message {
            ClientMessage::CreateSession { .. } | ClientMessage::ContinueSession { .. } => {
                wire.handshakes += 1;
                assert_eq!(wire.handshakes, 1, "one handshake message per connection");
            }
            message => {
                assert!(wire.session.is_some(), "before the session's answer: {message:?}");
            }
        }
        match message {
            ClientMessage::ClientRequest {
                request_id, lowest_pending_request_id, payload, ..
            } => {
                let session = wire.session.unwrap();
                let (id, lowest) = (request_id.get(), lowest_pending_request_id.get());
                let text = String::from_utf8(payload.to_vec()).unwrap();
                let next = self.ids.last_key_value().map_or(1, |(id, _)| id + 1);
                assert!(id <= next, "ids are 1, 2, 3…: {id} after {next}");
                let first = self.ids.entry(id).or_insert_with(|| text.clone());
                assert_eq!(*first, text, "the same id, the same payload");
                let place = self.seen.entry(text).or_insert((session, id));
                assert_eq!(*place, (session, id), "one command, one session, one id");
                assert!(lowest <= id && lowest >= self.lowest, "L {lowest} of {id}");
                assert!(id - lowest <= 8 * WINDOW, "the span of ids");
                self.lowest = lowest;
                self.check_window(false);
                // L never passes a command whose answer may still be asked for.
                for (id, payload) in self.ids.range(..lowest) {
                    let wanted = self.pending().any(|caller| caller.payload == *payload);
                    assert!(!wanted, "L {lowest} passed {id}");
                }
            }
            ClientMessage::Query { .. } => self.check_window(true),
            _ => {}
        }
    }

    fn check_window(&self, query: bool) {
        let stats = self.world.machine.stats();
        // Detached commands count too, and each request counts once, with any number of copies.
        if !query {
            let wanted = |text: &&String| self.pending().any(|caller| caller.payload == **text);
            let on_the_wire = self.ids.values().filter(wanted).count() as u64;
            assert!(on_the_wire <= WINDOW, "{on_the_wire} commands on the wire");
        }
        assert!(stats.in_flight + stats.detached <= 2 * WINDOW);
    }

    fn observe_completion(&mut self, completion: Completion) {
        match completion {
            Completion::Request { key, result, detached } => {
                let caller = self.callers.get_mut(&key).unwrap();
                assert!(caller.settled.is_none(), "{} settled twice", caller.payload);
                check_result(caller, &result);
                if detached {
                    let failure = result.as_ref().unwrap_err();
                    assert!(failure.maybe_executed() && !caller.query);
                }
                caller.detached = detached;
                caller.settled = Some(result);
            }
            Completion::Resolution { key, result } => {
                let caller = self.callers.get_mut(&key).unwrap();
                assert!(caller.detached && !caller.resolved, "{}", caller.payload);
                check_result(caller, &result);
                if let Err(failure) = &result {
                    assert!(failure.maybe_executed());
                }
                caller.resolved = true;
            }
            _ => {}
        }
    }

    /// Ends the run: every request must have settled, and every reported outcome must be true.
    fn finish(mut self) {
        self.world.machine.disconnect(self.world.now, seconds(2));
        self.world.pump();
        self.observe();
        self.world.advance(seconds(4));
        self.observe();
        // Commands received on old connections may still be executed.
        for _ in 0..3 {
            self.take(&Step::ServeOld(u8::MAX));
        }
        assert_eq!(self.pending().count(), 0, "every request settles");
        let executed: BTreeSet<&String> = self.executed.iter().collect();
        assert_eq!(executed.len(), self.executed.len(), "nothing is executed twice");
        for caller in self.callers.values().filter(|caller| !caller.query) {
            match caller.settled.as_ref().unwrap() {
                Ok(_) => assert!(executed.contains(&caller.payload)),
                Err(failure) if !failure.maybe_executed() => {
                    assert!(!executed.contains(&caller.payload), "{failure:?} was not true");
                    assert!(!self.seen.contains_key(&caller.payload), "{failure:?}: it was sent");
                }
                Err(_) => {}
            }
        }
        let stats = self.world.machine.stats();
        assert_eq!((stats.queued, stats.in_flight, stats.detached), (0, 0, 0));
    }
}

fn check_result(caller: &Caller, result: &Result<Bytes, Failure>) {
    match result {
        Ok(answer) => assert_eq!(*answer, caller.payload, "its own answer"),
        Err(Failure::ResponseEvicted { .. }) => {
            panic!("L passed {} while it was wanted", caller.payload);
        }
        Err(failure) => assert!(!(caller.query && failure.maybe_executed())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_under_random_scripts(steps in steps(), renew: bool, seed: u64) {
        let mut walk = Walk::new(renew, seed);
        for step in &steps {
            walk.take(step);
        }
        walk.finish();
    }
}
