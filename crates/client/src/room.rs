//! Who may queue a request, and who waits for room.
//!
//! The machine that holds the requests belongs to the driver, so the handles keep an account of
//! its load: what it held when the driver last told, plus what was handed in since. The account
//! is never below the truth; what fits here fits there.

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

    /// One request more.
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

/// A submission's place in the line of those that wait for room. Older tickets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A submission that waits for room, and takes it.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    waker: Waker,
}

/// Names a watcher: a `ready()` that waits until a payload of `bytes` would be taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchKey {
    /// First, so that the watcher that needs the least room comes first.
    bytes: usize,
    number: u64,
}

/// The account.
#[derive(Debug)]
pub(crate) struct Room {
    admission: Admission,
    /// What the machine held when the driver last told.
    held: Load,
    /// What the driver took from the inbox then, and may not have told the machine yet.
    taken: Load,
    /// What lies in the inbox.
    inbox: Load,
    /// Room given to those who waited and have not come to use it yet.
    granted: Load,
    /// Held, taken and granted together.
    elsewhere: Load,
    waiting: BTreeMap<Ticket, Waiting>,
    watching: BTreeMap<WatchKey, Waker>,
    /// Counts tickets and watchers.
    next_number: u64,
    /// The length that [`Room::take_in_turn`] refused last, until there is room for it.
    refused: Option<usize>,
}

