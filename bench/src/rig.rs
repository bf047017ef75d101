//! Measures the sans-I/O crates alone: the codec, the client's machine with few or many commands pending, and a member of a
//! replicated server.
//!
//! There is no socket and one thread, and each run executes the same instructions, so counts are exact where times are
//! noisy.

use std::{
    hint::black_box,
    io,
    time::{Duration, Instant as Clock},
};

use bytes::{Buf, Bytes, BytesMut};
use clap::ValueEnum;
use serde_json::json;
use zraft_bench::members::lone::{self, FollowerRig, LeaderRig, SessionRig};
use zraft_core::{Action, Completion, Config, ConnId, Instant, Machine, RequestKind, Timeout};
use zraft_protocol::{
    ClientMessage, Payload, RequestId, ServerMessage, SessionId, Timestamp, encode,
};
use zraft_zmtp::Connection;

/// Runs the codec, the client's machine or a member without a socket, and prints the time per request
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// What to run.
    #[arg(long, value_enum)]
    what: What,
    /// Requests pending throughout.
    #[arg(long, default_value_t = 64)]
    pending: u64,
    /// Number of requests.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Encode a ClientRequest with 64 bytes of payload, and decode its response.
    Codec,
    /// Take a command of 64 bytes from its submission to its completion.
    Command,
    /// Take a query of 64 bytes from its submission to its completion.
    Query,
    /// Encode, decode and apply an entry with a command of 64 bytes, at the replicated state machine.
    Session,
    /// Take a command of 64 bytes through the leader of three members, its state machine included.
    Leader,
    /// Take a command of 64 bytes through a follower, its state machine included.
    Follower,
}

/// Requests submitted and answered in one turn, as a busy client does.
const BATCH: u64 = 64;

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let took = match arguments.what {
        What::Codec => codec(arguments.count),
        What::Command => machine(RequestKind::Command, arguments),
        What::Query => machine(RequestKind::Query, arguments),
        What::Session => {
            let mut rig = SessionRig::new();
            turns(arguments.count, || rig.turn())
        }
        What::Leader => {
            let mut rig = LeaderRig::new(false);
            turns(arguments.count, || rig.turn())
        }
        What::Follower => {
            // The same for all counts up to this, so that it does not show in the difference of two.
            let mut rig = FollowerRig::new(arguments.count.max(RECORDED) / lone::BATCH);
            turns(arguments.count, || rig.turn())
        }
    };
    let nanos = took.as_secs_f64() * 1e9 / arguments.count as f64;
    let said = json!({ "nanos": nanos, "count": arguments.count });
    io::Write::write_fmt(&mut io::stdout(), format_args!("{said}\n"))
}

/// Commands that a leader records for a follower, at least.
const RECORDED: u64 = 64_000;

/// Times a member's turns, as many as these commands take.
fn turns(count: u64, mut turn: impl FnMut()) -> Duration {
    let started = Clock::now();
    (0..count / lone::BATCH).for_each(|_| turn());
    started.elapsed()
}

fn codec(count: u64) -> Duration {
    let payload = vec![7; 64];
    let mut out = BytesMut::with_capacity(256);
    let mut answer = Vec::new();
    if let (Ok(request_id), Ok(result)) = (RequestId::new(1), Payload::new(vec![7; 64])) {
        ServerMessage::ClientResponse { request_id, result }.encode(&mut answer);
    }
    let answer = Bytes::from(answer);
    let started = Clock::now();
    for id in 1..=count {
        out.clear();
        let Ok(id) = RequestId::new(id) else { break };
        encode::client_request_head(&mut out, id, id, payload.len());
        out.extend_from_slice(black_box(&payload));
        encode::created_at(&mut out, Timestamp::from_millis(1));
        black_box(&out);
        let _ = black_box(ServerMessage::decode(black_box(&answer)));
    }
    started.elapsed()
}

fn machine(kind: RequestKind, arguments: &Arguments) -> Duration {
    let Some(mut rig) = Rig::new(kind, arguments.pending) else { return Duration::ZERO };
    let started = Clock::now();
    let mut left = arguments.count;
    while left > 0 {
        let batch = left.min(BATCH);
        rig.turn(batch);
        left -= batch;
    }
    started.elapsed()
}

struct Rig {
    machine: Machine,
    conn: ConnId,
    now: Instant,
    kind: RequestKind,
    payload: Bytes,
    answered: u64,
    /// True until the session is open.
    opening: bool,
    frame: Vec<u8>,
    /// Bytes that the machine wrote. Answers to queries repeat the ids in them.
    sent: BytesMut,
}

impl Rig {
    fn new(kind: RequestKind, pending: u64) -> Option<Self> {
        let config = Config::builder()
            .member("node-1", "tcp://127.0.0.1:7001")
            .capability("kind", "bench")
            // No request reaches its deadline: the clock stands still.
            .request_timeout(Duration::from_secs(3600))
            .max_in_flight(1 << 20)
            .max_queued(2 << 20)
            .max_queued_bytes(1 << 30)
            .build()
            .ok()?;
        let now = Instant::from_nanos(1 << 40);
        let mut machine = Machine::new(config, 1, now);
        machine.connect(now, None);
        let Some(Action::Open { conn, .. }) = machine.poll_action(now) else { return None };
        machine.handle_opened(now, conn);
        let payload = Bytes::from(vec![7; 64]);
        let (frame, sent) = (Vec::new(), BytesMut::new());
        let (answered, opening) = (0, true);
        let mut rig = Self { machine, conn, now, kind, payload, answered, opening, frame, sent };
        rig.open()?;
        rig.opening = false;
        while rig.machine.poll_completion().is_some() {}
        for _ in 0..pending {
            rig.submit();
        }
        rig.write();
        Some(rig)
    }

