//! The thread that owns the store. Everything that goes to or comes from the disk passes it in order; the content of
//! snapshots moves on the snapshot thread.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use zraft_replica::{RaftId, SnapshotFile, SnapshotMeta, Space, Write};
use zraft_session::Snapshot;
use zraft_store::{RedbStore, SnapshotSource, Store, StoreError};

use super::{Context, snapshots::SnapshotJob};
use crate::inputs::{Input, Newest};

/// Bytes of entries that one read for a lagging member returns: two Appends.
const FETCH_BYTES: usize = 1 << 20;

/// The store looks at the disk's free space this often, besides after every write: other programs fill the disk, too.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A job for the store.
#[derive(Debug)]
pub(crate) enum StoreJob {
    Write(Box<Write>),
    Fetch {
        low: u64,
        high: u64,
    },
    /// Write this frozen state to a file.
    Take {
        meta: SnapshotMeta,
        snapshot: Box<Snapshot>,
    },
    /// Read a part of a snapshot for another member.
    Read {
        to: RaftId,
        index: u64,
        offset: u64,
        length: u64,
    },
    /// Begin the file of a snapshot that comes from the leader.
    Begin(Box<SnapshotFile>),
    Chunk {
        index: u64,
        offset: u64,
        data: Bytes,
    },
    Verify(Box<SnapshotFile>),
    /// Open a snapshot that was recorded, for the state machine.
    Open {
        index: u64,
        reply: Sender<Result<Option<SnapshotSource>, StoreError>>,
    },
    /// Open the newest snapshot, for a backup.
    Newest(oneshot::Sender<Newest>),
}

pub(super) fn run(
    mut store: RedbStore,
    jobs: &Receiver<StoreJob>,
    snapshots: &Sender<SnapshotJob>,
    context: &Context,
) {
    let mut reading = None;
    let mut space = Space::Ample;
    loop {
        let job = match jobs.recv_timeout(LOOK_EVERY) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if context.is_abandoned() {
            return;
        }
        let looks = matches!(job, None | Some(StoreJob::Write(_)));
        let timed = job.is_none();
        let done =
            job.map_or(Ok(()), |job| take(&mut store, job, snapshots, &mut reading, context));
        let looked = done.and_then(|()| if looks { store.space() } else { Ok(space) });
        match looked {
            Ok(found) => {
                // The replica acts on a disk that stays low now and then.
                if found != space || (timed && found == Space::Low) {
                    context.report(Input::Space(found));
                }
                space = found;
            }
            Err(error) => {
                context.report(Input::Failed(error.into()));
                return;
            }
        }
    }
}

fn take(
    store: &mut RedbStore,
    job: StoreJob,
    snapshots: &Sender<SnapshotJob>,
    reading: &mut Option<SnapshotSource>,
    context: &Context,
) -> Result<(), StoreError> {
    let pass_on = |job| {
        // The snapshot thread ends early only after it has reported why.
        let _ = snapshots.send(job);
    };
    match job {
        StoreJob::Write(write) => {
            let begun = Instant::now();
            store.write(&write)?;
            context.counters.write_times.add(begun.elapsed());
            context.counters.writes.add();
            context.report(Input::Persisted(write.number));
        }
        StoreJob::Fetch { low, high } => {
            let entries = store.entries(low, high, FETCH_BYTES)?;
            context.report(Input::Fetched { low, entries });
        }
        StoreJob::Take { meta, snapshot } => {
            let writer = store.write_snapshot(&meta)?;
            pass_on(SnapshotJob::Take { writer: Box::new(writer), snapshot });
        }
        StoreJob::Read { to, index, offset, length } => {
            let data = read(store, reading, index, offset, length);
            context.report(Input::SnapshotRead { to, index, offset, data });
        }
        StoreJob::Begin(file) => {
            let SnapshotMeta { index, term, .. } = file.meta;
            let receiver = store.receive_snapshot(index, term, file.bytes)?;
            pass_on(SnapshotJob::Begin { file, receiver: Box::new(receiver) });
        }
        StoreJob::Chunk { index, offset, data } => {
            pass_on(SnapshotJob::Chunk { index, offset, data });
        }
        StoreJob::Verify(file) => pass_on(SnapshotJob::Verify(file)),
        StoreJob::Open { index, reply } => {
            // A state machine that has ended does not need it.
            let _ = reply.send(store.snapshot(index));
        }
        StoreJob::Newest(reply) => {
            // A request that has given up does not need it.
            let _ = reply.send(store.newest_snapshot());
        }
    }
    Ok(())
}

/// Returns a part of a snapshot, or none if the snapshot no longer counts or cannot be read. The transfer fails then and
/// begins again with a newer one.
fn read(
    store: &RedbStore,
    reading: &mut Option<SnapshotSource>,
    index: u64,
    offset: u64,
    length: u64,
) -> Option<Bytes> {
    if reading.as_ref().is_none_or(|source| source.meta().index != index) {
        *reading = store.snapshot(index).ok()?;
    }
    let source = reading.as_ref()?;
    source.piece(offset, usize::try_from(length).ok()?).ok()
}
