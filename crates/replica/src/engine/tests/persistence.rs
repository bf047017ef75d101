use super::cluster::{Cluster, id, member, voters};
use crate::{
    Boot, Change, ChangeStep, EntryKind, HardState, LogEntry, PeerMessage, Position, Role,
    StartError, StopReason, VoteKind,
};

fn append_responses(cluster: &Cluster, from: u64) -> usize {
    let sent = cluster.network.iter();
    sent.filter(|(sender, _, message)| {
        *sender == id(from) && matches!(message, PeerMessage::AppendResponse { .. })
    })
    .count()
}

#[test]
fn a_follower_promises_nothing_before_its_disk_is_done() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.node(2).fast_disk = false;
    cluster.propose(1, "a");
    while cluster.node(2).write.is_none() {
        assert!(cluster.deliver_one());
    }
    cluster.network.clear();
    cluster.finish_write(2);
    assert_eq!(append_responses(&cluster, 2), 1);
}

#[test]
fn a_leader_replicates_while_its_disk_writes_and_hands_over_only_what_it_has() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.node(1).fast_disk = false;
    let index = cluster.propose(1, "a");
    assert!(!cluster.network.is_empty(), "the appends did not wait");
    cluster.deliver();
    assert_eq!(cluster.engine(1).commit(), index, "the two others are a majority");
    assert!(cluster.texts(1).is_empty());
    cluster.finish_write(1);
    assert_eq!(cluster.texts(1), ["a"]);
}

#[test]
fn what_comes_during_a_write_shares_the_next_one() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.node(1).fast_disk = false;
    let first = cluster.propose(1, "a");
    cluster.propose(1, "b");
    let last = cluster.propose(1, "c");
    cluster.finish_write(1);
    let write = cluster.node(1).write.clone().expect("more to write");
    let indexes: Vec<u64> = write.entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, [first + 1, last]);
}

#[test]
fn a_late_word_about_an_earlier_write_makes_nothing_durable() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.node(1).fast_disk = false;
    cluster.propose(1, "a");
    let first = cluster.node(1).write.clone().expect("a write");
    cluster.finish_write(1);
    cluster.propose(1, "b");
    let second = cluster.node(1).write.clone().expect("another write");
    assert_eq!(second.number, first.number + 1);
    cluster.engine(1).persisted(first.number).expect("it goes on");
    cluster.collect(1);
    assert!(cluster.engine(1).is_writing());
    assert_eq!(cluster.texts(1), ["a"]);
    cluster.finish_write(1);
    assert_eq!(cluster.texts(1), ["a", "b"]);
}

#[test]
fn a_commit_index_alone_costs_no_write() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.run(20);
    cluster.node(2).fast_disk = false;
    cluster.run(20);
    assert_eq!(cluster.node(2).write, None);
    assert_eq!(cluster.texts(2), ["a"]);
}

#[test]
fn a_configuration_change_waits_until_its_commit_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.node(2).fast_disk = false;
    let steps = vec![ChangeStep::AddLearner(id(4), member(4))];
    let index = cluster.change(1, &Change::Steps(steps));
    cluster.deliver();
    // The entry becomes durable, with a commit index that does not cover it yet.
    cluster.finish_write(2);
    cluster.run(6);
    assert!(cluster.engine(2).commit() >= index);
    assert!(cluster.node(2).disk.commit_index() < index);
    assert!(cluster.node(2).configured.is_empty(), "its commit is not durable");
    assert!(!cluster.engine(2).configuration().contains(id(4)));
    cluster.finish_write(2);
    assert!(cluster.node(2).disk.commit_index() >= index);
    assert_eq!(cluster.node(2).configured, [index]);
    // A member that starts from this disk has the change in force at once.
    cluster.restart(2, 9);
    cluster.run(1);
    assert!(cluster.engine(2).configuration().contains(id(4)));
}

#[test]
fn a_member_whose_disk_writes_does_not_stand_for_election() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.node(2).fast_disk = false;
    cluster.propose(1, "a");
    cluster.deliver();
    assert!(cluster.engine(2).is_writing());
    cluster.tick(2, 200);
    assert_eq!(cluster.engine(2).standing().role, Role::Follower);
    let term = cluster.engine(2).standing().term;
    cluster.hand_in(id(1), id(2), PeerMessage::TimeoutNow { term });
    assert_eq!(cluster.engine(2).standing().role, Role::Follower, "the hand-over waits");
    cluster.finish_write(2);
    assert_eq!(cluster.engine(2).standing().role, Role::Candidate);
    cluster.node(2).fast_disk = true;
    cluster.finish_write(2);
    cluster.deliver();
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_leader_whose_disk_writes_does_not_stand_in_a_later_term() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.node(1).fast_disk = false;
    cluster.propose(1, "a");
    assert!(cluster.engine(1).is_writing());
    let term = cluster.engine(1).standing().term;
    cluster.hand_in(id(2), id(1), PeerMessage::TimeoutNow { term: term + 1 });
    let standing = cluster.engine(1).standing();
    assert_eq!((standing.role, standing.term), (Role::Leader, term), "the hand-over waits");
    cluster.node(1).fast_disk = true;
    cluster.finish_write(1);
    let standing = cluster.engine(1).standing();
    assert_eq!(standing.role, Role::Leader, "its own vote elects it");
    assert!(standing.term > term, "it stood once the write was durable");
    assert_eq!(cluster.texts(1), ["a"]);
}