    /// Completes the ZMTP handshake and opens the session.
    fn open(&mut self) -> Option<()> {
        let mut server = Connection::new(zraft_zmtp::Config::server(), self.now);
        for _ in 0..3 {
            self.write();
            let sent = self.sent.split();
            server.handle_bytes(self.now, &sent);
            while let Some(event) = server.poll_event(self.now) {
                if let zraft_zmtp::Event::Message(frame) = event
                    && let Ok(ClientMessage::CreateSession { nonce, .. }) =
                        ClientMessage::decode(&frame)
                {
                    let session_id = SessionId::new("bench").ok()?;
                    let mut created = Vec::new();
                    ServerMessage::SessionCreated { session_id, nonce }.encode(&mut created);
                    server.send(&created).ok()?;
                }
            }
            let tx = server.tx();
            let bytes = tx.copy_to_bytes(tx.remaining());
            self.receive(&bytes);
        }
        Some(())
    }

    fn submit(&mut self) {
        let payload = self.payload.clone();
        let _ = black_box(self.machine.submit(self.now, self.kind, payload, Timeout::Default));
    }

    fn turn(&mut self, count: u64) {
        for _ in 0..count {
            self.submit();
        }
        self.write();
        self.answer(count);
        // As the client's driver does: first the answers.
        while let Some(answer) = self.machine.poll_answer() {
            black_box(&answer);
        }
        while let Some(completion) = self.machine.poll_completion() {
            debug_assert!(matches!(completion, Completion::Request { result: Ok(_), .. }));
            black_box(&completion);
        }
        self.machine.handle_timeout(self.now);
        black_box(self.machine.poll_timeout());
    }

    /// Takes the machine's bytes as a socket would, and keeps those of queries for their ids.
    fn write(&mut self) {
        let wall = Timestamp::from_millis(1);
        while let Some(tx) = self.machine.transmit(self.now, wall, self.conn) {
            let length = tx.remaining();
            if length == 0 {
                break;
            }
            if self.kind == RequestKind::Query || self.opening {
                self.sent.extend_from_slice(tx.chunk());
            }
            tx.advance(length);
            self.machine.handle_written(self.now, self.conn);
        }
    }

    /// Answers the `count` oldest requests.
    fn answer(&mut self, count: u64) {
        self.frame.clear();
        for _ in 0..count {
            self.answered += 1;
            match self.kind {
                RequestKind::Command => {
                    let header = [0, 19, b'z', b'r', b'a', b'f', b't', 1, COMMAND_ANSWER];
                    self.frame.extend_from_slice(&header);
                    self.frame.extend_from_slice(&self.answered.to_be_bytes());
                    self.frame.extend_from_slice(&[0; 4]);
                }
                RequestKind::Query => {
                    let header = [0, 49, b'z', b'r', b'a', b'f', b't', 1, QUERY_ANSWER];
                    self.frame.extend_from_slice(&header);
                    // Copy the length and the correlation id, which follow two bytes of frame header and seven of message header.
                    self.frame.extend_from_slice(&self.sent[9..47]);
                    self.frame.extend_from_slice(&[0; 4]);
                    self.sent.advance(2 + 7 + 2 + 36 + 4 + 64 + 8);
                }
            }
        }
        let frame = std::mem::take(&mut self.frame);
        self.receive(&frame);
        self.frame = frame;
    }

    fn receive(&mut self, bytes: &[u8]) {
        if let Some(buffer) = self.machine.recv_buffer(self.conn) {
            buffer.extend_from_slice(bytes);
        }
        self.machine.handle_received(self.now, self.conn);
    }
}

const COMMAND_ANSWER: u8 = zraft_protocol::ServerMessageKind::ClientResponse as u8;
const QUERY_ANSWER: u8 = zraft_protocol::ServerMessageKind::QueryResponse as u8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the heap allocations of `count` commands or queries, after a warm-up.
    fn allocations(kind: RequestKind, count: u64) -> u64 {
        let mut rig = Rig::new(kind, 1000).expect("it connects");
        for _ in 0..64 {
            rig.turn(BATCH);
        }
        let before = rig.machine.stats().answered;
        let info = allocation_counter::measure(|| {
            for _ in 0..count / BATCH {
                rig.turn(BATCH);
            }
        });
        assert_eq!(rig.machine.stats().answered - before, count);
        info.count_total
    }

    #[test]
    fn allocations_of_the_machine_per_command_and_query_are_within_the_budget() {
        let budget = crate::budget::read();
        for (kind, name) in
            [(RequestKind::Command, "core.command"), (RequestKind::Query, "core.query")]
        {
            let count = 64_000;
            let each = allocations(kind, count) as f64 / count as f64;
            let limit = budget["allocations"][name].as_f64().expect("a budget");
            assert!(each <= limit, "{name}: {each} allocations each, {limit} allowed");
        }
    }

    #[test]
    fn codec_allocates_nothing() {
        let few = allocation_counter::measure(|| _ = codec(10)).count_total;
        let many = allocation_counter::measure(|| _ = codec(10_000)).count_total;
        assert_eq!(few, many);
    }
}
