//! What goes into the engine, checked first.

use raft::{
    SnapshotStatus, StateRole,
    eraftpb::{Entry, EntryType, Message, MessageType},
};
use zraft_session::EntryBytes;

use super::{Engine, Refused, convert};
use crate::{
    Change, ChangeStep, LogEntry, PeerMessage, RaftId, ReadRound, SnapshotMeta, StopReason,
};

impl Engine {
    /// Lets this many ticks pass.
    pub(crate) fn tick(&mut self, ticks: usize) -> Result<(), StopReason> {
        for _ in 0..ticks {
            // A campaign of a member whose last write is not durable ends in a panic when it is won.
            if self.is_leader() || !self.is_writing() {
                self.node.tick();
                self.drain()?;
            }
        }
        Ok(())
    }

    /// Lets time pass for a member that stands in no election. It stops counting on a silent leader all the same, or it
    /// would refuse its vote to every other member.
    pub(crate) fn age(&mut self, ticks: usize) {
        let raft = &mut self.node.raft;
        if raft.state != StateRole::Leader {
            raft.election_elapsed = raft.election_elapsed.saturating_add(ticks);
        }
    }

    /// Takes a message that the codec has checked.
    pub(crate) fn step(&mut self, from: RaftId, message: &PeerMessage) -> Result<(), StopReason> {
        self.check(message)?;
        let Some(mut raft) = convert::message_to_raft(from, self.id, message) else {
            return Ok(());
        };
        if raft.get_msg_type() == MessageType::MsgTimeoutNow
            // A later term makes a follower of a leader before it stands.
            && (!self.is_leader() || raft.term > self.standing.term)
            && self.is_writing()
        {
            self.timeout_now = Some(raft);
            return Ok(());
        }
        if raft.get_msg_type() == MessageType::MsgAppendResponse && !self.clamp(&mut raft) {
            return Ok(());
        }
        // An error says that the sender is not of the configuration, or that there is nothing to do.
        let _ = self.node.step(raft);
        self.drain()
    }

