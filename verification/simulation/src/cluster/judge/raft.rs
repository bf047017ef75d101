//! What a member's disk has acknowledged, and what the member promises to others because of it.

use std::collections::VecDeque;

use zraft_replica::{Boot, EntryKind, LogEntry, PeerMessage, RaftId, VoteKind, Write};
use zraft_session::{EndReason, Entry, Operation};

use super::{At, ClusterJudge, disk::DiskLog, log::Seen, rules::Rule};

impl ClusterJudge {
    /// Compares what a start read from a disk with what the disk had acknowledged. An interrupted write may be there or not.
    pub(super) fn read_disk(
        &mut self,
        id: RaftId,
        boot: &Boot,
        interrupted: VecDeque<Write>,
        lost: bool,
    ) {
        let Some(mut disk) = self.disks.remove(&id) else {
            self.disks.insert(id, DiskLog::of(boot));
            return;
        };
        if lost {
            self.disks.insert(id, DiskLog::after_loss(disk, boot));
            return;
        }
        let mut difference = disk.difference(boot);
        for write in interrupted {
            if difference.is_none() {
                break;
            }
            self.note_write(&disk, &write);
            disk.write(&write);
            difference = disk.difference(boot);
        }
        self.verdict.demand(difference.is_none(), Rule::DisksKeep, || {
            format!("Raft id {id}: {}", difference.unwrap_or_default())
        });
        self.disks.insert(id, disk);
    }

    /// A replica gives its store a write.
    pub(crate) fn writing(&mut self, at: At, member: usize, write: &Write) {
        self.pass(at, member);
        let Some(id) = self.id(member) else { return };
        let covered = [&write.install, &write.record].into_iter().flatten();
        for snapshot in covered {
            let commit = write.hard_state.commit;
            self.verdict.demand(snapshot.index <= commit, Rule::SnapshotCovered, || {
                format!("Raft id {id}: a snapshot at {} and commit index {commit}", snapshot.index)
            });
        }
        let mut previous = None;
        for entry in &write.entries {
            let before = previous.or_else(|| self.term_before(id, write, entry.index));
            if let Some(before) = before {
                self.note_entry(member, before, entry);
            }
            previous = Some(entry.term);
        }
        let state = &mut self.members[member];
        state.pending.push_back(write.clone());
        state.writing_since = at.clock;
    }

    fn term_before(&self, id: RaftId, write: &Write, index: u64) -> Option<u64> {
        let installed = write.install.as_ref().filter(|snapshot| snapshot.index + 1 == index);
        match installed {
            Some(snapshot) => Some(snapshot.term),
            None => self.disks.get(&id)?.term(index - 1),
        }
    }

    /// Takes note of the entries of a write that is found on the disk although it was not acknowledged.
    fn note_write(&mut self, disk: &DiskLog, write: &Write) {
        let Some(first) = write.entries.first() else { return };
        let Some(mut previous) = disk.term(first.index - 1) else { return };
        for entry in &write.entries {
            self.log.note(&mut self.verdict, previous, entry);
            previous = entry.term;
        }
    }

    /// Takes note of an entry that a member writes or sends.
    fn note_entry(&mut self, member: usize, previous: u64, entry: &LogEntry) {
        if self.log.note(&mut self.verdict, previous, entry) == Seen::Before {
            return;
        }
        let state = &self.members[member];
        // Only its leader can be the first to show an entry.
        if state.standing.term != entry.term {
            return;
        }
        if !state.standing.leads() {
            // It proposed the entry before it lost its lead, and its disk was busy until now.
            if state.served == entry.term
                && let Ok(decoded) = Entry::decode_shared(&entry.data)
            {
                self.stamps(member, decoded.time);
            }
            return;
        }
        if entry.kind == EntryKind::Change {
            return self.proposes_change(member, entry);
        }
        let Ok(decoded) = Entry::decode_shared(&entry.data) else { return };
        self.stamps(member, decoded.time);
        match decoded.operation {
            Operation::Acknowledge(_) => self.acknowledges(member),
            Operation::EndSession { session, reason: EndReason::Expired } => {
                self.expires(member, &session);
            }
            _ => {}
        }
    }

