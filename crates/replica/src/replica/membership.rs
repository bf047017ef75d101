//! Changing who belongs to the cluster, one change at a time.
//!
//! A new member is added as a learner and promoted by whoever leads once it has caught up. A replacement is promoted and
//! the old member removed in one joint change, which each leader leaves as soon as it can.

use std::{collections::BTreeSet, time::Duration};

use zraft_session::{CheckedSettings, EndReason, Operation, SessionId};

use super::Replica;
use crate::{
    Change, ChangeStep, Configuration, MemberInfo, Now, PeerMessage, RaftId, StopReason,
    engine::Refused,
};

/// A learner that lacks fewer entries than this is promoted: some milliseconds of a busy leader, so that the first
/// commits that need it do not wait.
const CAUGHT_UP: u64 = 1024;
/// Followers say this often what they support. It changes with a restart only, and a leader hears it at once then.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(10);
/// A member that was called removed ends after this time, whoever else knows it. Members that run hear of a commit within a
/// heartbeat; this is long enough for a restart.
const REMOVED_VOTES_FOR: Duration = Duration::from_secs(60);

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Adds a member. It votes once it has caught up.
    Add {
        /// Its id, which was never used in this cluster.
        id: RaftId,
        /// What the others must know of it.
        info: MemberInfo,
    },
    /// Removes a member.
    Remove(RaftId),
    /// Adds a member, and removes another one once the new one has caught up.
    Replace {
        /// The voter to remove.
        old: RaftId,
        /// The id of the new one, which was never used in this cluster.
        id: RaftId,
        /// What the others must know of it.
        info: MemberInfo,
    },
    /// Changes what the others know of a member, for example its address.
    Update {
        /// The member.
        id: RaftId,
        /// What replaces the old.
        info: MemberInfo,
    },
}

/// A change that was proposed. It may still be lost, with the leadership that proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeTicket {
    /// The term of the entry.
    pub term: u64,
    /// The index of the entry.
    pub index: u64,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeStatus {
    /// It may still be applied.
    Pending,
    /// It is in force.
    Applied,
    /// Another entry took its place. Nothing was changed.
    Lost,
}

/// Why a change was not proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Only a leader that serves changes the membership.
    #[error("this member does not lead; ask the leader")]
    NotLeader,
    /// One change at a time.
    #[error("another change is under way; try again when it is done")]
    Busy,
    /// The id belongs to a member.
    #[error("member {0} exists")]
    Exists(RaftId),
    /// The id belonged to a member that was removed.
    #[error("id {0} was used before; a new member needs a new id")]
    UsedBefore(RaftId),
    /// No such member.
    #[error("there is no member {0}")]
    Unknown(RaftId),
    /// There are as many members as there may be.
    #[error("there are already {} members", Configuration::MAX_MEMBERS)]
    TooMany,
    /// The last voter cannot be removed.
    #[error("member {0} is the only voter")]
    OnlyVoter(RaftId),
    /// The members that answer now could not commit anything under the new configuration.
    #[error("the members that answer are no majority of the new configuration")]
    NoQuorum,
    /// The leader cannot remove itself. It hands over first; ask the next leader.
    #[error("the leader hands over before it is removed; ask the next leader")]
    HandingOver,
    /// The member's program is older than what the cluster uses.
    #[error("the member's feature level is below the cluster's, which is {0}; upgrade it first")]
    FeatureLevel(u32),
    /// A member's application is older than the level that the settings ask for, or has not said what it supports.
    #[error(
        "member {0} does not support that application level, or was not heard; upgrade it first"
    )]
    ApplicationLevel(RaftId),
    /// A name or an address is too long.
    #[error("a name or an address is longer than {} bytes", MemberInfo::MAX_TEXT)]
    TooLong,
}

impl Replica {
    /// Proposes a change of the membership.
    ///
    /// # Errors
    /// [`ChangeError`] if the change is impossible now. Nothing was proposed.
    pub fn change_membership(
        &mut self,
        now: Now,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        let mut result = Err(ChangeError::NotLeader);
        self.enter(now, false, |replica| {
            result = replica.propose_membership(change);
            replica.engine.drain()
        });
        result
    }

    /// Proposes new replicated settings. The [`View`](crate::View) shows when they are in force.
    ///
    /// # Errors
    /// [`ChangeError::NotLeader`], or [`ChangeError::ApplicationLevel`] if a member could not apply the settings and would
    /// have to stop. A member that is down counts, because it must apply them later. [`ChangeError::Busy`] if the settings
    /// raise the application level while the membership changes.
    pub fn change_settings(
        &mut self,
        now: Now,
        settings: CheckedSettings,
    ) -> Result<(), ChangeError> {
        let mut result = Err(ChangeError::NotLeader);
        self.enter(now, false, |replica| {
            result = replica.propose_settings(settings);
            Ok(())
        });
        result
    }

