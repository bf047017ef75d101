//! The real client and the real servers, joined by a network that delivers a message only when a step says so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::{Buf, Bytes};
use zraft_core::{
    Action, Completion, Config, ConnEnd, ConnId, Instant, Machine, OnSessionExpired, OpenFailure,
    RequestKey, RequestKind, StateName, Timeout, TxBuffer,
};
use zraft_protocol::{ClientMessage, MemberId, RejectionReason, ServerMessage, Timestamp};
use zraft_rig::{Host, Input, Rig};
use zraft_test_server::{AppendLog, Engine, EngineConfig, KillLoss, Output, PeerId};
use zraft_zmtp::{Connection, Event};

use super::fate::Fate;

/// A step: one thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The application submits its next command.
    Submit,
    /// The oldest message in flight to the server arrives and is executed.
    ToServer,
    /// The oldest message in flight to the client arrives.
    ToClient,
    /// The leader crashes, the messages in flight are lost, and another member is elected.
    Crash,
    /// Time passes until the client resends a command.
    Duplicate,
    /// Enough time passes that the session expires, whatever messages are in flight.
    Expire,
    /// The caller of the first command gives up.
    GiveUp,
}

/// The client's connection.
#[derive(Debug)]
struct Wire {
    conn: ConnId,
    peer: PeerId,
    zmtp: Connection,
    to_server: VecDeque<ClientMessage>,
    to_client: VecDeque<ServerMessage>,
    /// For each command id sent on this connection: the number of copies, and whether time has passed since the last.
    sent: BTreeMap<u64, (usize, bool)>,
    answered: usize,
}

/// The client, the servers and the network between them.
#[derive(Debug)]
pub(crate) struct World {
    rig: Rig,
    around: Around,
    now: Instant,
}

/// What is around the client's state machine.
#[derive(Debug)]
struct Around {
    engine: Engine,
    wire: Option<Wire>,
    /// Connections that the client opens beside that one, and their members. The network opens one at a time; how attempts
    /// race is a matter of times.
    waiting: VecDeque<(ConnId, MemberId)>,
    /// What the network did and the machine has not taken yet.
    inputs: VecDeque<Input>,
    keys: Vec<RequestKey>,
    /// For each command, the outcome that its caller was given, and the final outcome.
    fates: Vec<(Option<Fate>, Option<Fate>)>,
    /// The number of connections that carried commands and ended without an answer. The client becomes careful after
    /// them: it suspects a poisonous request.
    barren: usize,
    /// The last violation found in a step, if any.
    broken: Option<String>,
}

/// Returns the payload of the command with this number.
pub(crate) fn payload(number: usize) -> Bytes {
    Bytes::from(format!("command {}", number + 1))
}

/// The members that the client knows. Two are enough for one crash.
const MEMBERS: [&str; 2] = ["node-1", "node-2"];
/// The session timeout of live servers.
const SESSION_TIMEOUT: Duration = Duration::from_secs(90);
/// Longer than any path in virtual time, so that a detached command is never abandoned for its age.
const EVER: Duration = Duration::from_secs(20 * 24 * 3600);

impl World {
    /// Creates the world before the first step: the client is connecting, and its CreateSession is in flight.
    pub(crate) fn new(renew: bool) -> Self {
        let now = Instant::from_nanos(1 << 40);
        let mut config = Config::builder()
            .capability("kind", "model")
            .request_timeout(None)
            .detached_timeout(EVER)
            // Connections must end only by a step, never by a timeout, so all timeouts are longer than any path.
            .heartbeat_interval(Duration::from_secs(3000))
            .heartbeat_timeout(Duration::from_secs(3600))
            .connection_timeout(Duration::from_secs(3600));
        for (number, member) in MEMBERS.into_iter().enumerate() {
            config = config.member(member, format!("tcp://127.0.0.1:700{number}"));
        }
        if renew {
            config = config.on_session_expired(OnSessionExpired::NewSession);
        }
        // A third member, which the client does not know, keeps a majority when the first crashes.
        let members = ["node-1", "node-2", "node-3"].map(|id| MemberId::new(id).unwrap());
        let mut cluster = EngineConfig::new(members.to_vec());
        cluster.commit_delay = Duration::ZERO;
        cluster.session_timeout = SESSION_TIMEOUT;
        let mut world = Self {
            rig: Rig::new(config.build().unwrap(), 7, now),
            around: Around {
                engine: Engine::new(cluster, AppendLog::new(), now),
                wire: None,
                waiting: VecDeque::new(),
                inputs: VecDeque::new(),
                keys: Vec::new(),
                fates: Vec::new(),
                barren: 0,
                broken: None,
            },
            now,
        };
        world.rig.machine.connect(now, None);
        world.settle();
        world
    }

