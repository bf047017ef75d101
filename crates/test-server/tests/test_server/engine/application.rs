//! What an application can do: reject, push, end sessions, refuse them, and wait for a time.

use zraft_protocol::{
    Capabilities, ClientMessage, Payload, RejectionReason, RequestId, ServerMessage,
    SessionCloseReason, SessionId,
    reserved::{self, Member, Members},
};
use zraft_test_server::{ClosedFor, Incident, PeerId};

use crate::engine::{
    obedient::Obedient,
    rig::{Rig, answer, config, id, member_ids, ms, payload, query_answer, secs},
};

fn rig() -> Rig {
    let mut config = config(1);
    config.wall_origin = zraft_protocol::Timestamp::from_millis(1_000_000);
    Rig::with(config, Obedient::default())
}

fn create(rig: &mut Rig, capabilities: &[(&str, &str)]) -> (PeerId, Vec<ServerMessage>) {
    let peer = rig.connect(1);
    let nonce = rig.nonce();
    let capabilities = Capabilities::new(capabilities.iter().copied()).expect("short");
    rig.send(peer, ClientMessage::CreateSession { capabilities, nonce });
    rig.commit();
    (peer, rig.received(peer))
}

/// Returns the ids and payloads of server requests. Fails on any other message.
fn requests(received: Vec<ServerMessage>) -> Vec<(RequestId, Payload)> {
    let request = |message| match message {
        ServerMessage::ServerRequest { request_id, payload, .. } => (request_id, payload),
        other => panic!("not a server request: {other:?}"),
    };
    received.into_iter().map(request).collect()
}

#[test]
fn rejection_without_an_answer_closes_the_connection_and_leaves_the_id() {
    let mut rig = rig();
    let (peer, session) = rig.session();
    rig.command_of(peer, 2, 2, payload(b"push never;reject"));
    rig.commit();
    assert_eq!(rig.received(peer), []);
    let reason = ClosedFor::RejectedCommand {
        request_id: id(2),
        rejected: zraft_test_server::Rejected::without_answer().because("it says reject"),
    };
    let member = member_ids(1).remove(0);
    let closed = Incident::ConnectionClosed { member, address: None, session: Some(1), reason };
    assert_eq!(rig.incidents, [closed]);
    assert_eq!(rig.executed(), [0; 0]);
    assert_eq!(rig.engine.session(&session).expect("alive").lowest_pending, id(0));
    let peer = rig.resumed(&session);
    rig.command_of(peer, 1, 1, payload(b"answer one"));
    rig.command_of(peer, 2, 2, payload(b"answer two"));
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, payload(b"one")), answer(2, payload(b"two"))]);
}

#[test]
fn rejection_with_an_answer_answers_and_uses_up_the_id() {
    let mut rig = rig();
    let (peer, _) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"push never;refuse no"));
    rig.command_of(peer, 1, 1, payload(b"answer yes"));
    rig.query(peer, "q", payload(b"refuse no"));
    rig.commit();
    let no = || answer(1, payload(b"no"));
    assert_eq!(rig.received(peer), [no(), no(), query_answer("q", payload(b"no"))]);
    assert_eq!(rig.executed(), [0; 0]);
    assert!(rig.closed.is_empty());
}

#[test]
fn query_for_the_members_is_answered_without_the_application() {
    let mut config = config(3);
    config.endpoints = vec!["tcp://127.0.0.1:7001".to_owned(), String::new()];
    let mut rig = Rig::with(config, Obedient::default());
    let (peer, _) = rig.session();
    rig.query(peer, "q", reserved::members_question());
    rig.commit();
    let endpoints = [Some("tcp://127.0.0.1:7001".to_owned()), None, None];
    let members = member_ids(3).into_iter().zip(endpoints);
    let members = Members::new(members.map(|(id, endpoint)| Member { id, endpoint }));
    let [ServerMessage::QueryResponse { result, .. }] = &rig.received(peer)[..] else {
        panic!("one answer");
    };
    assert_eq!(Members::from_answer(result), Ok(members));
    assert!(rig.closed.is_empty());
}

#[test]
fn server_requests_follow_the_answer_and_are_sent_again() {
    let mut rig = rig();
    let (one, _) = rig.session();
    let (two, _) = rig.session();
    rig.command_of(one, 1, 1, payload(b"push x;push y;answer done"));
    rig.commit();
    let mut received = rig.received(one);
    assert_eq!(received.remove(0), answer(1, payload(b"done")));
    let both = [(id(1), payload(b"x")), (id(2), payload(b"y"))];
    assert_eq!(requests(received), both);
    assert_eq!(requests(rig.received(two)), both);
    rig.acknowledge(one, 1);
    rig.after(secs(21));
    assert_eq!(requests(rig.received(one)), both[1..]);
    assert_eq!(requests(rig.received(two)), both);
}

#[test]
fn full_session_loses_server_requests_and_its_connection_and_the_others_get_theirs() {
    let mut config = config(1);
    config.limits.server_request_bytes = 4;
    let mut rig = Rig::with(config, Obedient::default());
    let (one, first) = rig.session();
    let (two, _) = rig.session();
    rig.command_of(one, 1, 1, payload(b"push abc"));
    rig.commit();
    rig.acknowledge(two, 1);
    rig.command_of(two, 1, 1, payload(b"push de;push f"));
    rig.commit();
    assert!(rig.closed.contains_key(&one) && !rig.closed.contains_key(&two));
    assert_eq!(rig.received(two).len(), 4, "an answer and three server requests");
    // The shorter one fitted.
    assert_eq!(rig.engine.session(&first).expect("alive").unacknowledged, 2);
    let limit = ClosedFor::Limit("server_request_bytes");
    let closed = |incident: &Incident| matches!(incident, Incident::ConnectionClosed { reason, .. } if *reason == limit);
    assert!(matches!(&rig.incidents[..], [incident] if closed(incident)), "{:?}", rig.incidents);
}

