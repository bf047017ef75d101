//! Calls: the slots through which the driver hands answers to waiting futures, one slot per request.
//!
//! All slots lie in one table behind the inbox's lock. The driver hands over many answers under one lock, and a request
//! needs no allocation for its slot.

use std::num::NonZeroU32;
use std::task::Waker;

use bytes::Bytes;

use crate::error::Error;

/// Names a slot, by its index plus one. The slot is reused once both the future and the driver are done with it.
///
/// Zero is left for `None`, so that an [`Answer`](crate::Answer) is two words that are moved in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(NonZeroU32);

impl CallId {
    #[inline]
    fn new(index: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index as u32))
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A table with more slots than this frees its memory when it becomes empty. 4,096 slots are more than the default
/// window needs, so only a burst of queued requests grows the table beyond it.
const KEPT_SLOTS: usize = 1 << 12;

/// A slot. An answer and an error are separate fields, so that nothing is packed and unpacked on an answer's way.
#[derive(Debug)]
struct Slot {
    state: SlotState,
    /// The number of the input that asks for the answer. In a free slot, the number in the [`CallId`] of the
    /// next free one, or 0.
    number: u64,
    waker: Option<Waker>,
    answer: Option<Bytes>,
    error: Option<Box<Error>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Free,
    /// The answer has not arrived.
    Waiting,
    Answered,
    /// The future was dropped, but the driver does not know yet.
    Dropped,
}

/// What a dropped future leaves behind. The caller drops it without a lock held, because dropping a waker runs code
/// of the application's runtime.
#[derive(Debug)]
pub(crate) enum DroppedCall {
    /// The answer had arrived.
    Answered { _answer: Option<Bytes>, _error: Option<Box<Error>> },
    /// The answer had not arrived.
    Waiting {
        /// The number of the input that asked for it.
        input: u64,
        _waker: Option<Waker>,
    },
}

/// The result of polling a call. It is kept small because every request passes it through several functions.
#[derive(Debug)]
pub(crate) enum Polled {
    /// The answer has not arrived. The caller drops the replaced waker without a lock held.
    Pending {
        _replaced: Option<Waker>,
    },
    Answered(Bytes),
    Failed(Box<Error>),
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    slots: Vec<Slot>,
    first_free: Option<CallId>,
    used: usize,
}

impl Calls {
    /// Opens a slot for the answer that the input with this number asks for.
    #[inline]
    pub(crate) fn open(&mut self, input: u64) -> CallId {
        self.used += 1;
        if let Some(id) = self.first_free {
            let slot = &mut self.slots[id.index()];
            self.first_free = NonZeroU32::new(slot.number as u32).map(CallId);
            slot.number = input;
            slot.state = SlotState::Waiting;
            return id;
        }
        let state = SlotState::Waiting;
        self.slots.push(Slot { state, number: input, waker: None, answer: None, error: None });
        CallId::new(self.slots.len() - 1)
    }

    /// Frees a slot whose contents were taken.
    #[inline]
    fn close(&mut self, id: CallId) {
        let slot = &mut self.slots[id.index()];
        slot.state = SlotState::Free;
        slot.number = self.first_free.map_or(0, |next| u64::from(next.0.get()));
        self.first_free = Some(id);
        self.used -= 1;
        if self.used == 0 && self.slots.len() > KEPT_SLOTS {
            *self = Self::default();
        }
    }

    /// Takes the answer if it has arrived, and frees the slot. Otherwise keeps the waker.
    #[inline(always)]
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> Polled {
        let slot = &mut self.slots[id.index()];
        if slot.state == SlotState::Waiting {
            let kept = slot.waker.as_ref().is_some_and(|kept| kept.will_wake(waker));
            let replaced = if kept { None } else { slot.waker.replace(waker.clone()) };
            return Polled::Pending { _replaced: replaced };
        }
        let (answer, error) = (slot.answer.take(), slot.error.take());
        self.close(id);
        match (answer, error) {
            (Some(answer), _) => Polled::Answered(answer),
            (None, Some(error)) => Polled::Failed(error),
            (None, None) => Polled::Pending { _replaced: None },
        }
    }

