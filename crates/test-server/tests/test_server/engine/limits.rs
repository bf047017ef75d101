//! What a peer can use up, and what becomes of it then.

use zraft_protocol::{Payload, SessionId};
use zraft_test_server::{AppendLog, Application, CloseHow, Echo, Outcome, Rejected};
use zraft_zmtp::Instant;

use crate::engine::rig::{Rig, answer, config, ms, payload, position};

/// Takes the payload "good" and refuses any other.
struct Picky;

impl Application for Picky {
    fn apply(&mut self, _: &SessionId, payload: &Payload, _: Instant) -> Result<Outcome, Rejected> {
        if **payload == *b"good" { Ok(payload.clone().into()) } else { Err(Rejected::Undecodable) }
    }

    fn query(&self, payload: &Payload) -> Result<Payload, Rejected> {
        if **payload == *b"good" { Ok(payload.clone()) } else { Err(Rejected::Undecodable) }
    }
}

#[test]
fn a_message_that_does_not_decode_closes_that_connection_only() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    let (other, _) = rig.session();
    rig.engine.received_undecodable(rig.now, peer);
    rig.command(other, 1, 1);
    rig.commit();
    assert_eq!(rig.closed.keys().collect::<Vec<_>>(), [&peer]);
    assert_eq!(rig.heard(other), [answer(1, position(0))]);
    assert_eq!(rig.engine.stats().closed_undecodable, 1);
    rig.resumed(&session);
}

#[test]
fn a_payload_the_application_refuses_closes_that_connection_only() {
    let mut rig = Rig::with(config(1), Picky);
    let (peer, session) = rig.session();
    rig.command_of(peer, 1, 1, payload(b"good"));
    rig.command_of(peer, 2, 1, payload(b"bad"));
    rig.commit();
    assert_eq!(rig.heard(peer), [answer(1, payload(b"good"))]);
    assert_eq!(rig.closed[&peer], CloseHow::Flush);
    assert_eq!(rig.executed(), [1]);
    let peer = rig.resumed(&session);
    rig.query(peer, "q", payload(b"bad"));
    rig.heard(peer);
    assert!(rig.closed.contains_key(&peer));
    assert_eq!(rig.engine.stats().closed_rejected_payload, 2);
    assert!(rig.alive(&session));
}

#[test]
fn a_member_takes_only_so_many_connections() {
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
fn a_connection_that_is_not_read_any_more_gives_way_to_a_new_one() {
    let mut config = config(2);
    config.limits.peers_per_member = 1;
    let mut rig = Rig::with(config, AppendLog::new());
    let silent = rig.connect(2);
    rig.keep_alive(silent, 1);
    rig.keep_alive(silent, 2);
    let new = rig.connect(2);
    rig.keep_alive(new, 1);
    assert_eq!(rig.heard(new).len(), 1);
    assert_eq!(rig.closed[&silent], CloseHow::Reset);
}

#[test]
fn there_are_only_so_many_sessions() {
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
fn sessions_asked_for_together_do_not_pass_the_limit() {
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
fn only_so_much_waits_in_the_log() {
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
fn only_so_many_answers_are_kept_for_a_session() {
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
        rig.heard(peer);
        assert!(rig.closed.contains_key(&peer));
        assert_eq!(rig.executed().len(), 10);
    }
}

#[test]
fn answers_to_commands_that_came_together_do_not_pass_the_limit() {
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
        assert_eq!(rig.heard(peer).len(), 10);
        assert!(rig.closed.contains_key(&peer));
        assert_eq!(rig.engine.stats().closed_limit, 1);
        // Who gives up the answers it has had makes room for more.
        let peer = rig.resumed(&session);
        rig.command_of(peer, 11, 11, payload(b"10 bytes.."));
        rig.commit();
        assert_eq!(rig.heard(peer), [answer(11, payload(b"10 bytes.."))]);
    }
}

#[test]
fn an_answer_below_l_makes_no_room_as_long_as_it_is_kept() {
    let mut config = config(1);
    config.limits.cached_answers = 2;
    let mut rig = Rig::with(config, Echo);
    let (peer, session) = rig.session();
    // Executed with an L above it: the answer stays until L goes on.
    for (number, lowest) in [(1, 2), (2, 2), (3, 2)] {
        rig.command_of(peer, number, lowest, payload(b"x"));
        rig.commit();
    }
    assert_eq!(rig.executed(), [1, 2]);
    assert_eq!(rig.engine.session(&session).map(|session| session.cached_answers), Some(2));
    assert!(rig.closed.contains_key(&peer));
}