    /// The store has acknowledged a write.
    pub(crate) fn durable(&mut self, at: At, member: usize, number: u64) {
        self.pass(at, member);
        let Some(id) = self.id(member) else { return };
        let pending = self.members[member].pending.pop_front();
        let given = pending.as_ref().map(|write| write.number);
        self.verdict.demand(given == Some(number), Rule::DisksKeep, || {
            format!("Raft id {id}: write {number} is acknowledged instead of {given:?}")
        });
        // The engine's clock stands while a follower's disk writes.
        self.members[member].alone_since = at.clock;
        self.members[member].written = at.clock;
        let Some(write) = pending else { return };
        let Some(disk) = self.disks.get_mut(&id) else { return };
        let (old, new) = (disk.hard, write.hard_state);
        let rises = old.term <= new.term && old.commit <= new.commit;
        self.verdict.demand(rises, Rule::NeverBack, || {
            format!("Raft id {id}: {old:?} is replaced by {new:?}")
        });
        let changed = old.term == new.term && old.vote.is_some() && old.vote != new.vote;
        self.verdict.demand(!changed, Rule::VotesOnce, || {
            format!("Raft id {id}: {old:?} is replaced by {new:?}")
        });
        let (log, verdict) = (&self.log, &mut self.verdict);
        for entry in write.entries.iter().filter(|entry| entry.index <= log.committed()) {
            let term = log.term(entry.index);
            // A leader of an earlier term than the one that committed may still append to its own log. It replaces nothing.
            let committed_in = log.committed_in(entry.index);
            let stays = term.is_none_or(|term| {
                let is_late = committed_in.is_some_and(|committed| entry.term < committed);
                entry.term == term || (is_late && disk.term(entry.index) != Some(term))
            });
            verdict.demand(stays, Rule::CommittedStays, || {
                format!(
                    "Raft id {id}: entry {} of term {} in place of term {term:?}",
                    entry.index, entry.term
                )
            });
        }
        if let Some(first) = write.entries.first() {
            let cut = first.index..=disk.last().min(log.committed());
            let replaced = write.entries.last().map_or(0, |last| last.index);
            let kept = cut.is_empty()
                || replaced >= *cut.end()
                || disk.term(*cut.end()) != log.term(*cut.end());
            verdict.demand(kept, Rule::CommittedStays, || {
                format!("Raft id {id}: committed entries after {replaced} are cut off")
            });
        }
        for snapshot in [&write.install, &write.record].into_iter().flatten() {
            let term = log.term(snapshot.index);
            let committed = snapshot.index <= log.committed().max(new.commit);
            let same = term.is_none_or(|term| term == snapshot.term);
            verdict.demand(committed && same, Rule::CommittedStays, || {
                format!(
                    "Raft id {id}: a snapshot at {} of term {}, where term {term:?} is committed",
                    snapshot.index, snapshot.term
                )
            });
        }
        disk.write(&write);
        self.claim(member, new.commit);
    }

    /// A replica gets a message of a member.
    pub(crate) fn heard(&mut self, at: At, member: usize, from: RaftId, message: &PeerMessage) {
        let before = self.members.get(member).map_or(at.clock, |state| state.clock);
        self.pass(at, member);
        let patience = self.terms.timing.election_max + self.terms.timing.heartbeat;
        let Some(state) = self.members.get_mut(member) else { return };
        // A candidate's request shows that it follows no leader.
        if !matches!(message, PeerMessage::VoteRequest { .. }) {
            state.heard.insert(from, at.clock);
        }
        match message {
            PeerMessage::Append { term, .. }
            | PeerMessage::Heartbeat { term, .. }
            | PeerMessage::SnapshotOffer { term, .. }
            | PeerMessage::SnapshotChunk { term, .. }
            | PeerMessage::TimeoutNow { term }
                if *term >= state.standing.term =>
            {
                state.alone_since = at.clock;
            }
            PeerMessage::VoteRequest { term, kind, .. } => {
                let asks = *kind == VoteKind::PreVote || *term >= state.standing.term;
                // It has looked at its clock since its patience ended.
                let alone = !state.standing.leads() && before >= state.alone_since + patience;
                if asks && alone && state.pending.is_empty() {
                    state.candidates.insert(from);
                }
            }
            PeerMessage::AppendResponse { term, index, rejected: None, .. }
                if *term == state.standing.term =>
            {
                let known = state.acknowledged.entry(from).or_default();
                *known = (*known).max((*term, *index));
            }
            PeerMessage::HeartbeatResponse { round: Some(round), .. } => {
                let (own, configuration) = (state.id, self.configurations.at(state.place));
                state.rounds.answered(from, *round, |answered| {
                    configuration.is_quorum(|id| Some(id) == own || answered.contains(&id))
                });
                if state.proof.is_some_and(|since| state.rounds.prove(since)) {
                    state.proof = None;
                }
            }
            _ => {}
        }
    }

