//! The log: the order, delay and rate of commits.

use zraft_test_server::{AppendLog, Echo};

use crate::engine::rig::{Rig, answer, config, ms, payload, position, query_answer, secs};

#[test]
fn command_is_executed_after_the_commit_delay() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_commit_delay(ms(7));
    rig.command(peer, 1, 1);
    rig.after(ms(6));
    assert_eq!(rig.received(peer), []);
    rig.after(ms(1));
    assert_eq!(rig.received(peer), [answer(1, position(0))]);
}

#[test]
fn command_is_answered_at_once_without_a_commit_delay() {
    let mut config = config(1);
    config.commit_delay = ms(0);
    let mut rig = Rig::with(config, AppendLog::new());
    let peer = rig.connect(1);
    rig.create(peer);
    rig.command(peer, 1, 1);
    assert_eq!(rig.received(peer).len(), 2);
}

#[test]
fn entries_are_committed_in_order_of_arrival_even_if_the_delay_is_lowered() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_commit_delay(ms(10));
    rig.command(peer, 1, 1);
    rig.engine.set_commit_delay(ms(0));
    rig.command(peer, 2, 1);
    assert_eq!(rig.received(peer), []);
    rig.after(ms(10));
    assert_eq!(rig.received(peer), [answer(1, position(0)), answer(2, position(1))]);
}

#[test]
fn query_waits_for_the_commands_of_all_sessions_and_sees_them() {
    let mut rig = Rig::new(1);
    let (one, _) = rig.session();
    let (two, _) = rig.session();
    rig.command(one, 1, 1);
    rig.query(two, "q", payload(b""));
    assert_eq!(rig.received(two), []);
    rig.commit();
    assert_eq!(rig.received(two), [query_answer("q", position(1))]);
}

#[test]
fn query_at_the_front_is_answered_at_once_and_takes_no_entry() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    let before = rig.engine.stats().log_entries;
    rig.query(peer, "q", payload(b""));
    assert_eq!(rig.received(peer), [query_answer("q", position(0))]);
    assert_eq!(rig.engine.stats().log_entries, before);
}

#[test]
fn slow_cluster_commits_its_number_of_entries_per_second() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_commits_per_second(rig.now, Some(100));
    rig.after(secs(1));
    for number in 1..=1000 {
        rig.command(peer, number, number);
    }
    rig.after(secs(1));
    let first = rig.executed().len();
    assert!((99..=101).contains(&first), "{first}");
    rig.after(secs(4));
    let then = rig.executed().len() - first;
    assert!((399..=401).contains(&then), "{then}");
    rig.engine.set_commits_per_second(rig.now, None);
    assert_eq!(rig.executed().len(), 1000);
}

#[test]
fn commit_rate_does_not_depend_on_how_often_the_timer_runs() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_commits_per_second(rig.now, Some(10_000));
    for number in 1..=5000 {
        rig.command(peer, number, number);
    }
    for _ in 0..10 {
        rig.now = rig.now + ms(10);
        rig.engine.handle_timeout(rig.now);
    }
    let executed = rig.executed().len();
    assert!((980..=1010).contains(&executed), "{executed}");
}

#[test]
fn acknowledgements_take_entries_and_delay_commands() {
    let mut rig = Rig::new(1);
    let (peer, _) = rig.session();
    rig.engine.set_commits_per_second(rig.now, Some(100));
    rig.after(secs(1));
    for number in 1..=500 {
        rig.acknowledge(peer, number);
    }
    rig.command(peer, 1, 1);
    rig.after(ms(4_900));
    assert_eq!(rig.received(peer), []);
    rig.after(ms(200));
    assert_eq!(rig.received(peer).len(), 1);
}

#[test]
fn same_inputs_at_the_same_times_give_the_same_outputs() {
    let run = || {
        let mut config = config(3);
        config.seed = 42;
        let mut rig = Rig::with(config, Echo);
        let mut all = Vec::new();
        for round in 0..20 {
            let leader = rig.leader().expect("a leader");
            let (peer, session) = rig.session();
            rig.command(peer, 1, 1);
            rig.query(peer, "q", payload(&[round]));
            let member = rig.member(leader);
            rig.engine.kill(rig.now, member, zraft_test_server::KillLoss::Mixed).expect("it runs");
            rig.after(ms(150));
            rig.engine.restart(rig.now, member).expect("it does not run");
            all.push((session, rig.received(peer), rig.leader()));
        }
        let journal: Vec<_> = rig.engine.journal().iter().cloned().collect();
        (all, journal)
    };
    assert_eq!(run(), run());
}
