mod host;
mod observer;

use std::time::Duration;

use bytes::Bytes;
use host::Around;
use observer::Observer;
use zraft_core::{
    AckServerRequests, Config, ConnEnd, ConnectKey, Instant, MemberList, OnSessionExpired,
    OpenFailure, RequestKind, StateName, Timeout,
};
use zraft_protocol::{
    ClientMessage, CorrelationId, MemberId, Nonce, Payload, RejectionReason, RequestErrorReason,
    RequestId, ServerMessage, SessionCloseReason, SessionId, Timestamp,
};
use zraft_rig::{Host, Input, Rig};

use super::{
    bytes_of_peer::{COMMAND, LONG, frame, handshake},
    codec,
    script::Script,
};

/// A script of inputs, bytes and times for the state machine. Regardless of what members send and the application asks, each
/// request settles once and truthfully, ids and the lowest pending one go by the rules, nothing is said before the session
/// answers, time does not stand still, and in the end everything is over.
pub fn machine(input: &[u8]) {
    run(input).finish();
}

fn run(input: &[u8]) -> Client {
    let mut script = Script::new(input);
    let mut client = Client::new(script.byte(), script.byte());
    // An input decides how much happens, not for how long.
    for _ in 0..600 {
        if script.is_over() {
            break;
        }
        client.step(&mut script);
        client.pump();
    }
    client
}

/// Small, so that inputs reach them.
pub(crate) const WINDOW: usize = 3;
const QUEUE: usize = 6;
const MEMBERS: usize = 3;
/// From here on, a byte that chooses a connection gives the client a new list of members.
const NEW_LIST: u8 = 240;
/// Payloads and answers above this are too long; frames may be 64 KiB longer.
const MESSAGE: usize = 300;
const TOO_LONG: usize = zraft_zmtp::FRAME_ALLOWANCE + MESSAGE + 1;

struct Client {
    rig: Rig,
    now: Instant,
    around: Around,
    submitted: u64,
    connects: Vec<ConnectKey>,
}

