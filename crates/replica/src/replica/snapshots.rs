//! Snapshots of this member's own state: when they are taken, and how they are sent to members whose log has fallen
//! behind the leader's.
//!
//! The file is sent in chunks, one at a time: the receiver's answer to a chunk, which it gives after writing it, asks
//! for the next. What a transfer takes in memory is one chunk, whatever the size of the state. A transfer that was
//! interrupted goes on where it stopped, because the receiver answers each offer with what it has.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::{Output, Replica, timers::Timer};
use crate::{
    Job, Now, PeerFrame, PeerMessage, RaftId, Role, SnapshotMeta, SnapshotProgress, Space,
    StopReason,
};

/// The data of one chunk. A link of 50 ms still moves 20 MiB a second with one chunk at a time.
const CHUNK_BYTES: u64 = (1 << 20) - PeerFrame::CHUNK_OVERHEAD as u64;
/// The offer or chunk is sent again when no answer came for this long: messages can be lost.
const RESEND_AFTER: Duration = Duration::from_secs(1);
/// A transfer fails when no answer came for this long. Verifying a gigabyte takes less.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// The log that is kept below a snapshot that is being sent, as a multiple of the size at which snapshots are taken. A
/// transfer that is slower than this many snapshots starts over.
const KEPT_LOGS: u64 = 4;

/// A snapshot's file, as the shell has written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The place in the log, and the configuration there.
    pub meta: SnapshotMeta,
    /// The length of the file.
    pub bytes: u64,
    /// The state hash in the file, which is its checksum.
    pub hash: [u8; 16],
}

#[derive(Debug, Default)]
pub(super) struct Snapshots {
    newest: Option<SnapshotFile>,
    /// The index of the snapshot before the newest. The log after it is kept.
    previous: u64,
    /// A snapshot is being written.
    taking: bool,
    /// A member needs a snapshot that is newer than the newest.
    wanted: bool,
    /// Bytes of the log since the newest snapshot.
    log_bytes: u64,
    sending: BTreeMap<RaftId, Sending>,
}

#[derive(Debug)]
struct Sending {
    file: SnapshotFile,
    /// The receiver has the file up to here, once it has said so.
    have: Option<u64>,
    heard: Duration,
    sent: Duration,
    /// The next part is read no sooner.
    allowed: Duration,
    /// A part that the receiver asked for sooner.
    asked: Option<u64>,
}

impl Snapshots {
    pub(super) fn new(newest: Option<SnapshotFile>) -> Self {
        let previous = newest.as_ref().map_or(0, |file| file.meta.index);
        Self { newest, previous, ..Self::default() }
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.log_bytes += bytes as u64;
    }

    /// Takes note that the state was replaced by a snapshot of the leader.
    pub(super) fn installed(&mut self, file: SnapshotFile) {
        self.previous = file.meta.index;
        self.log_bytes = 0;
        self.newest = Some(file);
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }
}

impl Replica {
    /// Takes note that a snapshot's file is complete and durable under its name. The next write records it.
    pub fn snapshot_taken(&mut self, now: Now, file: SnapshotFile) {
        self.enter(now, false, |replica| {
            let snapshots = &mut replica.snapshots;
            snapshots.taking = false;
            let index = file.meta.index;
            let newest = snapshots.newest.as_ref().map_or(0, |newest| newest.meta.index);
            if index <= newest {
                return Ok(());
            }
            let first_index = match replica.space {
                Space::Ample => snapshots.first_kept(newest, replica.config.limits.snapshot_after),
                Space::Low => replica.first_kept_on_low_disk(newest, index),
            };
            let snapshots = &mut replica.snapshots;
            replica.engine.record(file.meta.clone(), first_index)?;
            (snapshots.previous, snapshots.newest) = (newest, Some(file));
            Ok(())
        });
    }

    /// Takes a snapshot of what is applied, although the log has not grown enough. Does nothing if one is being taken, or
    /// if the newest one already holds everything that is applied.
    pub fn take_snapshot(&mut self, now: Now) {
        self.enter(now, false, |replica| {
            replica.snapshots.want();
            Ok(())
        });
    }

    /// Returns the newest snapshot that is complete; none before the first one.
    #[must_use]
    pub fn newest_snapshot(&self) -> Option<&SnapshotFile> {
        self.snapshots.newest.as_ref()
    }

    /// Takes note that a snapshot could not be written. It is tried again when the log has grown as much once more.
    pub fn snapshot_failed(&mut self, now: Now) {
        self.enter(now, false, |replica| {
            replica.snapshots.taking = false;
            Ok(())
        });
    }

    /// Takes a part of a snapshot's file that [`Output::ReadSnapshot`] asked for, or nothing if it cannot be read.
    pub fn snapshot_read(
        &mut self,
        now: Now,
        to: RaftId,
        index: u64,
        offset: u64,
        data: Option<Bytes>,
    ) {
        self.enter(now, false, |replica| {
            let Some(sending) = replica.snapshots.sending.get_mut(&to) else { return Ok(()) };
            if sending.file.meta.index != index || sending.have != Some(offset) {
                return Ok(());
            }
            let Some(data) = data else { return replica.end_sending(to, false) };
            sending.sent = replica.now.monotonic;
            let term = replica.standing.term;
            replica.send(to, PeerMessage::SnapshotChunk { term, index, offset, data });
            Ok(())
        });
    }

