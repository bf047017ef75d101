//! The scenarios by which users of this kind of engine check it: elections, partitions, replication, transfers, and
//! messages that are late, lost, doubled or out of order. The rest of them are in the files beside this one, for
//! example a leader without a majority in `elections.rs` and a lagging member's snapshot in `snapshots.rs`.
//!
//! `Cluster` checks in every one that no term has two leaders and that no committed entry changes.

use super::cluster::{Cluster, id, member};
use crate::{Boot, Change, ChangeStep, PeerMessage, Role, Timing, VoteKind};

fn is_vote(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::VoteRequest { .. })
}

fn is_heartbeat(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Heartbeat { .. } | PeerMessage::HeartbeatResponse { .. })
}

fn carries_entries(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Append { entries, .. } if !entries.is_empty())
}

/// Where the first message of a kind stands among all that were sent.
fn first(cluster: &Cluster, is: impl Fn(&PeerMessage) -> bool) -> Option<usize> {
    cluster.sent.iter().position(|(_, _, message)| is(message))
}

fn count(cluster: &Cluster, is: impl Fn(u64, u64, &PeerMessage) -> bool) -> usize {
    let sent = cluster.sent.iter();
    sent.filter(|(from, to, message)| is(from.get(), to.get(), message)).count()
}

fn of_kind(kind: VoteKind) -> impl Fn(&PeerMessage) -> bool {
    move |message| matches!(message, PeerMessage::VoteRequest { kind: asked, .. } if *asked == kind)
}

/// Ticks of the longest election timeout.
fn patience() -> usize {
    Timing::default().ticks().expect("valid").election_max
}

// Elections.

#[test]
fn an_election_asks_first_then_votes_and_then_appends_the_leaders_entry() {
    let mut cluster = Cluster::new(3);
    cluster.run(4 * patience());
    assert!(cluster.leader().is_some());
    let pre_vote = first(&cluster, of_kind(VoteKind::PreVote)).expect("it asks");
    let agreed = first(&cluster, |message| {
        matches!(message, PeerMessage::VoteResponse { kind: VoteKind::PreVote, granted: true, .. })
    });
    let vote = first(&cluster, of_kind(VoteKind::Vote)).expect("it stands");
    let granted = first(&cluster, |message| {
        matches!(message, PeerMessage::VoteResponse { kind: VoteKind::Vote, granted: true, .. })
    });
    let append = first(&cluster, carries_entries).expect("it leads");
    let order = [pre_vote, agreed.expect("granted"), vote, granted.expect("granted"), append];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn no_member_leads_while_every_vote_is_lost() {
    let mut cluster = Cluster::new(3);
    cluster.loses = |_, _, message| is_vote(message);
    cluster.run(20 * patience());
    assert_eq!(cluster.leader(), None);
    assert_eq!(first(&cluster, carries_entries), None);
    assert!(first(&cluster, is_vote).is_some(), "members did ask");
}

#[test]
fn an_election_succeeds_although_one_member_hears_no_request() {
    let mut cluster = Cluster::new(3);
    cluster.loses = |_, to, message| to == 3 && is_vote(message);
    cluster.elect(1);
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn a_split_vote_ends_with_a_leader_of_a_later_term() {
    let mut cluster = Cluster::new(5);
    // The camps 1 with 3, and 2 with 4, lack one vote each; 5 hears no one.
    cluster.loses =
        |from, to, message| is_vote(message) && (to == 5 || (from + to) % 2 == 1 || (from == 5));
    for number in [1, 2] {
        cluster.tick(number, patience());
    }
    cluster.deliver();
    assert_eq!(cluster.leader(), None);
    let split = cluster.engine(1).standing().term;
    cluster.loses = |_, _, _| false;
    cluster.run(10 * patience());
    let leader = cluster.leader().expect("a member leads");
    assert!(cluster.engine(leader).standing().term > split);
}

#[test]
fn a_leader_follows_once_it_meets_a_higher_term() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.engine(1).standing().term;
    let answer = PeerMessage::HeartbeatResponse { term: term + 3, commit: 0, round: None };
    cluster.hand_in(id(3), id(1), answer);
    let standing = cluster.engine(1).standing();
    assert_eq!((standing.role, standing.term), (Role::Follower, term + 3));
}

#[test]
fn an_answered_leader_never_stands_down() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.engine(1).standing().term;
    cluster.run(20 * patience());
    assert_eq!(cluster.leader(), Some(1));
    assert_eq!(cluster.engine(1).standing().term, term);
}

