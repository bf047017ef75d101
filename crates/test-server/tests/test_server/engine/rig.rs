//! A cluster under virtual time, and the messages that each of its peers has received.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use zraft_protocol::{
    Capabilities, ClientMessage, CloseReason, CorrelationId, MemberId, Nonce, Payload, RequestId,
    ServerMessage, SessionId, Timestamp,
};
use zraft_test_server::{
    AppendLog, Application, CloseHow, Engine, EngineConfig, Incident, Listening, MemberIndex,
    Output, PeerId,
};
use zraft_zmtp::Instant;

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    received: BTreeMap<PeerId, Vec<ServerMessage>>,
    pub(crate) closed: BTreeMap<PeerId, CloseHow>,
    /// Whether the engine wants the connection to be read; absent before the first output about it.
    pub(crate) reading: BTreeMap<PeerId, bool>,
    pub(crate) listening: BTreeMap<usize, Listening>,
    pub(crate) incidents: Vec<Incident>,
    nonce: i64,
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn id(number: u64) -> RequestId {
    RequestId::new(number).expect("a small number")
}

pub(crate) fn payload(bytes: &[u8]) -> Payload {
    Payload::new(Bytes::copy_from_slice(bytes)).expect("a short payload")
}

/// Returns the answer of the append log for a position.
pub(crate) fn position(number: u64) -> Payload {
    payload(&number.to_be_bytes())
}

pub(crate) fn member_ids(count: usize) -> Vec<MemberId> {
    (1..=count).map(|n| MemberId::new(format!("node-{n}")).expect("short")).collect()
}

pub(crate) fn config(members: usize) -> EngineConfig {
    EngineConfig::new(member_ids(members))
}

pub(crate) fn answer(number: u64, result: Payload) -> ServerMessage {
    ServerMessage::ClientResponse { request_id: id(number), result }
}

impl Rig {
    pub(crate) fn new(members: usize) -> Self {
        Self::with(config(members), AppendLog::new())
    }

    pub(crate) fn with(config: EngineConfig, app: impl Application) -> Self {
        let now = Instant::ZERO;
        Self {
            engine: Engine::new(config, app, now),
            now,
            received: BTreeMap::new(),
            closed: BTreeMap::new(),
            reading: BTreeMap::new(),
            listening: BTreeMap::new(),
            incidents: Vec::new(),
            nonce: 0,
        }
    }

    pub(crate) fn member(&self, number: usize) -> MemberIndex {
        self.engine.index_of(&format!("node-{number}")).expect("a member")
    }