    /// Takes a snapshot if the log has grown enough, or a member needs one.
    pub(super) fn take_snapshot_if_due(&mut self) {
        let snapshots = &mut self.snapshots;
        let due = snapshots.wanted || snapshots.log_bytes >= self.config.limits.snapshot_after;
        if !due || snapshots.taking {
            return;
        }
        let meta = self.engine.snapshot_point();
        if snapshots.newest.as_ref().is_some_and(|newest| newest.meta.index >= meta.index) {
            snapshots.wanted = false;
            return;
        }
        (snapshots.taking, snapshots.wanted, snapshots.log_bytes) = (true, false, 0);
        self.applying.then(Job::Freeze(meta));
    }

    /// Begins to send a snapshot, because the engine wants it.
    pub(super) fn begin_sending(
        &mut self,
        to: RaftId,
        meta: &SnapshotMeta,
    ) -> Result<(), StopReason> {
        let now = self.now.monotonic;
        let file = self.snapshots.newest.clone().filter(|newest| newest.meta == *meta);
        let Some(file) = file else {
            // A cluster's first snapshot has no file.
            self.snapshots.want();
            return self.engine.report_snapshot(to, false);
        };
        let sending =
            Sending { file, have: None, heard: now, sent: now, allowed: now, asked: None };
        self.snapshots.sending.insert(to, sending);
        self.offer(to);
        Ok(())
    }

    fn offer(&mut self, to: RaftId) {
        let Some(sending) = self.snapshots.sending.get_mut(&to) else { return };
        // The answer says from where to go on, even if it is the same place: a chunk may have been lost.
        (sending.have, sending.sent) = (None, self.now.monotonic);
        let SnapshotFile { meta, bytes, hash } = sending.file.clone();
        let term = self.standing.term;
        self.timers.set(self.now.monotonic + RESEND_AFTER, Timer::Snapshot(to));
        self.send(to, PeerMessage::SnapshotOffer { term, snapshot: meta, bytes, hash });
    }

    /// Takes a receiver's answer.
    pub(super) fn snapshot_status(
        &mut self,
        from: RaftId,
        index: u64,
        progress: SnapshotProgress,
    ) -> Result<(), StopReason> {
        let now = self.now.monotonic;
        let Some(sending) = self.snapshots.sending.get_mut(&from) else { return Ok(()) };
        if sending.file.meta.index != index {
            return Ok(());
        }
        sending.heard = now;
        match progress {
            SnapshotProgress::Have(have) if have < sending.file.bytes => {
                // Else it is a copy.
                if sending.have != Some(have) {
                    sending.asked = Some(have);
                    self.read_part(from);
                }
                Ok(())
            }
            // It verifies the file.
            SnapshotProgress::Have(_) => Ok(()),
            SnapshotProgress::Complete => self.end_sending(from, true),
            SnapshotProgress::Failed => self.end_sending(from, false),
        }
    }

    /// Reads the part that a receiver asked for, unless that would be faster than the limit.
    pub(super) fn read_part(&mut self, to: RaftId) {
        let now = self.now.monotonic;
        let rate = self.config.limits.snapshot_rate.max(1);
        let Some(sending) = self.snapshots.sending.get_mut(&to) else { return };
        let Some(offset) = sending.asked else { return };
        if now < sending.allowed {
            self.timers.set(sending.allowed, Timer::Chunk(to));
            return;
        }
        let length = (sending.file.bytes - offset).min(CHUNK_BYTES);
        (sending.asked, sending.have, sending.sent) = (None, Some(offset), now);
        // A chunk is at most 1 MiB, so this is at most 2^50.
        sending.allowed = now + Duration::from_nanos(length * 1_000_000_000 / rate);
        let index = sending.file.meta.index;
        self.outputs.push_back(Output::ReadSnapshot { to, index, offset, length });
    }

    /// Tells the engine how a transfer ended. It sends nothing to that member before.
    fn end_sending(&mut self, to: RaftId, complete: bool) -> Result<(), StopReason> {
        match self.snapshots.sending.remove(&to) {
            Some(_) => self.engine.report_snapshot(to, complete),
            None => Ok(()),
        }
    }

    pub(super) fn check_sending(&mut self, to: RaftId) -> Result<(), StopReason> {
        let now = self.now.monotonic;
        let Some(sending) = self.snapshots.sending.get(&to) else { return Ok(()) };
        if now.saturating_sub(sending.heard) >= GIVE_UP_AFTER {
            return self.end_sending(to, false);
        }
        if now.saturating_sub(sending.sent) >= RESEND_AFTER {
            self.offer(to);
        } else {
            let again = sending.sent + RESEND_AFTER;
            self.timers.set(again, Timer::Snapshot(to));
        }
        Ok(())
    }

    /// Forgets the transfers of a leadership that has ended. The next leader begins its own, which go on where these
    /// stopped if it has the same snapshot.
    pub(super) fn stop_sending(&mut self) {
        if self.standing.role != Role::Leader {
            self.snapshots.sending.clear();
        }
    }
}

impl Snapshots {
    /// The first index of the log that stays when a snapshot after `newest` is recorded: what a follower that got the
    /// newest one needs, and what receivers of transfers that are under way will need.
    fn first_kept(&self, newest: u64, snapshot_after: u64) -> u64 {
        let oldest = self.sending.values().map(|sending| sending.file.meta.index).min();
        match oldest {
            Some(oldest) if self.log_bytes < KEPT_LOGS * snapshot_after => oldest.min(newest) + 1,
            _ => newest + 1,
        }
    }
}
