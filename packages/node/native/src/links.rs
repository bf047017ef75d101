//! What a client in JavaScript and its driver share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use zraft_client::binding::core::{StateName, Stats};
use zraft_client::{MemberId, SessionId};

use crate::layout::{self, CHUNK, operation};

/// Calls JavaScript, without arguments.
pub(crate) type WakeFunction = ThreadsafeFunction<(), (), (), Status, false, true, 0>;

/// With so many chunks waiting, or so many bytes with what goes beside them, no event is made of what happens: the machine
/// keeps a number of them, and counts the rest.
const CROWD: usize = 512;
const CROWD_BYTES: usize = 64 << 20;

/// So many emptied chunks are kept to be filled again.
const SPARE: usize = 16;

/// Locks. What the mutexes of this crate guard is whole between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch as it came, and the payload of its last entry if that came beside it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) entries: Bytes,
    pub(crate) beside: Bytes,
}

impl Batch {
    /// A batch that asks to disconnect at once, for nobody.
    pub(crate) fn disconnect() -> Self {
        let words = [operation::DISCONNECT, 0, 0, 0, 0];
        let entries: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        Self { entries: entries.into(), beside: Bytes::new() }
    }

    /// Whether there is one entry, with all that belongs to it.
    pub(crate) fn is_single(&self) -> bool {
        let next = layout::read(&self.entries, 0).map(|(_, next)| next);
        next == Some(self.entries.len()) && self.beside.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) batches: VecDeque<Batch>,
    /// Wakes the driver; there is one only while it sleeps.
    pub(crate) sleeper: Option<Waker>,
    /// The driver broke: nothing is taken any more.
    pub(crate) closed: bool,
}

/// Records on their way to JavaScript.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes that go beside records, in order.
    beside: VecDeque<Bytes>,
    /// Bytes of both.
    bytes: usize,
    spare: Vec<Vec<u8>>,
    /// JavaScript has been called and has not seen the end of the chunks since.
    called: bool,
    /// The driver has events that it kept back.
    kept_back: bool,
}

impl Outbox {
    fn take(&mut self, room: usize) -> Result<Option<(Vec<u8>, usize)>, usize> {
        match self.chunks.front() {
            Some(chunk) if chunk.len() > room => return Err(chunk.len()),
            _ => {}
        }
        let chunk = self.chunks.pop_front();
        let next = self.chunks.front().map_or(0, Vec::len);
        // What comes until then is seen without another call.
        self.called &= chunk.is_some();
        let Some(chunk) = chunk else { return Ok(None) };
        self.bytes -= chunk.len();
        Ok(Some((chunk, next)))
    }

    /// The next bytes that go beside a record.
    pub(crate) fn take_beside(&mut self) -> Option<Bytes> {
        let bytes = self.beside.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Keeps no memory for later.
    pub(crate) fn shrink(&mut self) {
        self.spare = Vec::new();
        self.chunks.shrink_to_fit();
        self.beside.shrink_to_fit();
    }

    /// Gives an emptied chunk back.
    pub(crate) fn recycle(&mut self, mut chunk: Vec<u8>) {
        if self.spare.len() < SPARE && chunk.capacity() <= 2 * CHUNK {
            chunk.clear();
            self.spare.push(chunk);
        }
    }
}

/// What the driver last told about itself.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) state: StateName,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) member_id: Option<MemberId>,
    pub(crate) stats: Stats,
}

