//! The file of a snapshot that comes from a leader: what a member's disk does with it.

use bytes::Bytes;
use zraft_replica::{SnapshotFile, SnapshotMeta};
use zraft_store::{SnapshotReceiver, StoreError};

use super::{Cluster, Event};

impl Cluster {
    /// Makes an empty file. What becomes of the one before it would not be defined if the disk still worked on that.
    pub(super) fn begin_file(&mut self, place: usize, file: &SnapshotFile) {
        self.starts_step(place, false);
        let Some(process) = &mut self.members[place].process else { return };
        let SnapshotMeta { index, term, .. } = file.meta;
        match process.store.receive_snapshot(index, term, file.bytes) {
            Ok(receiver) => process.receiver = Some(receiver),
            Err(error) => self.store_failed(place, &error),
        }
    }

    pub(super) fn write_part(&mut self, place: usize, index: u64, offset: u64, data: &Bytes) {
        let after = self.disk_time(place);
        self.starts_step(place, true);
        let Some(process) = &mut self.members[place].process else { return };
        let Some(receiver) = &mut process.receiver else {
            return self.violated("parts of a snapshot come in order", "no file was begun");
        };
        match receiver.append(offset, data) {
            Ok(true) => {
                let up_to = receiver.received();
                self.plan_within(place, after, Event::Received { index, up_to });
            }
            Ok(false) => {
                self.violated("parts of a snapshot come in order", format!("{offset}"));
            }
            Err(error) => self.store_failed(place, &error),
        }
    }

    pub(super) fn part_written(&mut self, place: usize, index: u64, up_to: u64) {
        self.ends_step(place);
        self.with(place, |replica, now| replica.snapshot_written(now, index, up_to));
    }

    pub(super) fn verify_file(&mut self, place: usize, file: Box<SnapshotFile>) {
        let after = self.disk_time(place);
        self.starts_step(place, true);
        self.plan_within(place, after, Event::Verified(file));
    }

    pub(super) fn verified(&mut self, place: usize, file: &SnapshotFile) {
        self.ends_step(place);
        let Some(process) = &mut self.members[place].process else { return };
        let sound = match process.receiver.take().map(SnapshotReceiver::finish) {
            Some(Ok(found)) => found == *file,
            None | Some(Err(StoreError::Damaged { .. })) => false,
            Some(Err(error)) => return self.store_failed(place, &error),
        };
        self.coverage.count("snapshot", if sound { "received" } else { "damaged on its way" });
        let index = file.meta.index;
        if sound {
            let at = self.moment(place);
            self.judge.snapshot(at, place, index, file.hash);
        }
        self.with(place, |replica, now| replica.snapshot_verified(now, index, sound));
    }

    /// The member wants something done with the file, which takes time or not.
    fn starts_step(&mut self, place: usize, lasts: bool) {
        let Some(process) = &mut self.members[place].process else { return };
        if std::mem::replace(&mut process.filing, lasts) {
            let member = format!("member {}", place + 1);
            self.violated("a member handles one part of a snapshot's file at a time", member);
        }
    }

    fn ends_step(&mut self, place: usize) {
        if let Some(process) = &mut self.members[place].process {
            process.filing = false;
        }
    }
}