    /// Returns the possible steps that no budget limits: the deliveries of messages.
    pub(crate) fn possible(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(wire) = &self.around.wire {
            if !wire.to_server.is_empty() {
                steps.push(Step::ToServer);
            }
            if !wire.to_client.is_empty() {
                steps.push(Step::ToClient);
            }
        }
        steps
    }

    /// Returns true if the step is possible now.
    pub(crate) fn can(&self, step: Step) -> bool {
        let connected = self.rig.machine.state() == StateName::Connected;
        match step {
            Step::Submit => self.rig.machine.state() != StateName::Disconnected,
            Step::ToServer | Step::ToClient => self.possible().contains(&step),
            Step::Crash => {
                self.around.engine.leader_id().is_some_and(|leader| leader.as_str() == "node-1")
            }
            Step::Duplicate => connected && self.rig.machine.stats().in_flight > 0,
            Step::Expire => self.around.engine.sessions().next().is_some(),
            Step::GiveUp => self.around.fates.first().is_some_and(|fate| *fate == (None, None)),
        }
    }

    /// Takes a step, then everything that follows from it without a choice.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Submit => self.submit(),
            Step::ToServer => self.deliver_to_server(),
            Step::ToClient => self.deliver_to_client(),
            Step::Crash => self.crash(),
            Step::Duplicate => self.duplicate(),
            Step::Expire => self.expire(),
            Step::GiveUp => self.rig.machine.cancel(self.now, self.around.keys[0]),
        }
        self.settle();
    }

    fn submit(&mut self) {
        let payload = payload(self.around.keys.len());
        let submitted =
            self.rig.machine.submit(self.now, RequestKind::Command, payload, Timeout::Never);
        self.around.fates.push((None, None));
        // The machine always accepts a command here, so a refusal is a violation.
        match submitted {
            Ok(key) => self.around.keys.push(key),
            Err(failure) => {
                assert!(!failure.maybe_executed());
                self.around.fates.pop();
                self.around.broken = Some(format!("the machine refused a command: {failure}"));
            }
        }
    }

    fn deliver_to_server(&mut self) {
        let Some(wire) = &mut self.around.wire else { return };
        let Some(message) = wire.to_server.pop_front() else { return };
        self.around.engine.received(self.now, wire.peer, message);
    }

    fn deliver_to_client(&mut self) {
        let Some(message) = self.next_to_client() else { return };
        let doubtful = matches!(
            message,
            ServerMessage::SessionRejected { reason: RejectionReason::SessionExpired, .. }
        );
        self.around.says(&message);
        if doubtful {
            self.keep_asking();
        }
    }

    fn next_to_client(&mut self) -> Option<ServerMessage> {
        self.around.outputs();
        self.around.wire.as_mut()?.to_client.pop_front()
    }

    /// Lets the client ask until it is connected or gives up. An expiry can be false, so the client asks for as long as
    /// the session can be alive. How often it asks depends on times, so all of it is one step.
    fn keep_asking(&mut self) {
        for _ in 0..1000 {
            self.settle();
            if self.rig.machine.state() != StateName::ConnectingExistingSession {
                return;
            }
            self.deliver_to_server();
            while let Some(message) = self.next_to_client() {
                self.around.says(&message);
                self.rig.settle(self.now, &mut self.around);
            }
        }
        self.around.broken =
            Some("the client keeps asking for an expired session without end".to_owned());
    }

    fn crash(&mut self) {
        let leader = self.around.engine.leader().unwrap();
        self.around.engine.kill(self.now, leader, KillLoss::Uncommitted).unwrap();
        if let Some(wire) = self.around.wire.take() {
            self.around.barren += usize::from(!wire.sent.is_empty() && wire.answered == 0);
            self.rig.feed(self.now, Input::Ended(wire.conn, ConnEnd::Reset));
        }
        self.pass_for_servers(Duration::from_millis(100));
    }

    /// Wakes the client whenever it asks to be woken, until one more command is in flight.
    fn duplicate(&mut self) {
        let commands = |world: &Self| {
            let wire = world.around.wire.iter().flat_map(|wire| &wire.to_server);
            wire.filter(|message| matches!(message, ClientMessage::ClientRequest { .. })).count()
        };
        let before = commands(self);
        for _ in 0..100 {
            if commands(self) > before || self.rig.machine.state() != StateName::Connected {
                return;
            }
            let Some(at) = self.rig.next_wake() else { return };
            self.now = self.now.max(at);
            for (_, waited) in self.around.wire.iter_mut().flat_map(|wire| wire.sent.values_mut()) {
                *waited = true;
            }
            self.rig.machine.handle_timeout(self.now);
            self.settle();
        }
    }

    /// Lets the session expire. The client does not run meanwhile, as if its process were stopped.
    fn expire(&mut self) {
        // Ask for the next timeout, as a driver does before it sleeps.
        let _ = self.rig.next_wake();
        self.pass_for_servers(SESSION_TIMEOUT + Duration::from_secs(2));
        // After such a jump of the clock the client restarts all its waits.
        for (_, waited) in self.around.wire.iter_mut().flat_map(|wire| wire.sent.values_mut()) {
            *waited = false;
        }
        self.rig.machine.handle_timeout(self.now);
    }

    fn pass_for_servers(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.around.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.around.engine.handle_timeout(self.now);
        }
        self.now = end;
        self.around.engine.handle_timeout(end);
    }

    /// Does everything that follows without a choice: opens connections, completes handshakes, waits out pauses and
    /// encodes messages.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.settle_once() {
                return;
            }
        }
        self.around.broken = Some("the client and the servers never come to rest".to_owned());
    }

    fn settle_once(&mut self) -> bool {
        let mut moved = self.rig.settle(self.now, &mut self.around);
        // No connection is open or being opened, so the client can only be pausing between attempts.
        let pausing = self.around.wire.is_none()
            && !matches!(self.rig.machine.state(), StateName::Disconnected | StateName::Connected);
        if !moved
            && pausing
            && let Some(at) = self.rig.next_wake()
        {
            self.now = self.now.max(at);
            self.rig.machine.handle_timeout(self.now);
            moved = true;
        }
        moved
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.rig.machine
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.around.engine
    }

    pub(crate) fn fates(&self) -> &[(Option<Fate>, Option<Fate>)] {
        &self.around.fates
    }

    pub(crate) fn broken(&self) -> Option<&String> {
        self.around.broken.as_ref()
    }

    /// Returns the members that the client asks beside its current connection.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.around.waiting.iter().map(|(_, member)| member.as_str().to_owned()).collect()
    }

    /// Returns what was sent on the current connection, and the number of barren connections.
    pub(crate) fn history(&self) -> (Vec<(u64, usize, bool)>, usize) {
        let sent = self.around.wire.iter().flat_map(|wire| wire.sent.iter());
        (sent.map(|(id, (copies, waited))| (*id, *copies, *waited)).collect(), self.around.barren)
    }

    pub(crate) fn in_flight_messages(
        &self,
    ) -> Option<(&VecDeque<ClientMessage>, &VecDeque<ServerMessage>, PeerId)> {
        let wire = self.around.wire.as_ref()?;
        Some((&wire.to_server, &wire.to_client, wire.peer))
    }
}