#[test]
fn session_that_the_application_ends_gets_its_answer_and_learns_of_the_end() {
    let mut rig = rig();
    let (peer, session) = rig.session();
    let (other, _) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"end;answer bye"));
    rig.commit();
    let reason = SessionCloseReason::SessionExpired;
    let closed = ServerMessage::SessionClosed { reason, leader_id: None };
    assert_eq!(rig.received(peer), [answer(1, payload(b"bye")), closed]);
    assert!(!rig.alive(&session));
    assert_eq!(rig.engine.stats().sessions_ended_by_application, 1);
    let told = [(id(1), payload(b"Application"))];
    assert_eq!(requests(rig.received(other)), told, "the application is told, too");
    // The connection is dropped, so nothing more comes on it.
    rig.command_of(peer, 2, 2, payload(b"answer late"));
    rig.commit();
    assert_eq!(rig.received(peer), []);
    assert!(!rig.is_read(peer));
}

#[test]
fn application_sees_capabilities_without_the_token_and_can_push_to_a_new_session() {
    let mut rig = rig();
    let (_, received) = create(&mut rig, &[("token", "secret"), ("welcome", "hello")]);
    match &received[..] {
        [ServerMessage::SessionCreated { .. }, ServerMessage::ServerRequest { payload, .. }] => {
            assert_eq!(payload[..], *b"hello");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn application_can_refuse_a_session() {
    let mut rig = rig();
    let (peer, received) = create(&mut rig, &[("refuse", "yes")]);
    let expected = RejectionReason::InvalidCapabilities;
    assert!(
        matches!(received[..], [ServerMessage::SessionRejected { reason, .. }] if reason == expected),
        "{received:?}"
    );
    assert_eq!(rig.engine.sessions().count(), 0);
    let stats = rig.engine.stats();
    assert_eq!((stats.sessions_created, stats.sessions_refused), (0, 1));
    // The connection can ask again.
    rig.create(peer);
    rig.commit();
    assert!(matches!(rig.received(peer)[..], [ServerMessage::SessionCreated { .. }]));
}

#[test]
fn each_reason_of_an_end_reaches_the_application() {
    let mut rig = rig();
    let (watcher, _) = rig.session();
    let (closing, _) = rig.session();
    let (_, expiring) = rig.session();
    rig.close_session(closing);
    rig.commit();
    rig.engine.expire_session(rig.now, &expiring).expect("alive");
    rig.commit();
    let told = [(id(1), payload(b"Closed")), (id(2), payload(b"Expired"))];
    assert_eq!(requests(rig.received(watcher)), told);
}

#[test]
fn tick_comes_at_its_time_without_any_message() {
    let mut rig = rig();
    let (peer, _) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"tick 500"));
    rig.commit();
    rig.received(peer);
    // The session was created at 1 ms, and the command committed at 2 ms.
    rig.after(ms(499));
    assert_eq!(rig.received(peer), []);
    let entries = rig.engine.stats().log_entries;
    rig.after(ms(1));
    assert_eq!(requests(rig.received(peer)), [(id(1), payload(b"1000502 ms"))]);
    assert_eq!(rig.engine.stats().log_entries, entries, "a tick is not an entry of the log");
}

#[test]
fn server_request_of_a_tick_that_comes_with_an_acknowledgement_is_sent_again_by_its_own_age() {
    let mut rig = rig();
    let (peer, _) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"push first;tick 15000"));
    rig.after(ms(9_900));
    rig.command_of(peer, 2, 2, payload(b"push second"));
    // The tick is due at 15,002 ms, at the commit of the acknowledgement.
    rig.after(ms(15_001 - 9_901));
    rig.received(peer);
    rig.acknowledge(peer, 1);
    rig.after(ms(10));
    assert_eq!(requests(rig.received(peer)), [(id(3), payload(b"1015002 ms"))]);
    rig.after(secs(6));
    assert_eq!(requests(rig.received(peer)), [(id(2), payload(b"second"))], "at 20 s");
    rig.after(secs(10));
    let both = [(id(2), payload(b"second")), (id(3), payload(b"1015002 ms"))];
    assert_eq!(requests(rig.received(peer)), both[1..], "at 30 s");
}

#[test]
fn tick_waits_for_a_leader_that_commits() {
    let mut rig = Rig::with(config(3), Obedient::default());
    let (peer, session): (PeerId, SessionId) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"tick 50"));
    rig.commit();
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(99));
    rig.after(ms(1));
    let peer = rig.resumed(&session);
    rig.after(secs(21));
    assert_eq!(requests(rig.received(peer)), [(id(1), payload(b"102 ms"))]);
}

#[test]
fn capabilities_that_wait_in_the_log_count_towards_its_bytes() {
    let mut config = config(1);
    config.limits.log_bytes = 100;
    let mut rig = Rig::with(config, Obedient::default());
    let mut closed = 0;
    for _ in 0..4 {
        let peer = rig.connect(1);
        let nonce = rig.nonce();
        let capabilities = Capabilities::new([("x", "y".repeat(49))]).expect("short");
        rig.send(peer, ClientMessage::CreateSession { capabilities, nonce });
        closed += usize::from(rig.closed.contains_key(&peer));
    }
    assert_eq!((closed, rig.engine.waiting()), (2, 2));
    rig.commit();
    assert_eq!((rig.engine.sessions().count(), rig.engine.waiting()), (2, 0));
}