pub(crate) struct Links {
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) facts: Mutex<Facts>,
    /// There while a driver runs.
    pub(crate) wake: Mutex<Option<WakeFunction>>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            facts: Mutex::new(Facts {
                state: StateName::Disconnected,
                session_id: None,
                member_id: None,
                stats: Stats::default(),
            }),
            wake: Mutex::default(),
        }
    }

    /// Adds records, and calls JavaScript unless it has been called already. `chunk` comes back
    /// empty.
    pub(crate) fn deliver(&self, chunk: &mut Vec<u8>, beside: &mut VecDeque<Bytes>) {
        let call = {
            let mut outbox = lock(&self.outbox);
            outbox.bytes += chunk.len() + beside.iter().map(Bytes::len).sum::<usize>();
            outbox.beside.append(beside);
            match outbox.chunks.back_mut() {
                Some(last) if last.len() + chunk.len() <= CHUNK => {
                    last.append(chunk);
                }
                _ => {
                    let empty = outbox.spare.pop().unwrap_or_default();
                    outbox.chunks.push_back(std::mem::replace(chunk, empty));
                }
            }
            !std::mem::replace(&mut outbox.called, true)
        };
        if call && let Some(wake) = &*lock(&self.wake) {
            // A loop that is closing hears nothing any more.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Whether so much waits for JavaScript, with these bytes that are to follow, that events are to be kept back. The
    /// driver is woken when there is room.
    pub(crate) fn is_crowded(&self, more: usize) -> bool {
        let mut outbox = lock(&self.outbox);
        outbox.kept_back = outbox.chunks.len() >= CROWD || outbox.bytes + more >= CROWD_BYTES;
        outbox.kept_back
    }

    /// Whether events that were kept back are still to be: asked by a driver that can be woken.
    pub(crate) fn is_still_crowded(&self) -> bool {
        lock(&self.outbox).kept_back
    }

    /// There is no session any more, since there is no driver.
    pub(crate) fn forget_session(&self) {
        let mut facts = lock(&self.facts);
        facts.state = StateName::Disconnected;
        facts.session_id = None;
        facts.member_id = None;
    }

    /// The next chunk, if it is no longer than `room`, with the length of the one after it; else its length.
    pub(crate) fn take(&self, room: usize) -> Result<Option<(Vec<u8>, usize)>, usize> {
        let mut outbox = lock(&self.outbox);
        let taken = outbox.take(room);
        if outbox.kept_back && outbox.chunks.is_empty() {
            outbox.kept_back = false;
            drop(outbox);
            if let Some(sleeper) = lock(&self.inbox).sleeper.take() {
                sleeper.wake();
            }
        }
        taken
    }

    /// Hands a batch to the driver, and gives what wakes it if it sleeps. `None` if the driver broke.
    #[must_use = "the driver is to be woken"]
    pub(crate) fn push(&self, batch: Batch) -> Option<Option<Waker>> {
        let mut inbox = lock(&self.inbox);
        if inbox.closed {
            return None;
        }
        inbox.batches.push_back(batch);
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
            for word in [operation::COMMAND, 0, 0, length, 0] {
                entries.extend_from_slice(&word.to_ne_bytes());
            }
            entries.resize(layout::padded(entries.len() + length as usize), 7);
        }
        Batch { entries: entries.into(), beside: Bytes::new() }
    }

    fn delivered(links: &Links, length: usize, beside: usize) {
        let beside = Bytes::from(vec![7; beside]);
        links.deliver(&mut vec![7; length], &mut VecDeque::from([beside]));
    }

    #[test]
    fn what_goes_beside_records_crowds_until_it_is_taken() {
        let links = Links::new();
        delivered(&links, 16, 40 << 20);
        assert!(!links.is_crowded(0));
        assert!(links.is_crowded(24 << 20));
        delivered(&links, 16, 24 << 20);
        assert!(links.is_crowded(0) && links.is_still_crowded());
        assert_eq!(lock(&links.outbox).take_beside().map(|bytes| bytes.len()), Some(40 << 20));
        assert!(!links.is_crowded(0));
        assert!(links.take(CHUNK).is_ok_and(|taken| taken.is_some()));
        assert!(lock(&links.outbox).take_beside().is_some());
        assert_eq!(lock(&links.outbox).bytes, 0);
    }

    #[test]
    fn who_was_crowded_is_not_any_more_when_all_chunks_are_taken() {
        let links = Links::new();
        for _ in 0..CROWD {
            delivered(&links, CHUNK, 0);
        }
        assert!(links.is_crowded(0));
        while links.take(CHUNK).is_ok_and(|taken| taken.is_some()) {}
        assert!(!links.is_still_crowded());
    }

    #[test]
    fn a_batch_of_one_entry_is_single() {
        assert!(batch(&[5]).is_single());
        assert!(Batch::disconnect().is_single());
    }

    #[test]
    fn a_batch_of_none_or_more_or_with_bytes_beside_it_is_not_single() {
        assert!(!batch(&[]).is_single());
        assert!(!batch(&[5, 5]).is_single());
        assert!(!Batch { beside: Bytes::from_static(b"b"), ..batch(&[5]) }.is_single());
    }
}
