//! The last events of a member, for its status and its page.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// How many events a member remembers: an election and what led to it, several times over.
const EVENTS: usize = 64;
/// The longest text of an event, in bytes. A line about a member holds two addresses at most.
const TEXT_BYTES: usize = 512;

/// Something that happened to a member: an election, a change of the membership, a snapshot, a refused connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberEvent {
    /// The wall clock at that moment.
    pub at: SystemTime,
    /// What happened, in a sentence without a full stop.
    pub text: String,
}

/// The last events, in order. The oldest one makes room for a new one.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<VecDeque<MemberEvent>>);

impl Events {
    pub(crate) fn add(&self, text: impl Into<String>) {
        let mut text = text.into();
        while text.len() > TEXT_BYTES {
            text.pop();
        }
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == EVENTS {
            events.pop_front();
        }
        events.push_back(MemberEvent { at: SystemTime::now(), text });
    }

    /// Returns the events, the oldest first.
    pub(crate) fn read(&self) -> Vec<MemberEvent> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_event_makes_room_and_long_texts_are_cut() {
        let events = Events::default();
        for number in 0..EVENTS + 3 {
            events.add(format!("event {number}"));
        }
        // A cut in the middle of a letter would panic.
        events.add("ä".repeat(TEXT_BYTES));
        let read = events.read();
        assert_eq!(read.len(), EVENTS);
        assert_eq!(read[0].text, "event 4");
        assert!(read.iter().all(|event| event.text.len() <= TEXT_BYTES));
    }
}
