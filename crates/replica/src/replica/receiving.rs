//! Taking a snapshot from the leader.

use bytes::Bytes;

use super::{Output, Replica, snapshots::SnapshotFile};
use crate::{Now, PeerMessage, RaftId, Role, SnapshotProgress, StopReason};

/// A snapshot whose file is on its way.
#[derive(Debug)]
pub(super) struct Receiving {
    file: SnapshotFile,
    /// The leader that sends it now.
    from: RaftId,
    /// The term of the newest offer, which is that of the snapshot's last entry or a later one. No other message may have
    /// told it to this member.
    term: u64,
    /// The file is written up to here.
    have: u64,
    stage: Stage,
}

impl Receiving {
    /// Returns true while the shell writes a part of the file or verifies it.
    fn is_busy(&self) -> bool {
        self.stage != Stage::Waiting
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for a chunk.
    Waiting,
    /// The shell writes a chunk.
    Writing,
    /// The shell verifies the complete file.
    Verifying,
}

impl Replica {
    /// Answers an offer with what this member has of the file.
    pub(super) fn take_offer(&mut self, from: RaftId, term: u64, file: SnapshotFile) {
        let index = file.meta.index;
        // The engine would panic at a configuration without voters.
        let possible = file.bytes > 0
            && file.meta.index > 0
            && (1..=term).contains(&file.meta.term)
            && !file.meta.configuration.voters.is_empty()
            && file.meta.configuration.contains(self.id);
        let unwanted = !possible || self.standing.role == Role::Leader;
        if unwanted {
            self.report(from, index, SnapshotProgress::Failed);
        } else if index <= self.engine.commit() {
            // It was installed, or the log has caught up by itself.
            self.report(from, index, SnapshotProgress::Complete);
        } else if let Some(receiving) =
            self.receiving.as_mut().filter(|receiving| receiving.file == file)
        {
            receiving.from = from;
            receiving.term = receiving.term.max(term);
            let have = receiving.have;
            self.report(from, index, SnapshotProgress::Have(have));
        } else if self.receiving.as_ref().is_some_and(Receiving::is_busy) {
            // Without an answer, the leader offers its snapshot again. If this file were dropped now, the shell's answer
            // to the step could be taken for one about the next file, and a verified file would be wasted.
        } else {
            self.outputs.push_back(Output::BeginSnapshot(Box::new(file.clone())));
            self.receiving = Some(Receiving { file, from, term, have: 0, stage: Stage::Waiting });
            self.report(from, index, SnapshotProgress::Have(0));
        }
    }

    /// Writes a chunk that continues the file.
    pub(super) fn take_chunk(&mut self, from: RaftId, index: u64, offset: u64, data: Bytes) {
        let Some(receiving) = self.receiving.as_mut() else {
            self.report(from, index, SnapshotProgress::Failed);
            return;
        };
        let end = offset.saturating_add(data.len() as u64);
        let continues = receiving.file.meta.index == index
            && receiving.from == from
            && receiving.have == offset
            && receiving.stage == Stage::Waiting;
        // Anything else is a copy, or was overtaken by an offer.
        if continues && !data.is_empty() && end <= receiving.file.bytes {
            receiving.stage = Stage::Writing;
            self.outputs.push_back(Output::WriteSnapshot { index, offset, data });
        }
    }

    /// Takes note that a chunk was written, up to this offset. The file need not be durable yet.
    pub fn snapshot_written(&mut self, now: Now, index: u64, up_to: u64) {
        self.enter(now, false, |replica| {
            let Some(receiving) = replica.receiving.as_mut() else { return Ok(()) };
            if receiving.file.meta.index != index || receiving.stage != Stage::Writing {
                return Ok(());
            }
            receiving.have = up_to;
            receiving.stage = Stage::Waiting;
            let from = receiving.from;
            if up_to == receiving.file.bytes {
                receiving.stage = Stage::Verifying;
                let file = Box::new(receiving.file.clone());
                replica.outputs.push_back(Output::VerifySnapshot(file));
            }
            replica.report(from, index, SnapshotProgress::Have(up_to));
            Ok(())
        });
    }

    /// Takes note that a complete file was verified against its hash and made durable under its name, or that it is
    /// damaged.
    pub fn snapshot_verified(&mut self, now: Now, index: u64, sound: bool) {
        self.enter(now, false, |replica| {
            let verified = replica.receiving.take_if(|receiving| {
                receiving.file.meta.index == index && receiving.stage == Stage::Verifying
            });
            let Some(Receiving { file, from, term, .. }) = verified else { return Ok(()) };
            if !sound {
                replica.report(from, index, SnapshotProgress::Failed);
                return Ok(());
            }
            replica.install(from, term, file)
        });
    }

    fn install(
        &mut self,
        from: RaftId,
        offered: u64,
        file: SnapshotFile,
    ) -> Result<(), StopReason> {
        let index = file.meta.index;
        // A vote in a term below that of its log would let the member start no more.
        let term = self.standing.term.max(offered);
        // Whoever leads now: the file is a committed state in any case.
        self.engine.install(self.standing.leader.unwrap_or(from), term, file.meta.clone())?;
        let installed = self.engine.commit() >= index;
        if installed {
            self.snapshots.installed(file);
        }
        let progress =
            if installed { SnapshotProgress::Complete } else { SnapshotProgress::Failed };
        self.report(from, index, progress);
        Ok(())
    }

    fn report(&mut self, to: RaftId, index: u64, progress: SnapshotProgress) {
        // A member that has seen no term yet answers in the leader's.
        let term = self.standing.term.max(1);
        self.send(to, PeerMessage::SnapshotStatus { term, index, progress });
    }
}
