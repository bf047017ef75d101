//! The bytes of the log's records. All numbers are big-endian.
//!
//! | record | bytes |
//! | --- | --- |
//! | entry, first chunk | version 1, u64 term, u8 kind (0 normal, 1 change), u32 length of the data, then the data's first bytes |
//! | entry, further chunk | the data's next bytes |
//! | hard state | version 1, u64 term, u64 vote (0: none), u64 commit |
//! | snapshots | version 1, u8 count, then each, oldest first: u64 index, u64 term, u64 file length, u128 file hash, u32 length and configuration |

use bytes::{Buf, BufMut, Bytes, BytesMut};
use zraft_replica::{
    Configuration, EntryBytes, EntryKind, HardState, LogEntry, RaftId, SnapshotMeta,
};

const VERSION: u8 = 1;
/// The bytes before the data in an entry's first chunk.
const ENTRY_HEAD: usize = 1 + 8 + 1 + 4;
/// redb copies a value whole whenever its page changes, so a long entry is cut into pieces of this length.
pub(crate) const CHUNK: usize = 64 << 10;
/// Entries of up to this length are read into one piece of memory of the right size. Longer ones are rare.
const LONG: usize = 16 << 20;
/// No entry is longer: the replicated settings allow payloads of up to 1 GiB, and the fields around one take far less than
/// 64 KiB. A length above this is damage.
pub(crate) const MAX_ENTRY: usize = (1 << 30) + (64 << 10);

/// A snapshot whose file is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    pub(crate) meta: SnapshotMeta,
    pub(crate) len: u64,
    pub(crate) hash: u128,
}

/// What does not decode, in words for a person.
pub(crate) type Decoded<T> = Result<T, &'static str>;

/// Returns the chunks of an entry, the first one with its head. Those after it share the entry's bytes. The first is a copy,
/// because the database takes a value only in one piece.
pub(crate) fn entry_chunks(entry: &LogEntry) -> impl Iterator<Item = Bytes> {
    let mut rest = entry.data.clone();
    let first = rest.split_to(CHUNK);
    let mut head = BytesMut::with_capacity(ENTRY_HEAD + first.len());
    head.put_u8(VERSION);
    head.put_u64(entry.term);
    head.put_u8(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::Change => 1,
    });
    head.put_u32(entry.data.len() as u32);
    first.put_into(&mut head);
    let further =
        std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(CHUNK).to_bytes()));
    std::iter::once(head.freeze()).chain(further)
}

/// An entry that is being put together from its chunks.
#[derive(Debug)]
pub(crate) struct PartialEntry {
    entry: LogEntry,
    data: BytesMut,
    missing: usize,
}

impl PartialEntry {
    pub(crate) fn first(index: u64, mut chunk: &[u8]) -> Decoded<Self> {
        if chunk.len() < ENTRY_HEAD {
            return Err("an entry is too short");
        }
        if chunk.get_u8() != VERSION {
            return Err("an entry has an unknown version");
        }
        let term = chunk.get_u64();
        let kind = match chunk.get_u8() {
            0 => EntryKind::Normal,
            1 => EntryKind::Change,
            _ => return Err("an entry has an unknown kind"),
        };
        let len = chunk.get_u32() as usize;
        if len > MAX_ENTRY || chunk.len() > len {
            return Err("an entry has a wrong length");
        }
        // A damaged length alone takes no memory beyond this.
        let mut data = BytesMut::with_capacity(len.min(LONG));
        data.put_slice(chunk);
        let missing = len - chunk.len();
        Ok(Self {
            entry: LogEntry { index, term, kind, data: EntryBytes::default() },
            data,
            missing,
        })
    }

    pub(crate) fn further(&mut self, chunk: &[u8]) -> Decoded<()> {
        self.missing =
            self.missing.checked_sub(chunk.len()).ok_or("an entry has a wrong length")?;
        self.data.put_slice(chunk);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Decoded<LogEntry> {
        if self.missing > 0 {
            return Err("an entry lacks a part");
        }
        self.entry.data = self.data.freeze().into();
        Ok(self.entry)
    }
}

pub(crate) fn encode_hard_state(state: HardState) -> Bytes {
    let mut out = BytesMut::with_capacity(25);
    out.put_u8(VERSION);
    out.put_u64(state.term);
    out.put_u64(state.vote.map_or(0, RaftId::get));
    out.put_u64(state.commit);
    out.freeze()
}

pub(crate) fn decode_hard_state(mut bytes: &[u8]) -> Decoded<HardState> {
    if bytes.len() != 25 || bytes.get_u8() != VERSION {
        return Err("the hard state is unreadable");
    }
    let (term, vote, commit) = (bytes.get_u64(), bytes.get_u64(), bytes.get_u64());
    Ok(HardState { term, vote: RaftId::new(vote), commit })
}

pub(crate) fn encode_snapshots(snapshots: &[SnapshotRecord]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    out.put_u8(snapshots.len() as u8);
    for SnapshotRecord { meta, len, hash } in snapshots {
        out.put_u64(meta.index);
        out.put_u64(meta.term);
        out.put_u64(*len);
        out.put_u128(*hash);
        let configuration = meta.configuration.encode();
        out.put_u32(configuration.len() as u32);
        out.put_slice(&configuration);
    }
    out.freeze()
}

pub(crate) fn decode_snapshots(bytes: &[u8]) -> Decoded<Vec<SnapshotRecord>> {
    const BAD: &str = "the list of snapshots is unreadable";
    let mut bytes = Bytes::copy_from_slice(bytes);
    if bytes.remaining() < 2 || bytes.get_u8() != VERSION {
        return Err(BAD);
    }
    let mut snapshots = Vec::new();
    for _ in 0..bytes.get_u8() {
        if bytes.remaining() < 8 + 8 + 8 + 16 + 4 {
            return Err(BAD);
        }
        let (index, term, len) = (bytes.get_u64(), bytes.get_u64(), bytes.get_u64());
        let hash = bytes.get_u128();
        let size = bytes.get_u32() as usize;
        if bytes.remaining() < size {
            return Err(BAD);
        }
        let configuration = Configuration::decode(&bytes.split_to(size)).map_err(|_| BAD)?;
        let meta = SnapshotMeta { index, term, configuration };
        snapshots.push(SnapshotRecord { meta, len, hash });
    }
    if bytes.has_remaining() { Err(BAD) } else { Ok(snapshots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_in_two_pieces_has_the_chunks_of_the_same_entry_in_one() {
        let data: Bytes = (0..200_000_u32).map(|number| number as u8).collect();
        let chunks = |data| {
            let entry = LogEntry { index: 2, term: 1, kind: EntryKind::Normal, data };
            entry_chunks(&entry).collect::<Vec<_>>()
        };
        for length in [0, 1, 100, CHUNK, CHUNK + 1, 200_000] {
            let whole = chunks(data.slice(..length).into());
            for at in [0, 1, 100, CHUNK, CHUNK + 1].into_iter().filter(|at| *at <= length) {
                let divided = EntryBytes::of_pieces(data.slice(..at), data.slice(at..length));
                assert_eq!(chunks(divided), whole, "{at} of {length}");
            }
            let mut read = PartialEntry::first(2, &whole[0]).expect("a first chunk");
            whole[1..].iter().for_each(|chunk| read.further(chunk).expect("the next chunk"));
            assert_eq!(read.finish().expect("a whole entry").data.to_bytes(), data[..length]);
        }
    }
}
