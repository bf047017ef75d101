use bytes::Bytes;
use zraft_client::binding::core::Config;

use super::*;
use crate::layout::{CHUNK, HEADER, Id, NO_TIMEOUT, Operation};

struct World {
    channel: Arc<Channel>,
    bridge: Bridge,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        let config =
            Config::builder().member("node-1", "tcp://h:1").capability("k", "v").build().unwrap();
        let channel = Arc::new(Channel::new());
        let mut bridge = Bridge::new(channel.clone(), config.ack_server_requests());
        bridge.run();
        Self { channel, bridge, machine: Machine::new(config, 1, Instant::from_nanos(0)) }
    }

    fn perform(&mut self, operation: Operation, id: u32) {
        let mut entries = Vec::new();
        layout::push_entry(&mut entries, operation, id, NO_TIMEOUT);
        self.perform_all(entries);
    }

    fn perform_all(&mut self, entries: Vec<u8>) {
        let batch = Batch { entries: entries.into(), staged: Bytes::new() };
        assert!(self.channel.push(batch).is_some());
        while self.bridge.process_inputs(&mut self.machine, &mut || Instant::from_nanos(1))
            == Progress::More
        {}
        self.bridge.deliver_outputs(&mut self.machine);
    }

    fn fill_outbox(&self) {
        while !self.channel.is_crowded(0) {
            self.channel.deliver(&mut vec![0; CHUNK], &mut VecDeque::new());
        }
    }

    /// Takes all records and returns their kinds, without those of `fill_outbox`.
    fn take(&self) -> Vec<u32> {
        let mut kinds = Vec::new();
        while let Ok(Some((chunk, _))) = self.channel.take(2 * CHUNK) {
            let mut at = 0;
            while let Some(header) = chunk.get(at..at + HEADER) {
                let word =
                    |n: usize| u32::from_ne_bytes(header[4 * n..4 * n + 4].try_into().unwrap());
                if word(0) == 0 {
                    break;
                }
                kinds.push(word(0));
                at = layout::padded(at + HEADER + word(2) as usize) + word(3) as usize;
                at = layout::padded(at);
            }
        }
        kinds
    }

    fn state(&self) -> StateName {
        lock(&self.channel.status).state
    }
}

#[test]
fn the_state_is_published_while_the_outbox_is_crowded() {
    let mut world = World::new();
    world.fill_outbox();
    world.perform(Operation::Connect, 1);
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    world.perform(Operation::CancelConnect, 1);
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn a_driver_that_holds_events_back_is_not_over_and_is_woken_when_there_is_room() {
    let mut world = World::new();
    world.fill_outbox();
    world.perform(Operation::Connect, 1);
    world.perform(Operation::CancelConnect, 1);
    assert!(!world.bridge.is_finished(&world.machine), "its events were not reported yet");
    assert_eq!(world.bridge.prepare_sleep(&world.machine, Waker::noop()), Progress::Idle);
    let kinds = world.take();
    assert_eq!(kinds, [Kind::CallFailed as u32], "answers need no room");
    assert!(lock(&world.channel.inbox).sleeper.is_none(), "the driver was woken");
    world.bridge.deliver_outputs(&mut world.machine);
    assert!(world.bridge.is_finished(&world.machine));
    let kinds = world.take();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == Kind::Event as u32), "{kinds:?}");
}

#[test]
fn a_driver_does_not_sleep_if_room_was_made_before_it_left_its_waker() {
    let mut world = World::new();
    world.fill_outbox();
    world.perform(Operation::Connect, 1);
    world.perform(Operation::CancelConnect, 1);
    world.take();
    let sleep = world.bridge.prepare_sleep(&world.machine, Waker::noop());
    assert_eq!(sleep, Progress::More, "no one would wake it");
}

#[test]
fn a_request_settles_though_its_slot_is_reused_by_the_same_batch() {
    let mut world = World::new();
    world.perform(Operation::Connect, 1);
    world.take();
    let command = |slot: u32| {
        let words = [Operation::Command as u32, slot, NO_TIMEOUT, 4, 0];
        let header = words.iter().flat_map(|word| word.to_ne_bytes());
        header.chain(*b"work").collect::<Vec<u8>>()
    };
    let mut entries = command(7);
    layout::push_entry(&mut entries, Operation::Cancel, 7, 0);
    entries.extend(command(8));
    world.perform_all(entries);
    assert_eq!(world.take(), [Kind::Failed as u32], "the first command is cancelled");
    assert!(world.bridge.requests.key(Id { number: 8, generation: 0 }).is_some());
}

#[test]
fn a_driver_that_crashed_takes_no_batch_and_is_disconnected() {
    let mut world = World::new();
    world.perform(Operation::Connect, 1);
    let channel = world.channel.clone();
    drop(world.bridge);
    assert!(channel.push(Batch::disconnect()).is_none());
    assert_eq!(lock(&channel.status).state, StateName::Disconnected);
}

#[test]
fn a_driver_that_crashes_while_connected_reports_that_the_connection_is_lost() {
    let mut world = World::new();
    world.bridge.published.state = Some(StateName::Connected);
    let World { channel, bridge, machine } = world;
    drop(bridge);
    let world = World {
        bridge: Bridge::new(channel.clone(), AckServerRequests::Delivered),
        channel,
        machine,
    };
    assert_eq!(world.take(), [Kind::Event as u32, Kind::Crashed as u32]);
}

#[test]
fn batches_that_wait_are_performed_in_one_turn_up_to_a_limit() {
    let mut world = World::new();
    world.perform(Operation::Connect, 1);
    let command = [
        &[Operation::Command as u32, 0, NO_TIMEOUT, 4096, 0].map(u32::to_ne_bytes).concat()[..],
        &[7; 4096],
    ]
    .concat();
    let mut commands = |count: usize| {
        for _ in 0..count {
            let batch = Batch { entries: command.clone().into(), staged: Bytes::new() };
            assert!(world.channel.push(batch).is_some());
        }
        let turn =
            || world.bridge.process_inputs(&mut world.machine, &mut || Instant::from_nanos(1));
        std::iter::repeat_with(turn).take_while(|progress| *progress == Progress::More).count()
    };
    assert_eq!(commands(15), 0, "less than 64 KiB");
    assert_eq!(commands(40), 2, "more than 128 KiB and less than 192");
}
