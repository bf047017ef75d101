//! What the cluster's operator does: one task after the other, each tried until it is done, as a careful person does it.

use std::time::Duration;

use zraft_core::Instant;
use zraft_protocol::SessionId;
use zraft_replica::{ChangeError, MembershipChange, RaftId};
use zraft_session::{CheckedSettings, Settings};

use super::{Cluster, What, member::End};
use crate::world::trace::say;

/// How often the operator looks.
const EVERY: Duration = Duration::from_millis(50);

/// A task of the operator.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Sets up a new member on an empty place and adds it.
    Add {
        place: usize,
    },
    /// Removes a member, and clears its place then.
    Remove {
        place: usize,
    },
    /// Sets up a new member on an empty place and puts it in the place of another one.
    Replace {
        old: usize,
        new: usize,
    },
    /// Sets up a new member on the place of one that lost its disk, and replaces that.
    Rejoin {
        place: usize,
    },
    /// Changes the replicated settings.
    Settings(Box<CheckedSettings>),
    EndSession(SessionId),
    HandOver {
        to: Option<usize>,
    },
    /// Raises the replicated level of the application, and gives up after this many refusals.
    RaiseLevel {
        to: u32,
        tries: u32,
    },
    /// A task in hand: this member joins, in the place of that.
    Join {
        id: RaftId,
        instead_of: Option<RaftId>,
    },
    /// A task in hand: this member leaves.
    Leave {
        id: RaftId,
    },
}

/// How far a task is.
enum Step {
    Done,
    Again(Task),
}

impl Cluster {
    /// Gives the operator a task.
    pub(crate) fn order(&mut self, now: Instant, task: Task) {
        self.now = self.now.max(now);
        self.tasks.push_back(task);
        if !std::mem::replace(&mut self.operating, true) {
            self.queue.push(self.now, What::Operate);
        }
    }

    /// Returns the number of tasks that are not done.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Returns true if no member was ever set up on the place, or it was cleared.
    pub(crate) fn is_empty(&self, place: usize) -> bool {
        self.members[place].disk.is_none()
    }

    pub(super) fn operate(&mut self) {
        self.operating = false;
        if let Some(task) = self.tasks.pop_front()
            && let Step::Again(task) = self.take_step(task)
        {
            self.tasks.push_front(task);
        }
        if !self.tasks.is_empty() {
            self.operating = true;
            self.queue.push(self.now + EVERY, What::Operate);
        }
    }

    fn take_step(&mut self, task: Task) -> Step {
        match task {
            Task::Add { place } => self.set_up(place, None),
            Task::Replace { old, new } => {
                let old = self.members[old].id;
                self.set_up(new, old)
            }
            Task::Rejoin { place } => {
                let old = self.members[place].id;
                self.set_up(place, old)
            }
            Task::Remove { place } => match self.members[place].id {
                Some(id) => Step::Again(Task::Leave { id }),
                None => Step::Done,
            },
            Task::Join { id, instead_of } => self.join(id, instead_of),
            Task::Leave { id } => self.leave(id),
            Task::Settings(settings) => self.change_settings(settings),
            Task::EndSession(session) => {
                let Some(leader) = self.leading() else {
                    return Step::Again(Task::EndSession(session));
                };
                self.coverage.count("operator", "ends a session");
                self.judge.removal_asked(&session);
                self.with(leader, |replica, now| {
                    // A refusal means that leadership has just gone; the session lives on.
                    let _ = replica.remove_session(now, &session);
                });
                Step::Done
            }
            Task::RaiseLevel { to, tries } => self.raise_level(to, tries),
            Task::HandOver { to } => {
                let to = to.and_then(|place| self.members[place].id);
                self.move_leader(to);
                Step::Done
            }
        }
    }

    /// Hands over to the member on a place, whatever the operator does.
    pub(crate) fn hand_over(&mut self, now: Instant, to: usize) {
        self.at(now);
        self.move_leader(self.members[to].id);
    }

    fn move_leader(&mut self, to: Option<RaftId>) {
        if let Some(leader) = self.leading() {
            self.coverage.count("operator", "hands over");
            say!(self.trace, self.now, "          the operator moves the leader");
            self.with(leader, |replica, now| replica.hand_over(now, to));
        }
    }

    /// Returns the leader, unless it stands still.
    fn leading(&self) -> Option<usize> {
        self.leader().filter(|leader| !self.members[*leader].frozen)
    }

    fn set_up(&mut self, place: usize, instead_of: Option<RaftId>) -> Step {
        if !self.is_empty(place) {
            return Step::Done;
        }
        self.create_joining(place);
        self.start(self.now, place);
        match self.members[place].id {
            Some(id) => Step::Again(Task::Join { id, instead_of }),
            None => Step::Done,
        }
    }

