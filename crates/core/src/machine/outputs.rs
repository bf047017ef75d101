//! The outputs that wait until the driver takes them.

use std::collections::VecDeque;

use super::{Action, Completion};
use crate::event::{Event, Events};

/// Room for this many completions is kept while there are none: more than a turn of a busy driver makes. A queue that a
/// mass of failures made larger is given back.
const KEPT_COMPLETIONS: usize = 1 << 14;

#[derive(Debug, Default)]
pub(super) struct Outputs {
    actions: VecDeque<Action>,
    completions: VecDeque<Completion>,
    events: Events,
}

impl Outputs {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    #[inline]
    pub(super) fn complete(&mut self, completion: Completion) {
        self.completions.push_back(completion);
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

    #[inline]
    pub(super) fn next_completion(&mut self) -> Option<Completion> {
        let completion = self.completions.pop_front();
        zraft_zmtp::memory::release_queue(&mut self.completions, KEPT_COMPLETIONS);
        completion
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop()
    }
}
