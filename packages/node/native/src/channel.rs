//! Inbox, outbox and status: what a client in JavaScript and its driver share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use zraft_client::binding::core::{MemberList, StateName, Stats};
use zraft_client::{MemberId, SessionId};

use crate::layout::{self, CHUNK, Operation};

/// Wakes JavaScript. It has no arguments.
pub(crate) type WakeFunction = ThreadsafeFunction<(), (), (), Status, false, true, 0>;

/// The outbox is crowded with this many chunks, 4 MiB: more than an event loop that keeps up ever lets wait. No event is
/// written to a crowded outbox; the machine keeps a limited number of events and counts the rest.
const CROWD: usize = 512;
/// The outbox is crowded with this many bytes, including bytes outside of chunks: room for four messages of the default
/// greatest length.
const CROWD_BYTES: usize = 64 << 20;

/// The length of the batches into which a long one is split.
const SPLIT: usize = 16 << 10;

/// The most empty chunks that are kept for reuse: 256 KiB at most.
const SPARE: usize = 16;

/// Locks a mutex, also after a panic: the data of this crate's mutexes is consistent between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch of entries.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) entries: Bytes,
    /// The payload of the last entry, if that is out of line.
    pub(crate) staged: Bytes,
}

impl Batch {
    /// Returns a batch that disconnects at once and whose call no one waits for.
    pub(crate) fn disconnect() -> Self {
        let mut entries = Vec::new();
        layout::push_entry(&mut entries, Operation::Disconnect, 0, 0);
        Self { entries: entries.into(), staged: Bytes::new() }
    }

    /// Copies entries into batches of a few entries each. A payload keeps its batch alive until it is answered, so one batch
    /// would keep the memory of all payloads until the last is answered.
    pub(crate) fn split(entries: &[u8]) -> Vec<Self> {
        let mut batches = Vec::with_capacity(entries.len() / SPLIT + 1);
        let (mut from, mut at) = (0, 0);
        let mut cut = |from: &mut usize, to: usize| {
            if let Some(entries) = entries.get(*from..to).filter(|entries| !entries.is_empty()) {
                let entries = Bytes::copy_from_slice(entries);
                batches.push(Self { entries, staged: Bytes::new() });
            }
            *from = to;
        };
        while let Some((_, next)) = layout::read(entries, at) {
            // A long payload has its own batch.
            if next - from > SPLIT {
                cut(&mut from, at);
            }
            at = next;
        }
        cut(&mut from, at.min(entries.len()));
        batches
    }

    /// Returns true if the batch is one entry with its payload inside.
    pub(crate) fn is_single(&self) -> bool {
        let next = layout::read(&self.entries, 0).map(|(_, next)| next);
        next == Some(self.entries.len()) && self.staged.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) batches: VecDeque<Batch>,
    /// Wakes the driver. `None` unless it sleeps.
    pub(crate) sleeper: Option<Waker>,
    /// True once the driver has crashed: batches are refused.
    pub(crate) closed: bool,
}

/// Records on their way to JavaScript.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of records that are outside of chunks, in order.
    out_of_line: VecDeque<Bytes>,
    /// All bytes, in chunks and outside.
    bytes: usize,
    spare: Vec<Vec<u8>>,
    /// JavaScript was woken and has not found the outbox empty since.
    is_woken: bool,
    /// The driver holds events back because the outbox is crowded.
    holds_back: bool,
}

impl Outbox {
    fn take(&mut self, room: usize) -> Result<Option<(Vec<u8>, usize)>, usize> {
        match self.chunks.front() {
            Some(chunk) if chunk.len() > room => return Err(chunk.len()),
            _ => {}
        }
        let chunk = self.chunks.pop_front();
        let next = self.chunks.front().map_or(0, Vec::len);
        // Until the outbox is found empty, JavaScript takes new chunks without being woken again.
        self.is_woken &= chunk.is_some();
        let Some(chunk) = chunk else { return Ok(None) };
        self.bytes -= chunk.len();
        Ok(Some((chunk, next)))
    }

