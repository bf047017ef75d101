//! The calendar: events in the order of virtual time. Events of the same moment keep the order in which they were added.

use std::{cmp::Reverse, collections::BinaryHeap};

use zraft_core::Instant;
use zraft_protocol::{ClientMessage, ServerMessage};

use crate::world::{net::Line, system::SystemMend};

/// An event.
#[derive(Debug)]
pub(crate) enum What {
    /// Bytes, or the end of the stream, may have arrived at the member.
    Up(Line),
    /// The same, at the client.
    Down(Line),
    /// A connection is asked for at the member's port.
    Syn(Line),
    /// The port's answer. True if it accepts.
    SynAck(Line, bool),
    PeerTimer(Line),
    SystemTimer,
    /// A client's machine wants to be called.
    Wake(usize),
    /// A client's application has something to do.
    Work(usize),
    /// A client's application takes server requests again.
    Consume(usize),
    Resume(usize),
    /// A raw client's turn.
    Raw(usize),
    /// A message of a raw client reaches the member; a message of the member, or the end of the connection, the client.
    RawUp(Line, Box<ClientMessage>),
    RawDown(Line, Box<ServerMessage>),
    /// The member reads what a raw client sent while the member stood still.
    RawReads(Line),
    RawEnd(Line),
    /// The cluster pushes a server request to some session.
    Notice,
    Fault,
    LeaderChange,
    /// A client gets a list of members: one that is drawn, or else the whole one.
    Members(usize, bool),
    Mend(Mend),
    /// All faults end.
    Heal,
    /// Time to check whether everything has settled.
    Check,
}

/// The end of a fault, or its next part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mend {
    /// The ways between this client, or all, and this member, or all.
    Paths(Option<usize>, Option<usize>),
    Line(Line),
    Silent(usize),
    System(SystemMend),
    /// The client leaves its session for a new one.
    Renew(usize),
    /// Bytes to the client on its present connection are held back for a time.
    HoldBack(usize),
    /// Its driver wakes in time again.
    Prompt(usize),
    /// A member that reads nothing, or trickles a message, sends a little more.
    Murmur(Line),
    /// A hostile member's connection is torn off.
    Drop(Line),
    /// No member captures sessions any more.
    Free,
    /// The bytes that were held back arrive, while the next session waits for its own answers.
    Release(usize, Line),
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, what: T) {
        self.number += 1;
        self.heap.push(Reverse(Entry { at, number: self.number, what }));
    }

    /// Returns the time of the next event.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}
