use super::cluster::{Cluster, id, member};
use crate::{Boot, Change, ChangeStep, Role, Timing, engine::Refused};

fn add(number: u64) -> Change {
    Change::Steps(vec![ChangeStep::AddLearner(id(number), member(number))])
}

fn replace(old: u64, new: u64) -> Change {
    Change::Steps(vec![ChangeStep::Promote(id(new)), ChangeStep::Remove(id(old))])
}

/// Three voters, of which 1 leads, and the learner 4 that has everything.
fn with_learner() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.run(6);
    cluster.start(4, Boot::of_joining_member(), 4);
    cluster.change(1, &add(4));
    for _ in 0..20 {
        cluster.run(1);
        if std::mem::take(&mut cluster.node(1).snapshot_wanted) {
            cluster.snapshot(1);
        }
        cluster.deliver_snapshots();
    }
    cluster
}

#[test]
fn a_learner_gets_a_snapshot_then_the_log_and_can_be_promoted() {
    let mut cluster = with_learner();
    cluster.propose(1, "b");
    cluster.run(6);
    // The snapshot holds "a".
    assert_eq!(cluster.texts(4), ["b"]);
    assert!(cluster.engine(4).configuration().learners.contains(&id(4)));
    cluster.change(1, &Change::Steps(vec![ChangeStep::Promote(id(4))]));
    cluster.run(6);
    for number in 1..=4 {
        assert_eq!(cluster.engine(number).configuration().voters.len(), 4);
    }
}

#[test]
fn a_snapshot_that_does_not_name_its_receiver_is_not_sent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.snapshot(1);
    cluster.start(4, Boot::of_joining_member(), 4);
    cluster.change(1, &add(4));
    cluster.run(20);
    assert!(cluster.snapshots.is_empty(), "member 4 would ignore it");
    assert!(cluster.node(1).snapshot_wanted);
    cluster.snapshot(1);
    cluster.run(20);
    assert_eq!(cluster.snapshots.len(), 1);
}

#[test]
fn a_leader_does_not_propose_its_own_removal() {
    let mut cluster = with_learner();
    let remove = Change::Steps(vec![ChangeStep::Remove(id(1))]);
    assert_eq!(cluster.engine(1).propose_change(&remove), Err(Refused::OwnRemoval));
    assert_eq!(cluster.engine(1).propose_change(&replace(1, 4)), Err(Refused::OwnRemoval));
    cluster.engine(1).transfer(id(2)).expect("it goes on");
    cluster.collect(1);
    cluster.run(6);
    cluster.change(2, &remove);
    cluster.run(100);
    assert_eq!(cluster.engine(2).configuration().voters.len(), 2);
    assert!(cluster.engine(2).configuration().removed.contains(&id(1)));
}

#[test]
fn a_change_during_another_one_is_refused_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change(1, &add(4));
    let last = cluster.engine(1).last_index();
    assert_eq!(cluster.engine(1).propose_change(&add(5)), Err(Refused::Change));
    // What the engine appended instead is an empty entry.
    cluster.engine(1).drain().expect("it goes on");
    cluster.collect(1);
    cluster.run(6);
    assert_eq!(cluster.engine(1).last_index(), last + 1);
    assert!(!cluster.engine(2).configuration().contains(id(5)));
}

#[test]
fn a_joint_change_is_left_by_its_leader() {
    let mut cluster = with_learner();
    cluster.change(1, &replace(3, 4));
    cluster.run(10);
    for number in [1, 2, 4] {
        let configuration = cluster.engine(number).configuration();
        assert!(!configuration.is_joint());
        assert_eq!(configuration.voters, [id(1), id(2), id(4)].into());
        assert!(configuration.removed.contains(&id(3)));
    }
}

#[test]
fn a_joint_change_is_left_by_the_next_leader() {
    let mut cluster = with_learner();
    let joint = cluster.change(1, &replace(3, 4));
    // The old leader has the change in force, and nothing that it does then arrives.
    while !cluster.engine(1).configuration().is_joint() {
        assert!(cluster.deliver_one());
    }
    cluster.network.clear();
    cluster.isolate(1);
    cluster.elect(2);
    cluster.run(10);
    let configuration = cluster.engine(2).configuration().clone();
    assert!(cluster.node(2).configured.contains(&joint));
    assert!(!configuration.is_joint());
    assert_eq!(configuration.voters, [id(1), id(2), id(4)].into());
}

#[test]
fn a_leader_that_the_joint_change_removes_hands_over_before_it_is_left() {
    let mut cluster = with_learner();
    cluster.change(1, &replace(3, 4));
    while !cluster.engine(1).configuration().is_joint() {
        assert!(cluster.deliver_one());
    }
    cluster.network.clear();
    cluster.isolate(1);
    // Member 3 wins, and then applies the joint configuration, in which it is an outgoing voter only.
    cluster.expire_leases(3);
    while cluster.engine(3).standing().role != Role::Candidate {
        cluster.tick(3, 1);
    }
    cluster.deliver();
    assert!(cluster.node(3).standings.iter().any(|standing| standing.role == Role::Leader));
    cluster.run(Timing::default().ticks().expect("valid").election_max * 2);
    let leader = cluster.leader().expect("a leader");
    assert_ne!(leader, 3);
    // The successor left it, not the member that this removes.
    let left = *cluster.node(leader).configured.last().expect("it was left");
    let term = cluster.engine(leader).standing().term;
    assert_eq!(cluster.engine(leader).term_at(left), Some(term));
    assert_eq!(cluster.engine(leader).configuration().voters, [id(1), id(2), id(4)].into());
    assert_ne!(cluster.engine(3).standing().role, Role::Leader);
}

#[test]
fn a_restart_from_a_snapshot_within_a_joint_change_leaves_it_once() {
    let mut cluster = with_learner();
    cluster.change(1, &replace(3, 4));
    while !cluster.engine(1).configuration().is_joint() {
        assert!(cluster.deliver_one());
    }
    cluster.snapshot(1);
    cluster.restart(1, 9);
    assert!(cluster.engine(1).configuration().is_joint(), "the snapshot's configuration");
    cluster.elect(1);
    cluster.run(10);
    for number in [1, 2, 4] {
        assert!(!cluster.engine(number).configuration().is_joint());
    }
    cluster.restart(1, 10);
    cluster.run(100);
    assert_eq!(cluster.engine(1).configuration().voters, [id(1), id(2), id(4)].into());
}

#[test]
fn a_leader_that_an_earlier_leaders_change_removes_steps_down() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.change(1, &Change::Steps(vec![ChangeStep::Remove(id(2))]));
    // The others store the change, and the leader is lost before it is committed.
    cluster.loses = |_, to, _| to == 1;
    cluster.deliver();
    cluster.isolate(1);
    for _ in 0..Timing::default().ticks().expect("valid").election_max {
        cluster.expire_leases(2);
        cluster.tick(2, 1);
        cluster.deliver();
    }
    let led = cluster.node(2).standings.iter().any(|standing| standing.role == Role::Leader);
    assert!(led && !cluster.engine(2).configuration().contains(id(2)), "it commits the change");
    assert!(!cluster.engine(2).is_leader());
}
