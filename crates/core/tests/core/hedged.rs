//! A member that does not answer delays a search by 300 ms: the next one is asked beside it, and the first answer wins.

use crate::common::rounds::redirect;
use crate::common::*;
use zraft_core::{ConnId, ConnectionCause, Event, StateName};
use zraft_protocol::{ClientMessage, RejectionReason, ServerMessage};

/// Returns the member and the connection of every CreateSession, in the order in which they were sent.
fn creates(world: &mut World) -> Vec<(String, ConnId)> {
    world.pump();
    let mut creates = Vec::new();
    for peer in &world.peers {
        let asked =
            |message: &ClientMessage| matches!(message, ClientMessage::CreateSession { .. });
        if peer.inbox.iter().any(asked) {
            creates.push((peer.member.clone(), peer.conn));
        }
    }
    creates
}

fn connecting() -> World {
    let mut world = World::new(three());
    world.connect();
    world
}

#[test]
fn with_one_silent_and_one_refusing_member_of_three_a_session_takes_one_second() {
    let mut world = connecting();
    let silent = world.accept("node-1");
    world.create_nonce(silent);
    world.advance(millis(300));
    world.refuse("node-2");
    let conn = world.accept("node-3");
    // The silent member may yet create a session, which this one would make an orphan.
    assert!(world.all_received(conn).is_empty());
    world.advance(millis(699));
    assert!(world.all_received(conn).is_empty());
    world.advance(millis(1));
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.machine.member_id().unwrap().as_str(), "node-3");
    assert_eq!(world.open_connections(), ["node-3"]);
    assert_eq!(world.machine.stats().orphans, 1, "the silent one may have created one");
}

#[test]
fn a_member_whose_host_is_down_costs_300_ms() {
    let mut world = connecting();
    // Nothing answers the first SYN.
    world.advance(millis(300));
    let conn = world.accept("node-2");
    world.create(conn);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.machine.stats().orphans, 0, "the other was not asked for a session");
}

#[test]
fn every_member_is_asked_beside_the_silent_ones_and_none_twice() {
    let mut world = connecting();
    world.advance(seconds(4));
    assert_eq!(world.open_connections(), ["node-1", "node-2", "node-3"]);
    world.advance(millis(999));
    assert_eq!(world.peers.len(), 3);
}

#[test]
fn create_session_goes_to_one_more_member_after_each_second() {
    let mut world = connecting();
    world.accept("node-1");
    for member in ["node-2", "node-3"] {
        world.advance(millis(300));
        world.accept(member);
    }
    assert_eq!(creates(&mut world).len(), 1);
    world.advance(millis(400));
    assert_eq!(creates(&mut world).len(), 2);
    world.advance(millis(999));
    assert_eq!(creates(&mut world).len(), 2);
    world.advance(millis(1));
    assert_eq!(creates(&mut world).len(), 3);
}

#[test]
fn create_session_goes_to_the_next_member_at_once_when_the_one_before_answered() {
    let mut world = connecting();
    let first = world.accept("node-1");
    world.advance(millis(300));
    let second = world.accept("node-2");
    assert_eq!(creates(&mut world).len(), 1);
    let nonce = world.create_nonce(first);
    world.reject(first, nonce, RejectionReason::NotLeader, None);
    world.create(second);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.machine.stats().orphans, 0);
}

#[test]
fn the_first_session_wins_and_the_other_attempts_end() {
    for winner in 0..3 {
        let mut world = connecting();
        let mut conns = vec![world.accept("node-1")];
        for member in ["node-2", "node-3"] {
            world.advance(seconds(1));
            conns.push(world.accept(member));
        }
        let nonces: Vec<_> = conns.iter().map(|conn| world.create_nonce(*conn)).collect();
        let message =
            ServerMessage::SessionCreated { session_id: session(), nonce: nonces[winner] };
        world.say(conns[winner], message);
        assert_eq!(world.state(), StateName::Connected);
        assert_eq!(world.open_connections(), [format!("node-{}", winner + 1)]);
        assert_eq!(world.machine.stats().orphans, 2);
    }
}

#[test]
fn an_answer_with_the_nonce_of_another_attempt_is_ignored() {
    let mut world = connecting();
    let first = world.accept("node-1");
    world.advance(seconds(1));
    let second = world.accept("node-2");
    let nonce = world.create_nonce(second);
    world.say(first, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::ConnectingNewSession);
}

#[test]
fn a_resume_asks_all_members_beside_each_other_without_waiting() {
    let mut world = World::continuing(three());
    let silent = world.accept("node-2");
    world.continue_nonce(silent);
    world.advance(millis(300));
    let conn = world.accept("node-3");
    world.resume(conn);
    assert_eq!(world.state(), StateName::Connected);
    assert_eq!(world.open_connections(), ["node-3"]);
    assert_eq!(world.machine.stats().orphans, 0, "a session that is continued leaves no orphan");
}

#[test]
fn members_that_answer_are_asked_again_while_a_silent_one_is_waited_for() {
    // The leader is frozen, and the others elect another one.
    let mut world = World::continuing(three());
    world.accept("node-2");
    world.advance(millis(300));
    redirect(&mut world, Some("node-2"));
    let mut rounds = 0;
    while rounds < 10 {
        let (member, pause) = world.next_asked(millis(250));
        assert!(pause <= millis(250));
        redirect(&mut world, None);
        rounds += usize::from(member == "node-3");
    }
    assert!(world.open_connections().contains(&"node-2".to_owned()), "it is still waited for");
}

