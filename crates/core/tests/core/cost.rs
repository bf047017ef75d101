//! The cost of a command, in table entries visited, does not depend on how many others are pending.

// Visits are counted with debug assertions only.
#![cfg(debug_assertions)]

use crate::common::*;
use bytes::{Buf, Bytes};
use zraft_core::{ConnId, Machine, RequestKind, Timeout};
use zraft_protocol::{ServerMessage, Timestamp};

const FEW: u64 = 10;
const MANY: u64 = 1_000_000;

/// A machine with this many commands on the wire, without the checks of `World`, which cost more than the machine.
struct Rig {
    machine: Machine,
    conn: ConnId,
    now: zraft_core::Instant,
    sent: u64,
}

impl Rig {
    fn with(pending: u64) -> Self {
        let config = single().max_in_flight(1 << 20).max_queued(2 << 20);
        let (world, conn) = World::connected(config);
        let mut rig = Self { now: world.now, machine: world.machine, conn, sent: 0 };
        for _ in 0..pending {
            rig.submit();
        }
        rig.write();
        assert_eq!(rig.machine.stats().in_flight, pending);
        rig
    }

    fn submit(&mut self) {
        let payload = Bytes::from_static(b"x");
        self.machine.submit(self.now, RequestKind::Command, payload, Timeout::Default).unwrap();
        self.sent += 1;
    }

    /// The socket takes everything that the machine has to send.
    fn write(&mut self) {
        loop {
            let wall = Timestamp::from_millis(0);
            let tx = self.machine.transmit(self.now, wall, self.conn).unwrap();
            let length = tx.remaining();
            if length == 0 {
                break;
            }
            tx.advance(length);
            self.machine.handle_written(self.now, self.conn);
        }
    }

    fn answer(&mut self, id: u64) {
        let mut frame = Vec::with_capacity(32);
        ServerMessage::ClientResponse { request_id: request(id), result: payload("") }
            .encode(&mut frame);
        let buffer = self.machine.recv_buffer(self.conn).unwrap();
        buffer.extend_from_slice(&[0, u8::try_from(frame.len()).unwrap()]);
        buffer.extend_from_slice(&frame);
        self.machine.handle_received(self.now, self.conn);
        while self.machine.poll_completion().is_some() {}
    }

    /// Runs one turn of a driver: it submits and sends one command, and command `id` is answered.
    fn turn(&mut self, id: u64) -> u64 {
        let before = self.machine.table_visits();
        self.submit();
        self.write();
        self.answer(id);
        self.machine.handle_timeout(self.now);
        self.write();
        assert!(self.machine.poll_timeout().is_some());
        self.machine.table_visits() - before
    }
}

#[test]
fn completing_in_order_visits_as_many_entries_with_ten_as_with_a_million_pending() {
    let cost = |pending| {
        let mut rig = Rig::with(pending);
        let costs: Vec<u64> = (1..=2_000).map(|id| rig.turn(id)).collect();
        assert_eq!(rig.machine.stats().in_flight, pending);
        costs
    };
    let (few, many) = (cost(FEW), cost(MANY));
    assert_eq!(few, many);
    assert!(many.iter().all(|visits| (1..=40).contains(visits)), "{:?}", many.iter().max());
}

#[test]
fn completing_the_newest_first_visits_as_many_entries_with_ten_as_with_a_million_pending() {
    let cost = |pending| {
        let mut rig = Rig::with(pending);
        // All others are overtaken and due at the 32nd answer, and only then.
        for _ in 0..64 {
            rig.turn(rig.sent + 1);
        }
        (0..2_000).map(|_| rig.turn(rig.sent + 1)).collect::<Vec<u64>>()
    };
    let (few, many) = (cost(FEW), cost(MANY));
    assert_eq!(few, many);
    assert!(many.iter().all(|visits| *visits <= 40), "{:?}", many.iter().max());
}

#[test]
fn a_hole_behind_the_lowest_costs_nothing_to_skip() {
    // All but the first are answered: the lowest stays, and is found without a search.
    let cost = |pending| {
        let mut rig = Rig::with(pending);
        for id in 2..=pending {
            rig.answer(id);
        }
        rig.write();
        assert_eq!(rig.machine.stats().in_flight, 1);
        (0..100).map(|_| rig.turn(rig.sent + 1)).collect::<Vec<u64>>()
    };
    let few = cost(100);
    let many = cost(100_000);
    assert_eq!(few, many);
}

/// Returns the entries visited for each command over its whole life, if all are answered in this order.
fn life(pending: u64, order: &[u64]) -> f64 {
    let mut rig = Rig::with(pending);
    for id in order {
        rig.answer(*id);
        rig.machine.handle_timeout(rig.now);
        rig.write();
    }
    assert_eq!(rig.machine.stats().in_flight, 0);
    rig.machine.table_visits() as f64 / pending as f64
}

fn shuffled(count: u64) -> Vec<u64> {
    let mut ids: Vec<u64> = (1..=count).collect();
    let mut random: u64 = 88_172_645_463_325_252;
    for place in (1..ids.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ids.swap(place, (random % (place as u64 + 1)) as usize);
    }
    ids
}

#[test]
fn a_commands_whole_life_costs_the_same_in_order_in_reverse_and_in_random_order() {
    for order in
        [|count| (1..=count).collect::<Vec<u64>>(), |count| (1..=count).rev().collect(), shuffled]
    {
        let few = life(1_000, &order(1_000));
        let many = life(MANY, &order(MANY));
        assert!((many / few - 1.0).abs() < 0.1, "{few} entries a command became {many}");
        assert!(many <= 40.0, "{many}");
    }
}

#[test]
fn the_search_for_due_or_expired_requests_costs_nothing_while_there_are_none() {
    let cost = |pending| {
        let mut rig = Rig::with(pending);
        let mut visits = Vec::new();
        for _ in 0..100 {
            let before = rig.machine.table_visits();
            rig.machine.handle_timeout(rig.now);
            rig.write();
            let _ = rig.machine.poll_timeout();
            visits.push(rig.machine.table_visits() - before);
        }
        visits
    };
    let (few, many) = (cost(FEW), cost(MANY));
    assert_eq!(few, many);
    assert!(many.iter().all(|visits| *visits <= 8));
}

#[test]
fn a_query_is_found_by_its_correlation_id_without_a_search() {
    let cost = |pending: u64| {
        let config = single().max_in_flight(1 << 20).max_queued(2 << 20);
        let (mut world, conn) = World::connected(config);
        for _ in 0..pending {
            let payload = Bytes::from_static(b"x");
            world.machine.submit(world.now, RequestKind::Query, payload, Timeout::Default).unwrap();
        }
        let ids = correlation_ids(&world.all_received(conn));
        let middle = &ids[ids.len() / 2];
        let before = world.machine.table_visits();
        let mut frame = Vec::new();
        ServerMessage::QueryResponse { correlation_id: middle.clone(), result: payload("") }
            .encode(&mut frame);
        let mut bytes = vec![0, u8::try_from(frame.len()).unwrap()];
        bytes.extend_from_slice(&frame);
        world.arrive(conn, &bytes);
        assert_eq!(world.machine.stats().answered, 1);
        world.machine.table_visits() - before
    };
    assert_eq!(cost(FEW), cost(50_000));
}