impl Around {
    /// Takes what the servers have to send.
    fn outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Send { peer, message } = output
                && let Some(wire) = self.wire.as_mut().filter(|wire| wire.peer == peer)
            {
                wire.to_client.push_back(message);
            }
        }
    }

    /// The server's message is on its way to the machine.
    fn says(&mut self, message: &ServerMessage) {
        let Some(wire) = &mut self.wire else { return };
        wire.answered += usize::from(matches!(message, ServerMessage::ClientResponse { .. }));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        wire.zmtp.send(&bytes).unwrap();
    }

    fn open(&mut self, now: Instant, conn: ConnId, member: &MemberId) {
        let member = self.engine.index_of(member.as_str()).unwrap();
        self.inputs.push_back(match self.engine.connected(now, member) {
            None => Input::OpenFailed(conn, OpenFailure::Refused),
            Some(peer) => {
                let zmtp = Connection::new(zraft_zmtp::Config::server(), now);
                let (to_server, to_client) = (VecDeque::new(), VecDeque::new());
                let (sent, answered) = (BTreeMap::new(), 0);
                self.wire = Some(Wire { conn, peer, zmtp, to_server, to_client, sent, answered });
                Input::Opened(conn)
            }
        });
    }
}

impl Host for Around {
    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Open { conn, member, .. } => self.waiting.push_back((conn, member)),
            Action::ShutdownWrite { .. } => {}
            Action::Close { conn } => {
                self.waiting.retain(|(waiting, _)| *waiting != conn);
                if let Some(wire) = self.wire.take_if(|wire| wire.conn == conn) {
                    self.engine.disconnected(now, wire.peer);
                }
            }
        }
    }

    fn input(&mut self, now: Instant, _: &Machine) -> Option<Input> {
        self.outputs();
        if self.wire.is_none()
            && self.inputs.is_empty()
            && let Some((conn, member)) = self.waiting.pop_front()
        {
            self.open(now, conn, &member);
        }
        if let Some(input) = self.inputs.pop_front() {
            return Some(input);
        }
        let wire = self.wire.as_mut()?;
        let bytes = drain(&mut wire.zmtp);
        (!bytes.is_empty()).then(|| Input::Received(wire.conn, bytes.into()))
    }

    fn sockets(&self) -> Vec<ConnId> {
        self.wire.iter().map(|wire| wire.conn).collect()
    }

    fn wall(&self, _: Instant) -> Timestamp {
        Timestamp::from_millis(0)
    }

    /// Moves the client's bytes into the queue of messages.
    fn write(&mut self, now: Instant, _: ConnId, tx: &mut TxBuffer) -> usize {
        let Some(wire) = &mut self.wire else { return 0 };
        let mut bytes = vec![0; tx.remaining()];
        tx.copy_to_slice(&mut bytes);
        wire.zmtp.handle_bytes(now, &bytes);
        while let Some(event) = wire.zmtp.poll_event(now) {
            let Event::Message(frame) = event else { continue };
            match ClientMessage::decode(&frame).unwrap() {
                // When the client probes its member depends on times, which are not part of the model.
                ClientMessage::KeepAlive { .. } => {}
                message => {
                    if let ClientMessage::ClientRequest { request_id, .. } = &message {
                        let (copies, waited) = wire.sent.entry(request_id.get()).or_default();
                        (*copies, *waited) = (*copies + 1, false);
                    }
                    wire.to_server.push_back(message);
                }
            }
        }
        bytes.len()
    }

    fn completion(&mut self, _: Instant, _: &Machine, completion: Completion) {
        let (key, fate, last) = match completion {
            Completion::Request { key, result, detached } => (key, Fate::of(&result), !detached),
            Completion::Resolution { key, result } => (key, Fate::of(&result), false),
            _ => return,
        };
        let Some(number) = self.keys.iter().position(|known| *known == key) else {
            self.broken = Some("a completion for an unknown request".to_owned());
            return;
        };
        let (reported, resolved) = &mut self.fates[number];
        match (&reported, &resolved) {
            (None, None) => {
                *reported = Some(fate);
                if last {
                    *resolved = Some(fate);
                }
            }
            (Some(_), None) => *resolved = Some(fate),
            _ => self.broken = Some(format!("command {} ended twice", number + 1)),
        }
    }
}

fn drain(zmtp: &mut Connection) -> Vec<u8> {
    let tx = zmtp.tx();
    let mut bytes = vec![0; tx.remaining()];
    tx.copy_to_slice(&mut bytes);
    bytes
}
