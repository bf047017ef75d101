//! The bytes of peer messages. All numbers are big-endian.
//!
//! A frame is a version byte (1), a kind, u64 sender, u64 receiver, u64 term, and the fields of its kind:
//!
//! | kind | fields |
//! | --- | --- |
//! | 1 Append | position, u64 commit, u32 count, then per entry u64 term, u8 kind (0 normal, 1 change), u32 length, data |
//! | 2 AppendResponse | u64 index, u64 commit, u8 flag, then if 1 a position |
//! | 3 Heartbeat, 4 HeartbeatResponse | u64 commit, u8 flag, then if 1 a round |
//! | 5 VoteRequest | u8 vote kind (0 pre-vote, 1 vote, 2 hand-over), position of last entry, position of commit |
//! | 6 VoteResponse | u8 vote kind, u8 granted, position of commit |
//! | 7 TimeoutNow | none |
//! | 8 SnapshotOffer | position, u64 length, 16 bytes of hash, u32 length and configuration |
//! | 9 SnapshotChunk | u64 index, u64 offset, u32 length and data |
//! | 10 SnapshotStatus | u64 index, u8 progress (0 have, 1 complete, 2 failed), u64 offset |
//! | 11 Level | u32 feature level, u32 application level |
//! | 12 Space | u8 space (0 ample, 1 low) |
//!
//! A position is u64 index and u64 term; a round is u64 term and u64 count. The transport limits the length of a frame.

use bytes::{BufMut, Bytes, BytesMut};
use zraft_session::EntryBytes;

use super::{PeerMessage, Position, ReadRound, SnapshotProgress, VoteKind};
use crate::{
    Change, Configuration, EntryKind, FormatError, LogEntry, RaftId, SnapshotMeta, Space,
    fields::{Fields, put_bytes},
};

const VERSION: u8 = 1;
/// Version, kind, sender, receiver, term.
const HEAD: usize = 2 + 3 * 8;
/// What an entry takes besides its data. An Append is read only if its bytes can hold the announced entries.
const ENTRY_HEAD: usize = 8 + 1 + 4;

type Result<T> = std::result::Result<T, FormatError>;

/// A message with its sender and receiver, as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFrame {
    /// The sender.
    pub from: RaftId,
    /// The receiver.
    pub to: RaftId,
    /// The message.
    pub message: PeerMessage,
}

/// A frame that a member does not take. The connection it came on must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The bytes are not a frame.
    #[error("the peer sent an invalid frame: {0}")]
    Format(#[from] FormatError),
    /// The sender in the frame is not the member that the connection authenticated.
    #[error("member {authenticated} sent a frame in the name of member {claimed}")]
    Impersonation {
        /// The member at the other end of the connection.
        authenticated: RaftId,
        /// The sender in the frame.
        claimed: RaftId,
    },
    /// The frame is for another member.
    #[error("member {from} sent a frame for member {to}")]
    Misdirected {
        /// The sender.
        from: RaftId,
        /// The receiver in the frame.
        to: RaftId,
    },
}

impl PeerFrame {
    /// The version of the format that [`encode`](Self::encode) writes.
    pub const VERSION: u8 = VERSION;
    /// The bytes of a frame beside a snapshot chunk's data, at most.
    pub const CHUNK_OVERHEAD: usize = HEAD + 8 + 8 + 4;

    /// Returns the frame's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Appends the frame's bytes.
    pub fn encode_into(&self, out: &mut BytesMut) {
        out.reserve(self.capacity());
        out.put_u8(VERSION);
        out.put_u8(self.kind());
        for number in [self.from.get(), self.to.get(), self.message.term()] {
            out.put_u64(number);
        }
        match &self.message {
            PeerMessage::Append { previous, commit, entries, .. } => {
                put_position(out, *previous);
                out.put_u64(*commit);
                out.put_u32(entries.len() as u32);
                for LogEntry { term, kind, data, .. } in entries {
                    out.put_u64(*term);
                    out.put_u8(u8::from(*kind == EntryKind::Change));
                    put_entry(out, data);
                }
            }
            PeerMessage::AppendResponse { index, commit, rejected, .. } => {
                out.put_u64(*index);
                out.put_u64(*commit);
                out.put_u8(u8::from(rejected.is_some()));
                if let Some(position) = rejected {
                    put_position(out, *position);
                }
            }
            PeerMessage::Heartbeat { commit, round, .. }
            | PeerMessage::HeartbeatResponse { commit, round, .. } => {
                out.put_u64(*commit);
                out.put_u8(u8::from(round.is_some()));
                if let Some(ReadRound { term, count }) = round {
                    out.put_u64(*term);
                    out.put_u64(*count);
                }
            }
            PeerMessage::VoteRequest { kind, last, commit, .. } => {
                out.put_u8(vote_code(*kind));
                put_position(out, *last);
                put_position(out, *commit);
            }
            PeerMessage::VoteResponse { kind, granted, commit, .. } => {
                out.put_u8(vote_code(*kind));
                out.put_u8(u8::from(*granted));
                put_position(out, *commit);
            }
            PeerMessage::TimeoutNow { .. } => {}
            PeerMessage::SnapshotOffer { snapshot, bytes, hash, .. } => {
                out.put_u64(snapshot.index);
                out.put_u64(snapshot.term);
                out.put_u64(*bytes);
                out.put_slice(hash);
                put_bytes(out, &snapshot.configuration.encode());
            }
            PeerMessage::SnapshotChunk { index, offset, data, .. } => {
                out.put_u64(*index);
                out.put_u64(*offset);
                put_bytes(out, data);
            }
            PeerMessage::SnapshotStatus { index, progress, .. } => {
                out.put_u64(*index);
                let (code, offset) = match progress {
                    SnapshotProgress::Have(offset) => (0, *offset),
                    SnapshotProgress::Complete => (1, 0),
                    SnapshotProgress::Failed => (2, 0),
                };
                out.put_u8(code);
                out.put_u64(offset);
            }
            PeerMessage::Level { feature_level, application_level, .. } => {
                out.put_u32(*feature_level);
                out.put_u32(*application_level);
            }
            PeerMessage::Space { space, .. } => out.put_u8(u8::from(*space == Space::Low)),
        }
    }

