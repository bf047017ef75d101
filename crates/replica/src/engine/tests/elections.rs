use bytes::Bytes;

use super::cluster::{Cluster, id};
use crate::{
    Boot, PeerMessage, Position, Role, Timing,
    engine::{Engine, Refused},
};

#[test]
fn three_members_elect_a_leader_and_replicate() {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    cluster.propose(2, "a");
    cluster.propose(2, "b");
    cluster.run(5);
    for number in 1..=3 {
        assert_eq!(cluster.texts(number), ["a", "b"]);
        assert_eq!(cluster.engine(number).standing().leader, Some(id(2)));
    }
}

#[test]
fn five_members_lose_two_and_go_on() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.isolate(4);
    cluster.isolate(5);
    cluster.propose(1, "a");
    cluster.run(5);
    assert_eq!(cluster.texts(2), ["a"]);
    assert!(cluster.texts(5).is_empty());
    cluster.heal();
    cluster.run(10);
    assert_eq!(cluster.texts(5), ["a"]);
}

#[test]
fn a_single_voter_leads_by_itself_and_after_each_restart() {
    let mut cluster = Cluster::new(1);
    for round in 0..3 {
        cluster.elect(1);
        cluster.propose(1, &format!("{round}"));
        cluster.restart(1, round);
    }
    cluster.elect(1);
    assert_eq!(cluster.texts(1), ["0", "1", "2"]);
}

#[test]
fn followers_refuse_to_propose_and_to_read() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let follower = cluster.engine(2);
    assert_eq!(follower.propose(vec![Bytes::from_static(b"a")]), Err(Refused::NotLeader));
    assert_eq!(follower.read(), Ok(None));
    follower.transfer(id(3)).expect("ignored");
    follower.drain().expect("it goes on");
    cluster.collect(2);
    assert!(cluster.network.is_empty(), "nothing is forwarded to the leader");
}

#[test]
fn a_leader_that_is_cut_off_steps_down_within_two_election_timeouts() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(3);
    cluster.isolate(1);
    let timeout = Timing::default().ticks().expect("valid").election_min;
    cluster.tick(1, 2 * timeout);
    assert_eq!(cluster.engine(1).standing().role, Role::Follower);
}

#[test]
fn a_member_that_comes_back_does_not_disturb_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.engine(1).standing().term;
    cluster.isolate(3);
    cluster.run(300);
    cluster.heal();
    cluster.run(100);
    assert_eq!(cluster.leader(), Some(1));
    assert_eq!(cluster.engine(3).standing().term, term, "a pre-vote raises no term");
}

#[test]
fn election_timeouts_come_from_the_seed() {
    // The engine draws from the thread's generator in between, which would differ from run to run.
    let timeouts = |seed| {
        let mut cluster = Cluster::new(1);
        cluster.start(1, Boot::of_new_cluster(super::cluster::voters(3)), seed);
        let mut timeouts = Vec::new();
        for term in 2..20 {
            let mut waited = 0;
            while cluster.engine(1).standing().role != Role::Candidate {
                cluster.tick(1, 1);
                waited += 1;
            }
            timeouts.push(waited);
            // Another member leads now.
            let heartbeat = PeerMessage::Heartbeat { term, commit: 1, round: None };
            cluster.hand_in(id(2), id(1), heartbeat);
        }
        timeouts
    };
    let ticks = Timing::default().ticks().expect("valid");
    assert_eq!(timeouts(7), timeouts(7));
    assert_ne!(timeouts(7), timeouts(8));
    let drawn = timeouts(7);
    assert!(drawn.iter().all(|drawn| (ticks.election_min..ticks.election_max).contains(drawn)));
    assert!(drawn.iter().any(|each| *each != drawn[0]), "each term draws again");
}

#[test]
fn proposals_are_refused_during_a_transfer_and_accepted_after_its_abort() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(2);
    cluster.propose(1, "a");
    cluster.run(2);
    cluster.engine(1).transfer(id(2)).expect("it goes on");
    cluster.collect(1);
    let refused = cluster.engine(1).propose(vec![Bytes::from_static(b"b")]);
    assert_eq!(refused, Err(Refused::Transferring));
    let timeout = Timing::default().ticks().expect("valid").election_min;
    cluster.run(timeout + 1);
    assert!(!cluster.engine(1).is_transferring());
    cluster.propose(1, "c");
    cluster.run(5);
    assert_eq!(cluster.texts(3), ["a", "c"]);
}

