//! Backpressure: whether a request may be queued, and which submissions wait for room.
//!
//! The machine that holds the requests belongs to the driver. The handles therefore keep an account of its load: what
//! it held when the driver last reported, plus what was submitted since. The account is never below the true load, so
//! a request that the account has room for is accepted by the machine.

use std::collections::BTreeMap;
use std::task::Waker;

use zraft_core::Admission;

/// A number of requests and their payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

impl Load {
    pub(crate) fn one(bytes: usize) -> Self {
        Self { requests: 1, bytes }
    }

    /// Counts one more request.
    pub(crate) fn add(&mut self, bytes: usize) {
        *self = self.plus(Self::one(bytes));
    }

    #[inline]
    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    #[inline]
    fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The place of a submission in the queue of submissions that wait for room. Older tickets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A submission that waits for room and then takes it.
#[derive(Debug)]
struct WaitingSubmission {
    bytes: usize,
    waker: Waker,
}

/// Identifies a watcher: a `ready()` future that waits until a payload of `bytes` would be accepted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchKey {
    /// The first field, so that the watcher that needs the least room sorts first.
    bytes: usize,
    number: u64,
}

/// The account of the queue's load, with the submissions and watchers that wait for room.
#[derive(Debug)]
pub(crate) struct Backpressure {
    admission: Admission,
    /// What the machine held when the driver last reported.
    held: Load,
    /// What the driver took from the inbox then. The machine may not have it yet.
    taken: Load,
    /// What lies in the inbox.
    inbox: Load,
    /// Room granted to submissions that waited and have not used it yet.
    granted: Load,
    /// The sum of held, taken and granted.
    outside_inbox: Load,
    waiting: BTreeMap<Ticket, WaitingSubmission>,
    watching: BTreeMap<WatchKey, Waker>,
    /// The number of the next ticket or watcher.
    next_number: u64,
    /// The length that [`Backpressure::try_take`] refused last, until there is room for it.
    refused: Option<usize>,
}