impl Client {
    fn new(options: u8, seed: u8) -> Self {
        let mut config = Config::builder()
            .capability("kind", "fuzz")
            .max_in_flight(WINDOW)
            .max_queued(QUEUE)
            .max_message_size(MESSAGE)
            .max_server_requests(4);
        let members = if options & 1 == 0 { MEMBERS } else { 1 };
        for number in 1..=members {
            config =
                config.member(format!("node-{number}"), format!("tcp://127.0.0.1:700{number}"));
        }
        if options & 2 == 2 {
            config = config.on_session_expired(OnSessionExpired::NewSession);
        }
        if options & 4 == 4 {
            config = config.ack_server_requests(AckServerRequests::Handled);
        }
        if options & 8 == 8 {
            config = config.request_timeout(None);
        }
        if options & 16 == 16 {
            config = config.max_queued_bytes(MESSAGE);
        }
        let now = Instant::from_nanos(1 << 42);
        let config = config.build().unwrap();
        let session_may_be_renewed = options & 2 == 2;
        Self {
            rig: Rig::new(config, seed.into(), now),
            now,
            around: Around {
                wires: Vec::new(),
                observer: Observer::new(session_may_be_renewed),
                socket_takes: None,
                focus: 0,
            },
            submitted: 0,
            connects: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 32 {
            0..=3 => self.submit(script, RequestKind::Command),
            4..=5 => self.submit(script, RequestKind::Query),
            6 => {
                if let Some(key) = self.around.observer.key(script.byte()) {
                    self.rig.machine.cancel(self.now, key);
                }
            }
            7 => self.ask(script),
            8..=9 => self.open(script),
            10..=11 => self.deliver(&handshake("SERVER")),
            12..=18 => {
                let message = self.message(script);
                self.say(&message);
            }
            19 => self.say_oddly(script),
            20 => {
                let length = usize::from(script.byte());
                self.deliver_wildly(script.take(length));
            }
            21 => self.end(script),
            22 => self.take_server_requests(script.byte()),
            23..=25 => self.pass(Duration::from_millis(u64::from(script.byte()) * 3)),
            26..=27 => self.pass(Duration::from_millis(u64::from(script.byte()) * 250)),
            28 => self.now = self.now + Duration::from_millis(u64::from(script.u16()) * 4),
            29 => {
                let room = usize::from(script.byte());
                self.around.socket_takes = (room < 200).then_some(room);
            }
            30 => self.too_late(script),
            _ => {
                let choice = script.byte();
                if choice >= NEW_LIST {
                    return self.new_list(choice - NEW_LIST);
                }
                self.rig.machine.observe_messages(choice & 1 == 1);
                self.around.focus = usize::from(choice >> 1);
            }
        }
    }

    // ---- the application

    fn submit(&mut self, script: &mut Script<'_>, kind: RequestKind) {
        let timeout = match script.byte() {
            0..128 => Timeout::Default,
            128 => Timeout::Never,
            ticks => Timeout::After(Duration::from_millis(u64::from(ticks - 128) * 40)),
        };
        self.submitted += 1;
        let mut payload = format!("{}", self.submitted).into_bytes();
        payload.resize(payload.len().max(usize::from(script.byte()) * 2), b'.');
        let taken = self.rig.machine.submit(self.now, kind, payload.clone().into(), timeout);
        match taken {
            Ok(key) => self.around.observer.submitted(key, kind, payload),
            Err(failure) => assert!(!failure.maybe_executed(), "what is not taken never runs"),
        }
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let time = Duration::from_millis(u64::from(choice / 5) * 200);
        match choice % 5 {
            0 => self.connect(None),
            1 => self.connect(Some(time)),
            2 => {
                if let Some(key) = self.connects.pop() {
                    self.rig.machine.cancel_connect(self.now, key);
                    self.around.observer.connect_cancelled(key);
                }
            }
            3 => {
                let key = self.rig.machine.ping(self.now);
                self.around.observer.pinged(key);
            }
            _ => {
                self.rig.machine.disconnect(self.now, time);
                self.around.observer.disconnecting();
            }
        }
    }

    fn connect(&mut self, timeout: Option<Duration>) {
        let key = self.rig.machine.connect(self.now, timeout);
        assert_ne!(self.rig.machine.state(), StateName::Disconnected, "the state changes at once");
        self.connects.push(key);
        self.around.observer.connecting(key);
    }

    fn take_server_requests(&mut self, most: u8) {
        for _ in 0..most % 8 {
            let Some(request) = self.rig.machine.poll_server_request() else { break };
            self.around.observer.server_request(&request);
            self.rig.machine.server_request_done(self.now, request.request_id);
        }
    }

    /// The members from now on: each of four, if its bit is set. A list without any is refused.
    fn new_list(&mut self, members: u8) {
        let listed = (0..4).filter(|bit| members >> bit & 1 == 1);
        let named =
            listed.map(|n| (format!("node-{}", n + 1), format!("tcp://127.0.0.1:700{}", n + 1)));
        if let Ok(list) = MemberList::new(named) {
            self.rig.machine.update_members(self.now, list);
        }
    }

    // ---- the network

    fn open(&mut self, script: &mut Script<'_>) {
        let (now, choice) = (self.now, script.byte());
        let mut waiting = self.around.wires.iter_mut();
        let Some(wire) = waiting.find(|wire| !wire.over && !wire.open) else { return };
        let conn = wire.conn;
        if choice < 200 {
            wire.open = true;
            self.rig.feed(now, Input::Opened(conn));
        } else {
            wire.over = true;
            let why = match choice % 3 {
                0 => OpenFailure::Refused,
                1 => OpenFailure::UnknownHost,
                _ => OpenFailure::Other("no route".to_owned()),
            };
            self.rig.feed(now, Input::OpenFailed(conn, why));
        }
    }

    fn end(&mut self, script: &mut Script<'_>) {
        let end = if script.byte() & 1 == 0 { ConnEnd::Eof } else { ConnEnd::Reset };
        let now = self.now;
        if let Some(wire) = self.around.wire().filter(|wire| wire.open) {
            wire.over = true;
            let conn = wire.conn;
            self.rig.feed(now, Input::Ended(conn, end));
        }
    }

    /// Bytes arrive at the machine.
    fn deliver(&mut self, bytes: &[u8]) {
        let now = self.now;
        let Some(conn) = self.around.wire().filter(|wire| wire.open).map(|wire| wire.conn) else {
            return;
        };
        assert!(self.rig.machine.recv_buffer(conn).is_some(), "a connection it did not close");
        self.rig.feed(now, Input::Received(conn, Bytes::copy_from_slice(bytes)));
    }

    /// The same, of bytes that may say anything.
    fn deliver_wildly(&mut self, bytes: &[u8]) {
        self.around.observer.anything_was_said();
        self.deliver(bytes);
    }

    fn say(&mut self, message: &ServerMessage) {
        self.around.observer.said(message);
        let mut body = Vec::new();
        message.encode(&mut body);
        self.deliver(&frame(0, &body));
    }

    /// Frames that are not as they should be.
    fn say_oddly(&mut self, script: &mut Script<'_>) {
        let id = u64::from(script.byte() % 16);
        match script.byte() % 8 {
            0 => {
                // An answer that is too long: its first bytes tell whose it is.
                let request_id = RequestId::new(id).unwrap();
                let result = Payload::new(vec![0; TOO_LONG]).unwrap();
                self.say(&ServerMessage::ClientResponse { request_id, result });
            }
            1 => {
                let request_id = RequestId::new(id).unwrap();
                let payload = Payload::new(vec![0; TOO_LONG]).unwrap();
                let created_at = Timestamp::from_millis(1);
                self.say(&ServerMessage::ServerRequest { request_id, payload, created_at });
            }
            2 => {
                // The same, and the rest never comes.
                let length = script.one_of(&[1 << 20, 1 << 30, (1 << 30) + 1, 1 << 62]);
                let mut bytes = vec![LONG];
                bytes.extend_from_slice(&u64::to_be_bytes(length));
                bytes.extend_from_slice(b"zraft\x01");
                bytes.push(script.one_of(&[6, 7, 9]));
                bytes.extend_from_slice(&id.to_be_bytes());
                bytes.resize(bytes.len() + 64, 0);
                self.deliver_wildly(&bytes);
            }
            3 => {
                let length = usize::from(script.byte() % 64);
                let body = [b"zraft\x01", script.take(length)].concat();
                self.deliver_wildly(&frame(0, &body));
            }
            4 => {
                let message = codec::server_message(script);
                let mut body = Vec::new();
                message.encode(&mut body);
                self.deliver_wildly(&frame(0, &body));
            }
            5 => self.deliver(&frame(COMMAND, b"\x04PING\0\x0acontext")),
            6 => self.deliver(&frame(COMMAND, b"\x04PONG")),
            _ => {
                let length = usize::from(script.byte() % 64);
                let flags = script.byte();
                self.deliver_wildly(&frame(flags, script.take(length)));
            }
        }
    }

    fn message(&mut self, script: &mut Script<'_>) -> ServerMessage {
        let nonce = match script.byte() {
            255 => Nonce::new(1).unwrap(),
            _ => self.around.nonce().unwrap_or(Nonce::new(1).unwrap()),
        };
        let id = |script: &mut Script<'_>| RequestId::new((script.byte() % 24).into()).unwrap();
        let answer =
            |script: &mut Script<'_>| Payload::new(script.byte().to_string().into_bytes()).unwrap();
        match script.byte() % 24 {
            0..=5 => match self.around.continues() {
                Some(true) => ServerMessage::SessionContinued { nonce },
                _ => {
                    let session_id = format!("session-{}", self.around.observer.sessions() + 1);
                    ServerMessage::SessionCreated {
                        session_id: SessionId::new(session_id).unwrap(),
                        nonce,
                    }
                }
            },
            6 => ServerMessage::SessionContinued { nonce },
            7 => ServerMessage::SessionRejected {
                reason: RejectionReason::from_code(1 + script.byte() % 4).unwrap(),
                nonce,
                leader_id: hint(script),
            },
            8 => ServerMessage::SessionClosed {
                reason: SessionCloseReason::from_code(1 + script.byte() % 5).unwrap(),
                leader_id: hint(script),
            },
            9..=10 => {
                let timestamp = Timestamp::from_millis(self.wall());
                let timestamp = self.around.observer.keep_alive().unwrap_or(timestamp);
                ServerMessage::KeepAliveResponse { timestamp }
            }
            11..=13 => ServerMessage::ClientResponse {
                request_id: self.around.observer.command().unwrap_or(RequestId::FIRST),
                result: answer(script),
            },
            14..=15 => {
                ServerMessage::ClientResponse { request_id: id(script), result: answer(script) }
            }
            16..=17 => ServerMessage::ServerRequest {
                request_id: id(script),
                payload: answer(script),
                created_at: Timestamp::from_millis(1),
            },
            18 => ServerMessage::ServerRequest {
                request_id: self.around.observer.next_server_request(),
                payload: answer(script),
                created_at: Timestamp::from_millis(1),
            },
            19 => ServerMessage::RequestError {
                request_id: id(script),
                reason: RequestErrorReason::ResponseEvicted,
            },
            _ => {
                let unknown = || CorrelationId::new("unknown").unwrap();
                ServerMessage::QueryResponse {
                    correlation_id: self
                        .around
                        .observer
                        .query(script.byte())
                        .unwrap_or_else(unknown),
                    result: answer(script),
                }
            }
        }
    }

    /// What is said of a connection that is over changes nothing.
    fn too_late(&mut self, script: &mut Script<'_>) {
        let Some(conn) =
            self.around.wires.iter().rev().find(|wire| wire.over).map(|wire| wire.conn)
        else {
            return;
        };
        let before = (self.rig.machine.state(), self.rig.machine.stats());
        match script.byte() % 5 {
            0 => self.rig.machine.handle_opened(self.now, conn),
            1 => self.rig.machine.handle_open_failed(self.now, conn, OpenFailure::Refused),
            2 => self.rig.machine.handle_received(self.now, conn),
            3 => self.rig.machine.handle_written(self.now, conn),
            _ => self.rig.machine.handle_ended(self.now, conn, ConnEnd::Eof),
        }
        assert!(self.rig.machine.recv_buffer(conn).is_none(), "an old connection has no buffer");
        let wall = Timestamp::from_millis(self.wall());
        assert!(self.rig.machine.transmit(self.now, wall, conn).is_none());
        assert_eq!(
            before,
            (self.rig.machine.state(), self.rig.machine.stats()),
            "it is not believed"
        );
    }

    // ---- time

    fn wall(&self) -> i64 {
        self.around.wall(self.now).as_millis()
    }

    /// Time passes, and the machine is woken whenever it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        self.pump();
        while let Some(at) = self.rig.next_wake().filter(|at| *at <= end) {
            if at > self.now {
                self.now = at;
                turns = 0;
            }
            self.rig.machine.handle_timeout(self.now);
            self.pump();
            turns += 1;
            assert!(turns < 50, "the machine wants to be woken at once, again and again");
        }
        self.now = end;
    }