// Partitions.

#[test]
fn the_others_elect_a_leader_when_theirs_is_cut_off() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.run(10 * patience());
    let leader = cluster.leader().expect("the majority elects one");
    assert_ne!(leader, 1);
    assert!(!cluster.engine(1).is_leader());
}

#[test]
fn a_minority_elects_no_leader_and_the_majority_goes_on() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    for (minority, others) in [(1, 3..=5), (2, 3..=5)] {
        for other in others {
            cluster.cut.insert((minority, other));
            cluster.cut.insert((other, minority));
        }
    }
    cluster.run(10 * patience());
    let leader = cluster.leader().expect("the majority elects one");
    assert!(leader > 2, "member {leader} leads");
    assert!(!cluster.engine(1).is_leader() && !cluster.engine(2).is_leader());
    cluster.propose(leader, "a");
    cluster.run(3);
    assert_eq!(cluster.texts(5), ["a"]);
    assert!(cluster.texts(1).is_empty());
}

#[test]
fn a_new_leader_has_every_committed_entry() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.propose(1, "a");
    cluster.propose(1, "b");
    cluster.run(2);
    let commit = cluster.engine(1).commit();
    cluster.heal();
    cluster.isolate(1);
    cluster.run(20 * patience());
    let leader = cluster.leader().expect("a member leads");
    assert!(cluster.engine(leader).commit() >= commit);
    assert_eq!(cluster.texts(leader), ["a", "b"]);
}

// Replication.

#[test]
fn an_entry_goes_to_every_follower_and_commits_with_one_answer() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.sent.clear();
    let index = cluster.propose(1, "a");
    let to = |number| count(&cluster, |_, to, message| to == number && carries_entries(message));
    assert_eq!((to(2), to(3)), (1, 1));
    cluster.isolate(3);
    cluster.deliver();
    assert!(cluster.engine(1).commit() >= index);
    cluster.isolate(2);
    let index = cluster.propose(1, "b");
    cluster.deliver();
    assert!(cluster.engine(1).commit() < index, "one copy of three is not enough");
}

#[test]
fn an_idle_leader_sends_heartbeats() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.sent.clear();
    let ticks = Timing::default().ticks().expect("valid");
    cluster.run(3 * ticks.heartbeat);
    for follower in [2, 3] {
        let sent = count(&cluster, |from, to, message| {
            from == 1 && to == follower && matches!(message, PeerMessage::Heartbeat { .. })
        });
        assert_eq!(sent, 3);
    }
}

#[test]
fn a_lost_append_is_sent_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.loses = |_, to, message| to == 3 && carries_entries(message);
    cluster.propose(1, "a");
    cluster.run(2);
    assert!(cluster.texts(3).is_empty());
    cluster.loses = |_, _, _| false;
    cluster.run(20);
    assert_eq!(cluster.texts(3), ["a"]);
}

#[test]
fn no_commit_index_and_no_term_ever_falls() {
    let mut cluster = Cluster::new(3);
    for round in 0..6 {
        cluster.run(4 * patience());
        let leader = cluster.leader().expect("a member leads");
        cluster.propose(leader, &format!("{round}"));
        cluster.run(3);
        if round == 3 {
            cluster.snapshot(leader);
        }
        cluster.heal();
        cluster.isolate(leader);
    }
    cluster.heal();
    for _ in 0..20 {
        cluster.run(4);
        cluster.deliver_snapshots();
    }
    for sender in 1..=3 {
        let from = cluster.sent.iter().filter(|(from, _, _)| from.get() == sender);
        // A pre-vote asks in the next term, and so does its answer.
        let terms = from.clone().filter(|(_, _, message)| {
            !matches!(
                message,
                PeerMessage::VoteRequest { kind: VoteKind::PreVote, .. }
                    | PeerMessage::VoteResponse { kind: VoteKind::PreVote, .. }
            )
        });
        let terms: Vec<_> = terms.map(|(_, _, message)| message.term()).collect();
        assert!(terms.is_sorted(), "member {sender} sent the terms {terms:?}");
        let commits = from.filter_map(|(_, _, message)| match message {
            PeerMessage::Append { commit, .. } => Some(*commit),
            _ => None,
        });
        let commits: Vec<_> = commits.collect();
        assert!(commits.is_sorted(), "member {sender} sent the commit indexes {commits:?}");
    }
}