    /// Stores the driver's answer. The caller wakes the returned waker without a lock held.
    #[inline(always)]
    pub(crate) fn answer(
        &mut self,
        id: CallId,
        result: Result<Bytes, Box<Error>>,
    ) -> Option<Waker> {
        let slot = &mut self.slots[id.index()];
        if slot.state != SlotState::Waiting {
            if slot.state == SlotState::Dropped {
                self.close(id);
            }
            return None;
        }
        slot.state = SlotState::Answered;
        match result {
            Ok(answer) => slot.answer = Some(answer),
            Err(error) => slot.error = Some(error),
        }
        slot.waker.take()
    }

    /// Notes that the future was dropped before it took the answer.
    ///
    /// After [`DroppedCall::Waiting`] the caller must tell the driver, or withdraw the input and call
    /// [`Calls::free_dropped`].
    pub(crate) fn drop_call(&mut self, id: CallId) -> DroppedCall {
        let slot = &mut self.slots[id.index()];
        if slot.state == SlotState::Waiting {
            slot.state = SlotState::Dropped;
            return DroppedCall::Waiting { input: slot.number, _waker: slot.waker.take() };
        }
        let answered =
            DroppedCall::Answered { _answer: slot.answer.take(), _error: slot.error.take() };
        self.close(id);
        answered
    }

    /// Frees the slot of a dropped call whose input never reached the driver.
    pub(crate) fn free_dropped(&mut self, id: CallId) {
        self.close(id);
    }

    /// Returns the number of the call's input, or `None` if the answer has arrived or the future was dropped.
    pub(crate) fn waiting_input(&self, id: CallId) -> Option<u64> {
        let slot = &self.slots[id.index()];
        (slot.state == SlotState::Waiting).then_some(slot.number)
    }

    /// Returns true if the future was dropped.
    pub(crate) fn is_dropped(&self, id: CallId) -> bool {
        self.slots[id.index()].state == SlotState::Dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(calls: &mut Calls, id: CallId) -> Polled {
        calls.poll(id, Waker::noop())
    }

    #[test]
    fn answer_is_taken_once_and_its_slot_is_reused() {
        let mut calls = Calls::default();
        let (first, second) = (calls.open(0), calls.open(1));
        assert_ne!(first, second);
        assert!(matches!(take(&mut calls, first), Polled::Pending { _replaced: None }));
        assert!(calls.answer(first, Ok(Bytes::from_static(b"yes"))).is_some());
        let Polled::Answered(answer) = take(&mut calls, first) else { panic!() };
        assert_eq!(answer, "yes");
        assert_eq!(calls.open(2), first);
        assert!(
            calls.answer(second, Err(Box::new(Error::NotConnected))).is_none(),
            "no future polled it"
        );
        let Polled::Failed(error) = take(&mut calls, second) else { panic!() };
        assert!(matches!(*error, Error::NotConnected));
    }

    #[test]
    fn slot_of_a_dropped_call_is_kept_until_the_driver_answers() {
        let mut calls = Calls::default();
        let id = calls.open(7);
        assert!(matches!(calls.drop_call(id), DroppedCall::Waiting { input: 7, .. }));
        assert!(calls.is_dropped(id));
        assert_ne!(calls.open(8), id);
        assert!(calls.answer(id, Ok(Bytes::new())).is_none());
        assert_eq!(calls.open(9), id);
    }

    #[test]
    fn drop_after_the_answer_frees_the_slot_at_once() {
        let mut calls = Calls::default();
        let id = calls.open(0);
        calls.answer(id, Ok(Bytes::new()));
        assert!(matches!(calls.drop_call(id), DroppedCall::Answered { _answer: Some(_), .. }));
        assert_eq!(calls.open(1), id);
    }

    #[test]
    fn memory_of_a_burst_is_freed_when_no_call_is_left() {
        let mut calls = Calls::default();
        let ids: Vec<_> = (0..KEPT_SLOTS as u64 + 1).map(|input| calls.open(input)).collect();
        for id in ids {
            calls.answer(id, Ok(Bytes::new()));
            assert!(matches!(take(&mut calls, id), Polled::Answered(_)));
        }
        assert_eq!(calls.slots.capacity(), 0);
        assert_eq!(calls.open(0), CallId::new(0));
    }
}
