//! The layout of batches (from JavaScript) and records (to JavaScript).
//!
//! Both are sequences of entries. An entry begins at a multiple of four bytes with a header of five words of 32 bits, in the
//! machine's own byte order. Its bytes follow, padded to a multiple of four. `layout.ts` has the same items in the same order;
//! a test of the TypeScript half compares the two.
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
//! | 8 ready | call | payload bytes that must have room | |
//! | 9 consume server requests | | 1 on, 0 off | |
//! | 10 server request done | epoch | low half of its id | none: `length` is the high half |
//! | 11 observe messages | | 1 on, 0 off | |
//! | 12 take the members that were staged last | | | |
//!
//! A slot names a request until its last record and is reused afterwards. The generation counts the uses of a slot, so a
//! record or a cancellation of an earlier use matches no later one. It is 0 where the id is not a slot. The numbers of calls
//! count up. A timeout is in milliseconds; 2^32 - 1 means none, 2^32 - 2 the operation's default. If 256 is added to operation
//! 1 or 2, the payload is not in the batch: it was staged before, and the entry is the last of its batch.
//!
//! A record: `kind, id, head, length, generation`, then `head` bytes, padded, then `length` bytes.
//!
//! | kind | id | head | bytes |
//! | --- | --- | --- | --- |
//! | 1 answered | slot | | answer |
//! | 2 failed | slot | failure as JSON | |
//! | 3 failed, and tracked as detached | slot | failure as JSON | |
//! | 4 late answer | slot | | answer |
//! | 5 late failure | slot | failure as JSON | |
//! | 6 call done | call | | |
//! | 7 call failed | call | failure as JSON | |
//! | 8 pong | call | milliseconds, a double | |
//! | 9 server request | epoch | its id and its time (ms), 64 bits each | payload |
//! | 10 a new epoch: server requests of other epochs are void | epoch | | |
//! | 11 event | | event as JSON | payload of its message, if it has one |
//! | 12 the driver is parked | | | |
//! | 13 the driver crashed | | | |
//!
//! If 256 is added to the kind, the bytes are not in the chunk: JavaScript takes them one by one, in order.

/// Bytes of a header: five words of 32 bits.
pub(crate) const HEADER: usize = 20;

/// Added to an operation or a kind whose bytes are outside the batch or chunk.
pub(crate) const OUT_OF_LINE: u32 = 256;

/// A timeout that never passes.
pub(crate) const NO_TIMEOUT: u32 = u32::MAX;

/// The default timeout of the operation.
pub(crate) const DEFAULT_TIMEOUT: u32 = u32::MAX - 1;

/// The greatest length of a chunk of records, except for a chunk of one record with a long head. Small: an answer that
/// JavaScript keeps keeps its chunk alive.
pub(crate) const CHUNK: usize = 8 << 10;

/// Longer bytes travel outside the batch or chunk, which they would keep alive. Half a chunk.
pub(crate) const MAX_INLINE: usize = 4 << 10;

/// The factor of the next chunk's length where two lengths are one number: 2^32, so that the first one fits below it.
pub(crate) const NEXT: f64 = 4_294_967_296.0;

/// The next chunk's length is clamped to this, so that both lengths fit in the 53 bits of a double's integers.
const MAX_NEXT: usize = 1 << 20;

/// Packs the lengths of a chunk and of the next one into one `f64`; the second is clamped to 1 MiB.
pub(crate) fn lengths(chunk: usize, next: usize) -> f64 {
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
    f64::from(chunk) + NEXT * (next.min(MAX_NEXT) as f64)
}

/// What JavaScript asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Operation {
    Command = 1,
    Query = 2,
    Cancel = 3,
    Connect = 4,
    CancelConnect = 5,
    Disconnect = 6,
    Ping = 7,
    Ready = 8,
    Consume = 9,
    ServerRequestDone = 10,
    Observe = 11,
    Members = 12,
}

impl Operation {
    /// All operations in the order of their numbers, which are 1, 2, 3, …
    pub(crate) const ALL: [Self; 12] = [
        Self::Command,
        Self::Query,
        Self::Cancel,
        Self::Connect,
        Self::CancelConnect,
        Self::Disconnect,
        Self::Ping,
        Self::Ready,
        Self::Consume,
        Self::ServerRequestDone,
        Self::Observe,
        Self::Members,
    ];

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

/// What a record reports.
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
    Parked = 12,
    Crashed = 13,
}

impl Kind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Answered,
        Self::Failed,
        Self::Detached,
        Self::LateAnswer,
        Self::LateFailure,
        Self::CallDone,
        Self::CallFailed,
        Self::Pong,
        Self::ServerRequest,
        Self::Epoch,
        Self::Event,
        Self::Parked,
        Self::Crashed,
    ];
}

/// What happened to a batch that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Pushed {
    /// The driver runs and has the batch.
    Running = 0,
    /// The driver is parked. The batch is settled and its records can be taken.
    Settled = 1,
    /// The driver has ended, and nothing was taken.
    Ended = 2,
}