#[test]
fn a_silent_attempt_ends_after_the_connection_timeout_while_others_go_on() {
    let mut world = connecting();
    let silent = world.accept("node-1");
    world.advance(seconds(4));
    let others = world.open_connections().len();
    assert_eq!(others, 3);
    world.advance(seconds(1));
    assert!(world.peer(silent).closed);
    let never = |event: &Event| {
        matches!(event, Event::ConnectionFailure { error: ConnectionCause::NeverAnswered, .. })
    };
    assert_eq!(world.count_events(never), 1);
}

#[test]
fn five_attempts_at_most_run_at_once() {
    let mut config = zraft_core::Config::builder().capability("protocol", "test");
    for member in 1..=9 {
        config = config.member(format!("node-{member}"), format!("tcp://127.0.0.1:700{member}"));
    }
    let mut world = World::new(config);
    world.connect();
    world.advance(millis(4_999));
    assert_eq!(world.open_connections().len(), 5);
    world.advance(millis(1));
    assert_eq!(world.asks().as_deref(), Some("node-6"), "the first attempt is over");
    assert_eq!(world.open_connections().len(), 5);
}

#[test]
fn create_session_that_was_held_back_is_awaited_as_long_as_any_other() {
    let mut world = World::new(three().connection_timeout(millis(1_500)));
    world.connect();
    world.accept("node-1");
    world.advance(millis(300));
    let second = world.accept("node-2");
    world.advance(millis(700));
    let nonce = world.create_nonce(second);
    world.advance(millis(1_499));
    assert!(!world.peer(second).closed);
    world.say(second, ServerMessage::SessionCreated { session_id: session(), nonce });
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn a_member_whose_create_session_is_held_back_does_not_time_out() {
    let mut world = World::new(three().connection_timeout(millis(700)));
    world.connect();
    let first = world.accept("node-1");
    world.advance(millis(300));
    let second = world.accept("node-2");
    world.advance(millis(300));
    let third = world.accept("node-3");
    // The first CreateSession is over after 0.7 s; the next one goes out, and the third waits for a second.
    world.advance(millis(1_099));
    assert!(world.peer(first).closed);
    world.create_nonce(second);
    assert!(world.all_received(third).is_empty());
    assert!(!world.peer(third).closed);
    world.advance(millis(1));
    world.create(third);
    assert_eq!(world.state(), StateName::Connected);
}

#[test]
fn create_session_that_was_rejected_leaves_no_orphan() {
    for reason in [
        RejectionReason::NotLeader,
        RejectionReason::SessionExpired,
        RejectionReason::InvalidCapabilities,
        RejectionReason::Other,
    ] {
        let mut world = connecting();
        let conn = world.accept("node-1");
        let nonce = world.create_nonce(conn);
        world.reject(conn, nonce, reason, None);
        assert_eq!(world.machine.stats().orphans, 0, "{reason:?}");
    }
}

#[test]
fn members_that_name_a_busy_leader_are_asked_ever_less_often() {
    let mut world = connecting();
    let start = world.now;
    let busy = world.accept("node-1");
    world.create_nonce(busy);
    let mut asked = 0;
    while world.now - start < millis(4_900) {
        if world.asks().is_some() {
            redirect_once_asked(&mut world);
            asked += 1;
        }
        let step = world.machine.poll_timeout().unwrap() - world.now;
        world.advance(step.min(start + millis(4_900) - world.now));
    }
    assert!(!world.peer(busy).closed);
    assert!((2..=16).contains(&asked), "{asked} connections to the followers");
}

/// The member being asked names node-1, as soon as it is asked for a session.
fn redirect_once_asked(world: &mut World) {
    let member = world.asks().unwrap();
    let conn = world.accept(&member);
    while world.peer(conn).inbox.is_empty() {
        let step = world.machine.poll_timeout().unwrap() - world.now;
        world.advance(step);
    }
    let nonce = world.create_nonce(conn);
    world.reject(conn, nonce, RejectionReason::NotLeader, Some("node-1"));
}

#[test]
fn several_members_that_do_not_create_a_session_lengthen_the_next_wait_once() {
    let mut world = connecting();
    let mut conns = vec![world.accept("node-1")];
    for member in ["node-2", "node-3"] {
        world.advance(seconds(1));
        conns.push(world.accept(member));
    }
    world.advance_until(seconds(10), |world| {
        conns.iter().all(|conn| world.peers.iter().any(|peer| peer.conn == *conn && peer.closed))
    });
    let (member, _) = world.next_asked(seconds(5));
    let conn = world.accept(&member);
    while world.peer(conn).inbox.is_empty() {
        let step = world.machine.poll_timeout().unwrap() - world.now;
        world.advance(step);
    }
    let took = world.advance_until(seconds(40), |world| {
        world.peers.iter().any(|peer| peer.conn == conn && peer.closed)
    });
    // Less the time for which its CreateSession was held back.
    assert!((seconds(19)..=seconds(20)).contains(&took), "{took:?}");
}