    /// Reads a frame that came on a connection of `authenticated`. Entries and chunks share `bytes`.
    ///
    /// # Errors
    /// [`PeerError`] if the bytes are not exactly one frame from that member to `receiver`. Nothing of it may be used.
    pub fn decode(
        bytes: &Bytes,
        authenticated: RaftId,
        receiver: RaftId,
    ) -> std::result::Result<Self, PeerError> {
        let frame = Self::read(bytes)?;
        let Self { from, to, .. } = frame;
        if from != authenticated {
            return Err(PeerError::Impersonation { authenticated, claimed: from });
        }
        if to != receiver || from == to {
            return Err(PeerError::Misdirected { from, to });
        }
        Ok(frame)
    }

    fn read(bytes: &Bytes) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        match fields.u8("the version")? {
            VERSION => {}
            version => return Err(FormatError::UnsupportedVersion(version)),
        }
        let kind = fields.u8("the kind")?;
        let from = fields.id("the sender")?;
        let to = fields.id("the receiver")?;
        let term = fields.number("the term")?;
        if term == 0 {
            // The engine believes that it sent a message of term 0 to itself.
            return Err(FormatError::Invalid("the term"));
        }
        let message = match kind {
            1 => {
                let previous = position(&mut fields)?;
                let commit = fields.number("the commit index")?;
                let entries = entries(&mut fields, previous, term)?;
                PeerMessage::Append { term, previous, commit, entries }
            }
            2 => PeerMessage::AppendResponse {
                term,
                index: fields.number("the index")?,
                commit: fields.number("the commit index")?,
                rejected: match fields.flag("the rejection")? {
                    true => Some(position(&mut fields)?),
                    false => None,
                },
            },
            3 => {
                let (commit, round) = heartbeat(&mut fields)?;
                PeerMessage::Heartbeat { term, commit, round }
            }
            4 => {
                let (commit, round) = heartbeat(&mut fields)?;
                PeerMessage::HeartbeatResponse { term, commit, round }
            }
            5 => PeerMessage::VoteRequest {
                term,
                kind: vote_kind(&mut fields)?,
                last: position(&mut fields)?,
                commit: position(&mut fields)?,
            },
            6 => PeerMessage::VoteResponse {
                term,
                kind: vote_kind(&mut fields)?,
                granted: fields.flag("the vote")?,
                commit: position(&mut fields)?,
            },
            7 => PeerMessage::TimeoutNow { term },
            8 => {
                let Position { index, term: at } = position(&mut fields)?;
                if at > term {
                    return Err(FormatError::Invalid("the snapshot's term"));
                }
                let length = fields.number("the snapshot's length")?;
                let hash = fields.array("the snapshot's hash")?;
                let configuration = Configuration::decode(&fields.bytes("the configuration")?)?;
                let snapshot = SnapshotMeta { index, term: at, configuration };
                PeerMessage::SnapshotOffer { term, snapshot, bytes: length, hash }
            }
            9 => PeerMessage::SnapshotChunk {
                term,
                index: fields.number("the index")?,
                offset: fields.number("the offset")?,
                data: fields.bytes("the chunk")?,
            },
            10 => {
                let index = fields.number("the index")?;
                let code = fields.u8("the progress")?;
                let offset = fields.number("the offset")?;
                let progress = match (code, offset) {
                    (0, offset) => SnapshotProgress::Have(offset),
                    (1, 0) => SnapshotProgress::Complete,
                    (2, 0) => SnapshotProgress::Failed,
                    _ => return Err(FormatError::Invalid("the progress")),
                };
                PeerMessage::SnapshotStatus { term, index, progress }
            }
            11 => PeerMessage::Level {
                term,
                feature_level: fields.u32("the feature level")?,
                application_level: fields.u32("the application level")?,
            },
            12 => PeerMessage::Space {
                term,
                space: match fields.flag("the space")? {
                    true => Space::Low,
                    false => Space::Ample,
                },
            },
            kind => return Err(FormatError::UnknownKind(kind)),
        };
        fields.finish()?;
        Ok(Self { from, to, message })
    }

    fn kind(&self) -> u8 {
        match &self.message {
            PeerMessage::Append { .. } => 1,
            PeerMessage::AppendResponse { .. } => 2,
            PeerMessage::Heartbeat { .. } => 3,
            PeerMessage::HeartbeatResponse { .. } => 4,
            PeerMessage::VoteRequest { .. } => 5,
            PeerMessage::VoteResponse { .. } => 6,
            PeerMessage::TimeoutNow { .. } => 7,
            PeerMessage::SnapshotOffer { .. } => 8,
            PeerMessage::SnapshotChunk { .. } => 9,
            PeerMessage::SnapshotStatus { .. } => 10,
            PeerMessage::Level { .. } => 11,
            PeerMessage::Space { .. } => 12,
        }
    }

    /// Returns the size of buffer that [`encode`](Self::encode) begins with. Frames of entries and of chunks, which can be large,
    /// never outgrow it: the fixed fields of every kind fit into 64 bytes.
    pub(crate) fn capacity(&self) -> usize {
        HEAD + 64
            + match &self.message {
                PeerMessage::Append { entries, .. } => {
                    entries.iter().map(|entry| ENTRY_HEAD + entry.data.len()).sum()
                }
                PeerMessage::SnapshotChunk { data, .. } => data.len(),
                _ => 0,
            }
    }
}