#[test]
fn a_transfer_moves_leadership_without_an_election_timeout() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.engine(1).transfer(id(3)).expect("it goes on");
    cluster.collect(1);
    cluster.deliver();
    assert_eq!(cluster.leader(), Some(3));
    assert_eq!(cluster.engine(1).standing().role, Role::Follower);
}

#[test]
fn a_late_rejection_never_moves_the_next_index_to_the_matched_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
    }
    cluster.deliver();
    let last = cluster.engine(1).last_index();
    let term = cluster.engine(1).standing().term;
    // Brings the progress to a probe, where 0.7 believes a rejection of the entry before the next one.
    cluster.engine(1).report_unreachable(id(2)).expect("it goes on");
    let rejected = Some(Position { index: 1, term: 1 });
    let late = PeerMessage::AppendResponse { term, index: last, commit: 1, rejected };
    cluster.hand_in(id(2), id(1), late);
    let raft = &cluster.engine(1).node.raft;
    let progress = raft.prs().get(2).expect("a voter");
    assert_eq!(progress.matched, last);
    assert!(progress.next_idx > progress.matched, "next {} is too low", progress.next_idx);
}

#[test]
fn a_rejection_that_names_an_old_term_never_moves_the_next_index_below_the_matched_one() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver();
    let (last, term) = (cluster.engine(1).last_index(), cluster.engine(1).standing().term);
    cluster.cut.insert((1, 2));
    cluster.propose(1, "b");
    // The hint is above what the member has, and the engine looks below it for an entry of that term.
    let rejected = Some(Position { index: last, term: 1 });
    let wrong = PeerMessage::AppendResponse { term, index: last + 1, commit: 1, rejected };
    cluster.hand_in(id(2), id(1), wrong.clone());
    cluster.hand_in(id(2), id(1), wrong);
    let raft = &cluster.engine(1).node.raft;
    let progress = raft.prs().get(2).expect("a voter");
    assert_eq!(progress.matched, last);
    assert!(progress.next_idx > progress.matched, "next {} is too low", progress.next_idx);
}

#[test]
fn a_response_beyond_the_leaders_log_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let (last, term) = (cluster.engine(1).last_index(), cluster.engine(1).standing().term);
    let response =
        PeerMessage::AppendResponse { term, index: last + 10, commit: 1, rejected: None };
    cluster.hand_in(id(2), id(1), response);
    let matched = cluster.engine(1).progress()[1].matched;
    assert!(matched <= last);
}

#[test]
fn a_rejection_of_an_earlier_term_does_not_show_that_a_follower_is_alive() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let earlier = cluster.engine(1).standing().term;
    cluster.elect(2);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver();
    let last = cluster.engine(1).last_index();
    fn is_alive(cluster: &mut Cluster) -> &mut bool {
        let progress = cluster.engine(1).node.raft.mut_prs().get_mut(2);
        &mut progress.expect("a voter").recent_active
    }
    let rejected = Some(Position { index: 1, term: 1 });
    let rejection = |term| PeerMessage::AppendResponse { term, index: last, commit: 1, rejected };
    *is_alive(&mut cluster) = false;
    cluster.hand_in(id(2), id(1), rejection(earlier));
    assert!(!*is_alive(&mut cluster));
    let current = cluster.engine(1).standing().term;
    cluster.hand_in(id(2), id(1), rejection(current));
    assert!(*is_alive(&mut cluster));
}

#[test]
fn a_response_of_a_later_term_ends_a_leader_although_its_index_is_beyond_the_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let (index, term) =
        (cluster.engine(1).last_index() + 10, cluster.engine(1).standing().term + 1);
    let response = PeerMessage::AppendResponse { term, index, commit: 1, rejected: None };
    cluster.hand_in(id(2), id(1), response);
    let standing = cluster.engine(1).standing();
    assert_eq!((standing.role, standing.term), (Role::Follower, term));
}

#[test]
fn timing_without_room_to_draw_from_is_refused() {
    let timing = Timing { election_max: Timing::default().election_min, ..Timing::default() };
    assert!(timing.ticks().is_err());
    let _ = Engine::new;
}
