//! The threads of a member that block: the store, the snapshots, and the state machine.
//!
//! Each takes jobs in order and reports to the driver. The replica bounds their queues: one write is under way at a
//! time, one chunk a transfer, and committed entries that are not applied are limited by
//! [`Limits::unapplied_bytes`](zraft_replica::Limits::unapplied_bytes).

mod backtrace;
mod machine;
mod snapshots;
mod store;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use tokio::sync::{mpsc as channel, oneshot};
use zraft_replica::{Job, Machine};
use zraft_session::Application;
use zraft_store::{Folder, RedbStore};

use crate::{Ended, history::SharedHistory, inputs::Input, status::Counters};
pub(crate) use store::StoreJob;

/// Where the driver sends jobs. The threads end once it is dropped, after the jobs that they have.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) store: mpsc::Sender<StoreJob>,
    pub(crate) machine: mpsc::Sender<Job>,
}

/// The threads, for the one who waits for their end.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    abandoned: Arc<AtomicBool>,
}

/// What every thread has.
#[derive(Clone, Debug)]
struct Context {
    inputs: channel::Sender<Input>,
    counters: Arc<Counters>,
    /// Set when the member is killed: what waits is dropped.
    abandoned: Arc<AtomicBool>,
}

/// Starts the threads.
pub(crate) fn start<A: Application>(
    redb: RedbStore,
    (machine, history): (Machine<A>, SharedHistory),
    folder: Folder,
    inputs: channel::Sender<Input>,
    counters: Arc<Counters>,
) -> io::Result<(Workers, Threads)> {
    let abandoned = Arc::new(AtomicBool::new(false));
    let context = Context { inputs, counters, abandoned: abandoned.clone() };
    let (to_snapshots, snapshot_jobs) = mpsc::channel();
    let (to_store, store_jobs) = mpsc::channel();
    let (to_machine, machine_jobs) = mpsc::channel();
    let mut threads = Threads { handles: Vec::new(), abandoned };
    threads.spawn("snapshot thread", context.clone(), move |context| {
        snapshots::run(&snapshot_jobs, context);
    })?;
    threads.spawn("store thread", context.clone(), move |context| {
        store::run(redb, &store_jobs, &to_snapshots, context);
    })?;
    let store = to_store.clone();
    threads.spawn("state machine", context, move |context| {
        machine::run(machine, &history, &folder, &machine_jobs, &store, context);
    })?;
    Ok((Workers { store: to_store, machine: to_machine }, threads))
}

impl Threads {
    fn spawn(
        &mut self,
        name: &'static str,
        context: Context,
        run: impl FnOnce(&Context) + Send + 'static,
    ) -> io::Result<()> {
        let body = move || {
            // Nothing of the thread's state is used after a panic.
            if catch_unwind(AssertUnwindSafe(|| run(&context))).is_err() {
                context.report(Input::Failed(Ended::Panicked(name)));
            }
        };
        let builder = thread::Builder::new().name(format!("zraft {name}"));
        self.handles.push(builder.spawn(body)?);
        Ok(())
    }

    /// Lets the threads drop the jobs that they have not begun.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Waits until the threads have ended, and with them the use of the data directory.
    pub(crate) async fn join(self) {
        let (done, wait) = oneshot::channel();
        let join = move || {
            for handle in self.handles {
                // A panic was reported by the thread itself.
                let _ = handle.join();
            }
            let _ = done.send(());
        };
        // Not a thread of the runtime: a runtime waits for those when it is dropped, and a disk that hangs must not keep
        // the process.
        if thread::Builder::new().name("zraft join".to_owned()).spawn(join).is_ok() {
            let _ = wait.await;
        }
    }
}

impl Context {
    /// Tells the driver. A driver that has ended does not need to know.
    fn report(&self, input: Input) {
        let _ = self.inputs.blocking_send(input);
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}