    /// Takes the next bytes that are outside of chunks.
    pub(crate) fn take_out_of_line(&mut self) -> Option<Bytes> {
        let bytes = self.out_of_line.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Frees all memory that is kept for reuse.
    pub(crate) fn shrink(&mut self) {
        self.spare = Vec::new();
        self.chunks.shrink_to_fit();
        self.out_of_line.shrink_to_fit();
    }

    /// Keeps a chunk that was taken for reuse.
    pub(crate) fn recycle(&mut self, mut chunk: Vec<u8>) {
        if self.spare.len() < SPARE && chunk.capacity() <= 2 * CHUNK {
            chunk.clear();
            self.spare.push(chunk);
        }
    }
}

/// The client's status, as the driver last published it.
#[derive(Debug)]
pub(crate) struct ClientStatus {
    pub(crate) state: StateName,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) member_id: Option<MemberId>,
    pub(crate) stats: Stats,
}

/// The two-way channel between a client in JavaScript and its driver.
pub(crate) struct Channel {
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) status: Mutex<ClientStatus>,
    /// The members that the application gave last, until the driver takes them.
    pub(crate) members: Mutex<Option<MemberList>>,
    /// `None` once the client is abandoned.
    pub(crate) wake: Mutex<Option<WakeFunction>>,
}

impl Channel {
    pub(crate) fn new() -> Self {
        Self {
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            status: Mutex::new(ClientStatus {
                state: StateName::Disconnected,
                session_id: None,
                member_id: None,
                stats: Stats::default(),
            }),
            members: Mutex::default(),
            wake: Mutex::default(),
        }
    }

