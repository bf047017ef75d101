//! The thread that runs the application.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, Sender},
};

use zraft_replica::{Done, Job, Machine, SnapshotMeta};
use zraft_session::{Application, RestoreError};
use zraft_store::{CrashRecord, Folder, SnapshotSource, StoreError};

use super::{Context, StoreJob, backtrace};
use crate::{Ended, history::SharedHistory, inputs::Input};

pub(super) fn run<A: Application>(
    mut machine: Machine<A>,
    history: &SharedHistory,
    folder: &Folder,
    jobs: &Receiver<Job>,
    store: &Sender<StoreJob>,
    context: &Context,
) {
    backtrace::watch();
    for job in jobs {
        if context.is_abandoned() {
            return;
        }
        let done = match job {
            Job::Restore(meta) => {
                let done = restore(&mut machine, &meta, store);
                done.inspect(|_| history.restart(machine.point()))
            }
            job => apply(&mut machine, job, folder).inspect(|_| history.add(machine.points())),
        };
        match done {
            Ok(done) => context.report(Input::Done(done)),
            Err(ended) => {
                context.report(Input::Failed(ended));
                return;
            }
        }
    }
}

/// Runs a job. A panic of the application ends the member, and is written down: after the second one at the same entry the
/// member starts without its application.
fn apply<A: Application>(
    machine: &mut Machine<A>,
    job: Job,
    folder: &Folder,
) -> Result<Done, Ended> {
    // The machine is not used after a panic, except to tell where it happened.
    let panic = match catch_unwind(AssertUnwindSafe(|| machine.run(job))) {
        Ok(done) => return Ok(done?),
        Err(panic) => message_of(&*panic),
    };
    let index = machine.applying();
    if let Some(index) = index {
        CrashRecord::note(folder, index, backtrace::last().as_ref().unwrap_or(&panic))?;
    }
    Err(Ended::Application { index, panic })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Replaces the state by a snapshot that the store has recorded.
fn restore<A: Application>(
    machine: &mut Machine<A>,
    meta: &SnapshotMeta,
    store: &Sender<StoreJob>,
) -> Result<Done, Ended> {
    let mut source = open(meta, store)?;
    let failed = |error: RestoreError| Ended::Restore { index: meta.index, error };
    let done = machine.restore(meta, &mut source).map_err(failed)?;
    // Nothing of the state is used if the file is not what was written: an error ends the member.
    source.verify()?;
    Ok(done)
}

fn open(meta: &SnapshotMeta, store: &Sender<StoreJob>) -> Result<SnapshotSource, Ended> {
    let (reply, answer) = mpsc::channel();
    let opened = store.send(StoreJob::Open { index: meta.index, reply }).ok();
    let opened = opened.and_then(|()| answer.recv().ok()).unwrap_or(Err(StoreError::Ended))?;
    let missing = StoreError::NoSnapshot { index: meta.index, term: meta.term };
    opened.ok_or(Ended::Store(missing))
}