impl Backpressure {
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            admission,
            held: Load::default(),
            taken: Load::default(),
            inbox: Load::default(),
            granted: Load::default(),
            outside_inbox: Load::default(),
            waiting: BTreeMap::new(),
            watching: BTreeMap::new(),
            next_number: 0,
            refused: None,
        }
    }

    fn occupied(&self) -> Load {
        self.outside_inbox.plus(self.inbox)
    }

    fn update_outside_inbox(&mut self) {
        self.outside_inbox = self.held.plus(self.taken).plus(self.granted);
    }

    #[inline]
    fn fits(&self, bytes: usize) -> bool {
        let occupied = self.occupied();
        self.admission.has_room(occupied.requests, occupied.bytes, bytes)
    }

    /// Returns true if [`Backpressure::take_in_turn`] would take room for a payload of this length.
    #[inline]
    fn would_take(&self, bytes: usize) -> bool {
        self.waiting.is_empty() && self.fits(bytes)
    }

    /// Takes room for a request that goes into the inbox. Returns false if there is no room, or if submissions wait
    /// for room already: no caller overtakes them.
    #[inline]
    pub(crate) fn take_in_turn(&mut self, bytes: usize) -> bool {
        let taken = self.would_take(bytes);
        if taken {
            self.inbox = self.inbox.plus(Load::one(bytes));
        }
        taken
    }

    /// Does the same as [`Backpressure::take_in_turn`] for a caller that does not wait. The next `ready()` waits for
    /// room for the length that this refuses.
    #[inline]
    pub(crate) fn try_take(&mut self, bytes: usize) -> bool {
        let taken = self.take_in_turn(bytes);
        self.refused = if taken { None } else { Some(bytes) };
        taken
    }

    /// Returns the length that was refused last. `None` if another payload was taken since, or if a `ready()` saw
    /// room for the refused one.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Adds a submission of this many bytes to the queue for room.
    pub(crate) fn wait(&mut self, bytes: usize, waker: &Waker) -> Ticket {
        let ticket = Ticket(self.take_number());
        self.waiting.insert(ticket, WaitingSubmission { bytes, waker: waker.clone() });
        ticket
    }

    /// Returns `None` if room for a payload of this length would be taken now. Otherwise keeps the waker until it would
    /// be, and returns the key for the next call.
    pub(crate) fn watch(
        &mut self,
        bytes: usize,
        key: Option<WatchKey>,
        waker: &Waker,
    ) -> Option<WatchKey> {
        if self.would_take(bytes) {
            self.stop_watching(key);
            if self.refused.is_some_and(|refused| refused <= bytes) {
                self.refused = None;
            }
            return None;
        }
        let key = key.unwrap_or_else(|| WatchKey { bytes, number: self.take_number() });
        self.watching.insert(key, waker.clone());
        Some(key)
    }

    /// Removes a watcher. It holds no room, so no one else can go on because of it.
    pub(crate) fn stop_watching(&mut self, key: Option<WatchKey>) {
        if let Some(key) = key {
            self.watching.remove(&key);
        }
    }

    /// Returns true if the ticket was granted its room. Otherwise keeps the waker.
    pub(crate) fn poll_turn(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        match self.waiting.get_mut(&ticket) {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                false
            }
            None => true,
        }
    }

    /// Moves room that was granted to a waiting submission to its request in the inbox.
    pub(crate) fn use_granted(&mut self, bytes: usize) {
        self.granted = self.granted.minus(Load::one(bytes));
        self.update_outside_inbox();
        self.inbox = self.inbox.plus(Load::one(bytes));
    }

    /// Returns room that was granted and is not needed any more.
    pub(crate) fn return_granted(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.granted = self.granted.minus(Load::one(bytes));
        self.update_outside_inbox();
        self.grant(woken);
    }

    /// Removes a submission that waits. Returns false if it was granted its room already.
    pub(crate) fn stop_waiting(&mut self, ticket: Ticket, woken: &mut Vec<Waker>) -> bool {
        let was_waiting = self.waiting.remove(&ticket).is_some();
        if was_waiting {
            // Smaller submissions behind it may fit.
            self.grant(woken);
        }
        was_waiting
    }

    /// Returns the load in the inbox.
    pub(crate) fn in_inbox(&self) -> Load {
        self.inbox
    }

    /// Notes that a request left the inbox before the driver took it.
    pub(crate) fn withdraw(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.inbox = self.inbox.minus(Load::one(bytes));
        self.grant(woken);
    }

    /// Notes that the driver takes this load out of the inbox, and what the machine holds now.
    pub(crate) fn update(&mut self, held: Load, taken: Load, woken: &mut Vec<Waker>) {
        self.held = held;
        self.inbox = self.inbox.minus(taken);
        self.taken = taken;
        self.update_outside_inbox();
        self.grant(woken);
    }

    /// Notes that the driver has ended and holds nothing any more. Every waiting submission and watcher is woken and
    /// finds that out.
    pub(crate) fn reset(&mut self, woken: &mut Vec<Waker>) {
        self.held = Load::default();
        self.taken = Load::default();
        self.inbox = Load::default();
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.granted = self.granted.plus(Load::one(waiting.bytes));
            woken.push(waiting.waker);
        }
        woken.extend(std::mem::take(&mut self.watching).into_values());
        self.update_outside_inbox();
    }

    /// Grants room to the waiting submissions in order; no submission overtakes one that does not fit yet. Then wakes
    /// the watchers whose payloads fit into the rest.
    fn grant(&mut self, woken: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry() {
            let bytes = first.get().bytes;
            if !self.fits(bytes) {
                return;
            }
            if let Some((_, waiting)) = self.waiting.pop_first() {
                woken.push(waiting.waker);
            }
            self.granted = self.granted.plus(Load::one(bytes));
            self.update_outside_inbox();
        }
        while let Some((first, _)) = self.watching.first_key_value() {
            if !self.fits(first.bytes) {
                return;
            }
            woken.extend(self.watching.pop_first().map(|(_, waker)| waker));
        }
    }
}