    fn join(&mut self, id: RaftId, instead_of: Option<RaftId>) -> Step {
        let Some(place) = self.addresses.get(&id).copied() else { return Step::Done };
        if self.members[place].id != Some(id) || self.members[place].disk.is_none() {
            // It was lost again.
            return Step::Done;
        }
        let again = Step::Again(Task::Join { id, instead_of });
        let Some(leader) = self.leading() else { return again };
        let Some(process) = &self.members[leader].process else { return again };
        let configuration = process.replica.configuration();
        if configuration.voters.contains(&id) && !configuration.is_joint() {
            if !self.clear_removed() {
                return again;
            }
            self.coverage.count("operator", "member joined");
            self.facts.membership_changes += 1;
            say!(self.trace, self.now, "          the operator sees member {} vote", place + 1);
            return Step::Done;
        }
        if configuration.removed.contains(&id) {
            return Step::Done;
        }
        if configuration.contains(id) {
            self.upgrade_joiner(place);
            return again;
        }
        if !self.is_running(place) {
            // Its program tells what it supports.
            return again;
        }
        let info = self.info(place);
        let change = match instead_of.filter(|old| configuration.voters.contains(old)) {
            Some(old) => MembershipChange::Replace { old, id, info },
            None => MembershipChange::Add { id, info },
        };
        match self.propose(leader, change) {
            Err(ChangeError::FeatureLevel(_)) => {
                self.coverage.count("operator", "joiner too old");
                self.clear(place);
                Step::Done
            }
            _ => again,
        }
    }

    fn leave(&mut self, id: RaftId) -> Step {
        let again = Step::Again(Task::Leave { id });
        let Some(leader) = self.leading() else { return again };
        let Some(process) = &self.members[leader].process else { return again };
        let configuration = process.replica.configuration();
        if configuration.removed.contains(&id) && !configuration.is_joint() {
            if !self.clear_removed() {
                return again;
            }
            self.coverage.count("operator", "member removed");
            self.facts.membership_changes += 1;
            return Step::Done;
        }
        let known =
            self.members.iter().filter_map(|member| member.process.as_ref()).any(|process| {
                let configuration = process.replica.configuration();
                configuration.contains(id) || configuration.removed.contains(&id)
            });
        match self.propose(leader, MembershipChange::Remove(id)) {
            // A leader that was cut off for long says so as well.
            Err(ChangeError::Unknown(_)) if known => again,
            Err(ChangeError::Unknown(_) | ChangeError::OnlyVoter(_)) => Step::Done,
            _ => again,
        }
    }

    fn propose(&mut self, leader: usize, change: MembershipChange) -> Result<(), ChangeError> {
        let mut proposed = Err(ChangeError::NotLeader);
        let words = if self.trace.words { format!("{change:?}") } else { String::new() };
        self.with(leader, |replica, now| {
            proposed = replica.change_membership(now, change).map(drop);
        });
        match &proposed {
            Ok(()) => {
                self.coverage.count("change", "proposed");
                say!(self.trace, self.now, "          member {} proposes {words}", leader + 1);
            }
            Err(error) => {
                let name = match error {
                    ChangeError::Busy => "busy",
                    ChangeError::NoQuorum => "no quorum",
                    ChangeError::HandingOver => "handing over",
                    _ => "refused",
                };
                self.coverage.count("change", name);
            }
        }
        proposed
    }

    fn change_settings(&mut self, settings: Box<CheckedSettings>) -> Step {
        let again = Step::Again(Task::Settings(settings.clone()));
        let Some(leader) = self.leading() else { return again };
        let Some(process) = &self.members[leader].process else { return again };
        let current = &process.replica.view().settings;
        let level = current.application_level.max(settings.application_level);
        let mut wanted = (*settings).clone().into_inner();
        wanted.application_level = level;
        if **current == wanted {
            self.coverage.count("operator", "settings changed");
            return Step::Done;
        }
        let mut proposed = Err(ChangeError::NotLeader);
        self.with(leader, |replica, now| {
            proposed = replica.change_settings(now, *settings);
        });
        again
    }

    fn raise_level(&mut self, to: u32, tries: u32) -> Step {
        let again = |tries| Step::Again(Task::RaiseLevel { to, tries });
        let Some(leader) = self.leading() else { return again(tries) };
        let Some(process) = &self.members[leader].process else { return again(tries) };
        let current = &process.replica.view().settings;
        if current.application_level >= to {
            self.coverage.count("operator", "application level raised");
            return Step::Done;
        }
        let wanted = Settings { application_level: to, ..current.clone().into_inner() }.check();
        let Ok(wanted) = wanted else { return Step::Done };
        let mut proposed = Err(ChangeError::NotLeader);
        self.with(leader, |replica, now| proposed = replica.change_settings(now, wanted));
        if !matches!(proposed, Err(ChangeError::ApplicationLevel(_))) {
            return again(tries);
        }
        self.coverage.count("operator", "application level refused");
        if tries == 0 { Step::Done } else { again(tries - 1) }
    }

    /// A new member whose program is too old for the cluster's application stops. It gets the newest program.
    fn upgrade_joiner(&mut self, place: usize) {
        if self.is_too_old(place) && !self.is_running(place) {
            self.coverage.count("operator", "joiner upgraded");
            self.members[place].program = self.newest_program();
            self.start(self.now, place);
        }
    }

    /// Clears the members that the leader knows as removed, unless another one has their place now. The operator waits for their
    /// processes to end; at one look in five it waits no longer. Returns true if none is left.
    fn clear_removed(&mut self) -> bool {
        let Some(leader) = self.leading() else { return false };
        let Some(process) = &self.members[leader].process else { return false };
        let removed = process.replica.configuration().removed.clone();
        let mut left = false;
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.disk.is_some() && member.id.is_some_and(|id| removed.contains(&id)) {
                if !self.is_running(place) || self.rng.percent(20) {
                    self.clear(place);
                } else {
                    left = true;
                }
            }
        }
        !left
    }

    pub(super) fn clear(&mut self, place: usize) {
        say!(self.trace, self.now, "          the place of member {} is cleared", place + 1);
        self.end_process(place, End::Stopped);
        self.members[place].disk = None;
        self.members[place].copied = false;
    }
}