    /// Returns the number of the leader, counted from 1.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.engine.leader().map(|leader| leader.get() + 1)
    }

    pub(crate) fn connect(&mut self, member: usize) -> PeerId {
        let member = self.member(member);
        self.engine.connected(self.now, member).expect("the member runs")
    }

    pub(crate) fn send(&mut self, peer: PeerId, message: ClientMessage) {
        self.engine.received(self.now, peer, message);
        self.collect();
    }

    /// Lets time pass and handles each timeout at its time.
    pub(crate) fn after(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            turns += 1;
            assert!(turns < 1_000_000, "the engine's timer makes no progress");
        }
        self.now = end;
        self.engine.handle_timeout(end);
        self.collect();
    }

    /// Lets the commit delay pass.
    pub(crate) fn commit(&mut self) {
        self.after(ms(1));
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { peer, message } => {
                    assert!(!self.closed.contains_key(&peer), "nothing is sent after the close");
                    self.received.entry(peer).or_default().push(message);
                }
                Output::Close { peer, how } => {
                    self.closed.insert(peer, how);
                }
                Output::StopReading { peer } => {
                    self.reading.insert(peer, false);
                }
                Output::ResumeReading { peer } => {
                    self.reading.insert(peer, true);
                }
                Output::Listen { member, listening } => {
                    self.listening.insert(member.get() + 1, listening);
                }
                Output::Report { incident, .. } => self.incidents.push(incident),
                other => panic!("an unknown output: {other:?}"),
            }
        }
    }

    /// Takes the messages that the peer has received since the last call.
    pub(crate) fn received(&mut self, peer: PeerId) -> Vec<ServerMessage> {
        self.collect();
        self.received.remove(&peer).unwrap_or_default()
    }

    pub(crate) fn is_read(&self, peer: PeerId) -> bool {
        self.reading.get(&peer).copied().unwrap_or(true)
    }

    pub(crate) fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce).expect("not zero")
    }

    pub(crate) fn create(&mut self, peer: PeerId) -> Nonce {
        let nonce = self.nonce();
        let capabilities = Capabilities::new([("kind", "test")]).expect("one entry");
        self.send(peer, ClientMessage::CreateSession { capabilities, nonce });
        nonce
    }

    pub(crate) fn resume(&mut self, peer: PeerId, session_id: &SessionId) -> Nonce {
        let nonce = self.nonce();
        self.send(peer, ClientMessage::ContinueSession { session_id: session_id.clone(), nonce });
        nonce
    }

    /// Opens a connection to the leader and creates a session on it.
    pub(crate) fn session(&mut self) -> (PeerId, SessionId) {
        let leader = self.leader().expect("a leader");
        let peer = self.connect(leader);
        let nonce = self.create(peer);
        self.commit();
        match &self.received(peer)[..] {
            [ServerMessage::SessionCreated { session_id, nonce: echoed }] if *echoed == nonce => {
                (peer, session_id.clone())
            }
            received => panic!("not created: {received:?}"),
        }
    }

    /// Opens a connection to the leader and continues the session on it.
    pub(crate) fn resumed(&mut self, session: &SessionId) -> PeerId {
        let leader = self.leader().expect("a leader");
        let peer = self.connect(leader);
        let nonce = self.resume(peer, session);
        assert_eq!(self.received(peer), [ServerMessage::SessionContinued { nonce }]);
        peer
    }

    pub(crate) fn command(&mut self, peer: PeerId, number: u64, lowest: u64) {
        self.command_of(peer, number, lowest, payload(format!("command {number}").as_bytes()));
    }

    pub(crate) fn command_of(&mut self, peer: PeerId, number: u64, lowest: u64, payload: Payload) {
        self.send(
            peer,
            ClientMessage::ClientRequest {
                request_id: id(number),
                lowest_pending_request_id: id(lowest),
                payload,
                created_at: Timestamp::from_millis(0),
            },
        );
    }

    pub(crate) fn query(&mut self, peer: PeerId, correlation: &str, payload: Payload) {
        let correlation_id = CorrelationId::new(correlation).expect("short");
        let created_at = Timestamp::from_millis(0);
        self.send(peer, ClientMessage::Query { correlation_id, payload, created_at });
    }

    pub(crate) fn keep_alive(&mut self, peer: PeerId, millis: i64) {
        let timestamp = Timestamp::from_millis(millis);
        self.send(peer, ClientMessage::KeepAlive { timestamp });
    }

    pub(crate) fn acknowledge(&mut self, peer: PeerId, number: u64) {
        self.send(peer, ClientMessage::ServerRequestAck { request_id: id(number) });
    }

    pub(crate) fn close_session(&mut self, peer: PeerId) {
        self.send(peer, ClientMessage::CloseSession { reason: CloseReason::ClientShutdown });
    }

    /// Returns the request ids of the executions, in order.
    pub(crate) fn executed(&self) -> Vec<u64> {
        self.engine.journal().iter().map(|execution| execution.request_id.get()).collect()
    }

    pub(crate) fn alive(&self, session: &SessionId) -> bool {
        self.engine.session(session).is_some()
    }
}

pub(crate) fn query_answer(correlation: &str, result: Payload) -> ServerMessage {
    ServerMessage::QueryResponse {
        correlation_id: CorrelationId::new(correlation).expect("short"),
        result,
    }
}

pub(crate) fn kept_alive(millis: i64) -> ServerMessage {
    ServerMessage::KeepAliveResponse { timestamp: Timestamp::from_millis(millis) }
}