impl Room {
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            admission,
            held: Load::default(),
            taken: Load::default(),
            inbox: Load::default(),
            granted: Load::default(),
            elsewhere: Load::default(),
            waiting: BTreeMap::new(),
            watching: BTreeMap::new(),
            next_number: 0,
            refused: None,
        }
    }

    fn occupied(&self) -> Load {
        self.elsewhere.plus(self.inbox)
    }

    /// What does not lie in the inbox has changed.
    fn add_up(&mut self) {
        self.elsewhere = self.held.plus(self.taken).plus(self.granted);
    }

    #[inline]
    fn fits(&self, bytes: usize) -> bool {
        let occupied = self.occupied();
        self.admission.has_room(occupied.requests, occupied.bytes, bytes)
    }

    /// Returns true if [`Room::take_in_turn`] would take a payload of this length.
    #[inline]
    fn takes(&self, bytes: usize) -> bool {
        self.waiting.is_empty() && self.fits(bytes)
    }

    /// Takes room for a request that goes into the inbox. Returns false if there is none, or if
    /// submissions wait for it already: no caller overtakes them.
    #[inline]
    pub(crate) fn take_in_turn(&mut self, bytes: usize) -> bool {
        let takes = self.takes(bytes);
        if takes {
            self.inbox = self.inbox.plus(Load::one(bytes));
        }
        takes
    }

    /// As [`Room::take_in_turn`], for a caller that does not wait: the next `ready()` waits for
    /// what this refuses.
    #[inline]
    pub(crate) fn try_take(&mut self, bytes: usize) -> bool {
        let takes = self.take_in_turn(bytes);
        self.refused = if takes { None } else { Some(bytes) };
        takes
    }

    /// The length that was refused last, while no other was taken since and no `ready()` saw room
    /// for it.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Waits for room for a request of this many bytes.
    pub(crate) fn wait(&mut self, bytes: usize, waker: &Waker) -> Ticket {
        let ticket = Ticket(self.number());
        self.waiting.insert(ticket, Waiting { bytes, waker: waker.clone() });
        ticket
    }

    /// Returns `None` if a payload of this length would be taken now. Otherwise the waker is kept
    /// until it would be, and the key is for the next call.
    pub(crate) fn watch(
        &mut self,
        bytes: usize,
        key: Option<WatchKey>,
        waker: &Waker,
    ) -> Option<WatchKey> {
        if self.takes(bytes) {
            self.stop_watching(key);
            if self.refused.is_some_and(|refused| refused <= bytes) {
                self.refused = None;
            }
            return None;
        }
        let key = key.unwrap_or_else(|| WatchKey { bytes, number: self.number() });
        self.watching.insert(key, waker.clone());
        Some(key)
    }

    /// Forgets a watcher. Nobody waits for what it waited for: it takes no room.
    pub(crate) fn stop_watching(&mut self, key: Option<WatchKey>) {
        if let Some(key) = key {
            self.watching.remove(&key);
        }
    }

    /// Whether a ticket's turn has come; until then the waker is kept for it.
    pub(crate) fn poll_turn(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        match self.waiting.get_mut(&ticket) {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                false
            }
            None => true,
        }
    }

    /// Turns room that was granted to one who waited into a request in the inbox.
    pub(crate) fn redeem(&mut self, bytes: usize) {
        self.granted = self.granted.minus(Load::one(bytes));
        self.add_up();
        self.inbox = self.inbox.plus(Load::one(bytes));
    }

    /// Gives back room that was granted and is not wanted any more.
    pub(crate) fn give_back(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.granted = self.granted.minus(Load::one(bytes));
        self.add_up();
        self.grant(woken);
    }

    /// Stops waiting. False: the turn had come already.
    pub(crate) fn stop_waiting(&mut self, ticket: Ticket, woken: &mut Vec<Waker>) -> bool {
        let was_waiting = self.waiting.remove(&ticket).is_some();
        if was_waiting {
            // It may have stood before smaller ones that fit.
            self.grant(woken);
        }
        was_waiting
    }

    /// What lies in the inbox.
    pub(crate) fn in_inbox(&self) -> Load {
        self.inbox
    }

    /// A request leaves the inbox before the driver took it.
    pub(crate) fn withdraw(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.inbox = self.inbox.minus(Load::one(bytes));
        self.grant(woken);
    }

    /// The driver takes so much out of the inbox, and tells what the machine holds by now.
    pub(crate) fn settle(&mut self, held: Load, taken: Load, woken: &mut Vec<Waker>) {
        self.held = held;
        self.inbox = self.inbox.minus(taken);
        self.taken = taken;
        self.add_up();
        self.grant(woken);
    }

    /// The driver is gone with all it held. Whoever waits is woken to find that out.
    pub(crate) fn reset(&mut self, woken: &mut Vec<Waker>) {
        self.held = Load::default();
        self.taken = Load::default();
        self.inbox = Load::default();
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.granted = self.granted.plus(Load::one(waiting.bytes));
            woken.push(waiting.waker);
        }
        woken.extend(std::mem::take(&mut self.watching).into_values());
        self.add_up();
    }

    /// Gives room to the submissions that wait, in order; one that does not fit yet is not
    /// overtaken. Then wakes the watchers of what room is left.
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
            self.add_up();
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

    fn room() -> Room {
        let config = Config::builder()
            .member("node-1", "tcp://127.0.0.1:1")
            .capability("kind", "test")
            .max_queued(2)
            .max_queued_bytes(100);
        Room::new(config.build().unwrap().admission())
    }

    fn held(requests: usize, bytes: usize) -> Load {
        Load { requests, bytes }
    }

    /// The driver takes all.
    fn settle(room: &mut Room, held: Load, woken: &mut Vec<Waker>) {
        room.settle(held, room.in_inbox(), woken);
    }

    #[test]
    fn requests_and_bytes_both_count() {
        let mut room = room();
        assert!(room.take_in_turn(10) && room.take_in_turn(10));
        assert!(!room.take_in_turn(10), "two requests are the limit");
        let mut room = self::room();
        assert!(room.take_in_turn(60));
        assert!(!room.take_in_turn(41), "a hundred bytes are the limit");
        assert!(room.take_in_turn(40));
        assert!(!room.takes(1));
    }

    #[test]
    fn what_the_driver_took_counts_until_it_tells_what_the_machine_holds() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(1) && room.take_in_turn(1));
        settle(&mut room, held(0, 0), &mut woken);
        assert!(!room.take_in_turn(1), "both are in the driver's hands");
        settle(&mut room, held(1, 1), &mut woken);
        assert!(room.take_in_turn(1), "one was sent meanwhile");
        assert!(!room.take_in_turn(1));
    }

    #[test]
    fn what_the_driver_leaves_in_the_inbox_goes_on_counting() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(10) && room.take_in_turn(20));
        room.settle(held(0, 0), held(1, 10), &mut woken);
        assert_eq!(room.occupied(), held(2, 30));
        room.settle(held(0, 0), held(1, 20), &mut woken);
        assert_eq!(room.occupied(), held(1, 20));
    }

    #[test]
    fn a_request_withdrawn_from_the_inbox_makes_room_for_the_next() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(90));
        let ticket = room.wait(20, Waker::noop());
        room.withdraw(90, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.poll_turn(ticket, Waker::noop()));
    }

    #[test]
    fn those_who_wait_get_room_in_turn_and_are_not_overtaken_by_smaller_ones() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.wait(50, Waker::noop());
        let small = room.wait(5, Waker::noop());
        assert!(!room.take_in_turn(1), "others wait");
        settle(&mut room, held(1, 60), &mut woken);
        assert!(!room.poll_turn(large, Waker::noop()) && !room.poll_turn(small, Waker::noop()));
        settle(&mut room, held(0, 0), &mut woken);
        assert_eq!(woken.len(), 2);
        assert!(room.poll_turn(large, Waker::noop()) && room.poll_turn(small, Waker::noop()));
        assert!(!room.take_in_turn(1), "the room is given away, though not used yet");
        room.redeem(50);
        room.redeem(5);
        assert_eq!(room.occupied(), held(2, 55));
    }

    #[test]
    fn room_given_back_goes_to_the_next() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(100));
        let first = room.wait(100, Waker::noop());
        let second = room.wait(100, Waker::noop());
        settle(&mut room, held(0, 0), &mut woken);
        settle(&mut room, held(0, 0), &mut woken);
        assert!(room.poll_turn(first, Waker::noop()) && !room.poll_turn(second, Waker::noop()));
        room.give_back(100, &mut woken);
        assert!(room.poll_turn(second, Waker::noop()));
        assert_eq!(woken.len(), 2);
    }

    #[test]
    fn one_who_stops_waiting_lets_the_next_through() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.wait(50, Waker::noop());
        let small = room.wait(5, Waker::noop());
        assert!(room.stop_waiting(large, &mut woken));
        assert!(room.poll_turn(small, Waker::noop()));
        assert!(!room.stop_waiting(small, &mut woken), "its turn had come");
    }

    #[test]
    fn a_watcher_takes_no_room_and_is_woken_when_its_length_would_be_taken() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(60));
        let large = room.watch(50, None, Waker::noop());
        let small = room.watch(30, None, Waker::noop());
        assert!(large.is_some(), "there is no room for it yet");
        assert!(small.is_none(), "there is room for it, though the larger one waits");
        settle(&mut room, held(1, 60), &mut woken);
        settle(&mut room, held(1, 60), &mut woken);
        assert!(woken.is_empty());
        settle(&mut room, held(1, 50), &mut woken);
        assert_eq!(woken.len(), 1);
        assert_eq!(room.watch(50, large, Waker::noop()), None);
        assert_eq!(room.occupied(), held(1, 50));
        assert!(room.take_in_turn(50));
    }

    #[test]
    fn a_watcher_goes_on_waiting_if_others_take_the_room_first() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(100));
        let key = room.watch(50, None, Waker::noop());
        settle(&mut room, held(0, 0), &mut woken);
        settle(&mut room, held(0, 0), &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.take_in_turn(60));
        assert_eq!(room.watch(50, key, Waker::noop()), key, "it watches again");
        room.withdraw(60, &mut woken);
        assert_eq!(woken.len(), 2);
        assert_eq!(room.watch(50, key, Waker::noop()), None);
    }

    #[test]
    fn a_watcher_is_not_ready_while_submissions_wait() {
        let (mut room, mut woken) = (room(), Vec::new());
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
    fn a_dropped_watcher_is_forgotten() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(100));
        let key = room.watch(1, None, Waker::noop());
        room.stop_watching(key);
        room.withdraw(100, &mut woken);
        assert!(woken.is_empty());
    }

    #[test]
    fn the_length_refused_last_is_remembered_until_there_is_room_for_it() {
        let mut room = room();
        assert_eq!(room.refused(), None);
        assert!(room.try_take(60));
        assert!(!room.try_take(70) && !room.try_take(50));
        assert_eq!(room.refused(), Some(50));
        assert_eq!(room.watch(40, None, Waker::noop()), None);
        assert_eq!(room.refused(), Some(50), "there is room for less only");
        room.withdraw(60, &mut Vec::new());
        assert_eq!(room.watch(50, None, Waker::noop()), None);
        assert_eq!(room.refused(), None);
        assert!(!room.try_take(101) && room.try_take(1));
        assert_eq!(room.refused(), None, "another was taken since");
    }

    #[test]
    fn when_the_driver_is_gone_everybody_is_woken() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take_in_turn(100));
        let ticket = room.wait(100, Waker::noop());
        let key = room.watch(1, None, Waker::noop());
        room.reset(&mut woken);
        assert_eq!(woken.len(), 2);
        assert!(room.poll_turn(ticket, Waker::noop()));
        room.give_back(100, &mut woken);
        assert_eq!(room.watch(1, key, Waker::noop()), None);
        assert_eq!(room.occupied(), held(0, 0));
    }
}