    /// Finds what proves that a log was lost or that the members have diverged. The engine would panic on it.
    fn check(&self, message: &PeerMessage) -> Result<(), StopReason> {
        let log = &self.node.raft.raft_log;
        let (last, committed) = (log.last_index(), log.committed);
        if message.term() < self.standing.term {
            return Ok(());
        }
        match message {
            // The leader sends no commit index above what this member once acknowledged.
            PeerMessage::Heartbeat { commit, .. } if *commit > last => {
                Err(StopReason::LostLog { known: *commit, last })
            }
            PeerMessage::Append { entries, .. } => {
                let committed = entries.iter().take_while(|entry| entry.index <= committed);
                let mut known = committed.filter(|entry| entry.index >= log.first_index());
                match known.find(|entry| log.term(entry.index).ok() != Some(entry.term)) {
                    Some(entry) => Err(StopReason::Diverged { index: entry.index }),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Keeps a response from moving the next index to or below the matched one, which 0.7 allows: the entries in
    /// between would be sent without end. Returns false if nothing is left to do.
    fn clamp(&mut self, response: &mut Message) -> bool {
        let raft = &mut self.node.raft;
        if response.term != raft.term || raft.state != StateRole::Leader {
            return true;
        }
        let last = raft.raft_log.last_index();
        // The engine also goes below the hint, to where the terms may agree.
        let hint = match (response.reject_hint, response.log_term) {
            (hint, 0) => hint,
            (hint, term) => raft.raft_log.find_conflict_by_term(hint, term).0,
        };
        let Some(progress) = raft.mut_prs().get_mut(response.from) else { return true };
        if !response.reject {
            // No follower has more than its leader.
            return response.index <= last;
        }
        if response.index <= progress.matched {
            // Overtaken by an answer that matched.
            progress.recent_active = true;
            return false;
        }
        if hint < progress.matched {
            (response.reject_hint, response.log_term) = (progress.matched, 0);
        }
        true
    }

    /// Takes a snapshot whose file is complete and verified.
    pub(crate) fn install(
        &mut self,
        from: RaftId,
        term: u64,
        snapshot: SnapshotMeta,
    ) -> Result<(), StopReason> {
        let message = convert::snapshot_message(from, self.id, term, &snapshot);
        self.installing = Some(snapshot);
        let _ = self.node.step(message);
        self.drain()?;
        self.installing = None;
        Ok(())
    }

    /// Ends the transfer of a snapshot. Without it the leader would never send to that member again.
    pub(crate) fn report_snapshot(&mut self, to: RaftId, complete: bool) -> Result<(), StopReason> {
        let status = if complete { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to.get(), status);
        self.drain()
    }

    pub(crate) fn report_unreachable(&mut self, to: RaftId) -> Result<(), StopReason> {
        self.node.report_unreachable(to.get());
        self.drain()
    }

    /// Appends entries to the log. Returns the index of the first.
    pub(crate) fn propose<E: Into<EntryBytes>>(&mut self, entries: Vec<E>) -> Result<u64, Refused> {
        self.append(entries.into_iter().map(|data| convert::normal_to_raft(data.into())).collect())
    }

    fn append(&mut self, entries: Vec<Entry>) -> Result<u64, Refused> {
        // A follower would forward the proposal, and its fate could not be known.
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if self.is_transferring() {
            return Err(Refused::Transferring);
        }
        let first = self.last_index() + 1;
        let mut message = Message { from: self.id.get(), ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        self.node.step(message).map_err(|_| Refused::Full)?;
        Ok(first)
    }

    /// Appends a change of the configuration. Returns its index.
    pub(crate) fn propose_change(&mut self, change: &Change) -> Result<u64, Refused> {
        let removes_self =
            |step: &ChangeStep| matches!(step, ChangeStep::Remove(id) if *id == self.id);
        // The only voter has no one to hand over to before the change is made. Within a joint change it hands over before
        // that is left.
        let voters = &self.configuration.voters;
        let alone = voters.len() == 1 && voters.contains(&self.id);
        if let Change::Steps(steps) = change
            && steps.iter().any(removes_self)
            && !(alone && steps.len() > 1)
        {
            return Err(Refused::OwnRemoval);
        }
        let raft = convert::change_to_raft(change, &self.configuration);
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.data = convert::change_to_bytes(&raft).ok_or(Refused::Change)?;
        entry.context = change.encode();
        let index = self.append(vec![entry])?;
        // The engine says Ok to a change that it will not make, and appends an empty entry in its place.
        let appended = self.node.raft.raft_log.unstable_entries().last();
        match appended.is_some_and(|entry| entry.get_entry_type() == EntryType::EntryConfChangeV2) {
            true => Ok(index),
            false => Err(Refused::Change),
        }
    }

    /// Starts a read round, if this leader may and none is under way.
    pub(crate) fn read(&mut self) -> Result<Option<ReadRound>, StopReason> {
        // Before the term's first commit the engine drops the request without a sign.
        if !self.is_leader()
            || self.outstanding.is_some()
            || !self.node.raft.commit_to_current_term()
        {
            return Ok(None);
        }
        self.read_rounds += 1;
        let round = ReadRound { term: self.standing.term, count: self.read_rounds };
        self.outstanding = Some(round);
        self.node.read_index(convert::round_to_bytes(round).to_vec());
        self.drain()?;
        Ok(Some(round))
    }

    /// Begins to hand leadership over. The engine gives up after an election timeout.
    pub(crate) fn transfer(&mut self, to: RaftId) -> Result<(), StopReason> {
        if self.is_leader() && to != self.id {
            self.node.transfer_leader(to.get());
            self.drain()?;
        }
        Ok(())
    }

    /// Stops leading without a successor.
    pub(crate) fn step_down(&mut self) -> Result<(), StopReason> {
        if self.is_leader() {
            let term = self.standing.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
        self.drain()
    }

    /// Takes note that a write is durable.
    pub(crate) fn persisted(&mut self, write: u64) -> Result<(), StopReason> {
        if !self.persistence.persisted(write) {
            return Ok(());
        }
        self.drain()?;
        if !self.is_writing()
            && let Some(message) = self.timeout_now.take()
        {
            let _ = self.node.step(message);
            self.drain()?;
        }
        Ok(())
    }

    /// Takes entries that the store read back for a lagging member.
    pub(crate) fn fetched(&mut self, low: u64, entries: &[LogEntry]) -> Result<(), StopReason> {
        let entries = entries.iter().map(convert::entry_to_raft).collect();
        if let Some(low) = self.node.mut_store().fetched(low, entries)
            && self.is_leader()
        {
            let lags = self.node.raft.prs().iter().filter(|(id, progress)| {
                **id != self.id.get() && progress.next_idx == low && !progress.is_paused()
            });
            let lagging: Vec<u64> = lags.map(|(id, _)| *id).collect();
            for id in lagging {
                self.node.raft.send_append(id);
            }
        }
        self.node.mut_store().drop_fetched();
        self.drain()
    }

    /// Takes note of a complete snapshot of this member's state, and forgets the log below `first_index`.
    pub(crate) fn record(
        &mut self,
        snapshot: SnapshotMeta,
        first_index: u64,
    ) -> Result<(), StopReason> {
        if snapshot.index <= self.newest_snapshot().index || snapshot.index > self.handed {
            return Ok(());
        }
        let first_index = first_index.clamp(self.first_index(), snapshot.index + 1);
        self.node.mut_store().record(snapshot.clone());
        self.node.mut_store().compact(first_index);
        self.persistence.record(snapshot);
        self.persistence.first_index(first_index);
        self.drain()
    }
}
