//! The machine's main path: connect, send, answer, reconnect.

use crate::common::*;
use zraft_core::{Completion, StateName};
use zraft_protocol::{RequestErrorReason, ServerMessage};

#[test]
fn a_command_goes_out_and_its_answer_comes_back() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("hello");
    let sent = world.all_received(conn);
    assert_eq!(command_ids(&sent), [1]);
    assert_eq!(lowest_ids(&sent), [1]);
    world.answer(conn, 1, "world");
    assert_eq!(world.result(key).unwrap().unwrap(), "world");
    world.machine.disconnect(world.now, seconds(5));
    world.pump();
    assert!(world.peer(conn).shut);
    world.hang_up(conn);
    assert_eq!(world.state(), StateName::Disconnected);
    assert!(world.is_disconnected());
}

#[test]
fn there_is_a_completion_from_the_end_of_a_request_until_it_is_taken() {
    let (mut world, conn) = World::connected(three());
    let key = world.command("hello");
    assert!(!world.machine.has_completions());
    let mut body = Vec::new();
    ServerMessage::ClientResponse { request_id: request(1), result: payload("world") }
        .encode(&mut body);
    world.arrive(conn, &[&[0, u8::try_from(body.len()).unwrap()], &body[..]].concat());
    assert!(world.machine.has_completions());
    let taken = world.machine.poll_completion();
    assert!(matches!(taken, Some(Completion::Request { key: of, .. }) if of == key), "{taken:?}");
    assert!(!world.machine.has_completions());
}

#[test]
fn answers_and_other_completions_are_taken_in_the_order_in_which_they_came() {
    let (mut world, conn) = World::connected(three());
    let keys = ["a", "b", "c", "d"].map(|text| world.command(text));
    let answer =
        |id, text| ServerMessage::ClientResponse { request_id: request(id), result: payload(text) };
    let evicted = ServerMessage::RequestError {
        request_id: request(2),
        reason: RequestErrorReason::ResponseEvicted,
    };
    // Of one read, with an answer of the next.
    let reads = [vec![answer(1, "first"), evicted, answer(3, "third")], vec![answer(4, "fourth")]];
    for read in reads {
        let mut bytes = Vec::new();
        for message in read {
            let mut body = Vec::new();
            message.encode(&mut body);
            bytes.extend([0, u8::try_from(body.len()).unwrap()]);
            bytes.extend(body);
        }
        world.arrive(conn, &bytes);
    }
    assert_eq!(world.machine.poll_answer(), Some((keys[0], "first".into())));
    assert_eq!(world.machine.poll_answer(), None);
    let failed = world.machine.poll_completion();
    assert!(
        matches!(failed, Some(Completion::Request { key, result: Err(_), .. }) if key == keys[1])
    );
    let third = Completion::Request { key: keys[2], result: Ok("third".into()), detached: false };
    assert_eq!(world.machine.poll_completion(), Some(third));
    assert_eq!(world.machine.poll_answer(), Some((keys[3], "fourth".into())));
    assert!(!world.machine.has_completions());
}

#[test]
fn a_session_continues_after_a_lost_connection_and_pending_requests_are_resent() {
    let (mut world, conn) = World::connected(three());
    world.answer_keep_alive(conn);
    let keys: Vec<_> = (0..10).map(|n| world.command(&format!("c{n}"))).collect();
    assert_eq!(world.all_received(conn).len(), 10);
    world.hang_up(conn);
    let conn = world.accept("node-1");
    world.resume(conn);
    assert_eq!(world.state(), StateName::Connected);
    for _ in 1..=10 {
        world.advance_until(seconds(1), |world| {
            world.peers.iter().any(|peer| peer.conn == conn && !peer.inbox.is_empty())
        });
        for id in command_ids(&world.all_received(conn)) {
            world.answer(conn, id, "done");
        }
        if keys.iter().all(|key| world.result(*key).is_some()) {
            return;
        }
    }
    panic!("not all were answered");
}
