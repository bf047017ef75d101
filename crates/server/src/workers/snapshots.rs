//! The thread that writes snapshot files: this member's own, and those that come from a leader.

use std::{io, sync::mpsc::Receiver};

use bytes::Bytes;
use zraft_replica::SnapshotFile;
use zraft_session::Snapshot;
use zraft_store::{SnapshotReceiver, SnapshotWriter, StoreError};

use super::Context;
use crate::inputs::Input;

#[derive(Debug)]
pub(super) enum SnapshotJob {
    Take { writer: Box<SnapshotWriter>, snapshot: Box<Snapshot> },
    Begin { file: Box<SnapshotFile>, receiver: Box<SnapshotReceiver> },
    Chunk { index: u64, offset: u64, data: Bytes },
    Verify(Box<SnapshotFile>),
}

type Receiving = Option<(Box<SnapshotFile>, Box<SnapshotReceiver>)>;

pub(super) fn run(jobs: &Receiver<SnapshotJob>, context: &Context) {
    let mut receiving = None;
    for job in jobs {
        if context.is_abandoned() {
            return;
        }
        match take(job, &mut receiving, context) {
            Ok(Some(input)) => context.report(input),
            Ok(None) => {}
            Err(error) => {
                context.report(Input::Failed(error.into()));
                return;
            }
        }
    }
}

fn take(
    job: SnapshotJob,
    receiving: &mut Receiving,
    context: &Context,
) -> Result<Option<Input>, StoreError> {
    match job {
        SnapshotJob::Take { mut writer, snapshot } => {
            let mut output = Abandonable { writer: &mut writer, context };
            let written = snapshot.write_to(&mut output);
            if context.is_abandoned() {
                return Ok(None);
            }
            written.map_err(of_snapshot)?;
            let file = writer.finish()?;
            context.counters.snapshots.add();
            let (index, bytes) = (file.meta.index, file.bytes);
            let line = format!("took a snapshot of {bytes} bytes at entry {index}");
            tracing::debug!(index, bytes, "{line}");
            context.counters.events.add(line);
            Ok(Some(Input::SnapshotTaken(file)))
        }
        SnapshotJob::Begin { file, receiver } => {
            *receiving = Some((file, receiver));
            Ok(None)
        }
        SnapshotJob::Chunk { index, offset, data } => {
            let Some((file, receiver)) = receiving.as_mut() else { return Ok(None) };
            if file.meta.index != index || !receiver.append(offset, &data)? {
                return Ok(None);
            }
            Ok(Some(Input::SnapshotWritten { index, up_to: receiver.received() }))
        }
        SnapshotJob::Verify(file) => {
            let index = file.meta.index;
            let begun = receiving.take().filter(|(begun, _)| *begun == file);
            let sound = match begun.map(|(_, receiver)| receiver.finish()) {
                Some(Ok(found)) => found == *file,
                // It is asked for again.
                None | Some(Err(StoreError::Damaged { .. })) => false,
                Some(Err(error)) => return Err(error),
            };
            Ok(Some(Input::SnapshotVerified { index, sound }))
        }
    }
}

fn of_snapshot(error: io::Error) -> StoreError {
    let file = "the snapshot".to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::Full { file },
        _ => StoreError::Io { file, error },
    }
}

/// Stops the writing of a large state when the member is killed.
struct Abandonable<'a> {
    writer: &'a mut SnapshotWriter,
    context: &'a Context,
}

impl io::Write for Abandonable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.context.is_abandoned() {
            return Err(io::Error::other("the member was killed"));
        }
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
