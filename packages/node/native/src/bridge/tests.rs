use std::collections::VecDeque;
use std::task::Waker;

use zraft_client::binding::core::Config;

use super::*;
use crate::layout::CHUNK;

struct World {
    links: Arc<Links>,
    bridge: Bridge,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        let config =
            Config::builder().member("node-1", "tcp://h:1").capability("k", "v").build().unwrap();
        let links = Arc::new(Links::new());
        let mut bridge = Bridge::new(links.clone(), config.ack_server_requests());
        bridge.run();
        Self { links, bridge, machine: Machine::new(config, 1, Instant::from_nanos(0)) }
    }

    fn ask(&mut self, operation: u32, id: u32) {
        let entries: Vec<u8> =
            [operation, id, NEVER, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let batch = Batch { entries: entries.into(), beside: Bytes::new() };
        assert!(self.links.push(batch).is_some());
        while self.bridge.bring(&mut self.machine, &mut || Instant::from_nanos(1)) {}
        self.bridge.hand_out(&mut self.machine);
    }

    fn fill_outbox(&self) {
        while !self.links.is_crowded(0) {
            self.links.deliver(&mut vec![0; CHUNK], &mut VecDeque::new());
        }
    }

    /// The kinds of the records that JavaScript takes, those that filled the outbox left out.
    fn take(&self) -> Vec<u32> {
        let mut kinds = Vec::new();
        while let Ok(Some((chunk, _))) = self.links.take(2 * CHUNK) {
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
        lock(&self.links.facts).state
    }
}

#[test]
fn the_state_is_published_while_there_is_no_room_for_events() {
    let mut world = World::new();
    world.fill_outbox();
    world.ask(operation::CONNECT, 1);
    assert_eq!(world.state(), StateName::ConnectingNewSession);
    world.ask(operation::CANCEL_CONNECT, 1);
    assert_eq!(world.state(), StateName::Disconnected);
}

#[test]
fn a_driver_with_events_inside_does_not_rest_and_is_woken_when_there_is_room() {
    let mut world = World::new();
    world.fill_outbox();
    world.ask(operation::CONNECT, 1);
    world.ask(operation::CANCEL_CONNECT, 1);
    assert!(!world.bridge.is_over(&world.machine), "its events are not told yet");
    assert!(world.bridge.sleep(&world.machine, Waker::noop()));
    let kinds = world.take();
    assert_eq!(kinds, [Kind::CallFailed as u32], "answers need no room");
    assert!(lock(&world.links.inbox).sleeper.is_none(), "it was woken");
    world.bridge.hand_out(&mut world.machine);
    assert!(world.bridge.is_over(&world.machine));
    let kinds = world.take();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == Kind::Event as u32), "{kinds:?}");
}

#[test]
fn a_driver_that_broke_takes_nothing_any_more_and_says_so_first() {
    let mut world = World::new();
    world.ask(operation::CONNECT, 1);
    let links = world.links.clone();
    drop(world.bridge);
    assert!(links.push(Batch::disconnect()).is_none());
    assert_eq!(lock(&links.facts).state, StateName::Disconnected);
}

#[test]
fn a_driver_that_breaks_while_connected_tells_that_the_connection_is_lost() {
    let mut world = World::new();
    world.bridge.published.state = Some(StateName::Connected);
    let World { links, bridge, machine } = world;
    drop(bridge);
    let world =
        World { bridge: Bridge::new(links.clone(), AckServerRequests::Delivered), links, machine };
    assert_eq!(world.take(), [Kind::Event as u32, Kind::Broke as u32]);
}

#[test]
fn only_the_present_use_of_a_slot_is_found() {
    let mut requests = Requests::default();
    let mut machine = World::new().machine;
    machine.connect(Instant::from_nanos(0), None);
    let mut submit = || {
        let payload = Bytes::from_static(b"x");
        machine
            .submit(Instant::from_nanos(0), RequestKind::Command, payload, Timeout::Never)
            .unwrap()
    };
    let (first, second) = (submit(), submit());
    let id = |generation| Id { number: 7, generation };
    requests.add(first, id(1));
    assert_eq!((requests.key(id(1)), requests.key(id(0))), (Some(first), None));
    // JavaScript gave the slot to another request before the first one's last record.
    requests.add(second, id(2));
    assert_eq!((requests.key(id(1)), requests.key(id(2))), (None, Some(second)));
    assert_eq!(requests.remove(first), Some(id(1)));
    assert_eq!(requests.key(id(2)), Some(second));
    assert_eq!(requests.remove(second), Some(id(2)));
    assert_eq!(requests.key(id(2)), None);
}
