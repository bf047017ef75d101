//! What a command costs in the machine, from its submission to its completion, with more or fewer of them pending.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::{Buf, Bytes};
use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use zraft_core::{Action, Config, ConnId, Instant, Machine, RequestKind, Timeout};
use zraft_protocol::{ClientMessage, Payload, RequestId, ServerMessage, SessionId, Timestamp};
use zraft_zmtp::Connection;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Commands of 64 bytes: submitted, encoded, answered in batches of 64, completed.
#[divan::bench(args = [64, 1024, 65_536])]
fn command_from_submit_to_completion(bencher: Bencher<'_, '_>, in_flight: usize) {
    let mut world = World::new(in_flight);
    let payload = Bytes::from(vec![7; 64]);
    for _ in 0..in_flight {
        world.submit(&payload);
    }
    world.carry();
    const BATCH: usize = 64;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        world.answer(BATCH);
        for _ in 0..BATCH {
            world.submit(&payload);
        }
        world.carry();
    });
}

struct World {
    machine: Machine,
    server: Connection,
    conn: ConnId,
    now: Instant,
    answered: u64,
    frame: Vec<u8>,
    bytes: Vec<u8>,
}

impl World {
    fn new(in_flight: usize) -> Self {
        let config = Config::builder()
            .member("node-1", "tcp://127.0.0.1:7001")
            .capability("kind", "bench")
            .max_in_flight(in_flight)
            .build()
            .unwrap();
        let now = Instant::from_nanos(1 << 40);
        let mut machine = Machine::new(config, 1, now);
        machine.connect(now, None);
        let Some(Action::Open { conn, .. }) = machine.poll_action(now) else { unreachable!() };
        machine.handle_opened(now, conn);
        let mut world = Self {
            machine,
            server: Connection::new(zraft_zmtp::Config::server(), now),
            conn,
            now,
            answered: 0,
            frame: Vec::new(),
            bytes: Vec::new(),
        };
        // The handshakes: ZMTP's, then the session's.
        let mut nonce = None;
        for _ in 0..3 {
            world.write();
            world.server.handle_bytes(world.now, &std::mem::take(&mut world.bytes));
            while let Some(event) = world.server.poll_event(world.now) {
                if let zraft_zmtp::Event::Message(frame) = event
                    && let Ok(ClientMessage::CreateSession { nonce: asked, .. }) =
                        ClientMessage::decode(&frame)
                {
                    nonce = Some(asked);
                }
            }
            world.read();
        }
        let session_id = SessionId::new("bench").unwrap();
        world.say(&ServerMessage::SessionCreated { session_id, nonce: nonce.unwrap() });
        world.read();
        world
    }

    fn submit(&mut self, payload: &Bytes) {
        let key = self.machine.submit(
            self.now,
            RequestKind::Command,
            payload.clone(),
            Timeout::After(Duration::from_secs(3600)),
        );
        black_box(key).unwrap();
    }

    fn answer(&mut self, count: usize) {
        for _ in 0..count {
            self.answered += 1;
            let request_id = RequestId::new(self.answered).unwrap();
            self.say(&ServerMessage::ClientResponse { request_id, result: Payload::default() });
        }
        self.read();
    }

    fn say(&mut self, message: &ServerMessage) {
        self.frame.clear();
        message.encode(&mut self.frame);
        self.server.send(&self.frame).unwrap();
    }

    /// The machine writes; the bytes are taken as a socket would, and not looked at.
    fn carry(&mut self) {
        self.write();
        self.bytes.clear();
        while self.machine.poll_completion().is_some() {}
    }

    fn write(&mut self) {
        loop {
            let wall = Timestamp::from_millis(1);
            let tx = self.machine.transmit(self.now, wall, self.conn).unwrap();
            if !tx.has_remaining() {
                break;
            }
            while tx.has_remaining() {
                let length = tx.chunk().len();
                self.bytes.extend_from_slice(tx.chunk());
                tx.advance(length);
            }
            self.machine.handle_written(self.now, self.conn);
        }
    }

    fn read(&mut self) {
        let tx = self.server.tx();
        let buffer = self.machine.recv_buffer(self.conn).unwrap();
        while tx.has_remaining() {
            let length = tx.chunk().len();
            buffer.extend_from_slice(tx.chunk());
            tx.advance(length);
        }
        self.machine.handle_received(self.now, self.conn);
    }
}