    /// A replica sends a message to a member.
    pub(crate) fn sent(&mut self, at: At, member: usize, to: RaftId, message: &PeerMessage) {
        self.pass(at, member);
        let Some(id) = self.id(member) else { return };
        let hard = self.disks.get(&id).map(|disk| disk.hard).unwrap_or_default();
        let voted = |term: u64, whom: RaftId| {
            hard.term > term || (hard.term == term && hard.vote == Some(whom))
        };
        let names_term = matches!(
            message,
            PeerMessage::Append { .. }
                | PeerMessage::Heartbeat { .. }
                | PeerMessage::TimeoutNow { .. }
        );
        if names_term {
            // A leader that forgets the term may be elected in it again, with other entries.
            self.verdict.demand(hard.term >= message.term(), Rule::PromisesDurable, || {
                format!("Raft id {id} leads in term {}; its disk says {hard:?}", message.term())
            });
        }
        match message {
            PeerMessage::Append { term, previous, entries, .. } => {
                self.leads(id, *term);
                let acknowledged = self.members[member].acknowledged.get(&to);
                if let Some((_, has)) = acknowledged.filter(|(of, _)| of == term) {
                    self.verdict.demand(previous.index >= *has, Rule::NotSentAgain, || {
                        format!(
                            "Raft id {id} goes on at {} with {to}, which has {has}",
                            previous.index
                        )
                    });
                }
                let mut before = previous.term;
                for entry in entries {
                    self.note_entry(member, before, entry);
                    before = entry.term;
                }
            }
            PeerMessage::Heartbeat { term, round, .. } => {
                self.leads(id, *term);
                if let Some(round) = round {
                    self.members[member].rounds.sent(*round, at.clock);
                }
            }
            PeerMessage::TimeoutNow { term } => self.leads(id, *term),
            PeerMessage::SnapshotOffer { term, snapshot, .. } => {
                self.leads(id, *term);
                let named = snapshot.configuration.contains(to);
                self.verdict.demand(named, Rule::SnapshotNames, || {
                    format!("Raft id {id} offers Raft id {to} the snapshot at {}", snapshot.index)
                });
            }
            PeerMessage::VoteResponse { .. } => {
                self.members[member].candidates.remove(&to);
            }
            _ => {}
        }
        match message {
            PeerMessage::VoteResponse { term, kind: VoteKind::Vote, granted: true, .. } => {
                self.verdict.demand(voted(*term, to), Rule::PromisesDurable, || {
                    format!("Raft id {id} votes for {to} in term {term}; its disk says {hard:?}")
                });
            }
            PeerMessage::VoteRequest {
                term, kind: VoteKind::Vote | VoteKind::HandOver, ..
            } => {
                self.verdict.demand(voted(*term, id), Rule::PromisesDurable, || {
                    format!("Raft id {id} stands in term {term}; its disk says {hard:?}")
                });
            }
            PeerMessage::AppendResponse { term, index, rejected: None, .. } => {
                let last = self.disks.get(&id).map_or(0, DiskLog::last);
                let kept = hard.term != *term || last >= *index;
                self.verdict.demand(kept && hard.term >= *term, Rule::PromisesDurable, || {
                    format!("Raft id {id} acknowledges entry {index} in term {term}; its disk ends at {last} in term {}", hard.term)
                });
            }
            _ => {}
        }
    }
}