    /// Takes everything that comes out of the machine.
    fn pump(&mut self) {
        self.rig.hand_out(self.now, &mut self.around);
        self.rig.write(self.now, &mut self.around);
        self.rig.hand_out(self.now, &mut self.around);
        self.around.observer.check(&self.rig.machine);
    }

    /// In the end everything is over.
    fn finish(mut self) {
        self.rig.machine.disconnect(self.now, Duration::from_secs(1));
        self.around.observer.disconnecting();
        self.pass(Duration::from_secs(4));
        assert_eq!(self.rig.machine.waiting(), 0);
        self.around.observer.finished(&self.rig.machine);
    }
}

fn hint(script: &mut Script<'_>) -> Option<MemberId> {
    match script.byte() % 6 {
        0..=1 => None,
        number => Some(MemberId::new(format!("node-{}", number - 1)).unwrap()),
    }
}

/// What a message says of the session it belongs to.
pub(crate) fn is_handshake(message: &ClientMessage) -> bool {
    matches!(message, ClientMessage::CreateSession { .. } | ClientMessage::ContinueSession { .. })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The seed, and what it was to bring about.
    fn reaches(name: &str, holds: impl Fn(&Client) -> bool) {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        let seeds = crate::fuzz::seeds(&testdata).unwrap();
        let seed = seeds.iter().find(|(target, seed, _)| *target == "machine" && seed == name);
        let client = run(&seed.unwrap().2);
        assert!(holds(&client), "{name}: {:?}", client.rig.machine);
    }

    #[test]
    fn the_seeds_bring_about_what_they_are_for() {
        reaches("work-0", |client| client.rig.machine.stats().answered >= 4);
        reaches("pushed-0", |client| client.rig.machine.stats().server_requests == 1);
        reaches("lost-0", |client| client.rig.machine.stats().reconnects == 1);
        reaches("told-0", |client| client.rig.machine.stats().reconnects == 1);
        reaches("expired-0", |client| client.around.observer.sessions() == 2);
        reaches("expired-2", |client| client.around.observer.sessions() == 2);
        reaches("too-long-0", |client| client.rig.machine.stats().protocol_errors == 2);
        reaches("slow-0", |client| client.rig.machine.stats().answered >= 4);
        reaches("silent-0", |client| client.around.wires.len() >= 2);
        reaches("closed-0", |client| client.rig.machine.stats().answered >= 2);
    }
}
