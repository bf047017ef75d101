//! Converts between the engine's types and this crate's, field by field. No protobuf bytes are read anywhere.

use bytes::{BufMut, Bytes, BytesMut};
use raft::{
    CAMPAIGN_TRANSFER,
    eraftpb::{
        ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
        EntryType, HardState as RaftHardState, Message, MessageType, Snapshot, SnapshotMetadata,
    },
};
use zraft_session::EntryBytes;

use crate::{
    Change, ChangeStep, Configuration, EntryKind, HardState, LogEntry, PeerMessage, Position,
    RaftId, ReadRound, SnapshotMeta, VoteKind,
};

/// The engine keeps a change as protobuf in `data`, on the leader that proposed it alone, and never reads it again.
/// This crate keeps its own encoding in `context`, which is what goes to peers and to the disk.
pub(super) fn entry_to_raft(entry: &LogEntry) -> Entry {
    let mut raft = match entry.kind {
        EntryKind::Normal => normal_to_raft(entry.data.clone()),
        EntryKind::Change => {
            let mut raft = Entry { context: entry.data.to_bytes(), ..Entry::default() };
            raft.set_entry_type(EntryType::EntryConfChangeV2);
            raft
        }
    };
    (raft.index, raft.term) = (entry.index, entry.term);
    raft
}

/// An entry in two pieces has the first one in `context`, and its payload in `data`: the engine treats an entry without `data`
/// as its own.
pub(super) fn normal_to_raft(data: EntryBytes) -> Entry {
    let [head, payload] = data.into_pieces();
    match payload.is_empty() {
        true => Entry { data: head, ..Entry::default() },
        false => Entry { data: payload, context: head, ..Entry::default() },
    }
}

pub(super) fn entry_from_raft(entry: &Entry) -> LogEntry {
    let (kind, data) = match entry.get_entry_type() {
        EntryType::EntryNormal => {
            let data = match entry.context.is_empty() {
                true => entry.data.clone().into(),
                false => EntryBytes::of_pieces(entry.context.clone(), entry.data.clone()),
            };
            (EntryKind::Normal, data)
        }
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (EntryKind::Change, entry.context.clone().into())
        }
    };
    LogEntry { index: entry.index, term: entry.term, kind, data }
}

pub(super) fn hard_state_to_raft(state: HardState) -> RaftHardState {
    RaftHardState {
        term: state.term,
        vote: state.vote.map_or(0, RaftId::get),
        commit: state.commit,
        ..RaftHardState::default()
    }
}

pub(super) fn hard_state_from_raft(raft: &RaftHardState) -> HardState {
    HardState { term: raft.term, vote: RaftId::new(raft.vote), commit: raft.commit }
}

pub(super) fn configuration_to_raft(configuration: &Configuration) -> ConfState {
    let numbers =
        |ids: &std::collections::BTreeSet<RaftId>| ids.iter().map(|id| id.get()).collect();
    ConfState {
        voters: numbers(&configuration.voters),
        learners: numbers(&configuration.learners),
        voters_outgoing: numbers(&configuration.outgoing),
        ..ConfState::default()
    }
}

pub(super) fn change_to_raft(change: &Change, configuration: &Configuration) -> ConfChangeV2 {
    let mut raft = ConfChangeV2::default();
    let Change::Steps(steps) = change else { return raft };
    if steps.len() > 1 {
        // The leader leaves it by another change. The engine's automatic way can fail silently.
        raft.set_transition(ConfChangeTransition::Explicit);
    }
    let single = |step: &ChangeStep| {
        let mut single = ConfChangeSingle::default();
        let (id, kind) = match step {
            ChangeStep::AddLearner(id, _) | ChangeStep::AddReplacement { id, .. } => {
                (id, ConfChangeType::AddLearnerNode)
            }
            ChangeStep::Promote(id) => (id, ConfChangeType::AddNode),
            ChangeStep::Remove(id) => (id, ConfChangeType::RemoveNode),
            // The member keeps its role, so the engine sees no difference.
            ChangeStep::Update(id, _) if configuration.learners.contains(id) => {
                (id, ConfChangeType::AddLearnerNode)
            }
            ChangeStep::Update(id, _) => (id, ConfChangeType::AddNode),
        };
        single.node_id = id.get();
        single.set_change_type(kind);
        single
    };
    raft.set_changes(steps.iter().map(single).collect());
    raft
}

pub(super) fn snapshot_to_raft(snapshot: &SnapshotMeta) -> Snapshot {
    let mut raft = Snapshot::default();
    let configuration = configuration_to_raft(&snapshot.configuration);
    raft.set_metadata(metadata(snapshot.index, snapshot.term, configuration));
    raft
}

pub(super) fn round_to_bytes(round: ReadRound) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u64(round.term);
    bytes.put_u64(round.count);
    bytes.freeze()
}

pub(super) fn round_from_bytes(bytes: &[u8]) -> Option<ReadRound> {
    let (term, count) = bytes.split_first_chunk()?;
    let count = count.try_into().ok()?;
    Some(ReadRound { term: u64::from_be_bytes(*term), count: u64::from_be_bytes(count) })
}

