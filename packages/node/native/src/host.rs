//! The host of a client's driver, which runs on the shared thread or is parked.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use zraft_client::binding::core::Config;
use zraft_client::binding::{Driver, Sockets};

use crate::batch_memory::BatchMemory;
use crate::bridge::Bridge;
use crate::channel::{Batch, Channel, lock};
use crate::layout::Pushed;
use crate::runtime::Lease;

/// A batch of one entry up to this length is handled by JavaScript's thread if the driver sleeps: writing the request takes
/// no longer than waking the other thread, and saves a change of threads. Longer ones are better done in parallel.
const SHORT: usize = 1 << 10;

/// The host of one client's driver. While the client is Disconnected its driver is parked: it needs no thread, and
/// JavaScript's thread settles each batch.
pub(crate) struct Host {
    pub(crate) channel: Arc<Channel>,
    pub(crate) batches: Mutex<BatchMemory>,
    /// The payload of the last entry of the next batch, if that is out of line.
    pub(crate) staged: Mutex<Bytes>,
    state: Mutex<State>,
    /// Held while the driver runs, and until JavaScript has seen that it is parked.
    lease: Mutex<Option<Lease>>,
}

enum State {
    Parked(Box<Driver<Bridge>>),
    Running(Running),
    /// The client was abandoned.
    Abandoned,
}

/// A driver that a task of the shared thread polls.
struct Running {
    driver: Arc<RunningDriver>,
    task: AbortHandle,
    runtime: Handle,
}

impl Running {
    /// Polls the driver on this thread in place of its task. Returns false if the task must poll it, because it is polling
    /// already or because the driver is over.
    fn poll_here(&self, waker: &Waker) -> bool {
        let driver = match self.driver.0.try_lock() {
            Ok(driver) => driver,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        // The driver creates timers and connections in the runtime's context.
        let _runtime = self.runtime.enter();
        poll(driver, &mut Context::from_waker(waker)).is_pending()
    }
}

/// `None` once the driver has crashed or is parked.
struct RunningDriver(Mutex<Option<Box<Driver<Bridge>>>>);

/// Polls the driver. Ready when it is over or has crashed.
fn poll(
    mut driver: MutexGuard<'_, Option<Box<Driver<Bridge>>>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let Some(running) = &mut *driver else { return Poll::Ready(()) };
    let running = Pin::new(&mut **running);
    catch_unwind(AssertUnwindSafe(|| running.poll(context))).unwrap_or_else(|_| {
        // Dropping the bridge reports the crash to JavaScript.
        *driver = None;
        Poll::Ready(())
    })
}

impl Host {
    pub(crate) fn new(config: Config, sockets: Sockets) -> Self {
        let channel = Arc::new(Channel::new());
        let bridge = Bridge::new(channel.clone(), config.ack_server_requests());
        let driver = Box::new(Driver::new(config, bridge, sockets));
        Self {
            channel,
            batches: Mutex::default(),
            staged: Mutex::default(),
            state: Mutex::new(State::Parked(driver)),
            lease: Mutex::new(None),
        }
    }

    /// Brings a batch to the driver.
    pub(crate) fn push(self: &Arc<Self>, batch: Batch) -> Pushed {
        let state = lock(&self.state);
        match &*state {
            State::Running(running) if !running.task.is_finished() => {
                let is_short = batch.entries.len() <= SHORT && batch.is_single();
                let Some(sleeper) = self.channel.push(batch) else { return Pushed::Ended };
                if let Some(sleeper) = sleeper
                    && !(is_short && running.poll_here(&sleeper))
                {
                    sleeper.wake();
                }
                Pushed::Running
            }
            State::Parked(_) => {
                // A parked driver does not sleep, so there is no waker.
                let _ = self.channel.push(batch);
                self.settle(state)
            }
            _ => Pushed::Ended,
        }
    }

    /// Brings several batches to the driver, and wakes it once.
    pub(crate) fn push_all(self: &Arc<Self>, batches: Vec<Batch>) -> Pushed {
        let state = lock(&self.state);
        match &*state {
            State::Running(running) if !running.task.is_finished() => {
                let Some(sleeper) = self.channel.push_all(batches) else { return Pushed::Ended };
                if let Some(sleeper) = sleeper {
                    sleeper.wake();
                }
                Pushed::Running
            }
            State::Parked(_) => {
                // As in `push`.
                let _ = self.channel.push_all(batches);
                self.settle(state)
            }
            _ => Pushed::Ended,
        }
    }

    /// Lets a parked driver settle its batch here, or starts it on the shared thread if it has to open connections.
    fn settle(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Pushed {
        let State::Parked(driver) = &mut *state else { return Pushed::Ended };
        if driver.settle() {
            return Pushed::Settled;
        }
        let mut lease = lock(&self.lease);
        if lease.is_none() {
            match Lease::new() {
                Ok(new) => *lease = Some(new),
                Err(error) => {
                    driver
                        .frontend_mut()
                        .fail_connects(&format!("cannot start the client's thread: {error}"));
                    let _ = self.channel.push(Batch::disconnect());
                    driver.settle();
                    // JavaScript keeps the process alive from its call of connect() until it sees this record.
                    driver.frontend_mut().park();
                    return Pushed::Settled;
                }
            }
        }
        if let Some(lease) = &*lease
            && let State::Parked(mut driver) = std::mem::replace(&mut *state, State::Abandoned)
        {
            driver.frontend_mut().run();
            let driver = Arc::new(RunningDriver(Mutex::new(Some(driver))));
            let runtime = lease.handle().clone();
            let task = runtime.spawn(run(self.clone(), driver.clone())).abort_handle();
            *state = State::Running(Running { driver, task, runtime });
        }
        Pushed::Running
    }

    /// Gives up thread and spare memory, because JavaScript has seen that the driver is parked. Returns false and keeps both
    /// if the driver runs again.
    pub(crate) fn release(&self) -> bool {
        let state = lock(&self.state);
        if let State::Running(running) = &*state
            && !running.task.is_finished()
        {
            return false;
        }
        drop(lock(&self.lease).take());
        lock(&self.channel.outbox).shrink();
        *lock(&self.batches) = BatchMemory::default();
        true
    }

    /// Ends the driver at once. The session stays open on the server until it expires.
    pub(crate) fn abandon(&self) {
        if let State::Running(running) =
            std::mem::replace(&mut *lock(&self.state), State::Abandoned)
        {
            running.task.abort();
        }
        self.channel.clear_session();
        drop(lock(&self.lease).take());
    }
}

/// Polls the driver until it is over, and parks it.
async fn run(host: Arc<Host>, driver: Arc<RunningDriver>) {
    loop {
        poll_fn(|context| poll(lock(&driver.0), context)).await;
        // A driver that is over does not sleep, so a batch that comes now stays in the inbox.
        let mut state = lock(&host.state);
        if !matches!(*state, State::Running(_)) {
            return;
        }
        let mut driver = lock(&driver.0);
        let Some(mut parked) = driver.take_if(|driver| driver.frontend_mut().may_park()) else {
            if driver.is_none() {
                return;
            }
            continue;
        };
        parked.frontend_mut().park();
        *state = State::Parked(parked);
        return;
    }
}
