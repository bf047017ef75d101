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

/// A place in the queue of those who wait for room. Older tickets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Waiting {
    /// The payload to make room for; `None` wants to know of room without taking it.
    bytes: Option<usize>,
    waker: Waker,
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
    next_ticket: u64,
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
            next_ticket: 0,
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

    /// Whether there is room below both limits.
    pub(crate) fn is_below_limits(&self) -> bool {
        self.fits(1)
    }

    /// Takes room for a request that goes into the inbox, if there is any.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.inbox = self.inbox.plus(Load::one(bytes));
        }
        fits
    }

    /// As [`Room::take`], but behind everybody who waits.
    pub(crate) fn take_in_turn(&mut self, bytes: usize) -> bool {
        self.waiting.is_empty() && self.take(bytes)
    }

    /// Waits for room for a request of so many bytes, or for any room with `None`.
    pub(crate) fn wait(&mut self, bytes: Option<usize>, waker: &Waker) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, Waiting { bytes, waker: waker.clone() });
        ticket
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
            if let Some(bytes) = waiting.bytes {
                self.granted = self.granted.plus(Load::one(bytes));
            }
            woken.push(waiting.waker);
        }
        self.add_up();
    }

    /// Gives room to those who wait, in order; one that does not fit yet is not overtaken.
    fn grant(&mut self, woken: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry() {
            let bytes = first.get().bytes;
            let fits = match bytes {
                Some(bytes) => self.fits(bytes),
                None => self.is_below_limits(),
            };
            if !fits {
                break;
            }
            if let Some((_, waiting)) = self.waiting.pop_first() {
                woken.push(waiting.waker);
            }
            if let Some(bytes) = bytes {
                self.granted = self.granted.plus(Load::one(bytes));
                self.add_up();
            }
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
        assert!(room.take(10) && room.take(10));
        assert!(!room.take(10), "two requests are the limit");
        let mut room = self::room();
        assert!(room.take(60));
        assert!(!room.take(41), "a hundred bytes are the limit");
        assert!(room.take(40));
        assert!(!room.is_below_limits());
    }

    #[test]
    fn what_the_driver_took_counts_until_it_tells_what_the_machine_holds() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(1) && room.take(1));
        settle(&mut room, held(0, 0), &mut woken);
        assert!(!room.take(1), "both are in the driver's hands");
        settle(&mut room, held(1, 1), &mut woken);
        assert!(room.take(1), "one was sent meanwhile");
        assert!(!room.take(1));
    }

    #[test]
    fn what_the_driver_leaves_in_the_inbox_goes_on_counting() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(10) && room.take(20));
        room.settle(held(0, 0), held(1, 10), &mut woken);
        assert_eq!(room.occupied(), held(2, 30));
        room.settle(held(0, 0), held(1, 20), &mut woken);
        assert_eq!(room.occupied(), held(1, 20));
    }

    #[test]
    fn a_request_withdrawn_from_the_inbox_makes_room_for_the_next() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(90));
        let ticket = room.wait(Some(20), Waker::noop());
        room.withdraw(90, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.poll_turn(ticket, Waker::noop()));
    }

    #[test]
    fn those_who_wait_get_room_in_turn_and_are_not_overtaken_by_smaller_ones() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(60));
        let large = room.wait(Some(50), Waker::noop());
        let small = room.wait(Some(5), Waker::noop());
        assert!(!room.take_in_turn(1), "others wait");
        settle(&mut room, held(1, 60), &mut woken);
        assert!(!room.poll_turn(large, Waker::noop()) && !room.poll_turn(small, Waker::noop()));
        settle(&mut room, held(0, 0), &mut woken);
        assert_eq!(woken.len(), 2);
        assert!(room.poll_turn(large, Waker::noop()) && room.poll_turn(small, Waker::noop()));
        assert!(!room.take(1), "the room is given away, though not used yet");
        room.redeem(50);
        room.redeem(5);
        assert_eq!(room.occupied(), held(2, 55));
    }

    #[test]
    fn room_given_back_goes_to_the_next() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(100));
        let first = room.wait(Some(100), Waker::noop());
        let second = room.wait(Some(100), Waker::noop());
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
        assert!(room.take(60));
        let large = room.wait(Some(50), Waker::noop());
        let small = room.wait(Some(5), Waker::noop());
        assert!(room.stop_waiting(large, &mut woken));
        assert!(room.poll_turn(small, Waker::noop()));
        assert!(!room.stop_waiting(small, &mut woken), "its turn had come");
    }

    #[test]
    fn waiting_for_any_room_takes_none() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(1) && room.take(1));
        let ticket = room.wait(None, Waker::noop());
        settle(&mut room, held(0, 0), &mut woken);
        assert!(!room.poll_turn(ticket, Waker::noop()));
        settle(&mut room, held(1, 1), &mut woken);
        assert!(room.poll_turn(ticket, Waker::noop()));
        assert!(room.take(1));
    }

    #[test]
    fn when_the_driver_is_gone_everybody_is_woken() {
        let (mut room, mut woken) = (room(), Vec::new());
        assert!(room.take(100));
        let ticket = room.wait(Some(100), Waker::noop());
        room.reset(&mut woken);
        assert_eq!(woken.len(), 1);
        assert!(room.poll_turn(ticket, Waker::noop()));
        room.give_back(100, &mut woken);
        assert_eq!(room.occupied(), held(0, 0));
    }
}