    fn propose_settings(&mut self, settings: CheckedSettings) -> Result<(), ChangeError> {
        let members = self.engine.configuration().members.keys();
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.is_serving()) else {
            return Err(ChangeError::NotLeader);
        };
        let (current, wanted) =
            (self.applying.view.settings.application_level, settings.application_level);
        let supports = |id: &&RaftId| {
            lead.application_levels.get(id).is_some_and(|supported| *supported >= wanted)
        };
        // A member that is being added is not in the configuration yet, and may be too old.
        if wanted > current && self.engine.is_changing() {
            return Err(ChangeError::Busy);
        }
        if wanted > current
            && let Some(id) = members.copied().find(|id| !supports(&id))
        {
            return Err(ChangeError::ApplicationLevel(id));
        }
        lead.push(Operation::Settings(settings));
        Ok(())
    }

    /// Proposes the end of a session, for an operator. Its client is told that it has expired.
    ///
    /// # Errors
    /// [`ChangeError::NotLeader`].
    pub fn remove_session(&mut self, now: Now, session: &SessionId) -> Result<(), ChangeError> {
        if !self.is_serving() {
            return Err(ChangeError::NotLeader);
        }
        self.enter(now, false, |replica| {
            replica.end_session(session, EndReason::Removed);
            Ok(())
        });
        Ok(())
    }

    /// Returns what became of a change, as far as this member knows.
    #[must_use]
    pub fn change_status(&self, ticket: ChangeTicket) -> ChangeStatus {
        let ChangeTicket { term, index } = ticket;
        match self.engine.term_at(index) {
            Some(at) if at != term => ChangeStatus::Lost,
            // Below the log: a snapshot has it or another one, and the configuration tells.
            None if index >= self.engine.first_index() => ChangeStatus::Lost,
            _ if index <= self.applying.handed() => ChangeStatus::Applied,
            _ => ChangeStatus::Pending,
        }
    }

    fn propose_membership(
        &mut self,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        if !self.is_serving() {
            return Err(ChangeError::NotLeader);
        }
        let configuration = self.engine.configuration();
        let steps = match change {
            MembershipChange::Add { id, info } => {
                check_new(configuration, id, &info)?;
                vec![ChangeStep::AddLearner(id, info)]
            }
            MembershipChange::Replace { old, id, info } => {
                check_new(configuration, id, &info)?;
                if !configuration.voters.contains(&old) {
                    return Err(ChangeError::Unknown(old));
                }
                vec![ChangeStep::AddReplacement { id, info, old }]
            }
            MembershipChange::Update { id, info } => {
                if !configuration.contains(id) {
                    return Err(ChangeError::Unknown(id));
                }
                check_info(configuration, &info)?;
                vec![ChangeStep::Update(id, info)]
            }
            MembershipChange::Remove(id) => {
                if !configuration.contains(id) {
                    return Err(ChangeError::Unknown(id));
                }
                if configuration.voters.len() == 1 && configuration.voters.contains(&id) {
                    return Err(ChangeError::OnlyVoter(id));
                }
                vec![ChangeStep::Remove(id)]
            }
        };
        self.propose_steps(steps)
    }

    fn propose_steps(&mut self, steps: Vec<ChangeStep>) -> Result<ChangeTicket, ChangeError> {
        if self.engine.is_changing() || self.engine.is_transferring() {
            return Err(ChangeError::Busy);
        }
        let change = Change::Steps(steps);
        let after = self.engine.configuration().after(&change);
        if !after.is_quorum(|id| self.is_active(id)) {
            return Err(ChangeError::NoQuorum);
        }
        match self.engine.propose_change(&change) {
            Ok(index) => Ok(ChangeTicket { term: self.standing.term, index }),
            Err(Refused::OwnRemoval) => {
                self.begin_hand_over(None, false);
                Err(ChangeError::HandingOver)
            }
            Err(Refused::NotLeader) => Err(ChangeError::NotLeader),
            Err(Refused::Transferring | Refused::Full | Refused::Change) => Err(ChangeError::Busy),
        }
    }

    /// Promotes a learner that has caught up, or takes note of a member's new feature level. Returns true if the engine
    /// was moved.
    pub(super) fn go_on_changing(&mut self) -> Result<bool, StopReason> {
        let Some(lead) = self.lead.as_ref() else { return Ok(false) };
        let configuration = self.engine.configuration();
        let nothing = configuration.learners.is_empty() && lead.levels.is_empty();
        if nothing || !lead.is_serving() || lead.hand_over.is_some() || self.engine.is_changing() {
            return Ok(false);
        }
        let Some(steps) = self.next_promotion().or_else(|| self.next_level()) else {
            return Ok(false);
        };
        let proposed = self.propose_steps(steps).is_ok();
        self.engine.drain()?;
        Ok(proposed)
    }

    fn next_promotion(&self) -> Option<Vec<ChangeStep>> {
        let configuration = self.engine.configuration();
        // A member that cannot apply the log must not be needed for it.
        let level = self.applying.view.settings.application_level;
        let levels = &self.lead.as_ref()?.application_levels;
        let applies = |id| levels.get(&id).copied().unwrap_or(0) >= level;
        let commit = self.engine.commit();
        let progress = self.engine.progress().into_iter();
        let mut learners = progress.filter(|each| {
            configuration.learners.contains(&each.id)
                && self.is_active(each.id)
                && applies(each.id)
                && !each.installing
                && each.matched + CAUGHT_UP > commit
                && each.matched > 0
        });
        let learner = learners.next()?.id;
        let mut steps = vec![ChangeStep::Promote(learner)];
        let old = configuration.replacing.get(&learner);
        steps.extend(old.map(|old| ChangeStep::Remove(*old)));
        Some(steps)
    }

    fn next_level(&self) -> Option<Vec<ChangeStep>> {
        let configuration = self.engine.configuration();
        let known = self.lead.as_ref()?.levels.iter().filter_map(|(id, level)| {
            let member = configuration.members.get(id)?;
            let differs = *level != member.feature_level && *level >= configuration.feature_level();
            let info = MemberInfo { feature_level: *level, ..member.clone() };
            differs.then_some(vec![ChangeStep::Update(*id, info)])
        });
        known.into_iter().next()
    }

    /// Tells the leader what this member's program supports.
    pub(super) fn announce_levels(&mut self) {
        self.announced = self.now.monotonic;
        let (feature_level, application_level) =
            (self.config.feature_level, self.config.application_level);
        match self.standing.leader {
            Some(leader) if leader != self.id => {
                let term = self.standing.term;
                self.send(leader, PeerMessage::Level { term, feature_level, application_level });
            }
            _ => self.take_levels(self.id, feature_level, application_level),
        }
        self.announce_space();
    }

    /// Says it again now and then, because messages can be lost.
    pub(super) fn announce_levels_again(&mut self) {
        if self.now.monotonic.saturating_sub(self.announced) >= ANNOUNCE_EVERY {
            self.announce_levels();
        }
    }

    pub(super) fn take_levels(&mut self, from: RaftId, feature: u32, application: u32) {
        let known = self.engine.configuration().members.get(&from).map(|info| info.feature_level);
        let Some(lead) = self.lead.as_mut() else { return };
        if known.is_some_and(|known| known != feature) {
            lead.levels.insert(from, feature);
        }
        if known.is_some() {
            lead.application_levels.insert(from, application);
        }
    }

    /// Takes note of a configuration that is in force.
    pub(super) fn configured(&mut self) {
        let configuration = self.engine.configuration();
        if let Some(lead) = self.lead.as_mut() {
            lead.levels.retain(|id, level| {
                configuration.members.get(id).is_some_and(|info| info.feature_level != *level)
            });
        }
        if let Some(lead) = self.lead.as_mut() {
            lead.low.retain(|id| configuration.contains(*id));
        }
        self.peers.retain(|id, _| configuration.contains(*id));
        self.in_touch_until = Duration::ZERO;
        self.matches.forget_removed(configuration);
        self.forget_endpoints();
        self.tell_members();
    }

    /// Takes note that a member calls this one removed.
    ///
    /// This member does not end at once, nor when it applies its own removal. A configuration is in force on a member only
    /// once that member knows that the change is committed; until then the vote and the acknowledgement of the removed
    /// member may be needed. Without them, the member that is left of two could never elect itself.
    pub(super) fn called_removed(&mut self, by: RaftId) -> Result<(), StopReason> {
        let now = self.now.monotonic;
        let since = *self.removed_since.get_or_insert(now);
        let voters = &self.engine.configuration().voters;
        let others: BTreeSet<RaftId> = voters.iter().copied().filter(|id| *id != self.id).collect();
        // This member may still have to apply the entry that makes the other one a voter.
        if self.removed_by.len() < Configuration::MAX_MEMBERS {
            self.removed_by.insert(by);
        }
        let known = self.removed_by.intersection(&others).count();
        // Its configuration may be so old that most of those members exist no more.
        let waited = now.saturating_sub(since) >= REMOVED_VOTES_FOR;
        match 2 * known > others.len() || others.is_empty() || waited {
            true => Err(StopReason::Removed),
            false => Ok(()),
        }
    }
}

fn check_new(
    configuration: &Configuration,
    id: RaftId,
    info: &MemberInfo,
) -> Result<(), ChangeError> {
    if configuration.contains(id) {
        return Err(ChangeError::Exists(id));
    }
    if configuration.removed.contains(&id) {
        return Err(ChangeError::UsedBefore(id));
    }
    if configuration.members.len() >= Configuration::MAX_MEMBERS
        || configuration.removed.len() >= Configuration::MAX_REMOVED
    {
        return Err(ChangeError::TooMany);
    }
    check_info(configuration, info)
}

fn check_info(configuration: &Configuration, info: &MemberInfo) -> Result<(), ChangeError> {
    if info.name.as_str().len() > MemberInfo::MAX_TEXT || info.address.len() > MemberInfo::MAX_TEXT
    {
        return Err(ChangeError::TooLong);
    }
    match configuration.feature_level() {
        level if info.feature_level < level => Err(ChangeError::FeatureLevel(level)),
        _ => Ok(()),
    }
}
