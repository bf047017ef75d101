//! The one thread that all clients and embedded clusters of this process use, and the threads of clusters that wait for
//! functions of JavaScript.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::channel::lock;

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    handle: Handle,
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
    leases: usize,
}

/// Keeps the thread running. Dropping the last lease joins the thread, so it must not be dropped on that thread.
#[derive(Debug)]
pub(crate) struct Lease {
    handle: Handle,
}

impl Lease {
    /// Starts the thread unless it runs.
    ///
    /// # Errors
    /// If the system has no resources for the thread or its runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut running = lock(&RUNNING);
        if let Some(running) = &mut *running {
            running.leases += 1;
            return Ok(Self { handle: running.handle.clone() });
        }
        let (handle, stop, thread) = start("zraft-client")?;
        *running = Some(Running { handle: handle.clone(), stop, thread, leases: 1 });
        Ok(Self { handle })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Locked until the thread is joined, so that no new lease finds a thread that is stopping.
        let mut running = lock(&RUNNING);
        let Some(last) = running.take_if(|running| {
            running.leases -= 1;
            running.leases == 0
        }) else {
            return;
        };
        last.stop.notify_one();
        // A join fails only if tokio panicked. No client is left that could report it.
        let _ = last.thread.join();
    }
}

/// A separate thread, for work that may wait for the event loop. Dropping it joins the thread.
#[derive(Debug)]
pub(crate) struct Own {
    handle: Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Own {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no resources for the thread or its runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        let (handle, stop, thread) = start("zraft-cluster")?;
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop.notify_one();
        // As for the shared thread.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Starts a thread with a runtime that ends when it is notified.
fn start(name: &str) -> std::io::Result<(Handle, Arc<Notify>, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(stopped.notified());
        // Does not wait for names that are being resolved.
        runtime.shutdown_background();
    })?;
    Ok((handle, stop, thread))
}

/// Returns the number of leases; 0 if the thread does not run.
pub(crate) fn users() -> usize {
    lock(&RUNNING).as_ref().map_or(0, |running| running.leases)
}
