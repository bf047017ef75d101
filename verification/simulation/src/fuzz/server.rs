use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::{Buf, Bytes};
use zraft_protocol::{
    Capabilities, ClientMessage, ClientMessageKind, CloseReason, CorrelationId, MemberId, Nonce,
    Payload, RequestId, ServerMessage, ServerMessageKind, SessionId, Timestamp,
};
use zraft_test_server::{
    AppendLog, Engine, EngineConfig, Hints, KillLoss, KvStore, MemberIndex, MessageClass, Output,
    PeerId,
};
use zraft_zmtp::{Config, Connection, Event, Instant};

use super::{
    bytes_of_peer::{frame, handshake},
    script::Script,
};

/// A script of connections, raw bytes, messages, faults and time for the embedded server. Regardless of what peers send, commands
/// execute once, limits hold, sessions answer to their own, and time does not stand still.
pub fn server(input: &[u8]) {
    let mut cluster = run(input);
    cluster.pass(Duration::from_secs(200));
    cluster.check();
}

fn run(input: &[u8]) -> Cluster {
    let mut script = Script::new(input);
    let mut cluster = Cluster::new(script.byte());
    // An input decides how much happens, not for how long.
    for _ in 0..2000 {
        if script.is_over() {
            break;
        }
        cluster.step(&mut script);
        cluster.collect();
        cluster.check();
    }
    cluster
}

const MEMBERS: usize = 3;
/// Small, so that inputs reach them.
const SESSIONS: usize = 6;
const LOG: usize = 24;
const ANSWERS: usize = 12;
const SERVER_REQUESTS: usize = 5;
const PEERS: usize = 5;

struct Peer {
    member: MemberIndex,
    zmtp: Connection,
    /// The engine knows it since it shook hands.
    id: Option<PeerId>,
    closed: bool,
    /// The nonces it asked with.
    nonces: BTreeSet<i64>,
}

struct Cluster {
    engine: Engine,
    now: Instant,
    peers: Vec<Peer>,
    sessions: Vec<SessionId>,
    asked: BTreeSet<u64>,
    queries: BTreeSet<CorrelationId>,
    /// The journal's length when it was last looked at.
    seen: usize,
    executed: BTreeSet<(SessionId, u64)>,
    lowest: BTreeMap<SessionId, RequestId>,
    ended: BTreeSet<SessionId>,
}

