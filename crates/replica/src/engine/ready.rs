//! What comes out of the engine, in the right order.

use raft::{
    StateRole,
    eraftpb::{EntryType, Message, MessageType},
};

use super::{Engine, Event, Progress, Standing, convert, persist::Pending};
use crate::{
    Addressed, Change, EntryKind, LogEntry, RaftId, Role, StopReason, Write, timing::Ticks,
};

impl Engine {
    pub(crate) fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn take_write(&mut self) -> Option<Write> {
        self.persistence.take_write()
    }

    /// Takes everything that the engine has ready.
    pub(crate) fn drain(&mut self) -> Result<(), StopReason> {
        loop {
            self.redraw();
            while self.node.has_ready() {
                self.take_ready();
                self.settle();
            }
            self.settle();
            self.hand_over()?;
            self.leave_joint();
            if !self.node.has_ready() {
                break;
            }
        }
        let wanted = self.node.mut_store().take_wanted();
        self.events.extend(wanted.fetch.map(Event::Fetch));
        self.events.extend(wanted.snapshot.then_some(Event::SnapshotWanted));
        Ok(())
    }

    /// The engine draws its election timeout from the thread's generator; ours, from a seed, replaces it.
    pub(super) fn redraw(&mut self) {
        let raft = &mut self.node.raft;
        let held = (raft.term, raft.state);
        if self.drawn == 0 || held != self.drawn_for {
            let Ticks { election_min, election_max, .. } = self.ticks;
            let spread = (election_max - election_min) as u64;
            self.drawn = election_min + self.random.below(spread) as usize;
            self.drawn_for = held;
        }
        raft.set_randomized_election_timeout(self.drawn);
    }

    fn take_ready(&mut self) {
        let mut ready = self.node.ready();
        self.take_standing();
        if let Some(state) = ready.hs() {
            self.persistence.hard_state(convert::hard_state_from_raft(state));
        }
        let mut install = None;
        if !ready.snapshot().is_empty() {
            install = self.installing.take();
            if let Some(snapshot) = &install {
                self.node.mut_store().install(snapshot.clone());
                self.persistence.install(snapshot.clone());
                self.configuration = snapshot.configuration.clone();
                self.committed.clear();
            }
        }
        let entries = ready.take_entries();
        self.persistence.entries(entries.iter().map(convert::entry_from_raft).collect());
        self.node.mut_store().append(entries);
        self.committed.extend(ready.take_committed_entries());
        let mut promises = Vec::new();
        // A single voter leads before its own vote is durable. After a crash it may lead in the same term again, with
        // other entries.
        let may_forget_term = self.persistence.durable().term < self.node.raft.term;
        for message in ready.take_messages() {
            // A snapshot contains only what is committed.
            if may_forget_term && message.get_msg_type() != MessageType::MsgSnapshot {
                promises.push(message);
            } else {
                self.send(&message);
            }
        }
        for state in ready.take_read_states() {
            let round = convert::round_from_bytes(&state.request_ctx);
            if let Some(round) = round.filter(|round| self.outstanding == Some(*round)) {
                self.outstanding = None;
                self.events.push_back(Event::ReadReady { round, index: state.index });
            }
        }
        promises.extend(ready.take_persisted_messages());
        let addressed = promises.iter().filter_map(|message| {
            let to = RaftId::new(message.to)?;
            Some(Addressed { to, message: convert::message_from_raft(message)? })
        });
        self.persistence.ready(Pending {
            number: ready.number(),
            must_write: ready.must_sync(),
            install,
            messages: addressed.collect(),
        });
        self.node.advance_append_async(ready);
    }

    fn take_standing(&mut self) {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        };
        let standing = Standing { term: raft.term, role, leader: RaftId::new(raft.leader_id) };
        if standing != self.standing {
            if (standing.term, standing.role) != (self.standing.term, self.standing.role) {
                // The engine forgets its pending reads without a sign.
                self.outstanding = None;
            }
            self.standing = standing;
            self.events.push_back(Event::Standing(standing));
        }
    }

    fn send(&mut self, message: &Message) {
        let Some(to) = RaftId::new(message.to) else { return };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let snapshot = self.newest_snapshot().clone();
            self.events.push_back(Event::SendSnapshot { to, snapshot });
        } else if let Some(message) = convert::message_from_raft(message) {
            self.events.push_back(Event::Send(Addressed { to, message }));
        }
    }

    /// Tells the engine what is durable, and lets go the promises that hold now.
    fn settle(&mut self) {
        while let Some(pending) = self.persistence.next_durable() {
            // Before the promises go: their answers may come at once.
            self.node.on_persist_ready(pending.number);
            if let Some(snapshot) = pending.install {
                self.handed = snapshot.index;
                self.node.advance_apply_to(snapshot.index);
                self.events.push_back(Event::Installed(snapshot));
            }
            self.events.extend(pending.messages.into_iter().map(Event::Send));
        }
    }

    /// Hands over committed entries, as far as changes of the configuration may be applied.
    fn hand_over(&mut self) -> Result<(), StopReason> {
        while let Some(entry) = self.committed.front() {
            let is_change = entry.get_entry_type() != EntryType::EntryNormal;
            if is_change && entry.index > self.persistence.durable_commit() {
                self.persistence.force();
                break;
            }
            let Some(entry) = self.committed.pop_front() else { break };
            let entry = convert::entry_from_raft(&entry);
            self.handed = entry.index;
            match entry.kind {
                EntryKind::Normal => self.events.push_back(Event::Committed(entry)),
                EntryKind::Change => self.configure(&entry)?,
            }
        }
        if self.handed > self.node.raft.raft_log.applied {
            self.node.advance_apply_to(self.handed);
        }
        let (handed, kept) = (self.handed, self.cached_log_bytes);
        self.node.mut_store().release(handed, kept);
        Ok(())
    }

    fn configure(&mut self, entry: &LogEntry) -> Result<(), StopReason> {
        let LogEntry { index, data, .. } = entry;
        let index = *index;
        let change = Change::decode(&data.to_bytes())
            .map_err(|error| StopReason::UnknownChange { index, error })?;
        let raft = convert::change_to_raft(&change, &self.configuration);
        // The proposer checked it against the same configuration.
        self.node.apply_conf_change(&raft).map_err(|_| StopReason::ImpossibleChange { index })?;
        self.configuration = self.configuration.after(&change);
        self.persistence.configuration(self.configuration.clone());
        self.events.push_back(Event::Configured { index });
        if self.node.raft.state == StateRole::Leader && !self.configuration.contains(self.id) {
            // Left over from an earlier leader's change. The engine would panic at the next write.
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
        Ok(())
    }

    /// Leaves a joint configuration as soon as it is in force.
    fn leave_joint(&mut self) {
        if !self.is_leader()
            || !self.configuration.is_joint()
            || self.node.raft.has_pending_conf()
            || self.is_transferring()
            || !self.node.raft.commit_to_current_term()
        {
            return;
        }
        if self.configuration.voters.contains(&self.id) {
            // A refusal is made good by the next tick.
            let _ = self.propose_change(&Change::Leave);
        } else {
            // Leaving would remove the leader itself.
            let progress = self.progress();
            let stays = |progress: &&Progress| self.configuration.voters.contains(&progress.id);
            let best = progress.iter().filter(stays).max_by_key(|each| (each.active, each.matched));
            if let Some(best) = best {
                self.node.transfer_leader(best.id.get());
            }
        }
    }
}
