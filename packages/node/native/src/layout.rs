//! How batches (from JavaScript) and records (to JavaScript) are laid out.
//!
//! Both are sequences of entries. An entry begins at a multiple of four bytes with a header of five
//! words of 32 bits, in the machine's own byte order; what follows the header is filled up to a
//! multiple of four. `layout.ts` on the other side says the same in the same order.
//!
//! An entry of a batch: `operation, id, argument, length, generation`, then `length` bytes.
//!
//! | operation | id | argument | bytes |
//! | --- | --- | --- | --- |
//! | 1 command | slot | timeout | payload |
//! | 2 query | slot | timeout | payload |
//! | 3 cancel | slot | | |
//! | 4 connect | call | timeout | |
//! | 5 cancel connect | call | | |
//! | 6 disconnect | call | timeout | |
//! | 7 ping | call | | |
//! | 8 ready | call | payload bytes to make room for | |
//! | 9 consume server requests | | 1 on, 0 off | |
//! | 10 server request done | epoch | low half of its id | `length` is the high half |
//! | 11 observe messages | | 1 on, 0 off | |
//!
//! A slot names a request until its last record, and is used again afterwards; the generation counts
//! the uses, so a record or a cancellation of an earlier use never matches. It is 0 where the id is
//! not a slot. Calls count up. A timeout is in milliseconds, 2^32 - 1 for none, 2^32 - 2 for the
//! usual one. With 256 added to operations 1 and 2 the payload is not in the batch: it was staged
//! before, and the entry is the last of its batch.
//!
//! An entry of a record: `kind, id, head, length, generation`, then `head` bytes, filled up, then
//! `length` bytes.
//!
//! | kind | id | head | bytes |
//! | --- | --- | --- | --- |
//! | 1 answered | slot | | result |
//! | 2 failed | slot | failure as JSON | |
//! | 3 failed, goes on as detached | slot | failure as JSON | |
//! | 4 late answer | slot | | result |
//! | 5 late failure | slot | failure as JSON | |
//! | 6 call done | call | | |
//! | 7 call failed | call | failure as JSON | |
//! | 8 pong | call | milliseconds, a double | |
//! | 9 server request | epoch | its id and its time (ms), 64 bits each | payload |
//! | 10 a new epoch: server requests of others are void | epoch | | |
//! | 11 event | | event as JSON | payload of its message, if it has one |
//! | 12 the driver rests | | | |
//! | 13 the driver broke | | | |
//!
//! With 256 added to the kind the bytes are not there, but to be taken one by one, in order.

/// Bytes of a header.
pub(crate) const HEADER: usize = 20;

/// Added to an operation or a kind whose bytes are elsewhere.
pub(crate) const BESIDE: u32 = 256;

/// A timeout that never comes.
pub(crate) const NEVER: u32 = u32::MAX;

/// The timeout that is usual for what is asked.
pub(crate) const USUAL: u32 = u32::MAX - 1;

/// Chunks of records are no longer than this, but for a single record with a long head.
pub(crate) const CHUNK: usize = 8 << 10;

/// Longer bytes are not put into a chunk, which small ones would keep alive.
pub(crate) const MAX_INLINE: usize = 4 << 10;

/// What the length of the next chunk is multiplied by where two lengths are one number.
const NEXT: f64 = 4_294_967_296.0;

/// The length of a chunk and that of the next one, as one number; the second is told as less where both do not fit.
pub(crate) fn lengths(chunk: usize, next: usize) -> f64 {
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
    f64::from(chunk) + NEXT * (next.min(1 << 20) as f64)
}

pub(crate) mod operation {
    pub(crate) const COMMAND: u32 = 1;
    pub(crate) const QUERY: u32 = 2;
    pub(crate) const CANCEL: u32 = 3;
    pub(crate) const CONNECT: u32 = 4;
    pub(crate) const CANCEL_CONNECT: u32 = 5;
    pub(crate) const DISCONNECT: u32 = 6;
    pub(crate) const PING: u32 = 7;
    pub(crate) const READY: u32 = 8;
    pub(crate) const CONSUME: u32 = 9;
    pub(crate) const SERVER_REQUEST_DONE: u32 = 10;
    pub(crate) const OBSERVE: u32 = 11;
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Answered = 1,
    Failed = 2,
    Detached = 3,
    LateAnswer = 4,
    LateFailure = 5,
    CallDone = 6,
    CallFailed = 7,
    Pong = 8,
    ServerRequest = 9,
    Epoch = 10,
    Event = 11,
    Rests = 12,
    Broke = 13,
}

