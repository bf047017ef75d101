//! Messages of peers, with terms and indexes near those that the member has, so that they reach far into the engine.

use bytes::Bytes;
use zraft_protocol::MemberId;
use zraft_replica::{
    Configuration, EntryKind, LogEntry, MemberInfo, PeerMessage, Position, RaftId, ReadRound,
    SnapshotMeta, SnapshotProgress, VoteKind,
};
use zraft_session::{Entry, Operation, Time};

use super::super::script::Script;

pub(super) fn configuration(members: u64) -> Configuration {
    Configuration::of_voters((1..=members).map(|number| {
        let name = MemberId::new(format!("node-{number}")).unwrap();
        let address = format!("host-{number}:7000");
        (RaftId::new(number).unwrap(), MemberInfo { name, address, feature_level: 1 })
    }))
}

/// A small number; now and then a large one.
fn number(script: &mut Script<'_>) -> u64 {
    match script.byte() {
        255 => script.u64() >> 2,
        byte => u64::from(byte % 24),
    }
}

fn position(script: &mut Script<'_>) -> Position {
    Position { index: number(script), term: number(script) }
}

fn round(script: &mut Script<'_>) -> Option<ReadRound> {
    let there = script.byte() & 1 == 1;
    there.then(|| ReadRound { term: number(script), count: number(script) })
}

fn vote_kind(script: &mut Script<'_>) -> VoteKind {
    script.one_of(&[VoteKind::PreVote, VoteKind::Vote, VoteKind::HandOver])
}

fn entry(script: &mut Script<'_>, index: u64, term: u64) -> LogEntry {
    let (kind, data) = match script.byte() % 8 {
        0 => (EntryKind::Normal, Bytes::new()),
        1 => {
            let length = usize::from(script.byte() % 64);
            (EntryKind::Normal, Bytes::copy_from_slice(script.take(length)))
        }
        2 => {
            // The removal of a member, as the format of a change writes it.
            let id = 1 + u64::from(script.byte() % 4);
            let bytes = [&[1, 1, 0, 1, 3][..], &id.to_be_bytes()].concat();
            (EntryKind::Change, bytes.into())
        }
        // The end of a joint change.
        3 => (EntryKind::Change, Bytes::from_static(&[1, 2])),
        _ => {
            let time = Time::from_millis(number(script));
            (EntryKind::Normal, Entry { time, operation: Operation::Tick }.encode())
        }
    };
    LogEntry { index, term, kind, data: data.into() }
}

/// A message in or near this term. The codec may refuse it.
pub(super) fn message(script: &mut Script<'_>, near: u64) -> PeerMessage {
    let kind = script.byte();
    let term = match kind >> 6 {
        0 | 1 => near.max(1),
        2 => near + 1,
        _ => number(script).max(1),
    };
    match kind % 12 {
        0 | 1 => {
            let previous = position(script);
            let commit = number(script);
            let count = u64::from(script.byte() % 5);
            let mut at = previous.term.max(1);
            let entries = (1..=count).map(|next| {
                at = if script.byte() & 1 == 0 { at } else { term.max(at) };
                entry(script, previous.index + next, at)
            });
            PeerMessage::Append { term, previous, commit, entries: entries.collect() }
        }
        2 => {
            let (index, commit) = (number(script), number(script));
            let rejected = (script.byte() & 3 == 0).then(|| position(script));
            PeerMessage::AppendResponse { term, index, commit, rejected }
        }
        3 => PeerMessage::Heartbeat { term, commit: number(script), round: round(script) },
        4 => PeerMessage::HeartbeatResponse { term, commit: number(script), round: round(script) },
        5 => {
            let kind = vote_kind(script);
            let (last, commit) = (position(script), position(script));
            PeerMessage::VoteRequest { term, kind, last, commit }
        }
        6 => {
            let kind = vote_kind(script);
            let granted = script.byte() & 3 != 0;
            PeerMessage::VoteResponse { term, kind, granted, commit: position(script) }
        }
        7 => PeerMessage::TimeoutNow { term },
        8 => {
            let Position { index, term: at } = position(script);
            let configuration = configuration(1 + u64::from(script.byte() % 4));
            let snapshot = SnapshotMeta { index, term: at, configuration };
            let bytes = number(script);
            PeerMessage::SnapshotOffer { term, snapshot, bytes, hash: [7; 16] }
        }
        9 => {
            let (index, offset) = (number(script), number(script));
            let length = usize::from(script.byte() % 32);
            let data = Bytes::copy_from_slice(script.take(length));
            PeerMessage::SnapshotChunk { term, index, offset, data }
        }
        10 => {
            let index = number(script);
            let progress = match script.byte() % 3 {
                0 => SnapshotProgress::Have(number(script)),
                1 => SnapshotProgress::Complete,
                _ => SnapshotProgress::Failed,
            };
            PeerMessage::SnapshotStatus { term, index, progress }
        }
        _ => PeerMessage::Level {
            term,
            feature_level: u32::from(script.byte() % 4),
            application_level: u32::from(script.byte() % 4),
        },
    }
}
