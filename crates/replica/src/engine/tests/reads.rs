use super::cluster::{Cluster, id};
use crate::Timing;

#[test]
fn a_read_round_ends_with_the_answers_of_a_majority() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let index = cluster.propose(1, "a");
    cluster.deliver();
    let round = cluster.engine(1).read().expect("it goes on").expect("it leads");
    cluster.collect(1);
    assert!(cluster.node(1).reads.is_empty(), "no member has answered");
    cluster.deliver();
    assert_eq!(cluster.node(1).reads, [(round, index)]);
}

#[test]
fn there_is_no_read_before_the_leaders_own_term_has_committed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    cluster.propose(2, "a");
    cluster.run(5);
    // Member 1 wins, and none of its appends arrives.
    cluster.engine(2).transfer(id(1)).expect("it goes on");
    cluster.collect(2);
    while !cluster.engine(1).is_leader() {
        assert!(cluster.deliver_one());
    }
    assert_eq!(cluster.engine(1).read(), Ok(None));
    cluster.deliver();
    assert!(cluster.engine(1).read().expect("it goes on").is_some());
}

#[test]
fn only_one_read_round_is_under_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let first = cluster.engine(1).read().expect("it goes on");
    assert!(first.is_some());
    assert_eq!(cluster.engine(1).read(), Ok(None));
    cluster.collect(1);
    cluster.deliver();
    let second = cluster.engine(1).read().expect("it goes on");
    assert!(second > first, "a round is never used twice");
}

#[test]
fn a_read_round_of_a_lost_leadership_is_never_answered() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let lost = cluster.engine(1).read().expect("it goes on").expect("it leads");
    cluster.collect(1);
    // Its heartbeats stay on the way while it loses its leadership and gets it back.
    let on_the_way = std::mem::take(&mut cluster.network);
    cluster.isolate(1);
    cluster.tick(1, 2 * Timing::default().ticks().expect("valid").election_min);
    assert!(!cluster.engine(1).is_leader());
    cluster.heal();
    cluster.elect(1);
    cluster.network.extend(on_the_way);
    cluster.deliver();
    assert!(cluster.node(1).reads.is_empty());
    let next = cluster.engine(1).read().expect("it goes on").expect("it leads");
    assert_ne!(next, lost);
    assert_ne!(next.count, lost.count);
}

#[test]
fn a_leader_that_was_replaced_gets_no_read() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    assert!(cluster.engine(1).is_leader(), "it does not know yet");
    assert!(cluster.engine(1).read().expect("it goes on").is_some());
    cluster.collect(1);
    cluster.deliver();
    cluster.heal();
    // Its heartbeat now meets members of a later term.
    cluster.run(10);
    assert!(cluster.node(1).reads.is_empty());
}

#[test]
fn lost_heartbeats_of_a_read_round_are_made_good() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let round = cluster.engine(1).read().expect("it goes on").expect("it leads");
    cluster.collect(1);
    cluster.network.clear();
    cluster.run(6);
    assert_eq!(cluster.node(1).reads.first().map(|(done, _)| *done), Some(round));
}
