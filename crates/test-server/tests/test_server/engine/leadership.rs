//! The loss of the leader by hand-over, stop and kill, and elections.

use zraft_protocol::{ServerMessage, SessionCloseReason};
use zraft_test_server::{CloseHow, KillLoss, Listening, SwitchError};

use crate::engine::rig::{Rig, answer, ms, position, secs};

fn not_leader_anymore() -> ServerMessage {
    ServerMessage::SessionClosed { reason: SessionCloseReason::NotLeaderAnymore, leader_id: None }
}

#[test]
fn first_member_leads_from_the_start() {
    let rig = Rig::new(3);
    assert_eq!(rig.leader(), Some(1));
    assert!(rig.engine.commits());
}

#[test]
fn step_down_is_announced_without_a_hint_and_drops_uncommitted_entries() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    let unbound = rig.connect(1);
    rig.create(unbound);
    rig.command(peer, 1, 1);
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(secs(1));
    assert_eq!(rig.received(peer), [not_leader_anymore()]);
    assert_eq!(rig.received(unbound), [], "a pending CreateSession is not answered");
    assert_eq!(rig.executed(), [0; 0]);
    assert!(rig.alive(&session));
    assert_eq!(rig.engine.sessions().count(), 1);
}

#[test]
fn next_member_in_order_leads_after_the_election_pause() {
    let mut rig = Rig::new(3);
    rig.engine.set_election_pause(secs(3));
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(2_999));
    assert_eq!(rig.leader(), None);
    rig.after(ms(1));
    assert_eq!(rig.leader(), Some(2));
    assert_eq!(rig.engine.stats().elections, 1);
}

#[test]
fn leadership_can_be_moved_to_a_chosen_member() {
    let mut rig = Rig::new(3);
    let three = rig.member(3);
    rig.engine.step_down_for(rig.now, Some(three)).expect("it can lead");
    rig.after(ms(100));
    assert_eq!(rig.leader(), Some(3));
}

#[test]
fn leadership_cannot_be_moved_to_a_member_that_does_not_run() {
    let mut rig = Rig::new(3);
    let three = rig.member(3);
    rig.engine.kill(rig.now, three, KillLoss::Uncommitted).expect("it runs");
    let refused = rig.engine.step_down_for(rig.now, Some(three));
    assert_eq!(refused, Err(SwitchError::CannotLead("node-3".to_owned())));
    assert_eq!(rig.leader(), Some(1));
}

#[test]
fn session_and_cached_answers_continue_at_the_new_leader() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.commit();
    rig.engine.step_down_for(rig.now, None).expect("a leader");
    rig.after(ms(100));
    let peer = rig.resumed(&session);
    rig.command(peer, 2, 2);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(2, position(1))]);
}

#[test]
fn a_stopped_member_goes_silent_at_once_and_resets_its_connections_2300_ms_later() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    rig.command(peer, 1, 1);
    let one = rig.member(1);
    rig.engine.stop(rig.now, one).expect("it runs");
    rig.after(ms(2_299));
    assert_eq!(rig.received(peer), [], "not even SessionClosed");
    assert!(!rig.is_read(peer));
    assert!(rig.closed.is_empty());
    assert_eq!(rig.listening[&1], Listening::Closed);
    rig.after(ms(1));
    assert_eq!(rig.closed[&peer], CloseHow::Reset);
    assert_eq!(rig.leader(), Some(2));
}

#[test]
fn killed_member_resets_its_connections_at_once_and_closes_its_port() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Uncommitted).expect("it runs");
    assert_eq!(rig.received(peer), []);
    assert_eq!(rig.closed[&peer], CloseHow::Reset);
    assert_eq!(rig.listening[&1], Listening::Closed);
    assert!(rig.engine.connected(rig.now, one).is_none());
}