impl Cluster {
    fn new(options: u8) -> Self {
        let members = (1..=MEMBERS).map(|n| MemberId::new(format!("node-{n}")).unwrap());
        let mut config = EngineConfig::new(members.collect());
        config.limits.sessions = SESSIONS;
        config.limits.log_entries = LOG;
        config.limits.cached_answers = ANSWERS;
        config.limits.server_requests = SERVER_REQUESTS;
        config.limits.peers_per_member = PEERS;
        config.commits_per_second = (options & 2 == 2).then_some(20);
        let now = Instant::ZERO;
        let engine = if options & 1 == 0 {
            Engine::new(config, AppendLog::new(), now)
        } else {
            Engine::new(config, KvStore::new(), now)
        };
        Self {
            engine,
            now,
            peers: Vec::new(),
            sessions: Vec::new(),
            asked: BTreeSet::new(),
            queries: BTreeSet::new(),
            seen: 0,
            executed: BTreeSet::new(),
            lowest: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 20 {
            0..=1 => {
                let shakes_hands = script.byte() & 3 != 0;
                let member = self.member(script);
                let peer = self.open(member);
                if shakes_hands {
                    self.feed(peer, &handshake("CLIENT"));
                }
            }
            2..=3 => {
                let (peer, length) = (self.peer(script), usize::from(script.byte()));
                let bytes = script.take(length);
                self.feed(peer, bytes);
            }
            4 => {
                // A frame that says what it is, with the rest as the script has it.
                let (peer, length) = (self.peer(script), usize::from(script.byte() % 64));
                let body = [b"zraft\x01", script.take(length)].concat();
                self.feed(peer, &frame(0, &body));
            }
            5..=11 => {
                let peer = self.peer(script);
                let message = self.message(script);
                let mut body = Vec::new();
                message.encode(&mut body);
                self.feed(peer, &frame(0, &body));
            }
            12 => {
                if let Some(peer) = self.peer(script) {
                    self.hang_up(peer);
                }
            }
            13..=14 => self.pass(Duration::from_millis(script.byte().into())),
            15 => self.pass(Duration::from_millis(u64::from(script.u16()) * 4)),
            16 => {
                if let Some(session) = self.session(script) {
                    let payload = Payload::new(script.take(3).to_vec()).unwrap();
                    let _ = self.engine.push_server_request(self.now, &session, &payload);
                }
            }
            _ => self.fault(script),
        }
    }

    fn fault(&mut self, script: &mut Script<'_>) {
        let member = self.member(script);
        let (now, engine) = (self.now, &mut self.engine);
        let choice = script.byte();
        let on = choice & 0x40 != 0;
        // A switch that cannot be thrown as things stand says so.
        let _ = match choice % 14 {
            0 => engine.stop(now, member),
            1 => engine.kill(
                now,
                member,
                script.one_of(&[
                    KillLoss::Mixed,
                    KillLoss::Unreceived,
                    KillLoss::Uncommitted,
                    KillLoss::Unanswered,
                ]),
            ),
            2..=3 => engine.restart(now, member),
            4 => engine.step_down_for(now, on.then_some(member)),
            5 => engine.set_stale_leader(now, member, on),
            6 => engine.set_frozen(now, member, on),
            7 => engine.set_deaf(now, member, on),
            8 => {
                let known: Vec<SessionId> = self.sessions.iter().take(2).cloned().collect();
                engine.set_stale_session_map(now, member, on.then_some(&known[..]))
            }
            9 => engine.cut_connections(now, on.then_some(member)),
            10 => {
                let kind = 1 + script.byte() % 9;
                let class = match (on, ClientMessageKind::from_code(kind)) {
                    (true, Some(kind)) => MessageClass::FromClient(kind),
                    _ => MessageClass::ToClient(ServerMessageKind::from_code(kind).unwrap()),
                };
                engine.drop_messages(class, Some(script.byte().into()));
                Ok(())
            }
            11 => {
                engine.deliver_all();
                Ok(())
            }
            12 => match self.sessions.get(usize::from(script.byte())) {
                Some(session) => engine.expire_session(now, session),
                None => Ok(()),
            },
            _ => {
                let hints = match script.byte() % 5 {
                    0 => Hints::Leader,
                    1 => Hints::Absent,
                    2 => Hints::Wrong(MemberId::new("unknown").unwrap()),
                    3 => Hints::Itself,
                    _ => Hints::Circular,
                };
                engine.set_hints(on.then_some(member), hints)
            }
        };
    }

    fn member(&self, script: &mut Script<'_>) -> MemberIndex {
        let number = 1 + usize::from(script.byte()) % MEMBERS;
        self.engine.index_of(&format!("node-{number}")).unwrap()
    }

    fn open(&mut self, member: MemberIndex) -> Option<usize> {
        // As the sockets have it: a member that does not run refuses.
        if !self.engine.is_running(member) {
            return None;
        }
        let zmtp = Connection::new(Config::server(), self.now);
        let nonces = BTreeSet::new();
        self.peers.push(Peer { member, zmtp, id: None, closed: false, nonces });
        Some(self.peers.len() - 1)
    }

    /// One of those opened last.
    fn peer(&self, script: &mut Script<'_>) -> Option<usize> {
        self.peers.len().checked_sub(1 + usize::from(script.byte() % 8))
    }

    fn session(&self, script: &mut Script<'_>) -> Option<SessionId> {
        let back = 1 + usize::from(script.byte() % 4);
        self.sessions.len().checked_sub(back).map(|at| self.sessions[at].clone())
    }

    fn message(&self, script: &mut Script<'_>) -> ClientMessage {
        let nonce = Nonce::new(1 + i64::from(script.byte() % 4)).unwrap();
        let small = |script: &mut Script<'_>| RequestId::new((script.byte() % 32).into()).unwrap();
        let created_at = Timestamp::from_millis(7);
        match script.byte() % 12 {
            0..=1 => {
                let capabilities = Capabilities::new([("kind", "fuzz")]).unwrap();
                ClientMessage::CreateSession { capabilities, nonce }
            }
            2 => {
                let session_id = self.session(script);
                let unknown = || SessionId::new("unknown").unwrap();
                ClientMessage::ContinueSession {
                    session_id: session_id.unwrap_or_else(unknown),
                    nonce,
                }
            }
            3 => ClientMessage::KeepAlive { timestamp: created_at },
            4..=7 => {
                let request_id = small(script);
                let lowest_pending_request_id = small(script);
                ClientMessage::ClientRequest {
                    request_id,
                    lowest_pending_request_id,
                    payload: self.payload(script),
                    created_at,
                }
            }
            8 => ClientMessage::ServerRequestAck { request_id: small(script) },
            9 => ClientMessage::CloseSession { reason: CloseReason::ClientShutdown },
            10 => ClientMessage::ConnectionClosed,
            _ => ClientMessage::Query {
                correlation_id: CorrelationId::new(format!("q{}", script.byte())).unwrap(),
                payload: self.payload(script),
                created_at,
            },
        }
    }

    /// Something that the store understands, or anything.
    fn payload(&self, script: &mut Script<'_>) -> Payload {
        let choice = script.byte();
        let key = [b'k', choice >> 6];
        let payload = match choice % 4 {
            0 => [&b"S\0\0\0\x02"[..], &key, &[0, 0, 0, 1, b'v']].concat(),
            1 => [&b"W\0\0\0\x02"[..], &key].concat(),
            2 => [&b"G\0\0\0\x02"[..], &key].concat(),
            _ => script.take(usize::from(choice >> 2)).to_vec(),
        };
        Payload::new(payload).unwrap()
    }

    /// Bytes arrive on a connection, as its task would hand them on.
    fn feed(&mut self, peer: Option<usize>, bytes: &[u8]) {
        let Some(index) = peer else { return };
        if self.peers[index].closed {
            return;
        }
        self.peers[index].zmtp.handle_bytes(self.now, bytes);
        self.read(index);
    }

    fn read(&mut self, index: usize) {
        loop {
            let peer = &mut self.peers[index];
            if peer.closed || peer.id.is_some_and(|id| !self.engine.reads(id)) {
                return;
            }
            let Some(event) = peer.zmtp.poll_event(self.now) else { return };
            match event {
                Event::Ready(_) => {
                    peer.id = self.engine.connected(self.now, peer.member);
                    peer.closed = peer.id.is_none();
                }
                Event::Message(bytes) => self.received(index, &bytes),
                Event::Failed(_) => self.hang_up(index),
                _ => {}
            }
            self.collect();
        }
    }

    fn received(&mut self, index: usize, bytes: &Bytes) {
        let peer = &mut self.peers[index];
        let id = peer.id.expect("messages come after READY");
        match ClientMessage::decode(bytes) {
            Ok(message) => {
                match &message {
                    ClientMessage::CreateSession { nonce, .. }
                    | ClientMessage::ContinueSession { nonce, .. } => {
                        peer.nonces.insert(nonce.get());
                    }
                    ClientMessage::ClientRequest { request_id, .. } => {
                        self.asked.insert(request_id.get());
                    }
                    ClientMessage::Query { correlation_id, .. } => {
                        self.queries.insert(correlation_id.to_detached());
                    }
                    _ => {}
                }
                self.engine.received(self.now, id, message);
            }
            Err(_) => {
                self.engine.received_undecodable(self.now, id);
            }
        }
    }

    fn hang_up(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if !std::mem::replace(&mut peer.closed, true)
            && let Some(id) = peer.id
        {
            self.engine.disconnected(self.now, id);
        }
    }

    /// Time passes, and each event happens at its time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.collect();
            turns += 1;
            assert!(turns < 10_000, "the engine's timer stands still");
        }
        self.now = end;
        self.engine.handle_timeout(end);
        self.collect();
        for index in 0..self.peers.len() {
            self.peers[index].zmtp.handle_timeout(end);
            self.read(index);
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { peer, message } => self.sent(peer, &message),
                Output::Close { peer, .. } => {
                    let index = self.index(peer);
                    assert!(!self.peers[index].closed, "a connection is closed once");
                    self.peers[index].closed = true;
                }
                _ => {}
            }
        }
    }

    fn index(&self, id: PeerId) -> usize {
        self.peers.iter().position(|peer| peer.id == Some(id)).expect("a known peer")
    }

    fn sent(&mut self, id: PeerId, message: &ServerMessage) {
        let index = self.index(id);
        let peer = &mut self.peers[index];
        assert!(!peer.closed, "nothing is sent after the end");
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(ServerMessage::decode(&Bytes::from(bytes.clone())).as_ref(), Ok(message));
        // A failed connection that is not read has not been found out yet.
        let _ = peer.zmtp.send(&bytes);
        let queued = peer.zmtp.tx_queued();
        peer.zmtp.tx().advance(queued);
        match message {
            ServerMessage::SessionCreated { session_id, nonce } => {
                assert!(peer.nonces.contains(&nonce.get()), "an answer to what it asked");
                assert!(!self.sessions.contains(session_id), "each session has its own id");
                self.sessions.push(session_id.clone());
            }
            ServerMessage::SessionContinued { nonce }
            | ServerMessage::SessionRejected { nonce, .. } => {
                assert!(peer.nonces.contains(&nonce.get()), "an answer to what it asked");
            }
            ServerMessage::ClientResponse { request_id, .. }
            | ServerMessage::RequestError { request_id, .. } => {
                assert!(self.asked.contains(&request_id.get()), "an answer to what was asked");
            }
            ServerMessage::QueryResponse { correlation_id, .. } => {
                assert!(self.queries.contains(correlation_id), "an answer to what was asked");
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let journal = self.engine.journal();
        for execution in journal.iter().skip(self.seen) {
            let place = (execution.session.clone(), execution.request_id.get());
            assert!(!self.ended.contains(&place.0), "a session that has ended executes nothing");
            assert!(self.executed.insert(place), "a command executes once");
        }
        self.seen = self.engine.journal().iter().count();
        let views: Vec<_> = self.engine.sessions().collect();
        assert!(views.len() <= SESSIONS, "{} sessions", views.len());
        for view in &views {
            assert!(!self.ended.contains(&view.id), "a session that has ended stays so");
            assert!(view.cached_answers <= ANSWERS, "{} answers", view.cached_answers);
            assert!(view.unacknowledged <= SERVER_REQUESTS, "{} waiting", view.unacknowledged);
            let lowest = self.lowest.entry(view.id.clone()).or_default();
            assert!(view.lowest_pending >= *lowest, "L never decreases");
            *lowest = view.lowest_pending;
        }
        let alive: BTreeSet<&SessionId> = views.iter().map(|view| &view.id).collect();
        for known in self.lowest.keys().filter(|known| !alive.contains(known)) {
            self.ended.insert(known.clone());
        }
        assert!(self.engine.waiting() <= LOG + 2 * SESSIONS, "{} waiting", self.engine.waiting());
        for number in 1..=MEMBERS {
            let member = self.engine.index_of(&format!("node-{number}")).unwrap();
            assert!(self.engine.connections(member) <= PEERS);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reaches(name: &str, holds: impl Fn(&Cluster) -> bool) {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        let seeds = crate::fuzz::seeds(&testdata).unwrap();
        let seed = seeds.iter().find(|(target, seed, _)| *target == "server" && seed == name);
        let cluster = run(&seed.unwrap().2);
        assert!(holds(&cluster), "{name}: {:?}", cluster.engine.stats());
    }

    #[test]
    fn the_seeds_bring_about_what_they_are_for() {
        reaches("commands-0", |cluster| cluster.engine.stats().executed == 2);
        reaches("commands-1", |cluster| cluster.engine.stats().queries >= 1);
        reaches("resumed-0", |cluster| cluster.engine.stats().sessions_continued == 1);
        reaches("fault-0", |cluster| cluster.engine.stats().sessions_continued == 1);
        reaches("watch-1", |cluster| cluster.engine.stats().server_requests >= 1);
        reaches("undecodable-0", |cluster| cluster.peers.iter().any(|peer| peer.closed));
        reaches("scala-session.c2s", |cluster| cluster.engine.stats().executed >= 1);
    }
}
