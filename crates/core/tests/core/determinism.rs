//! The same inputs at the same times, with the same seed, give the same outputs.

use std::fmt::Write;

use crate::common::*;
use zraft_core::{RequestKind, StateName, Timeout};
use zraft_protocol::{ServerMessage, SessionCloseReason};

/// Runs a script with many events. Returns all outputs of the machine as text.
fn run(seed: u64, script: u64) -> String {
    let mut world = World::seeded(three().max_in_flight(8), seed);
    world.answers_keep_alives = true;
    world.machine.observe_messages(true);
    world.connect();
    let mut random = script;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    let mut output = String::new();
    for step in 0..1_500 {
        if let Some(member) = world.asks() {
            match next(4) {
                0 => world.refuse(&member),
                _ => {
                    world.accept(&member);
                }
            }
        }
        let conn = world.peers.last().unwrap().conn;
        let kind = if next(3) == 0 { RequestKind::Query } else { RequestKind::Command };
        let usable = world.peer(conn).open && !world.peer(conn).closed;
        match next(12) {
            0..=4 => {
                let text = format!("{step}");
                let timeout = Timeout::After(millis(next(5_000)));
                let _ = world.machine.submit(world.now, kind, text.into(), timeout);
                world.pump();
            }
            5 => world.advance(millis(next(4_000))),
            6 if usable && next(6) == 0 => world.hang_up(conn),
            7 if usable && next(6) == 0 => {
                world.closed(conn, SessionCloseReason::NotLeaderAnymore, None);
            }
            _ if usable => {
                for message in world.all_received(conn) {
                    use zraft_protocol::ClientMessage as Sent;
                    let answer = match message {
                        Sent::CreateSession { nonce, .. } => {
                            ServerMessage::SessionCreated { session_id: session(), nonce }
                        }
                        Sent::ContinueSession { nonce, .. } => {
                            ServerMessage::SessionContinued { nonce }
                        }
                        Sent::ClientRequest { request_id, payload, .. } if next(4) > 0 => {
                            ServerMessage::ClientResponse { request_id, result: payload }
                        }
                        Sent::Query { correlation_id, payload, .. } if next(4) > 0 => {
                            ServerMessage::QueryResponse { correlation_id, result: payload }
                        }
                        _ => continue,
                    };
                    if world.peer(conn).closed {
                        break;
                    }
                    world.say(conn, answer);
                }
            }
            _ => {}
        }
        let timeout = world.machine.poll_timeout();
        write!(output, "{:?} {:?} ", world.machine.stats(), timeout).unwrap();
        for event in world.events.drain(..) {
            write!(output, "{event:?} ").unwrap();
        }
        for completion in world.completions.drain(..) {
            write!(output, "{completion:?} ").unwrap();
        }
    }
    assert_ne!(world.state(), StateName::Disconnected);
    assert!(world.machine.stats().reconnects > 5);
    output
}

#[test]
fn the_same_seed_and_inputs_give_the_same_outputs() {
    for script in 1..6 {
        assert_eq!(run(7, script), run(7, script));
    }
}

#[test]
fn another_seed_gives_other_nonces_correlation_ids_and_jitter() {
    let (first, second) = (run(7, 1), run(8, 1));
    assert_ne!(first, second);
}