/// The engine's form of a message, or none if the engine has no part in it.
pub(super) fn message_to_raft(from: RaftId, to: RaftId, message: &PeerMessage) -> Option<Message> {
    let mut raft = Message::default();
    (raft.from, raft.to, raft.term) = (from.get(), to.get(), message.term());
    let kind = match message {
        PeerMessage::Append { previous, commit, entries, .. } => {
            (raft.index, raft.log_term, raft.commit) = (previous.index, previous.term, *commit);
            raft.set_entries(entries.iter().map(entry_to_raft).collect());
            MessageType::MsgAppend
        }
        PeerMessage::AppendResponse { index, commit, rejected, .. } => {
            (raft.index, raft.commit) = (*index, *commit);
            if let Some(Position { index, term }) = rejected {
                (raft.reject, raft.reject_hint, raft.log_term) = (true, *index, *term);
            }
            MessageType::MsgAppendResponse
        }
        PeerMessage::Heartbeat { commit, round, .. } => {
            raft.commit = *commit;
            raft.context = round.map_or_else(Bytes::new, round_to_bytes);
            MessageType::MsgHeartbeat
        }
        PeerMessage::HeartbeatResponse { commit, round, .. } => {
            raft.commit = *commit;
            raft.context = round.map_or_else(Bytes::new, round_to_bytes);
            MessageType::MsgHeartbeatResponse
        }
        PeerMessage::VoteRequest { kind, last, commit, .. } => {
            (raft.index, raft.log_term) = (last.index, last.term);
            (raft.commit, raft.commit_term) = (commit.index, commit.term);
            match kind {
                VoteKind::PreVote => MessageType::MsgRequestPreVote,
                VoteKind::Vote => MessageType::MsgRequestVote,
                VoteKind::HandOver => {
                    raft.context = Bytes::from_static(CAMPAIGN_TRANSFER);
                    MessageType::MsgRequestVote
                }
            }
        }
        PeerMessage::VoteResponse { kind, granted, commit, .. } => {
            raft.reject = !granted;
            (raft.commit, raft.commit_term) = (commit.index, commit.term);
            match kind {
                VoteKind::PreVote => MessageType::MsgRequestPreVoteResponse,
                VoteKind::Vote | VoteKind::HandOver => MessageType::MsgRequestVoteResponse,
            }
        }
        PeerMessage::TimeoutNow { .. } => MessageType::MsgTimeoutNow,
        PeerMessage::SnapshotOffer { .. }
        | PeerMessage::SnapshotChunk { .. }
        | PeerMessage::SnapshotStatus { .. }
        | PeerMessage::Level { .. }
        | PeerMessage::Space { .. } => return None,
    };
    raft.set_msg_type(kind);
    Some(raft)
}

/// The engine's form of "the snapshot's file is here".
pub(super) fn snapshot_message(
    from: RaftId,
    to: RaftId,
    term: u64,
    snapshot: &SnapshotMeta,
) -> Message {
    let mut raft = Message::default();
    (raft.from, raft.to, raft.term) = (from.get(), to.get(), term);
    raft.set_snapshot(snapshot_to_raft(snapshot));
    raft.set_msg_type(MessageType::MsgSnapshot);
    raft
}

/// What goes to a peer, or none for messages that no peer understands. The engine produces none of those here: it is
/// never asked to propose, read or transfer while another member leads.
pub(super) fn message_from_raft(raft: &Message) -> Option<PeerMessage> {
    let term = raft.term;
    let commit = Position { index: raft.commit, term: raft.commit_term };
    let round = round_from_bytes(&raft.context);
    Some(match raft.get_msg_type() {
        MessageType::MsgAppend => PeerMessage::Append {
            term,
            previous: Position { index: raft.index, term: raft.log_term },
            commit: raft.commit,
            entries: raft.entries.iter().map(entry_from_raft).collect(),
        },
        MessageType::MsgAppendResponse => PeerMessage::AppendResponse {
            term,
            index: raft.index,
            commit: raft.commit,
            rejected: raft
                .reject
                .then_some(Position { index: raft.reject_hint, term: raft.log_term }),
        },
        MessageType::MsgHeartbeat => PeerMessage::Heartbeat { term, commit: raft.commit, round },
        MessageType::MsgHeartbeatResponse => {
            PeerMessage::HeartbeatResponse { term, commit: raft.commit, round }
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => PeerMessage::VoteRequest {
            term,
            kind: if raft.get_msg_type() == MessageType::MsgRequestPreVote {
                VoteKind::PreVote
            } else if raft.context == CAMPAIGN_TRANSFER {
                VoteKind::HandOver
            } else {
                VoteKind::Vote
            },
            last: Position { index: raft.index, term: raft.log_term },
            commit,
        },
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            let pre = raft.get_msg_type() == MessageType::MsgRequestPreVoteResponse;
            PeerMessage::VoteResponse {
                term,
                kind: if pre { VoteKind::PreVote } else { VoteKind::Vote },
                granted: !raft.reject,
                commit,
            }
        }
        MessageType::MsgTimeoutNow => PeerMessage::TimeoutNow { term },
        _ => return None,
    })
}

/// The protobuf bytes of a change, which the proposing engine reads back once.
pub(super) fn change_to_bytes(change: &ConfChangeV2) -> Option<Bytes> {
    use protobuf::Message as _;
    change.write_to_bytes().ok().map(Bytes::from)
}

/// Converts what the engine keeps of a snapshot.
pub(super) fn metadata(index: u64, term: u64, configuration: ConfState) -> SnapshotMetadata {
    let mut metadata = SnapshotMetadata::default();
    (metadata.index, metadata.term) = (index, term);
    metadata.set_conf_state(configuration);
    metadata
}
