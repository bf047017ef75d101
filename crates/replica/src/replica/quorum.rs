//! When this member last heard its peers, and what follows for a leader that hears too few of them.

use std::time::Duration;

use super::Replica;
use crate::{RaftId, StopReason};

impl Replica {
    /// Returns true if a member was heard within the last election timeout, or is this one.
    pub(super) fn is_active(&self, id: RaftId) -> bool {
        let heard = self.peers.get(&id).copied();
        let silent = heard.map(|heard| self.now.monotonic.saturating_sub(heard));
        id == self.id || silent.is_some_and(|silent| silent < self.config.timing.election_min)
    }

    /// Makes a leader step down that has heard no majority for two election timeouts and a tick. The engine looks for a
    /// majority too, but it starts its count again with each hand-over, even one that fails.
    ///
    /// Every input asks, and counting a majority for each would be a twentieth of a command. Peers are only heard later,
    /// never earlier, so until the time that one count finds, no other count can find the leader cut off.
    pub(super) fn leave_if_cut_off(&mut self) -> Result<(), StopReason> {
        if self.now.monotonic < self.in_touch_until {
            return Ok(());
        }
        match self.cut_off_at() {
            Some(at) if self.now.monotonic >= at => return self.engine.step_down(),
            Some(at) => self.in_touch_until = at,
            None => {}
        }
        Ok(())
    }

    /// Returns when this leader must step down unless it hears a majority before. The only voter never must.
    pub(super) fn cut_off_at(&self) -> Option<Duration> {
        let configuration = self.engine.configuration();
        if !self.engine.is_leader() || configuration.is_quorum(|id| id == self.id) {
            return None;
        }
        let heard_since = |since| {
            configuration.is_quorum(|id| {
                id == self.id || self.peers.get(&id).is_some_and(|heard| *heard >= since)
            })
        };
        let heard = self.peers.values().copied().filter(|since| heard_since(*since)).max();
        let patience = self.ticks.tick * self.ticks.most_without_majority();
        Some(heard.map_or(self.now.monotonic, |heard| heard + patience))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        MembershipChange,
        tests::world::{World, id, info},
    };

    #[test]
    fn a_majority_is_counted_again_when_another_configuration_is_in_force() {
        let mut world = World::new(3);
        let leader = world.settle();
        world.join(4);
        let now = world.clock();
        let add = MembershipChange::Add { id: id(4), info: info(4) };
        world.replica(leader).change_membership(now, add).expect("the leader takes it");
        let mut counted = Duration::ZERO;
        let mut members = 3;
        // It is a learner first.
        for voters in [3, 4] {
            world.until("a configuration is in force", |world| {
                let now = world.clock().monotonic;
                let replica = world.replica(leader);
                let configuration = replica.configuration();
                let is_next =
                    configuration.members.len() > members || configuration.voters.len() > 3;
                if !is_next {
                    counted = replica.in_touch_until;
                    assert!(counted > now, "the count would be made again anyway");
                }
                is_next
            });
            let replica = world.replica(leader);
            assert_eq!(replica.configuration().voters.len(), voters);
            assert!(replica.in_touch_until > counted);
            members = 4;
            counted = replica.in_touch_until;
        }
    }
}
