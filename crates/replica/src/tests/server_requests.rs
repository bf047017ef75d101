use std::time::Duration;

use zraft_protocol::ServerMessage;

use super::world::{MS, World, ack, answered};

fn ids(messages: &[ServerMessage]) -> Vec<u64> {
    let ids = messages.iter().filter_map(|message| match message {
        ServerMessage::ServerRequest { request_id, .. } => Some(request_id.get()),
        _ => None,
    });
    ids.collect()
}

#[test]
fn an_answer_comes_before_the_requests_that_its_command_makes() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "push 2");
    world.command(connection, 2, "push 1");
    world.run(50 * MS);
    let received = world.received(connection);
    assert_eq!(received.iter().filter_map(answered).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(ids(&received), [1, 2, 3]);
    assert_eq!(answered(&received[0]), Some(1));
    let second = received.iter().position(|message| answered(message) == Some(2));
    let third = received.iter().position(|message| ids(std::slice::from_ref(message)) == [3]);
    assert!(second < third);
    // A copy of the command makes none.
    world.command(connection, 1, "push 2");
    world.run(50 * MS);
    assert!(ids(&world.received(connection)).is_empty());
}

#[test]
fn unacknowledged_requests_come_again_after_ten_seconds() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "push 3");
    world.run(100 * MS);
    assert_eq!(ids(&world.received(connection)), [1, 2, 3]);
    world.send(connection, ack(1));
    world.run(Duration::from_millis(9_800));
    assert!(ids(&world.received(connection)).is_empty());
    world.run(Duration::from_millis(300));
    assert_eq!(ids(&world.received(connection)), [2, 3]);
    world.run(Duration::from_secs(10));
    assert_eq!(ids(&world.received(connection)), [2, 3]);
    world.send(connection, ack(3));
    world.run(Duration::from_secs(30));
    assert!(ids(&world.received(connection)).is_empty());
}

#[test]
fn unacknowledged_requests_come_again_at_once_when_the_session_is_continued() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "push 3");
    world.run(100 * MS);
    world.send(connection, ack(1));
    world.run(100 * MS);
    let again = world.continued(leader, &session);
    assert_eq!(ids(&world.received(again)), [2, 3]);
}

#[test]
fn requests_made_while_no_client_is_there_are_kept() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "push 2");
    world.disconnect(connection);
    world.run(100 * MS);
    let again = world.continued(leader, &session);
    assert_eq!(ids(&world.received(again)), [1, 2]);
}

#[test]
fn at_most_512_requests_are_unacknowledged_on_a_connection() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "push 1000");
    world.run(100 * MS);
    let first = ids(&world.received(connection));
    assert_eq!(first, (1..=512).collect::<Vec<_>>());
    world.send(connection, ack(100));
    world.run(200 * MS);
    let next = ids(&world.received(connection));
    assert_eq!(next, (513..=612).collect::<Vec<_>>());
}

#[test]
fn an_acknowledgement_reaches_no_further_than_what_was_sent() {
    let mut world = World::new(3);
    let leader = world.settle();
    let (connection, session) = world.session(leader);
    world.command(connection, 1, "push 1000");
    world.run(100 * MS);
    world.send(connection, ack(900));
    world.run(200 * MS);
    let view = world.replica(leader).view().clone();
    let state = view.sessions.get(&session).expect("it exists");
    assert_eq!(state.acknowledged().get(), 512);
}
