//! A driver that runs on the shared thread, or rests where it was left.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::AbortHandle;
use zraft_client::binding::Driver;
use zraft_client::binding::core::Config;

use crate::bridge::Bridge;
use crate::links::{Batch, Links, lock};
use crate::runtime::Lease;

/// Where a client's driver is. While it is Disconnected it rests, needs no thread, and what is asked of it is
/// settled by whoever asks.
pub(crate) struct Seat {
    pub(crate) links: Arc<Links>,
    place: Mutex<Place>,
    /// There while the driver runs, and until JavaScript has seen that it rests.
    lease: Mutex<Option<Lease>>,
}

enum Place {
    Rests(Box<Driver<Bridge>>),
    Runs(AbortHandle),
    /// It broke, or its client is gone.
    Empty,
}

impl Seat {
    pub(crate) fn new(config: Config) -> Self {
        let links = Arc::new(Links::new());
        let bridge = Bridge::new(links.clone(), config.ack_server_requests());
        let driver = Box::new(Driver::new(config, bridge));
        Self { links, place: Mutex::new(Place::Rests(driver)), lease: Mutex::new(None) }
    }

    /// Brings a batch to the driver. True: it rests, and has settled what was asked of it.
    ///
    /// # Errors
    /// When the driver broke, or the thread that it needs cannot be had; in that case it rests, and all that was asked
    /// of it has failed.
    pub(crate) fn push(self: &Arc<Self>, batch: Batch) -> std::io::Result<bool> {
        let place = lock(&self.place);
        self.links.push(batch);
        match &*place {
            Place::Runs(task) if !task.is_finished() => Ok(false),
            Place::Rests(_) => self.settle(place),
            _ => Err(std::io::Error::other("the client broke")),
        }
    }

    fn settle(self: &Arc<Self>, mut place: MutexGuard<'_, Place>) -> std::io::Result<bool> {
        let Place::Rests(driver) = &mut *place else { return Ok(false) };
        if driver.settle() {
            return Ok(true);
        }
        let mut lease = lock(&self.lease);
        if lease.is_none() {
            match Lease::new() {
                Ok(new) => *lease = Some(new),
                Err(error) => {
                    self.links.push(Batch::disconnect());
                    driver.settle();
                    return Err(error);
                }
            }
        }
        if let Some(lease) = &*lease
            && let Place::Rests(mut driver) = std::mem::replace(&mut *place, Place::Empty)
        {
            driver.face_mut().run();
            let task = lease.handle().spawn(run(self.clone(), driver));
            *place = Place::Runs(task.abort_handle());
        }
        Ok(false)
    }

    /// JavaScript has seen that the driver rests: the thread may go. False: the driver runs again.
    pub(crate) fn release(&self) -> bool {
        let place = lock(&self.place);
        if let Place::Runs(task) = &*place
            && !task.is_finished()
        {
            return false;
        }
        drop(lock(&self.lease).take());
        lock(&self.links.outbox).shrink();
        true
    }

    /// Ends everything at once. The session is left to expire.
    pub(crate) fn abandon(&self) {
        if let Place::Runs(task) = std::mem::replace(&mut *lock(&self.place), Place::Empty) {
            task.abort();
        }
        drop(lock(&self.lease).take());
    }
}

async fn run(seat: Arc<Seat>, mut driver: Box<Driver<Bridge>>) {
    loop {
        (&mut *driver).await;
        let mut place = lock(&seat.place);
        if !matches!(*place, Place::Runs(_)) {
            // The client is gone.
            return;
        }
        if driver.face_mut().may_rest() {
            driver.face_mut().rest();
            *place = Place::Rests(driver);
            return;
        }
    }
}
