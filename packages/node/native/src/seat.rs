//! A driver that runs on the shared thread, or rests where it was left.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use zraft_client::binding::Driver;
use zraft_client::binding::core::Config;

use crate::bridge::Bridge;
use crate::links::{Batch, Links, lock};
use crate::runtime::Lease;
use crate::used::Used;

/// A single request up to this length is done by the thread that brings it, if the driver sleeps: to write it takes no
/// longer than to wake another thread, and saves it the way through that one. More is better done beside.
const SHORT: usize = 1 << 10;

/// Where a client's driver is. While it is Disconnected it rests, needs no thread, and what is asked of it is
/// settled by whoever asks.
pub(crate) struct Seat {
    pub(crate) links: Arc<Links>,
    pub(crate) used: Mutex<Used>,
    /// The payload that goes beside the last entry of the next batch.
    pub(crate) staged: Mutex<Bytes>,
    place: Mutex<Place>,
    /// There while the driver runs, and until JavaScript has seen that it rests.
    lease: Mutex<Option<Lease>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The driver runs, and has it.
    Runs,
    /// The driver rests, and has settled it.
    Settled,
    /// There is no driver any more.
    Gone,
}

enum Place {
    Rests(Box<Driver<Bridge>>),
    Runs(Running),
    /// Its client is gone.
    Empty,
}

/// A driver that a task of the shared thread polls.
struct Running {
    driver: Arc<Shared>,
    task: AbortHandle,
    runtime: Handle,
}

impl Running {
    /// Polls the driver here, in place of its task, unless that does so right now. False: it is the task's turn.
    fn poll_here(&self, waker: &Waker) -> bool {
        let driver = match self.driver.0.try_lock() {
            Ok(driver) => driver,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        // Timers and connections are made with it.
        let _runtime = self.runtime.enter();
        poll(driver, &mut Context::from_waker(waker)).is_pending()
    }
}

/// There until it broke, or rests.
struct Shared(Mutex<Option<Box<Driver<Bridge>>>>);

/// Ready when the driver is over, or broke.
fn poll(
    mut driver: MutexGuard<'_, Option<Box<Driver<Bridge>>>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let Some(running) = &mut *driver else { return Poll::Ready(()) };
    let running = Pin::new(&mut **running);
    catch_unwind(AssertUnwindSafe(|| running.poll(context))).unwrap_or_else(|_| {
        // Its bridge tells JavaScript.
        *driver = None;
        Poll::Ready(())
    })
}

impl Seat {
    pub(crate) fn new(config: Config) -> Self {
        let links = Arc::new(Links::new());
        let bridge = Bridge::new(links.clone(), config.ack_server_requests());
        let driver = Box::new(Driver::new(config, bridge));
        Self {
            links,
            used: Mutex::default(),
            staged: Mutex::default(),
            place: Mutex::new(Place::Rests(driver)),
            lease: Mutex::new(None),
        }
    }

    /// Brings a batch to the driver.
    pub(crate) fn push(self: &Arc<Self>, batch: Batch) -> Pushed {
        let place = lock(&self.place);
        match &*place {
            Place::Runs(running) if !running.task.is_finished() => {
                let alone = batch.entries.len() <= SHORT && batch.is_single();
                let Some(sleeper) = self.links.push(batch) else { return Pushed::Gone };
                if let Some(sleeper) = sleeper
                    && !(alone && running.poll_here(&sleeper))
                {
                    sleeper.wake();
                }
                Pushed::Runs
            }
            Place::Rests(_) => {
                // Nothing sleeps that is to be woken.
                let _ = self.links.push(batch);
                self.settle(place)
            }
            _ => Pushed::Gone,
        }
    }

    fn settle(self: &Arc<Self>, mut place: MutexGuard<'_, Place>) -> Pushed {
        let Place::Rests(driver) = &mut *place else { return Pushed::Gone };
        if driver.settle() {
            return Pushed::Settled;
        }
        let mut lease = lock(&self.lease);
        if lease.is_none() {
            match Lease::new() {
                Ok(new) => *lease = Some(new),
                Err(error) => {
                    driver.face_mut().fail_connects(&format!("no thread can be had: {error}"));
                    let _ = self.links.push(Batch::disconnect());
                    driver.settle();
                    return Pushed::Settled;
                }
            }
        }
        if let Some(lease) = &*lease
            && let Place::Rests(mut driver) = std::mem::replace(&mut *place, Place::Empty)
        {
            driver.face_mut().run();
            let driver = Arc::new(Shared(Mutex::new(Some(driver))));
            let runtime = lease.handle().clone();
            let task = runtime.spawn(run(self.clone(), driver.clone())).abort_handle();
            *place = Place::Runs(Running { driver, task, runtime });
        }
        Pushed::Runs
    }

    /// JavaScript has seen that the driver rests: the thread may go. False: the driver runs again.
    pub(crate) fn release(&self) -> bool {
        let place = lock(&self.place);
        if let Place::Runs(running) = &*place
            && !running.task.is_finished()
        {
            return false;
        }
        drop(lock(&self.lease).take());
        lock(&self.links.outbox).shrink();
        *lock(&self.used) = Used::default();
        true
    }

    /// Ends everything at once. The session is left to expire.
    pub(crate) fn abandon(&self) {
        if let Place::Runs(running) = std::mem::replace(&mut *lock(&self.place), Place::Empty) {
            running.task.abort();
        }
        self.links.forget_session();
        drop(lock(&self.lease).take());
    }
}

async fn run(seat: Arc<Seat>, driver: Arc<Shared>) {
    loop {
        poll_fn(|context| poll(lock(&driver.0), context)).await;
        // It is over and so does not sleep: whoever brings something now leaves it for here.
        let mut place = lock(&seat.place);
        if !matches!(*place, Place::Runs(_)) {
            // The client is gone.
            return;
        }
        let mut driver = lock(&driver.0);
        let Some(mut resting) = driver.take_if(|driver| driver.face_mut().may_rest()) else {
            if driver.is_none() {
                return;
            }
            continue;
        };
        resting.face_mut().rest();
        *place = Place::Rests(resting);
        return;
    }
}
