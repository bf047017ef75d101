//! Messages that no sound member sends: the codec takes them, so the engine must live with them or say why not.

use super::cluster::{Cluster, id};
use crate::{EntryKind, LogEntry, PeerFrame, PeerMessage, Position, ReadRound, VoteKind};
use zraft_protocol::SplitMix64;

fn message(random: &mut SplitMix64, term: u64, last: u64) -> PeerMessage {
    // Around what the member has, and now and then far away.
    let mut number = |near: u64| match random.below(12) {
        0 => random.below(1 << 62),
        1 => 0,
        _ => (near + random.below(5)).saturating_sub(2),
    };
    let (index, commit, hint) = (number(last), number(last), number(last));
    let term = number(term).clamp(1, (1 << 62) - 1);
    let (at, other) = (number(term).min(term), number(term));
    let count = number(3) % 4;
    let position = Position { index, term: at };
    let round = (count > 1).then_some(ReadRound { term: other, count });
    let kind = [VoteKind::PreVote, VoteKind::Vote, VoteKind::HandOver][count as usize % 3];
    let entries = (1..=count).map(|offset| LogEntry {
        index: index + offset,
        term: at.max(1),
        kind: EntryKind::Normal,
        data: bytes::Bytes::from_static(b"hostile").into(),
    });
    match random.below(8) {
        0 => PeerMessage::Append { term, previous: position, commit, entries: entries.collect() },
        1 => PeerMessage::AppendResponse { term, index, commit, rejected: None },
        2 => {
            let rejected = Some(Position { index: hint, term: other });
            PeerMessage::AppendResponse { term, index, commit, rejected }
        }
        3 => PeerMessage::Heartbeat { term, commit, round },
        4 => PeerMessage::HeartbeatResponse { term, commit, round },
        5 => PeerMessage::VoteRequest { term, kind, last: position, commit: position },
        6 => PeerMessage::VoteResponse { term, kind, granted: count > 1, commit: position },
        _ => PeerMessage::TimeoutNow { term },
    }
}

#[test]
fn no_message_that_the_codec_takes_makes_a_member_panic() {
    let mut stopped = 0;
    for seed in 0..400 {
        let mut random = SplitMix64::new(seed);
        let mut cluster = Cluster::new(3);
        if seed % 3 > 0 {
            cluster.elect(1 + seed % 3);
            cluster.propose(1 + seed % 3, "a");
            cluster.run(3);
        }
        for _ in 0..60 {
            let term = cluster.engine(1).standing().term;
            let last = cluster.engine(1).last_index();
            let message = message(&mut random, term, last);
            let from = id(2 + random.below(2));
            let bytes = PeerFrame { from, to: id(1), message }.encode();
            let Ok(frame) = PeerFrame::decode(&bytes, from, id(1)) else { continue };
            cluster.hand_in(from, id(1), frame.message);
            if cluster.node(1).stopped.is_some() {
                stopped += 1;
                break;
            }
            let ticks = random.below(8) as usize;
            cluster.tick(1, ticks);
            // What it sends in its turn goes nowhere: the others are sound.
            cluster.network.clear();
        }
    }
    assert!(stopped > 20, "{stopped} found that they must stop");
}