impl Pushed {
    pub(crate) const ALL: [Self; 3] = [Self::Running, Self::Settled, Self::Ended];
}

/// The subject of a record: a call, an epoch, or one use of a request's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) number: u32,
    /// The use of the slot; 0 for a call or an epoch.
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
    /// `None` for a number that is not an operation.
    pub(crate) operation: Option<Operation>,
    /// True if the payload was staged and is not in the batch.
    pub(crate) is_out_of_line: bool,
    pub(crate) id: u32,
    pub(crate) argument: u32,
    pub(crate) length: u32,
    /// The use of the slot `id`.
    pub(crate) generation: u32,
    /// The place of its bytes in the batch.
    pub(crate) at: usize,
}

/// Reads the entry at `at`. Returns it with the place of the next one, or `None` at the end or where the entry is cut off.
pub(crate) fn read(batch: &[u8], at: usize) -> Option<(Entry, usize)> {
    let header = batch.get(at..)?.first_chunk::<HEADER>()?;
    let word = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[4 * index..4 * index + 4]);
        u32::from_ne_bytes(bytes)
    };
    let entry = Entry {
        operation: Operation::from_number(word(0) & !OUT_OF_LINE),
        is_out_of_line: word(0) & OUT_OF_LINE != 0,
        id: word(1),
        argument: word(2),
        length: word(3),
        generation: word(4),
        at: at + HEADER,
    };
    let has_bytes = matches!(entry.operation, Some(Operation::Command | Operation::Query));
    let length = if has_bytes && !entry.is_out_of_line { entry.length as usize } else { 0 };
    let next = padded(entry.at.checked_add(length)?);
    (entry.at + length <= batch.len()).then_some((entry, next))
}

/// Appends an entry without bytes to a batch.
pub(crate) fn push_entry(batch: &mut Vec<u8>, operation: Operation, id: u32, argument: u32) {
    for word in [operation as u32, id, argument, 0, 0] {
        batch.extend_from_slice(&word.to_ne_bytes());
    }
}

/// Appends a record. If `bytes` is `None`, its `length` bytes are outside the chunk.
pub(crate) fn write(
    out: &mut Vec<u8>,
    kind: Kind,
    id: Id,
    head: &[u8],
    bytes: Option<&[u8]>,
    length: usize,
) {
    let kind = kind as u32 | if bytes.is_none() { OUT_OF_LINE } else { 0 };
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

/// Rounds a length up to a multiple of four.
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
        let mut batch = entry([Operation::Command as u32, 7, 0, 5, 3], b"hello");
        batch.extend(entry([Operation::Cancel as u32, 7, 0, 0, 3], b""));
        let (first, next) = read(&batch, 0).unwrap();
        assert_eq!(first.operation, Some(Operation::Command));
        assert_eq!((first.id, first.length, first.at), (7, 5, HEADER));
        assert_eq!((first.generation, next), (3, 28));
        let (second, next) = read(&batch, next).unwrap();
        assert_eq!((second.operation, second.id), (Some(Operation::Cancel), 7));
        assert_eq!(read(&batch, next), None);
    }

    #[test]
    fn an_entry_that_is_cut_off_is_not_read() {
        let batch = entry([Operation::Command as u32, 7, 0, 5, 3], b"hello");
        for end in 0..HEADER + 5 {
            assert_eq!(read(&batch[..end], 0), None, "{end}");
        }
    }

    #[test]
    fn the_high_half_of_a_request_id_is_not_taken_for_a_length() {
        let batch = entry([Operation::ServerRequestDone as u32, 1, 2, 9, 0], b"");
        assert_eq!(read(&batch, 0).unwrap().1, HEADER);
    }

    #[test]
    fn out_of_line_bytes_take_no_room_in_the_batch() {
        let batch = entry([Operation::Command as u32 | OUT_OF_LINE, 7, 0, 100_000, 3], b"");
        assert_eq!(read(&batch, 0).unwrap().1, HEADER);
    }

    #[test]
    fn head_and_bytes_of_a_record_are_padded() {
        let mut out = Vec::new();
        write(&mut out, Kind::Event, Id::from(3), b"head!", Some(b"b"), 1);
        assert_eq!(out.len(), HEADER + 8 + 4);
        write(&mut out, Kind::Answered, Id { number: 3, generation: 9 }, b"", None, 9);
        assert_eq!(out.len(), HEADER + 8 + 4 + HEADER);
    }

    #[test]
    fn operations_are_found_by_their_numbers() {
        for (operation, number) in Operation::ALL.into_iter().zip(1..) {
            assert_eq!(operation as u32, number);
            assert_eq!(Operation::from_number(number), Some(operation));
        }
        let beyond = Operation::ALL.len() as u32 + 1;
        assert_eq!((Operation::from_number(0), Operation::from_number(beyond)), (None, None));
    }
}