/// What a record is about: a call, an epoch, or one use of a request's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) number: u32,
    /// Counts the uses of a slot; 0 for anything else.
    pub(crate) generation: u32,
}

impl From<u32> for Id {
    fn from(number: u32) -> Self {
        Self { number, generation: 0 }
    }
}

/// One entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) operation: u32,
    pub(crate) id: u32,
    pub(crate) argument: u32,
    pub(crate) length: u32,
    /// Which use of the slot `id` is meant.
    pub(crate) generation: u32,
    /// Where its bytes begin in the batch.
    pub(crate) at: usize,
}

/// Reads one entry at `at`, and tells where the next one begins. `None` at the end, or where what
/// is there is no entry.
pub(crate) fn read(batch: &[u8], at: usize) -> Option<(Entry, usize)> {
    let header = batch.get(at..)?.first_chunk::<HEADER>()?;
    let word = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[4 * index..4 * index + 4]);
        u32::from_ne_bytes(bytes)
    };
    let entry = Entry {
        operation: word(0),
        id: word(1),
        argument: word(2),
        length: word(3),
        generation: word(4),
        at: at + HEADER,
    };
    let inside = matches!(entry.operation, operation::COMMAND | operation::QUERY);
    let length = if inside { entry.length as usize } else { 0 };
    let next = padded(entry.at.checked_add(length)?);
    (entry.at + length <= batch.len()).then_some((entry, next))
}

/// Appends a record; `length` bytes are beside it if `bytes` is `None`.
pub(crate) fn write(
    out: &mut Vec<u8>,
    kind: Kind,
    id: Id,
    head: &[u8],
    bytes: Option<&[u8]>,
    length: usize,
) {
    let kind = kind as u32 | if bytes.is_none() { BESIDE } else { 0 };
    let (head_length, length) = (head.len() as u32, length as u32);
    for word in [kind, id.number, head_length, length, id.generation] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out.extend_from_slice(head);
    out.resize(padded(out.len()), 0);
    if let Some(bytes) = bytes {
        out.extend_from_slice(bytes);
        out.resize(padded(out.len()), 0);
    }
}

pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(words: [u32; 5], bytes: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        out.extend_from_slice(bytes);
        out.resize(padded(out.len()), 0);
        out
    }

    #[test]
    fn entries_follow_each_other_at_multiples_of_four() {
        let mut batch = entry([operation::COMMAND, 7, 0, 5, 3], b"hello");
        batch.extend(entry([operation::CANCEL, 7, 0, 0, 3], b""));
        let (first, next) = read(&batch, 0).unwrap();
        assert_eq!((first.operation, first.id, first.length, first.at), (1, 7, 5, HEADER));
        assert_eq!((first.generation, next), (3, 28));
        let (second, next) = read(&batch, next).unwrap();
        assert_eq!((second.operation, second.id), (operation::CANCEL, 7));
        assert_eq!(read(&batch, next), None);
    }

    #[test]
    fn an_entry_that_is_cut_off_is_none() {
        let batch = entry([operation::COMMAND, 7, 0, 5, 3], b"hello");
        for end in 0..HEADER + 5 {
            assert_eq!(read(&batch[..end], 0), None, "{end}");
        }
    }

    #[test]
    fn the_high_half_of_an_id_is_no_length() {
        let batch = entry([operation::SERVER_REQUEST_DONE, 1, 2, 9, 0], b"");
        assert_eq!(read(&batch, 0).unwrap().1, HEADER);
    }

    #[test]
    fn bytes_beside_a_batch_are_not_looked_for_in_it() {
        let batch = entry([operation::COMMAND | BESIDE, 7, 0, 100_000, 3], b"");
        assert_eq!(read(&batch, 0).unwrap().1, HEADER);
    }

    #[test]
    fn records_are_filled_up_after_head_and_bytes() {
        let mut out = Vec::new();
        write(&mut out, Kind::Event, Id::from(3), b"head!", Some(b"b"), 1);
        assert_eq!(out.len(), HEADER + 8 + 4);
        write(&mut out, Kind::Answered, Id { number: 3, generation: 9 }, b"", None, 9);
        assert_eq!(out.len(), HEADER + 8 + 4 + HEADER);
    }
}
