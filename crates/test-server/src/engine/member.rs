//! The state of one member: whether it runs, what it believes, and which connections it has.

use std::collections::{BTreeMap, BTreeSet};

use zraft_protocol::MemberId;
use zraft_zmtp::Instant;

use super::output::PeerId;
use super::switches::Hints;
use super::table::Key;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) run: Run,
    pub(crate) frozen: bool,
    pub(crate) deaf: bool,
    /// The other members cannot reach it.
    pub(crate) cut_off: bool,
    /// Set while the member believes that it still leads: the sessions that it knew when it lost leadership.
    pub(crate) unaware: Option<BTreeSet<Key>>,
    /// Set by a switch: the member believes that it leads and that only these sessions exist.
    pub(crate) stale_map: Option<BTreeSet<Key>>,
    pub(crate) bindings: BTreeMap<Key, PeerId>,
    pub(crate) peers: usize,
    pub(crate) hints: Hints,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Up,
    /// Stopped and silent. It resets its connections at this time.
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

    /// Returns true if the member's process executes instructions.
    pub(crate) fn is_live(&self) -> bool {
        self.run == Run::Up && !self.frozen
    }

    /// Returns true if the member counts towards a majority and can be elected.
    pub(crate) fn is_electable(&self) -> bool {
        self.is_live() && !self.cut_off
    }

    /// Resets the state that ends with the member's process. The id, the number of connections and the hints stay.
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
    /// The member sends nothing more to it.
    pub(crate) dropped: bool,
    /// It sent a message after it was dropped, so the member reads nothing more from it.
    pub(crate) muted: bool,
}
