//! A second process, on a copy of a member's directory.
//!
//! The copy runs at another place, which the configuration does not name. It knows the addresses of the members and connects to
//! them, and they do not connect to it.

use zraft_core::Instant;
use zraft_replica::RaftId;
use zraft_simulated_disk::SimulatedDisk;

use super::Cluster;
use crate::world::trace::say;

/// A copy of a member's directory.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryCopy {
    id: RaftId,
    disk: SimulatedDisk,
}

impl Cluster {
    /// Copies the directory of a running member as it is now. Returns none if the member is the only voter: no other
    /// one could tell its copy from it, and the copy would lead alone.
    pub(crate) fn copy_directory(&mut self, now: Instant, place: usize) -> Option<DirectoryCopy> {
        let id = self.members[place].id?;
        self.members[place].process.as_ref()?;
        if self.judge.voters() < 2 {
            return None;
        }
        let disk = self.back_up(now, place)?;
        Some(DirectoryCopy { id, disk })
    }

    /// Starts a process on a copied directory, at an empty place.
    pub(crate) fn start_copy(&mut self, now: Instant, place: usize, copy: DirectoryCopy) {
        self.now = self.now.max(now);
        if !self.is_empty(place) || self.judge.voters() < 2 {
            return;
        }
        let DirectoryCopy { id, disk } = copy;
        self.coverage.fault("second process on a copied directory");
        say!(self.trace, self.now, "          a copy of {id} is set up as member {}", place + 1);
        let member = &mut self.members[place];
        (member.disk, member.id) = (Some(disk), Some(id));
        (member.copied, member.doubtful) = (true, true);
        self.judge.new_directory(place);
        self.start(now, place);
    }

    /// Returns true if the directory of a place is a copy of another one's.
    pub(crate) fn is_copied(&self, place: usize) -> bool {
        self.members[place].copied
    }

    /// The operator finds a copied directory, ends its process and deletes it.
    pub(crate) fn remove_copy(&mut self, now: Instant, place: usize) {
        self.now = self.now.max(now);
        if self.members[place].copied {
            self.clear(place);
        }
    }
}
