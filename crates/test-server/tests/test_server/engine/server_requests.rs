//! Server requests: ids, acknowledgements and redelivery.

use zraft_protocol::{Payload, RequestId, ServerMessage};
use zraft_test_server::SwitchError;

use crate::engine::rig::{Rig, config, id, ms, payload, secs};

/// Returns the ids and payloads of the received server requests. Fails on any other message.
fn requests(received: Vec<ServerMessage>) -> Vec<(RequestId, Payload)> {
    let request = |message| match message {
        ServerMessage::ServerRequest { request_id, payload, .. } => (request_id, payload),
        other => panic!("not a server request: {other:?}"),
    };
    received.into_iter().map(request).collect()
}

#[test]
fn server_requests_are_numbered_from_one_in_each_session() {
    let mut rig = Rig::new(1);
    let (one, first) = rig.session();
    let (two, second) = rig.session();
    for text in [b"a", b"b"] {
        rig.engine.push_server_request(rig.now, &first, &payload(text)).expect("alive");
    }
    rig.engine.push_server_request(rig.now, &second, &payload(b"c")).expect("alive");
    assert_eq!(requests(rig.received(one)), [(id(1), payload(b"a")), (id(2), payload(b"b"))]);
    assert_eq!(requests(rig.received(two)), [(id(1), payload(b"c"))]);
}

#[test]
fn one_not_acknowledged_is_sent_again_10_to_20_seconds_after_the_last_sending() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    // The ticks of the leader are at 10 s, 20 s, …; this one goes out at 13 s.
    rig.after(ms(12_999));
    rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("alive");
    assert_eq!(rig.received(peer).len(), 1);
    rig.after(ms(16_990));
    assert_eq!(rig.received(peer), [], "at 20 s it is not old enough");
    rig.after(ms(20));
    assert_eq!(requests(rig.received(peer)), [(id(1), payload(b"a"))], "at 30 s it is");
    rig.after(secs(20));
    assert_eq!(rig.received(peer).len(), 1, "the redelivery counts as a sending");
}

#[test]
fn created_at_is_the_clock_of_each_sending() {
    let mut config = config(1);
    config.wall_origin = zraft_protocol::Timestamp::from_millis(1_000_000);
    let mut rig = Rig::with(config, zraft_test_server::AppendLog::new());
    let (peer, session) = rig.session();
    rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("alive");
    rig.after(secs(21));
    let times: Vec<_> = rig
        .received(peer)
        .into_iter()
        .map(|message| match message {
            ServerMessage::ServerRequest { created_at, .. } => created_at.as_millis(),
            other => panic!("not a server request: {other:?}"),
        })
        .collect();
    assert_eq!(times, [1_000_001, 1_020_001]);
}

#[test]
fn server_requests_of_an_unbound_session_are_kept_and_not_sent_at_the_resume() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.engine.disconnected(rig.now, peer);
    rig.after(secs(1));
    rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("alive");
    let peer = rig.resumed(&session);
    rig.after(secs(18));
    assert_eq!(rig.received(peer), []);
    rig.after(secs(2));
    assert_eq!(requests(rig.received(peer)), [(id(1), payload(b"a"))]);
}

#[test]
fn acknowledgement_deletes_everything_up_to_it_through_the_log() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    for _ in 0..3 {
        rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("alive");
    }
    rig.received(peer);
    rig.acknowledge(peer, 2);
    assert_eq!(rig.engine.session(&session).expect("alive").unacknowledged, 3);
    rig.commit();
    assert_eq!(rig.engine.session(&session).expect("alive").unacknowledged, 1);
    rig.after(secs(21));
    assert_eq!(requests(rig.received(peer)), [(id(3), payload(b"a"))]);
    rig.acknowledge(peer, 3);
    rig.after(secs(60));
    assert_eq!(rig.received(peer), []);
}

#[test]
fn unacknowledged_server_requests_and_their_ids_survive_a_change_of_the_leader() {
    let mut rig = Rig::new(3);
    let (_, session) = rig.session();
    rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("alive");
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(100));
    let peer = rig.resumed(&session);
    rig.engine.push_server_request(rig.now, &session, &payload(b"b")).expect("alive");
    assert_eq!(requests(rig.received(peer)), [(id(2), payload(b"b"))]);
    rig.after(secs(21));
    assert_eq!(requests(rig.received(peer)), [(id(1), payload(b"a")), (id(2), payload(b"b"))]);
}

#[test]
fn session_that_acknowledges_nothing_is_disconnected_at_the_limit() {
    let mut config = config(1);
    config.limits.server_requests = 2;
    let mut rig = Rig::with(config, zraft_test_server::AppendLog::new());
    let (peer, session) = rig.session();
    for _ in 0..2 {
        rig.engine.push_server_request(rig.now, &session, &payload(b"a")).expect("room");
    }
    let full = rig.engine.push_server_request(rig.now, &session, &payload(b"a"));
    assert_eq!(full, Err(SwitchError::Limit));
    rig.received(peer);
    assert!(rig.closed.contains_key(&peer));
    assert_eq!(rig.engine.stats().closed_limit, 1);
    assert!(rig.alive(&session));
}