fn put_entry(out: &mut BytesMut, data: &EntryBytes) {
    // Entries are at most 1 GiB and 64 KiB long.
    out.put_u32(data.len() as u32);
    data.put_into(out);
}

fn put_position(out: &mut BytesMut, position: Position) {
    out.put_u64(position.index);
    out.put_u64(position.term);
}

fn position(fields: &mut Fields<'_>) -> Result<Position> {
    let index = fields.number("a position's index")?;
    Ok(Position { index, term: fields.number("a position's term")? })
}

fn heartbeat(fields: &mut Fields<'_>) -> Result<(u64, Option<ReadRound>)> {
    let commit = fields.number("the commit index")?;
    let round = match fields.flag("the round")? {
        true => Some(ReadRound {
            term: fields.number("the round's term")?,
            count: fields.number("the round's count")?,
        }),
        false => None,
    };
    Ok((commit, round))
}

fn entries(fields: &mut Fields<'_>, previous: Position, term: u64) -> Result<Vec<LogEntry>> {
    if (previous.index == 0) != (previous.term == 0) {
        // The engine reads term 0 as "beyond the log", and would take entries that leave a gap.
        return Err(FormatError::Invalid("the previous entry's term"));
    }
    let count = fields.u32("the entries")? as usize;
    if count > fields.left() / ENTRY_HEAD {
        return Err(FormatError::Truncated("the entries"));
    }
    let mut entries = Vec::with_capacity(count);
    let mut last = previous;
    for _ in 0..count {
        let entry = Position { index: last.index + 1, term: fields.number("an entry's term")? };
        // A log's terms never fall, and no entry is of a later term than the leader that sends it.
        if entry.term < last.term.max(1) || entry.term > term {
            return Err(FormatError::Invalid("an entry's term"));
        }
        last = entry;
        let kind = match fields.flag("an entry's kind")? {
            true => EntryKind::Change,
            false => EntryKind::Normal,
        };
        let data = fields.bytes("an entry's data")?;
        if kind == EntryKind::Change {
            Change::decode(&data)?;
        }
        entries.push(LogEntry { index: entry.index, term: entry.term, kind, data: data.into() });
    }
    Ok(entries)
}

fn vote_code(kind: VoteKind) -> u8 {
    match kind {
        VoteKind::PreVote => 0,
        VoteKind::Vote => 1,
        VoteKind::HandOver => 2,
    }
}

fn vote_kind(fields: &mut Fields<'_>) -> Result<VoteKind> {
    match fields.u8("the kind of vote")? {
        0 => Ok(VoteKind::PreVote),
        1 => Ok(VoteKind::Vote),
        2 => Ok(VoteKind::HandOver),
        _ => Err(FormatError::Invalid("the kind of vote")),
    }
}
