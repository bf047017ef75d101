//! The answers of followers, and the leader that they name.

use zraft_protocol::{ClientMessage, MemberId, RejectionReason, ServerMessage, SessionCloseReason};
use zraft_test_server::{Hints, PeerId};

use crate::engine::rig::{Rig, ms, payload};

fn member(id: &str) -> Option<MemberId> {
    Some(MemberId::new(id).expect("short"))
}

fn not_leader_anymore(leader_id: Option<MemberId>) -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::NotLeaderAnymore, leader_id }
}

fn is_dropped(rig: &mut Rig, peer: PeerId) -> bool {
    rig.keep_alive(peer, 99);
    rig.received(peer).is_empty() && !rig.engine.reads(peer) && !rig.closed.contains_key(&peer)
}

/// Returns the leader that a follower names in a rejection.
fn hint(rig: &mut Rig, follower: usize) -> Option<MemberId> {
    let peer = rig.connect(follower);
    rig.create(peer);
    match rig.received(peer).pop() {
        Some(ServerMessage::SessionRejected { leader_id, .. }) => leader_id,
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn create_and_continue_are_rejected_with_a_hint_and_the_peer_is_dropped() {
    let mut rig = Rig::new(3);
    let (_, session) = rig.session();
    for create in [true, false] {
        let peer = rig.connect(2);
        let nonce = if create { rig.create(peer) } else { rig.resume(peer, &session) };
        let reason = RejectionReason::NotLeader;
        let leader_id = member("node-1");
        assert_eq!(
            rig.received(peer),
            [ServerMessage::SessionRejected { reason, nonce, leader_id }]
        );
        assert!(is_dropped(&mut rig, peer));
    }
}

#[test]
fn keep_alive_commands_and_queries_are_answered_with_session_closed_and_the_peer_is_dropped() {
    let mut rig = Rig::new(3);
    let sends: [fn(&mut Rig, PeerId); 3] = [
        |rig, peer| rig.keep_alive(peer, 1),
        |rig, peer| rig.command(peer, 1, 1),
        |rig, peer| rig.query(peer, "q", payload(b"?")),
    ];
    for send in sends {
        let peer = rig.connect(3);
        send(&mut rig, peer);
        assert_eq!(rig.received(peer), [not_leader_anymore(member("node-1"))]);
        assert!(is_dropped(&mut rig, peer));
    }
}

#[test]
fn acknowledgements_and_close_session_are_ignored() {
    let mut rig = Rig::new(3);
    let peer = rig.connect(2);
    rig.acknowledge(peer, 1);
    rig.close_session(peer);
    rig.send(peer, ClientMessage::ConnectionClosed);
    assert_eq!(rig.received(peer), []);
    rig.keep_alive(peer, 1);
    assert_eq!(rig.received(peer).len(), 1, "it was not dropped");
}

#[test]
fn no_leader_is_named_during_an_election() {
    let mut rig = Rig::new(3);
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    assert_eq!(hint(&mut rig, 2), None);
    rig.after(ms(100));
    assert_eq!(rig.leader(), Some(2));
    assert_eq!(hint(&mut rig, 1), member("node-2"));
}

#[test]
fn hints_can_be_absent_wrong_the_member_itself_or_circular() {
    let mut rig = Rig::new(3);
    rig.engine.set_hints(None, Hints::Absent).expect("all");
    assert_eq!(hint(&mut rig, 2), None);
    rig.engine.set_hints(None, Hints::Wrong(member("node-9").expect("one"))).expect("all");
    assert_eq!(hint(&mut rig, 2), member("node-9"));
    rig.engine.set_hints(None, Hints::Itself).expect("all");
    assert_eq!(hint(&mut rig, 2), member("node-2"));
    rig.engine.set_hints(None, Hints::Circular).expect("all");
    assert_eq!(hint(&mut rig, 2), member("node-3"));
    assert_eq!(hint(&mut rig, 3), member("node-2"));
    rig.engine.set_hints(None, Hints::Leader).expect("all");
    assert_eq!(hint(&mut rig, 3), member("node-1"));
}

#[test]
fn hints_can_be_set_for_one_member() {
    let mut rig = Rig::new(3);
    let two = rig.member(2);
    rig.engine.set_hints(Some(two), Hints::Absent).expect("known");
    assert_eq!(hint(&mut rig, 2), None);
    assert_eq!(hint(&mut rig, 3), member("node-1"));
}

#[test]
fn deaf_leader_is_still_named() {
    let mut rig = Rig::new(3);
    let one = rig.member(1);
    rig.engine.set_deaf(rig.now, one, true).expect("it runs");
    assert_eq!(hint(&mut rig, 2), member("node-1"));
}