// Transfers and members.

#[test]
fn a_transfer_first_brings_its_successor_up_to_date() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.isolate(3);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
    }
    cluster.deliver();
    cluster.heal();
    cluster.sent.clear();
    cluster.engine(1).transfer(id(3)).expect("it goes on");
    cluster.collect(1);
    cluster.run(6);
    assert_eq!(cluster.leader(), Some(3));
    assert_eq!(cluster.texts(3), ["a", "b", "c"]);
    let append = first(&cluster, carries_entries).expect("it lacked entries");
    let now = first(&cluster, |message| matches!(message, PeerMessage::TimeoutNow { .. }));
    assert!(append < now.expect("it was asked to stand"));
}

#[test]
fn a_learner_gets_the_log_and_no_vote_is_asked_of_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
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
    cluster.run(3);
    assert_eq!(cluster.texts(4), ["a"]);
    cluster.isolate(1);
    cluster.sent.clear();
    cluster.run(10 * patience());
    assert!(cluster.leader().is_some_and(|leader| leader == 2 || leader == 3));
    assert_eq!(count(&cluster, |_, to, message| to == 4 && is_vote(message)), 0);
}

#[test]
fn removing_a_follower_leaves_the_leader_in_place() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    let term = cluster.engine(1).standing().term;
    cluster.change(1, &Change::Steps(vec![ChangeStep::Remove(id(3))]));
    cluster.run(6);
    assert_eq!(cluster.engine(1).configuration().voters.len(), 2);
    cluster.isolate(3);
    cluster.propose(1, "a");
    cluster.run(4 * patience());
    assert_eq!(cluster.leader(), Some(1));
    assert_eq!(cluster.engine(1).standing().term, term);
    assert_eq!(cluster.texts(2), ["a"]);
}

// The network.

#[test]
fn votes_that_come_late_still_elect() {
    let mut cluster = Cluster::new(3);
    cluster.tick(1, patience());
    // Nothing arrives for as long as the others wait for a leader; they do not tick meanwhile.
    let late: Vec<_> = cluster.network.drain(..).collect();
    assert!(late.iter().any(|(_, _, message)| is_vote(message)));
    cluster.tick(1, Timing::default().ticks().expect("valid").election_min / 2);
    for (from, to, message) in late {
        cluster.hand_in(from, to, message);
    }
    cluster.run(4 * patience());
    assert!(cluster.leader().is_some());
}

#[test]
fn a_doubled_append_changes_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.sent.clear();
    cluster.propose(1, "a");
    cluster.run(3);
    cluster.propose(1, "b");
    cluster.run(3);
    let appends: Vec<_> =
        cluster.sent.iter().filter(|(_, _, each)| carries_entries(each)).collect();
    let copies: Vec<_> = appends.into_iter().cloned().collect();
    assert!(!copies.is_empty());
    for (from, to, message) in copies {
        cluster.hand_in(from, to, message);
    }
    cluster.run(6);
    for number in 1..=3 {
        assert_eq!(cluster.texts(number), ["a", "b"]);
    }
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn lost_heartbeats_cost_no_leader_while_appends_flow() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    let term = cluster.engine(1).standing().term;
    cluster.loses = |_, _, message| is_heartbeat(message);
    for round in 0..10 * patience() {
        cluster.propose(1, &format!("{round}"));
        cluster.run(1);
    }
    assert_eq!(cluster.leader(), Some(1));
    assert_eq!(cluster.engine(1).standing().term, term);
}

#[test]
fn appends_in_reverse_order_end_in_the_same_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(6);
    cluster.propose(1, "a");
    cluster.propose(1, "b");
    let mut appends: Vec<_> = cluster.network.drain(..).collect();
    assert!(appends.len() >= 2);
    appends.reverse();
    for (from, to, message) in appends {
        cluster.hand_in(from, to, message);
    }
    cluster.run(20);
    for number in 1..=3 {
        assert_eq!(cluster.texts(number), ["a", "b"]);
    }
}
