//! The places where answers are handed over: one for each request that somebody waits for.
//!
//! All of them lie in one table behind the inbox's lock, so that the driver hands over many
//! answers under one lock, and a request costs no allocation of its own.

use std::task::Waker;

use bytes::Bytes;

use crate::error::Error;

/// Names a place. It is used again once both the future and the driver are done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(u32);

impl CallId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A table that grew beyond this is given back when nothing is left in it.
const KEPT: usize = 1 << 12;

/// The end of the list of free places.
const NONE: u32 = u32::MAX;

/// A place. Its fields are taken out one by one: nothing is put together and taken apart again on
/// the way of an answer.
#[derive(Debug)]
struct Place {
    stage: Stage,
    /// The number of the input that asks for the answer; of a free place, the next one.
    number: u64,
    waker: Option<Waker>,
    answer: Option<Bytes>,
    error: Option<Box<Error>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Free,
    /// The answer is still to come.
    Waiting,
    Answered,
    /// Nobody waits any more, but the driver does not know yet.
    Left,
}

/// What a future that goes away leaves behind. Dropped when no lock is held: a waker's end is
/// not ours.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// The answer was there.
    Done { _answer: Option<Bytes>, _error: Option<Box<Error>> },
    /// The answer was still to come.
    Early {
        /// The number of the input that asked for it.
        input: u64,
        _waker: Option<Waker>,
    },
}

/// What polling finds. Small, for it is handed from one to the other for each request.
#[derive(Debug)]
pub(crate) enum Polled {
    /// With a waker that is no longer used, to be dropped when no lock is held.
    Pending {
        _unused: Option<Waker>,
    },
    Answered(Bytes),
    Failed(Box<Error>),
}

#[derive(Debug)]
pub(crate) struct Calls {
    places: Vec<Place>,
    free: u32,
    used: usize,
}

impl Default for Calls {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE, used: 0 }
    }
}

impl Calls {
    /// A place for the answer that the input of the given number asks for.
    #[inline]
    pub(crate) fn open(&mut self, input: u64) -> CallId {
        self.used += 1;
        if let Some(place) = self.places.get_mut(self.free as usize) {
            let id = CallId(self.free);
            self.free = place.number as u32;
            place.number = input;
            place.stage = Stage::Waiting;
            return id;
        }
        let stage = Stage::Waiting;
        self.places.push(Place { stage, number: input, waker: None, answer: None, error: None });
        CallId(self.places.len() as u32 - 1)
    }

    /// Frees a place of which all was taken.
    #[inline]
    fn close(&mut self, id: CallId) {
        let place = &mut self.places[id.index()];
        place.stage = Stage::Free;
        place.number = u64::from(self.free);
        self.free = id.0;
        self.used -= 1;
        if self.used == 0 && self.places.len() > KEPT {
            *self = Self::default();
        }
    }

    /// The answer, once.
    #[inline(always)]
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> Polled {
        let place = &mut self.places[id.index()];
        if place.stage == Stage::Waiting {
            let kept = place.waker.as_ref().is_some_and(|kept| kept.will_wake(waker));
            let unused = if kept { None } else { place.waker.replace(waker.clone()) };
            return Polled::Pending { _unused: unused };
        }
        let (answer, error) = (place.answer.take(), place.error.take());
        self.close(id);
        match (answer, error) {
            (Some(answer), _) => Polled::Answered(answer),
            (None, Some(error)) => Polled::Failed(error),
            (None, None) => Polled::Pending { _unused: None },
        }
    }

    /// The driver brings the answer. The waker is to be woken when no lock is held.
    #[inline(always)]
    pub(crate) fn answer(
        &mut self,
        id: CallId,
        result: Result<Bytes, Box<Error>>,
    ) -> Option<Waker> {
        let place = &mut self.places[id.index()];
        if place.stage != Stage::Waiting {
            if place.stage == Stage::Left {
                self.close(id);
            }
            return None;
        }
        place.stage = Stage::Answered;
        match result {
            Ok(answer) => place.answer = Some(answer),
            Err(error) => place.error = Some(error),
        }
        place.waker.take()
    }

    /// The future goes away before it took the answer. Early: the driver is to be told, by
    /// [`Calls::forget`] or by taking its input back.
    pub(crate) fn leave(&mut self, id: CallId) -> Leaving {
        let place = &mut self.places[id.index()];
        if place.stage == Stage::Waiting {
            place.stage = Stage::Left;
            return Leaving::Early { input: place.number, _waker: place.waker.take() };
        }
        let done = Leaving::Done { _answer: place.answer.take(), _error: place.error.take() };
        self.close(id);
        done
    }

    /// The input of a place that was left never reached the driver.
    pub(crate) fn forget(&mut self, id: CallId) {
        self.close(id);
    }

    /// The number of the input whose answer is still to come.
    pub(crate) fn waits_for(&self, id: CallId) -> Option<u64> {
        let place = &self.places[id.index()];
        (place.stage == Stage::Waiting).then_some(place.number)
    }

    /// Whether the future went away.
    pub(crate) fn is_left(&self, id: CallId) -> bool {
        self.places[id.index()].stage == Stage::Left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(calls: &mut Calls, id: CallId) -> Polled {
        calls.poll(id, Waker::noop())
    }

    #[test]
    fn an_answer_is_given_once_and_its_place_is_used_again() {
        let mut calls = Calls::default();
        let (first, second) = (calls.open(0), calls.open(1));
        assert_ne!(first, second);
        assert!(matches!(take(&mut calls, first), Polled::Pending { _unused: None }));
        assert!(calls.answer(first, Ok(Bytes::from_static(b"yes"))).is_some());
        let Polled::Answered(answer) = take(&mut calls, first) else { panic!() };
        assert_eq!(answer, "yes");
        assert_eq!(calls.open(2), first);
        assert!(
            calls.answer(second, Err(Box::new(Error::NotConnected))).is_none(),
            "nobody polled it"
        );
        let Polled::Failed(error) = take(&mut calls, second) else { panic!() };
        assert!(matches!(*error, Error::NotConnected));
    }

    #[test]
    fn a_place_that_was_left_is_kept_until_the_driver_has_done_with_it() {
        let mut calls = Calls::default();
        let id = calls.open(7);
        assert!(matches!(calls.leave(id), Leaving::Early { input: 7, .. }));
        assert!(calls.is_left(id));
        assert_ne!(calls.open(8), id);
        assert!(calls.answer(id, Ok(Bytes::new())).is_none());
        assert_eq!(calls.open(9), id);
    }

    #[test]
    fn leaving_after_the_answer_frees_the_place_at_once() {
        let mut calls = Calls::default();
        let id = calls.open(0);
        calls.answer(id, Ok(Bytes::new()));
        assert!(matches!(calls.leave(id), Leaving::Done { _answer: Some(_), .. }));
        assert_eq!(calls.open(1), id);
    }

    #[test]
    fn the_room_of_a_burst_is_given_back_when_it_is_over() {
        let mut calls = Calls::default();
        let ids: Vec<_> = (0..KEPT as u64 + 1).map(|input| calls.open(input)).collect();
        for id in ids {
            calls.answer(id, Ok(Bytes::new()));
            assert!(matches!(take(&mut calls, id), Polled::Answered(_)));
        }
        assert_eq!(calls.places.capacity(), 0);
        assert_eq!(calls.open(0), CallId(0));
    }
}