#[cfg(test)]
mod tests {
    use zraft_core::Config;

    use super::*;

    fn limits_of_2_requests_and_100_bytes() -> Backpressure {
        let config = Config::builder()
            .member("node-1", "tcp://127.0.0.1:1")
            .capability("kind", "test")
            .max_queued(2)
            .max_queued_bytes(100);
        Backpressure::new(config.build().unwrap().admission())
    }

    fn held(requests: usize, bytes: usize) -> Load {
        Load { requests, bytes }
    }

    /// The driver takes the whole inbox, and the machine holds this much.
    fn take_inbox(room: &mut Backpressure, held: Load, woken: &mut Vec<Waker>) {
        room.update(held, room.in_inbox(), woken);
    }

    #[test]
    fn requests_and_bytes_are_both_limited() {
        let mut room = limits_of_2_requests_and_100_bytes();
        assert!(room.take_in_turn(10) && room.take_in_turn(10));
        assert!(!room.take_in_turn(10), "two requests are the limit");
        let mut room = self::limits_of_2_requests_and_100_bytes();
        assert!(room.take_in_turn(60));
        assert!(!room.take_in_turn(41), "a hundred bytes are the limit");
        assert!(room.take_in_turn(40));
        assert!(!room.would_take(1));
    }

    #[test]
    fn taken_requests_count_until_the_driver_reports_what_the_machine_holds() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(1) && room.take_in_turn(1));
        take_inbox(&mut room, held(0, 0), &mut woken);
        assert!(!room.take_in_turn(1), "the driver has both, and the machine may have neither");
        take_inbox(&mut room, held(1, 1), &mut woken);
        assert!(room.take_in_turn(1), "one was sent in the meantime");
        assert!(!room.take_in_turn(1));
    }

    #[test]
    fn requests_that_the_driver_leaves_in_the_inbox_still_count() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(10) && room.take_in_turn(20));
        room.update(held(0, 0), held(1, 10), &mut woken);
        assert_eq!(room.occupied(), held(2, 30));
        room.update(held(0, 0), held(1, 20), &mut woken);
        assert_eq!(room.occupied(), held(1, 20));
    }

    #[test]
    fn request_withdrawn_from_the_inbox_makes_room_for_the_next() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(90));
        let ticket = room.wait(20, Waker::noop());
        room.withdraw(90, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.poll_turn(ticket, Waker::noop()));
    }

    #[test]
    fn waiting_submissions_get_room_in_order_and_smaller_ones_do_not_overtake() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.wait(50, Waker::noop());
        let small = room.wait(5, Waker::noop());
        assert!(!room.take_in_turn(1), "other submissions wait");
        take_inbox(&mut room, held(1, 60), &mut woken);
        assert!(!room.poll_turn(large, Waker::noop()) && !room.poll_turn(small, Waker::noop()));
        take_inbox(&mut room, held(0, 0), &mut woken);
        assert_eq!(woken.len(), 2);
        assert!(room.poll_turn(large, Waker::noop()) && room.poll_turn(small, Waker::noop()));
        assert!(!room.take_in_turn(1), "the room is granted, though not used yet");
        room.use_granted(50);
        room.use_granted(5);
        assert_eq!(room.occupied(), held(2, 55));
    }

    #[test]
    fn returned_room_goes_to_the_next_submission() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(100));
        let first = room.wait(100, Waker::noop());
        let second = room.wait(100, Waker::noop());
        take_inbox(&mut room, held(0, 0), &mut woken);
        take_inbox(&mut room, held(0, 0), &mut woken);
        assert!(room.poll_turn(first, Waker::noop()) && !room.poll_turn(second, Waker::noop()));
        room.return_granted(100, &mut woken);
        assert!(room.poll_turn(second, Waker::noop()));
        assert_eq!(woken.len(), 2);
    }

    #[test]
    fn submission_that_stops_waiting_lets_the_next_one_through() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.wait(50, Waker::noop());
        let small = room.wait(5, Waker::noop());
        assert!(room.stop_waiting(large, &mut woken));
        assert!(room.poll_turn(small, Waker::noop()));
        assert!(!room.stop_waiting(small, &mut woken), "it was granted its room");
    }

    #[test]
    fn watcher_takes_no_room_and_is_woken_when_its_length_fits() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.watch(50, None, Waker::noop());
        let small = room.watch(30, None, Waker::noop());
        assert!(large.is_some(), "there is no room for it yet");
        assert!(small.is_none(), "there is room for it, though the larger one waits");
        take_inbox(&mut room, held(1, 60), &mut woken);
        take_inbox(&mut room, held(1, 60), &mut woken);
        assert!(woken.is_empty());
        take_inbox(&mut room, held(1, 50), &mut woken);
        assert_eq!(woken.len(), 1);
        assert_eq!(room.watch(50, large, Waker::noop()), None);
        assert_eq!(room.occupied(), held(1, 50));
        assert!(room.take_in_turn(50));
    }

    #[test]
    fn watcher_waits_on_if_another_caller_takes_the_room_first() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(100));
        let key = room.watch(50, None, Waker::noop());
        take_inbox(&mut room, held(0, 0), &mut woken);
        take_inbox(&mut room, held(0, 0), &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.take_in_turn(60));
        assert_eq!(room.watch(50, key, Waker::noop()), key, "it watches again");
        room.withdraw(60, &mut woken);
        assert_eq!(woken.len(), 2);
        assert_eq!(room.watch(50, key, Waker::noop()), None);
    }

    #[test]
    fn watcher_is_not_ready_while_submissions_wait() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(60));
        let submission = room.wait(50, Waker::noop());
        let key = room.watch(1, None, Waker::noop());
        assert!(key.is_some() && !room.try_take(1), "the submission is not overtaken");
        assert!(room.stop_waiting(submission, &mut woken));
        assert_eq!(woken.len(), 1, "the watcher");
        assert_eq!(room.watch(1, key, Waker::noop()), None);
        assert!(room.try_take(1));
    }

    #[test]
    fn dropped_watcher_is_removed() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(100));
        let key = room.watch(1, None, Waker::noop());
        room.stop_watching(key);
        room.withdraw(100, &mut woken);
        assert!(woken.is_empty());
    }

    #[test]
    fn last_refused_length_is_kept_until_there_is_room_for_it() {
        let mut room = limits_of_2_requests_and_100_bytes();
        assert_eq!(room.refused(), None);
        assert!(room.try_take(60));
        assert!(!room.try_take(70) && !room.try_take(50));
        assert_eq!(room.refused(), Some(50));
        assert_eq!(room.watch(40, None, Waker::noop()), None);
        assert_eq!(room.refused(), Some(50), "there is room only for less");
        room.withdraw(60, &mut Vec::new());
        assert_eq!(room.watch(50, None, Waker::noop()), None);
        assert_eq!(room.refused(), None);
        assert!(!room.try_take(101) && room.try_take(1));
        assert_eq!(room.refused(), None, "another payload was taken since");
    }

    #[test]
    fn every_waiter_is_woken_when_the_driver_ends() {
        let (mut room, mut woken) = (limits_of_2_requests_and_100_bytes(), Vec::new());
        assert!(room.take_in_turn(100));
        let ticket = room.wait(100, Waker::noop());
        let key = room.watch(1, None, Waker::noop());
        room.reset(&mut woken);
        assert_eq!(woken.len(), 2);
        assert!(room.poll_turn(ticket, Waker::noop()));
        room.return_granted(100, &mut woken);
        assert_eq!(room.watch(1, key, Waker::noop()), None);
        assert_eq!(room.occupied(), held(0, 0));
    }
}
