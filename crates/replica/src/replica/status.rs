//! What a member can say about itself.

use super::{Replica, lead::Lead};
use crate::{Configuration, RaftId, Role, Space, View};

/// How far a member's log is replicated, as the leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub id: RaftId,
    /// Its log is known to be the leader's up to this index.
    pub matched: u64,
    /// Whether it was heard within the last election timeout.
    pub active: bool,
    /// Whether it gets a snapshot.
    pub installing: bool,
    /// How much space its disk has, as far as it has said.
    pub space: Space,
}

impl Replica {
    /// Returns the member's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.standing.role
    }

    /// Returns the member's term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.standing.term
    }

    /// Returns the leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<RaftId> {
        self.standing.leader
    }

    /// Returns true if the member leads and answers clients.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_serving)
    }

    /// Returns true if the member leads and waits for another one to take over.
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.hand_over.is_some())
    }

    /// Returns the configuration that is in force.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.engine.configuration()
    }

    /// Returns the index up to which entries are known to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.engine.commit()
    }

    /// Returns the index of the last entry of the log.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.engine.last_index()
    }

    /// Returns the replicated state as of the last entry that the state machine reported.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.applying.view
    }

    /// Returns how far each member is, if this one leads.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        if self.standing.role != Role::Leader {
            return Vec::new();
        }
        let progress = self.engine.progress().into_iter();
        let status = progress.map(|each| PeerStatus {
            id: each.id,
            matched: each.matched,
            active: self.is_active(each.id),
            installing: each.installing,
            space: if self.has_space(each.id) { Space::Ample } else { Space::Low },
        });
        status.collect()
    }

    /// Returns how much space this member's disk has, as the shell said last.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// Returns true if the member leads, and client commands wait because its disk is nearly full, or because fewer than
    /// a majority of the voters' disks have space.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        self.is_serving() && !self.takes_commands()
    }

    /// Returns the bytes of log entries that are held in memory.
    #[must_use]
    pub fn log_memory(&self) -> usize {
        self.engine.memory()
    }

    /// Returns how far the wall clock is ahead of what the leader follows without an operator's word, if it is too far.
    #[must_use]
    pub fn held_back(&self) -> Option<std::time::Duration> {
        self.clock.held_back()
    }

    /// Lets replicated time follow the wall clock, however far that is ahead. An operator has checked the clock.
    pub fn accept_clock_jump(&mut self) {
        self.clock.accept_jump();
    }
}
