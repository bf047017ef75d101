//! The threads that do what a replica wants done: the log, files of snapshots, the state machine.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, channel},
};

use zraft_replica::{Done, Job, Machine, Output, RaftId, SnapshotMeta, Write};
use zraft_session::{Snapshot, StateHash, applications::KvStore};
use zraft_store::{RedbStore, SnapshotReceiver, SnapshotSource, Store};

use super::member::{Event, Mark, Shared, gone};

/// Bytes of entries that a store reads back at once.
const FETCHED_AT_ONCE: usize = 1 << 20;

pub(super) enum LogJob {
    /// What a replica wants of its disk.
    Do(Output),
    /// Write a frozen state to a file.
    Freeze(SnapshotMeta, Box<Snapshot>),
    /// Open the newest snapshot.
    Newest(Sender<SnapshotSource>),
}

/// Writes the log. What takes long goes to other threads.
pub(super) fn log_thread(
    mut store: RedbStore,
    inbox: &Receiver<LogJob>,
    files: &Sender<FileJob>,
    to: &Shared,
) -> io::Result<()> {
    for job in inbox {
        match job {
            LogJob::Do(Output::Write(write)) => {
                persist(&mut store, &write)?;
                to.tell(Event::Persisted(write.number));
            }
            LogJob::Do(Output::Fetch { low, high }) => {
                let entries = store.entries(low, high, FETCHED_AT_ONCE);
                to.tell(Event::Fetched(low, entries.map_err(io::Error::other)?));
            }
            LogJob::Do(Output::ReadSnapshot { to, index, offset, length }) => {
                let source = store.snapshot(index).map_err(io::Error::other)?;
                let job = FileJob::Read { source, to, index, offset, length };
                files.send(job).map_err(gone)?;
            }
            LogJob::Do(Output::BeginSnapshot(file)) => {
                let SnapshotMeta { index, term, .. } = file.meta;
                let receiver = store.receive_snapshot(index, term, file.bytes);
                let receiver = receiver.map_err(io::Error::other)?;
                files.send(FileJob::Begin(receiver)).map_err(gone)?;
            }
            // In the order of the rest: a file is begun before it is written.
            LogJob::Do(output) => files.send(FileJob::Do(output)).map_err(gone)?,
            LogJob::Freeze(meta, snapshot) => {
                let mut writer = store.write_snapshot(&meta).map_err(io::Error::other)?;
                let to = to.clone();
                std::thread::spawn(move || {
                    let written = snapshot.write_to(&mut writer);
                    let taken = written.and_then(|_| writer.finish().map_err(io::Error::other));
                    match taken {
                        Ok(file) => {
                            to.mark(Mark::Taken);
                            to.tell(Event::Taken(file));
                        }
                        Err(error) => to.tell(Event::Failed(error)),
                    }
                });
            }
            LogJob::Newest(reply) => {
                if let Some(source) = store.newest_snapshot().map_err(io::Error::other)? {
                    let _ = reply.send(source);
                }
            }
        }
    }
    Ok(())
}

fn persist(store: &mut RedbStore, write: &Write) -> io::Result<()> {
    store.write(write).map_err(io::Error::other)
}

pub(super) enum FileJob {
    Read { source: Option<SnapshotSource>, to: RaftId, index: u64, offset: u64, length: u64 },
    Begin(SnapshotReceiver),
    Do(Output),
}

/// Reads and writes the files of snapshots that go from member to member.
pub(super) fn files_thread(inbox: &Receiver<FileJob>, to: &Shared) -> io::Result<()> {
    let mut receiver = None;
    for job in inbox {
        match job {
            FileJob::Read { source, to: receiver, index, offset, length } => {
                let data = source.map(|source| source.piece(offset, length as usize));
                let data = data.transpose().map_err(io::Error::other)?;
                to.tell(Event::Read { to: receiver, index, offset, data });
            }
            FileJob::Begin(begun) => receiver = Some(begun),
            FileJob::Do(Output::WriteSnapshot { index, offset, data }) => {
                let Some(receiver) = &mut receiver else { continue };
                receiver.append(offset, &data).map_err(io::Error::other)?;
                to.tell(Event::Written { index, up_to: receiver.received() });
            }
            FileJob::Do(Output::VerifySnapshot(file)) => {
                let Some(receiver) = receiver.take() else { continue };
                to.mark(Mark::Received);
                let sound = receiver.finish().is_ok_and(|received| received == *file);
                to.mark(Mark::Verified);
                to.tell(Event::Verified { index: file.meta.index, sound });
            }
            FileJob::Do(output) => {
                return Err(io::Error::other(format!("no thread does it: {output:?}")));
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) enum MachineJob {
    Run(Job),
    /// Hash the state.
    Hash(Sender<io::Result<StateHash>>),
}

/// Runs the state machine.
pub(super) fn machine_thread(
    mut machine: Machine<KvStore>,
    inbox: &Receiver<MachineJob>,
    log: &Sender<LogJob>,
    to: &Shared,
) -> io::Result<()> {
    for job in inbox {
        match job {
            MachineJob::Run(Job::Restore(meta)) => {
                let (reply, answer) = channel();
                log.send(LogJob::Newest(reply)).map_err(gone)?;
                let mut source = answer.recv().map_err(io::Error::other)?;
                let done = machine.restore(&meta, &mut source).map_err(io::Error::other)?;
                source.verify().map_err(io::Error::other)?;
                to.mark(Mark::Restored);
                to.tell(Event::Done(done));
            }
            MachineJob::Run(job) => {
                match machine.run(job).map_err(|reason| io::Error::other(reason.to_string()))? {
                    Done::Frozen { meta, snapshot } => {
                        to.mark(Mark::Frozen);
                        log.send(LogJob::Freeze(meta, snapshot)).map_err(gone)?;
                    }
                    done => to.tell(Event::Done(done)),
                }
            }
            MachineJob::Hash(reply) => _ = reply.send(machine.state().state_hash()),
        }
    }
    Ok(())
}
