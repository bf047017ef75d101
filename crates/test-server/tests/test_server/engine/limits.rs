//! The limits on what peers and sessions can use.

use zraft_test_server::{AppendLog, CloseHow, Echo};

use crate::engine::{
    obedient::Obedient,
    rig::{Rig, answer, config, ms, payload, position},
};

#[test]
fn undecodable_message_closes_only_its_connection() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    let (other, _) = rig.session();
    rig.engine.received_undecodable(rig.now, peer);
    rig.command(other, 1, 1);
    rig.commit();
    assert_eq!(rig.closed.keys().collect::<Vec<_>>(), [&peer]);
    assert_eq!(rig.received(other), [answer(1, position(0))]);
    assert_eq!(rig.engine.stats().closed_undecodable, 1);
    rig.resumed(&session);
}

#[test]
fn rejected_payload_closes_only_its_connection() {
    let mut rig = Rig::with(config(1), Obedient::default());
    let (peer, session) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"answer good"));
    rig.command_of(peer, 2, 1, payload(b"reject"));
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, payload(b"good"))]);
    assert_eq!(rig.closed[&peer], CloseHow::Flush);
    assert_eq!(rig.executed(), [1]);
    let peer = rig.resumed(&session);
    rig.query(peer, "q", payload(b"reject"));
    rig.received(peer);
    assert!(rig.closed.contains_key(&peer));
    assert_eq!(rig.engine.stats().closed_rejected_payload, 2);
    assert!(rig.alive(&session));
}

#[test]
fn connections_of_a_member_are_limited() {
    let mut config = config(2);
    config.limits.peers_per_member = 2;
    let mut rig = Rig::with(config, AppendLog::new());
    let first = rig.connect(1);
    rig.connect(1);
    let one = rig.member(1);
    assert!(rig.engine.connected(rig.now, one).is_none());
    assert_eq!(rig.engine.stats().refused_peers, 1);
    rig.connect(2);
    rig.engine.disconnected(rig.now, first);
    rig.connect(1);
}

#[test]
fn new_connection_replaces_one_that_is_no_longer_read() {
    let mut config = config(2);
    config.limits.peers_per_member = 1;
    let mut rig = Rig::with(config, AppendLog::new());
    let silent = rig.connect(2);
    rig.keep_alive(silent, 1);
    rig.keep_alive(silent, 2);
    let new = rig.connect(2);
    rig.keep_alive(new, 1);
    assert_eq!(rig.received(new).len(), 1);
    assert_eq!(rig.closed[&silent], CloseHow::Reset);
}

#[test]
fn sessions_are_limited() {
    let mut config = config(1);
    config.limits.sessions = 1;
    let mut rig = Rig::with(config, AppendLog::new());
    let (peer, _) = rig.session();
    let greedy = rig.connect(1);
    rig.create(greedy);
    rig.commit();
    assert!(rig.closed.contains_key(&greedy) && !rig.closed.contains_key(&peer));
    assert_eq!(rig.engine.sessions().count(), 1);
}

#[test]
fn sessions_requested_together_stay_within_the_limit() {
    let mut config = config(1);
    config.limits.sessions = 2;
    let mut rig = Rig::with(config, AppendLog::new());
    let peers = [rig.connect(1), rig.connect(1), rig.connect(1)];
    for peer in peers {
        rig.create(peer);
    }
    rig.commit();
    assert_eq!(rig.engine.sessions().count(), 2);
    assert!(rig.closed.contains_key(&peers[2]) && rig.closed.len() == 1);
    assert_eq!(rig.engine.stats().closed_limit, 1);
}

#[test]
fn entries_in_the_log_are_limited() {
    for (entries, bytes) in [(10, usize::MAX), (usize::MAX, 100)] {
        let mut config = config(1);
        config.limits.log_entries = entries;
        config.limits.log_bytes = bytes;
        let mut rig = Rig::with(config, AppendLog::new());
        let (peer, _) = rig.session();
        for number in 1..=50 {
            rig.command_of(peer, number, number, payload(b"10 bytes.."));
        }
        rig.after(ms(1));
        assert!(rig.closed.contains_key(&peer));
        assert_eq!(rig.executed().len(), 10);
        assert_eq!(rig.engine.stats().closed_limit, 1);
    }
}

#[test]
fn cached_answers_of_a_session_are_limited() {
    for (answers, bytes) in [(10, usize::MAX), (usize::MAX, 100)] {
        let mut config = config(1);
        config.commit_delay = ms(0);
        config.limits.cached_answers = answers;
        config.limits.cached_bytes = bytes;
        let mut rig = Rig::with(config, Echo);
        let (peer, _) = rig.session();
        for number in 1..=50 {
            rig.command_of(peer, number, 1, payload(b"10 bytes.."));
        }
        rig.received(peer);
        assert!(rig.closed.contains_key(&peer));
        assert_eq!(rig.executed().len(), 10);
    }
}

#[test]
fn cached_answers_of_commands_in_one_batch_stay_within_the_limit() {
    for (answers, bytes) in [(10, usize::MAX), (usize::MAX, 100)] {
        let mut config = config(1);
        config.limits.cached_answers = answers;
        config.limits.cached_bytes = bytes;
        let mut rig = Rig::with(config, Echo);
        let (peer, session) = rig.session();
        for number in 1..=50 {
            rig.command_of(peer, number, 1, payload(b"10 bytes.."));
        }
        rig.commit();
        assert_eq!(rig.executed().len(), 10);
        assert_eq!(rig.received(peer).len(), 10);
        assert!(rig.closed.contains_key(&peer));
        assert_eq!(rig.engine.stats().closed_limit, 1);
        // A client that raises L makes room for further answers.
        let peer = rig.resumed(&session);
        rig.command_of(peer, 11, 11, payload(b"10 bytes.."));
        rig.commit();
        assert_eq!(rig.received(peer), [answer(11, payload(b"10 bytes.."))]);
    }
}

#[test]
fn cached_answer_below_l_takes_room_until_l_rises() {
    let mut config = config(1);
    config.limits.cached_answers = 2;
    let mut rig = Rig::with(config, Echo);
    let (peer, session) = rig.session();
    // The command raises L above its own id, and its answer stays until L rises again.
    for (number, lowest) in [(1, 2), (2, 2), (3, 2)] {
        rig.command_of(peer, number, lowest, payload(b"x"));
        rig.commit();
    }
    assert_eq!(rig.executed(), [1, 2]);
    assert_eq!(rig.engine.session(&session).map(|session| session.cached_answers), Some(2));
    assert!(rig.closed.contains_key(&peer));
}