#[test]
fn kill_can_lose_uncommitted_entries() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    rig.command(peer, 1, 1);
    rig.commit();
    rig.command(peer, 2, 2);
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Uncommitted).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
    assert_eq!(rig.executed(), [1]);
}

#[test]
fn kill_can_lose_only_answers() {
    let mut rig = Rig::new(3);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Unanswered).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.received(peer), []);
    assert_eq!(rig.executed(), [1]);
    let peer = rig.resumed(&session);
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
    assert_eq!(rig.executed(), [1]);
}

#[test]
fn kill_can_lose_nothing_that_was_received() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    rig.command(peer, 1, 1);
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Unreceived).expect("it runs");
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
    assert_eq!(rig.closed[&peer], CloseHow::Flush);
}

#[test]
fn mixed_kill_answers_the_first_part_commits_the_second_and_loses_the_rest() {
    let (mut answers_lost, mut commands_lost) = (0, 0);
    for seed in 0..20 {
        let mut config = crate::engine::rig::config(3);
        config.seed = seed;
        let mut rig = Rig::with(config, zraft_test_server::AppendLog::new());
        let (peer, _) = rig.session();
        for number in 1..=10 {
            rig.command(peer, number, 1);
        }
        let one = rig.member(1);
        rig.engine.kill(rig.now, one, KillLoss::Mixed).expect("it runs");
        rig.after(secs(1));
        let executed = rig.executed().len() as u64;
        let answered = rig.received(peer);
        assert_eq!(rig.executed(), (1..=executed).collect::<Vec<_>>());
        let first: Vec<_> =
            (1..=answered.len() as u64).map(|n| answer(n, position(n - 1))).collect();
        assert_eq!(answered, first);
        answers_lost += executed - answered.len() as u64;
        commands_lost += 10 - executed;
    }
    assert!(answers_lost > 0 && commands_lost > 0);
}

#[test]
fn restarted_member_is_a_follower_that_listens_again() {
    let mut rig = Rig::new(3);
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Uncommitted).expect("it runs");
    rig.after(ms(100));
    rig.engine.restart(rig.now, one).expect("it does not run");
    assert_eq!(rig.leader(), Some(2));
    let peer = rig.connect(1);
    rig.create(peer);
    assert!(matches!(rig.received(peer)[..], [ServerMessage::SessionRejected { .. }]));
    assert_eq!(rig.listening[&1], Listening::Open);
    assert!(rig.engine.restart(rig.now, one).is_err(), "it runs already");
}

#[test]
fn sessions_cached_answers_and_server_requests_survive_the_restart_of_a_single_member() {
    let mut rig = Rig::new(1);
    let (peer, session) = rig.session();
    rig.command(peer, 1, 1);
    rig.commit();
    rig.engine.push_server_request(rig.now, &session, &position(7)).expect("alive");
    let one = rig.member(1);
    rig.engine.kill(rig.now, one, KillLoss::Uncommitted).expect("it runs");
    rig.after(secs(1));
    assert_eq!(rig.leader(), None);
    rig.engine.restart(rig.now, one).expect("it does not run");
    rig.after(ms(100));
    let peer = rig.resumed(&session);
    rig.command(peer, 1, 1);
    rig.commit();
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
    assert_eq!(rig.engine.session(&session).expect("alive").unacknowledged, 1);
}

#[test]
fn nothing_is_committed_and_no_one_elected_without_a_majority() {
    let mut rig = Rig::new(3);
    let (peer, _) = rig.session();
    for number in [2, 3] {
        let member = rig.member(number);
        rig.engine.kill(rig.now, member, KillLoss::Uncommitted).expect("it runs");
    }
    rig.command(peer, 1, 1);
    rig.keep_alive(peer, 5);
    rig.after(secs(5));
    assert_eq!(rig.received(peer), [crate::engine::rig::kept_alive(5)]);
    let two = rig.member(2);
    rig.engine.restart(rig.now, two).expect("it does not run");
    rig.after(ms(1));
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
}
