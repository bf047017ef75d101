//! The outputs that wait until the driver takes them.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::{Action, Completion};
use crate::{
    RequestKey,
    event::{Event, Events},
};

/// Room for this many completions, and for their batches, is kept while there are none: more than a turn of a busy driver
/// makes. A queue that a mass of failures made larger is given back.
const KEPT_COMPLETIONS: usize = 1 << 14;

#[derive(Debug, Default)]
pub(super) struct Outputs {
    actions: VecDeque<Action>,
    completions: VecDeque<Waiting>,
    /// The bytes that the answers in `completions` lie in, in the same order.
    batches: VecDeque<Batch>,
    /// How many of those answers lie in bytes that are being read.
    reading: usize,
    events: Events,
}

/// A completion that waits. Answers are the bulk, so they are small and stay in the bytes that were received.
#[derive(Debug)]
enum Waiting {
    /// The answer to a request, at this place in the first batch.
    Answer {
        key: RequestKey,
        place: Range<usize>,
    },
    Other(Box<Completion>),
}

/// Bytes that were received together, with the number of answers in them that wait.
#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    answers: usize,
}

impl Outputs {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn complete(&mut self, completion: Completion) {
        self.completions.push_back(Waiting::Other(Box::new(completion)));
    }

    /// Completes a request by an answer in the bytes that are being read. [`answers_lie_in`](Self::answers_lie_in) follows
    /// before the next completion is taken.
    #[inline]
    pub(super) fn answer(&mut self, key: RequestKey, place: Range<usize>) {
        self.reading += 1;
        self.completions.push_back(Waiting::Answer { key, place });
    }

    /// Says which bytes were read: the answers since the last call lie in them.
    pub(super) fn answers_lie_in(&mut self, bytes: Bytes) {
        let answers = std::mem::take(&mut self.reading);
        if answers > 0 {
            self.batches.push_back(Batch { bytes, answers });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Returns true if every message makes an event.
    #[inline]
    pub(super) fn observes_messages(&self) -> bool {
        self.events.messages
    }

    pub(super) fn observe_messages(&mut self, on: bool) {
        self.events.messages = on;
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns true if a completion waits.
    #[inline]
    pub(super) fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Returns the next completion if it is an answer.
    #[inline]
    pub(super) fn next_answer(&mut self) -> Option<(RequestKey, Bytes)> {
        let Some(Waiting::Answer { key, place }) = self.completions.front() else { return None };
        let batch = self.batches.front_mut()?;
        let answer = (*key, batch.bytes.slice(place.clone()));
        batch.answers -= 1;
        if batch.answers == 0 {
            self.batches.pop_front();
            zraft_zmtp::memory::release_queue(&mut self.batches, KEPT_COMPLETIONS);
        }
        self.take_first();
        Some(answer)
    }

    pub(super) fn next_completion(&mut self) -> Option<Completion> {
        if let Some((key, answer)) = self.next_answer() {
            return Some(Completion::Request { key, result: Ok(answer), detached: false });
        }
        match self.take_first() {
            Some(Waiting::Other(completion)) => Some(*completion),
            // Taken above.
            Some(Waiting::Answer { .. }) | None => None,
        }
    }

    #[inline]
    fn take_first(&mut self) -> Option<Waiting> {
        let first = self.completions.pop_front();
        zraft_zmtp::memory::release_queue(&mut self.completions, KEPT_COMPLETIONS);
        first
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop()
    }
}
