//! How much a leader sends at once, and how much it appends without a commit.

use bytes::Bytes;

use super::cluster::{Cluster, id};
use crate::{PeerMessage, engine::Refused};

const KIB: usize = 1 << 10;

fn entries(count: usize, length: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![7; length]); count]
}

/// The lengths of the entries in each Append that member 2 was sent, empty ones left out.
fn appends(cluster: &Cluster) -> Vec<Vec<usize>> {
    let sent = cluster.sent.iter().filter(|(_, to, _)| *to == id(2));
    let appends = sent.filter_map(|(_, _, message)| match message {
        PeerMessage::Append { entries, .. } if !entries.is_empty() => {
            Some(entries.iter().map(|entry| entry.data.len()).collect())
        }
        _ => None,
    });
    appends.collect()
}

fn appends_of(count: usize, length: usize) -> Vec<Vec<usize>> {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.sent.clear();
    cluster.engine(1).propose(entries(count, length)).expect("it leads");
    cluster.engine(1).drain().expect("it goes on");
    cluster.collect(1);
    cluster.deliver();
    cluster.run(10);
    appends(&cluster)
}

#[test]
fn an_append_holds_512_kib_of_entries_or_one_longer_entry() {
    assert_eq!(appends_of(8, 100 * KIB), [vec![100 * KIB; 5], vec![100 * KIB; 3]]);
    assert_eq!(appends_of(2, 600 * KIB), [[600 * KIB], [600 * KIB]]);
}

#[test]
fn a_leader_appends_64_mib_before_they_are_committed_and_goes_on_after_that() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    cluster.isolate(1);
    let piece = entries(1, KIB * KIB);
    for _ in 0..64 {
        cluster.engine(1).propose(piece.clone()).expect("there is room");
    }
    assert_eq!(cluster.engine(1).propose(piece.clone()), Err(Refused::Full));
    cluster.collect(1);
    cluster.heal();
    cluster.engine(1).drain().expect("it goes on");
    cluster.collect(1);
    cluster.run(60);
    assert_eq!(cluster.engine(1).commit(), cluster.engine(1).last_index());
    cluster.engine(1).propose(piece).expect("there is room again");
}

#[test]
fn a_member_whose_connection_was_lost_gets_one_append_until_it_answers() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(2);
    let sent_for_three = |cluster: &mut Cluster| {
        cluster.sent.clear();
        for text in ["a", "b", "c"] {
            cluster.propose(1, text);
        }
        appends(cluster).len()
    };
    assert_eq!(sent_for_three(&mut cluster), 3);
    cluster.deliver();
    cluster.engine(1).report_unreachable(id(2)).expect("it goes on");
    assert_eq!(sent_for_three(&mut cluster), 1);
    cluster.deliver();
    assert_eq!(sent_for_three(&mut cluster), 3);
}