    /// Adds records to the outbox and wakes JavaScript, unless it is awake. Leaves `chunk` and `out_of_line` empty.
    pub(crate) fn deliver(&self, chunk: &mut Vec<u8>, out_of_line: &mut VecDeque<Bytes>) {
        let must_wake = {
            let mut outbox = lock(&self.outbox);
            outbox.bytes += chunk.len() + out_of_line.iter().map(Bytes::len).sum::<usize>();
            outbox.out_of_line.append(out_of_line);
            match outbox.chunks.back_mut() {
                Some(last) if last.len() + chunk.len() <= CHUNK => {
                    last.append(chunk);
                }
                _ => {
                    let empty = outbox.spare.pop().unwrap_or_default();
                    outbox.chunks.push_back(std::mem::replace(chunk, empty));
                }
            }
            !std::mem::replace(&mut outbox.is_woken, true)
        };
        if must_wake && let Some(wake) = &*lock(&self.wake) {
            // Fails only if the event loop is closing.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Returns true if the outbox, with `more` bytes, is crowded, so that the driver must hold events back. The driver is
    /// woken when JavaScript has taken all chunks.
    pub(crate) fn is_crowded(&self, more: usize) -> bool {
        let mut outbox = lock(&self.outbox);
        outbox.holds_back = outbox.chunks.len() >= CROWD || outbox.bytes + more >= CROWD_BYTES;
        outbox.holds_back
    }

    /// Returns true if the outbox is still crowded. The driver calls this once it has left a waker.
    pub(crate) fn is_still_crowded(&self) -> bool {
        lock(&self.outbox).holds_back
    }

    /// Publishes that there is no session, because the driver has ended.
    pub(crate) fn clear_session(&self) {
        let mut status = lock(&self.status);
        status.state = StateName::Disconnected;
        status.session_id = None;
        status.member_id = None;
    }

    /// Takes the next chunk and returns it with the length of the one after it.
    ///
    /// # Errors
    /// The chunk's length, if that is more than `room`.
    pub(crate) fn take(&self, room: usize) -> Result<Option<(Vec<u8>, usize)>, usize> {
        let mut outbox = lock(&self.outbox);
        let taken = outbox.take(room);
        if outbox.holds_back && outbox.chunks.is_empty() {
            outbox.holds_back = false;
            drop(outbox);
            if let Some(sleeper) = lock(&self.inbox).sleeper.take() {
                sleeper.wake();
            }
        }
        taken
    }

    /// Adds a batch to the inbox and returns the driver's waker if the driver sleeps. Returns `None` if the driver has
    /// crashed.
    #[must_use = "the driver must be woken"]
    pub(crate) fn push(&self, batch: Batch) -> Option<Option<Waker>> {
        self.push_all([batch])
    }

    /// As [`push`](Self::push), for several batches under one lock.
    #[must_use = "the driver must be woken"]
    pub(crate) fn push_all(
        &self,
        batches: impl IntoIterator<Item = Batch>,
    ) -> Option<Option<Waker>> {
        let mut inbox = lock(&self.inbox);
        if inbox.closed {
            return None;
        }
        inbox.batches.extend(batches);
        Some(inbox.sleeper.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands with payloads of these lengths.
    fn batch(lengths: &[u32]) -> Batch {
        let mut entries = Vec::new();
        for &length in lengths {
            for word in [Operation::Command as u32, 0, 0, length, 0] {
                entries.extend_from_slice(&word.to_ne_bytes());
            }
            entries.resize(layout::padded(entries.len() + length as usize), 7);
        }
        Batch { entries: entries.into(), staged: Bytes::new() }
    }

    fn deliver(channel: &Channel, length: usize, out_of_line: usize) {
        let out_of_line = Bytes::from(vec![7; out_of_line]);
        channel.deliver(&mut vec![7; length], &mut VecDeque::from([out_of_line]));
    }

    #[test]
    fn out_of_line_bytes_crowd_the_outbox_until_they_are_taken() {
        let channel = Channel::new();
        deliver(&channel, 16, 40 << 20);
        assert!(!channel.is_crowded(0));
        assert!(channel.is_crowded(24 << 20));
        deliver(&channel, 16, 24 << 20);
        assert!(channel.is_crowded(0) && channel.is_still_crowded());
        assert_eq!(
            lock(&channel.outbox).take_out_of_line().map(|bytes| bytes.len()),
            Some(40 << 20)
        );
        assert!(!channel.is_crowded(0));
        assert!(channel.take(CHUNK).is_ok_and(|taken| taken.is_some()));
        assert!(lock(&channel.outbox).take_out_of_line().is_some());
        assert_eq!(lock(&channel.outbox).bytes, 0);
    }

    #[test]
    fn the_outbox_is_not_crowded_once_all_chunks_are_taken() {
        let channel = Channel::new();
        for _ in 0..CROWD {
            deliver(&channel, CHUNK, 0);
        }
        assert!(channel.is_crowded(0));
        while channel.take(CHUNK).is_ok_and(|taken| taken.is_some()) {}
        assert!(!channel.is_still_crowded());
    }

    #[test]
    fn a_long_batch_is_split_between_entries_and_loses_none() {
        let lengths: Vec<_> = (0..500).map(|index| index * 7 % 400).chain([100_000, 3]).collect();
        let long = batch(&lengths).entries;
        let parts = Batch::split(&long);
        assert!(parts.len() > 5);
        assert_eq!(parts.iter().flat_map(|part| part.entries.to_vec()).collect::<Vec<_>>(), long);
        for part in &parts {
            assert!(part.entries.len() <= SPLIT || part.is_single());
        }
        assert!(Batch::split(&[]).is_empty());
        assert_eq!(Batch::split(&batch(&[5]).entries).len(), 1);
    }

    #[test]
    fn batches_that_are_pushed_together_wake_the_driver_once() {
        let channel = Channel::new();
        lock(&channel.inbox).sleeper = Some(Waker::noop().clone());
        assert!(
            channel
                .push_all(Batch::split(&batch(&[9_000; 8]).entries))
                .is_some_and(|waker| waker.is_some())
        );
        assert_eq!(lock(&channel.inbox).batches.len(), 8);
        lock(&channel.inbox).closed = true;
        assert!(channel.push_all([batch(&[1])]).is_none());
    }

    #[test]
    fn a_batch_of_one_entry_is_single() {
        assert!(batch(&[5]).is_single());
        assert!(Batch::disconnect().is_single());
    }

    #[test]
    fn a_batch_of_no_entry_or_of_several_or_with_a_staged_payload_is_not_single() {
        assert!(!batch(&[]).is_single());
        assert!(!batch(&[5, 5]).is_single());
        assert!(!Batch { staged: Bytes::from_static(b"b"), ..batch(&[5]) }.is_single());
    }
}