#[test]
fn a_learner_gets_no_entry_of_a_term_that_a_single_voter_may_forget() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.start(4, Boot::of_joining_member(), 4);
    cluster.change(1, &Change::Steps(vec![ChangeStep::AddLearner(id(4), member(4))]));
    for _ in 0..20 {
        cluster.run(1);
        if std::mem::take(&mut cluster.node(1).snapshot_wanted) {
            cluster.snapshot(1);
        }
        cluster.deliver_snapshots();
    }
    cluster.propose(1, "a");
    cluster.run(5);
    assert_eq!(cluster.texts(4), ["a"]);
    // It leads at once, before its term is durable.
    cluster.node(1).fast_disk = false;
    cluster.restart(1, 5);
    cluster.elect(1);
    cluster.propose(1, "lost");
    cluster.run(5);
    cluster.restart(1, 6);
    cluster.node(1).fast_disk = true;
    cluster.elect(1);
    cluster.propose(1, "b");
    cluster.run(5);
    assert_eq!(cluster.texts(1), ["a", "b"]);
    assert_eq!(cluster.texts(4), ["a", "b"]);
}

#[test]
fn a_single_voter_with_a_slow_disk_leads_once_its_writes_are_done() {
    let mut cluster = Cluster::new(1);
    cluster.node(1).fast_disk = false;
    for _ in 0..200 {
        cluster.tick(1, 1);
        cluster.finish_write(1);
    }
    assert!(cluster.engine(1).is_leader());
    let index = cluster.engine(1).last_index();
    cluster.finish_write(1);
    assert_eq!(cluster.engine(1).commit(), index);
}

#[test]
fn a_vote_survives_a_restart() {
    let mut cluster = Cluster::new(3);
    let request = PeerMessage::VoteRequest {
        term: 5,
        kind: VoteKind::Vote,
        last: Position { index: 1, term: 1 },
        commit: Position { index: 1, term: 1 },
    };
    cluster.hand_in(id(1), id(2), request.clone());
    let granted = |cluster: &mut Cluster| {
        let (_, to, message) = cluster.network.pop_back().expect("an answer");
        let PeerMessage::VoteResponse { granted, .. } = message else { panic!("{message:?}") };
        (to, granted)
    };
    assert_eq!(granted(&mut cluster), (id(1), true));
    cluster.restart(2, 9);
    cluster.hand_in(id(3), id(2), request);
    assert_eq!(granted(&mut cluster), (id(3), false));
}

#[test]
fn a_vote_is_not_given_before_it_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.node(2).fast_disk = false;
    let request = PeerMessage::VoteRequest {
        term: 5,
        kind: VoteKind::Vote,
        last: Position { index: 1, term: 1 },
        commit: Position { index: 1, term: 1 },
    };
    cluster.hand_in(id(1), id(2), request);
    assert!(cluster.network.is_empty());
    cluster.finish_write(2);
    assert_eq!(cluster.network.len(), 1);
}

#[test]
fn a_member_that_lost_its_log_stops_instead_of_following() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let last = cluster.propose(1, "a");
    cluster.run(10);
    cluster.start(2, Boot::of_new_cluster(voters(3)), 9);
    cluster.run(20);
    assert_eq!(cluster.node(2).stopped, Some(StopReason::LostLog { known: last, last: 1 }));
}

#[test]
fn a_member_with_another_committed_entry_stops() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let index = cluster.propose(1, "a");
    cluster.run(10);
    let term = cluster.engine(2).standing().term;
    let entry = LogEntry {
        index,
        term: term + 1,
        kind: EntryKind::Normal,
        data: crate::EntryBytes::default(),
    };
    let append = PeerMessage::Append {
        term: term + 1,
        previous: Position { index: index - 1, term },
        commit: 1,
        entries: vec![entry],
    };
    cluster.hand_in(id(3), id(2), append);
    assert_eq!(cluster.node(2).stopped, Some(StopReason::Diverged { index }));
}

#[test]
fn a_member_does_not_start_from_a_damaged_store() {
    let sound = || {
        let mut boot = Boot::of_new_cluster(voters(3));
        let entry = |index, term| LogEntry {
            index,
            term,
            kind: EntryKind::Normal,
            data: crate::EntryBytes::default(),
        };
        boot.entries = vec![entry(2, 2), entry(3, 2), entry(4, 3)];
        boot.hard_state = HardState { term: 3, vote: None, commit: 3 };
        boot
    };
    assert_eq!(sound().check(), Ok(()));
    let refuses = |damage: &dyn Fn(&mut Boot)| {
        let mut boot = sound();
        damage(&mut boot);
        boot.check().expect_err("it is damaged")
    };
    assert_eq!(
        refuses(&|boot| boot.hard_state.commit = 0),
        StartError::CommitBelowSnapshot { commit: 0, snapshot: 1 }
    );
    assert_eq!(
        refuses(&|boot| boot.hard_state.commit = 5),
        StartError::LostLog { commit: 5, last: 4 }
    );
    let damaged = |error| matches!(error, StartError::Damaged(_));
    assert!(damaged(refuses(&|boot| drop(boot.entries.remove(1)))));
    assert!(damaged(refuses(&|boot| boot.entries[2].term = 1)));
    assert!(damaged(refuses(&|boot| boot.hard_state.term = 2)));
    assert!(damaged(refuses(&|boot| boot.first_index = 3)));
    assert!(damaged(refuses(&|boot| boot.terms.clear())));
    assert!(damaged(refuses(&|boot| boot.snapshot.term = 2)));
    assert!(damaged(refuses(&|boot| boot.snapshot.configuration.members.clear())));
}
