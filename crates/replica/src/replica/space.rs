//! Disks that are nearly full.
//!
//! | who | what happens |
//! | --- | --- |
//! | a leader whose disk is low, the disks of a majority are not | It hands over. Clients are told where to go on, as at every hand-over. |
//! | a leader whose disk is low, or fewer than a majority of the disks have space | Commands wait, as they do for room in a full cache. CreateSession is rejected. |
//! | any member whose disk is low | It takes a snapshot at once, deletes the log before it, and tells its leader. |
//!
//! A command that waits is neither lost nor refused. The protocol's only error for a command, RequestError, would make the
//! client give the id up as "outcome unknown", and SessionClosed without a member to go to would make it come back in a
//! loop. Everything that keeps a session alive goes on: KeepAlives, ContinueSession, answers from the cache, queries. So
//! does what frees memory: acknowledgements and the ends of sessions.

use std::time::Duration;

use super::Replica;
use crate::{Now, PeerMessage, RaftId, Role, Space};

/// A leader whose disk is low tries this often to hand over. During an attempt it appends nothing, so it must not try all
/// the time.
const SEEK_EVERY: Duration = Duration::from_secs(10);

impl Replica {
    /// Takes note of how much space the disk has. The shell says it after each write, and about once a
    /// second, because other programs fill the disk, too.
    pub fn disk_space(&mut self, now: Now, space: Space) {
        self.enter(now, false, |replica| {
            if replica.space == space {
                replica.seek_space();
                return Ok(());
            }
            replica.space = space;
            if space == Space::Low {
                replica.snapshots.want();
            }
            replica.announce_space();
            replica.space_changed();
            Ok(())
        });
    }

    /// Takes a member's word about its disk.
    pub(super) fn take_space(&mut self, from: RaftId, space: Space) {
        let known = self.engine.configuration().contains(from);
        let Some(lead) = self.lead.as_mut().filter(|_| known) else { return };
        match space {
            Space::Low => lead.low.insert(from),
            Space::Ample => lead.low.remove(&from),
        };
        self.space_changed();
    }

    /// Tells the leader. A member with space says so too: the leader may remember what this member said before it restarted.
    pub(super) fn announce_space(&mut self) {
        if let Some(leader) = self.standing.leader.filter(|leader| *leader != self.id) {
            let (term, space) = (self.standing.term, self.space);
            self.send(leader, PeerMessage::Space { term, space });
        }
    }

    /// Returns true if a member's disk is not low, as far as it has said.
    pub(super) fn has_space(&self, id: RaftId) -> bool {
        let low = self.lead.as_ref().is_some_and(|lead| lead.low.contains(&id));
        if id == self.id { self.space == Space::Ample } else { !low }
    }

    /// Returns true if the leader may put what clients want into the log: its own disk and those of a majority have space.
    pub(super) fn takes_commands(&self) -> bool {
        self.has_space(self.id) && self.engine.configuration().is_quorum(|id| self.has_space(id))
    }

    fn space_changed(&mut self) {
        if !self.takes_commands()
            && let Some(lead) = self.lead.as_mut()
        {
            lead.set_commands_aside();
        }
        self.reconsider_waiting();
        self.seek_space();
    }

    /// Hands over to a member that has space, if this leader has none.
    pub(super) fn seek_space(&mut self) {
        let now = self.now.monotonic;
        let quorum = self.engine.configuration().is_quorum(|id| self.has_space(id));
        if self.space == Space::Ample || !quorum || !self.is_serving() {
            return;
        }
        let fit = self.possible_successors(&[]).into_iter().filter(|each| self.has_space(each.id));
        let best = fit.max_by_key(|each| each.matched);
        let Some(lead) = self.lead.as_mut() else { return };
        let again = lead.sought_space.map_or(now, |sought| sought + SEEK_EVERY);
        if let Some(best) = best.filter(|_| again <= now) {
            lead.sought_space = Some(now);
            self.begin_hand_over(Some(best.id), false);
        }
    }

    /// The first index of the log that stays when a snapshot at `index` after one at `newest` is recorded on a low disk:
    /// nothing below the snapshot, except what members that answer lack. Any other member gets the snapshot.
    pub(super) fn first_kept_on_low_disk(&self, newest: u64, index: u64) -> u64 {
        if self.standing.role != Role::Leader {
            return index + 1;
        }
        let progress = self.engine.progress().into_iter();
        let answering = progress.filter(|each| self.is_active(each.id) && !each.installing);
        answering.map(|each| each.matched).fold(index, u64::min).max(newest) + 1
    }
}
