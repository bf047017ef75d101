//! What each member knows by itself: whether it runs, what it believes, who is connected to it.

use std::collections::{BTreeMap, BTreeSet};

use zraft_protocol::MemberId;
use zraft_zmtp::Instant;

use super::output::PeerId;
use super::replicated::Key;
use super::switches::Hints;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) run: Run,
    pub(crate) frozen: bool,
    pub(crate) deaf: bool,
    /// Out of reach of the other members.
    pub(crate) cut_off: bool,
    /// It lost leadership without noticing: the sessions it knew then.
    pub(crate) unaware: Option<BTreeSet<Key>>,
    /// The switch: it believes to lead, and knows these sessions only.
    pub(crate) stale_map: Option<BTreeSet<Key>>,
    pub(crate) bindings: BTreeMap<Key, PeerId>,
    pub(crate) peers: usize,
    pub(crate) hints: Hints,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Up,
    /// Told to stop: silent, its connections reset at this time.
    Stopping(Instant),
    Down,
}

impl Member {
    pub(crate) fn new(id: MemberId) -> Self {
        Self {
            id,
            run: Run::Up,
            frozen: false,
            deaf: false,
            cut_off: false,
            unaware: None,
            stale_map: None,
            bindings: BTreeMap::new(),
            peers: 0,
            hints: Hints::Leader,
        }
    }

    /// It executes instructions.
    pub(crate) fn is_live(&self) -> bool {
        self.run == Run::Up && !self.frozen
    }

    /// It counts towards a majority and can be elected.
    pub(crate) fn is_electable(&self) -> bool {
        self.is_live() && !self.cut_off
    }

    /// It forgets all but its name and its peers, as a process does that ends.
    pub(crate) fn reset(&mut self) {
        let id = self.id.clone();
        let (peers, hints) = (self.peers, self.hints.clone());
        *self = Self { peers, hints, ..Self::new(id) };
    }
}

/// One connection, as its member sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) member: usize,
    pub(crate) bound: Option<Key>,
    /// Nothing is sent to it any more.
    pub(crate) dropped: bool,
    /// It sent one more message after it was dropped: nothing is read from it any more.
    pub(crate) muted: bool,
}
