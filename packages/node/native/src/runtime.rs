//! The one thread of this process, shared by its clients and embedded clusters.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::links::lock;

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    handle: Handle,
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
    leases: usize,
}

/// The thread runs while there is one of these. The last one to be dropped joins it, so it must
/// not be dropped on that thread.
#[derive(Debug)]
pub(crate) struct Lease {
    handle: Handle,
}

impl Lease {
    /// Starts the thread, unless it runs.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut running = lock(&RUNNING);
        if let Some(running) = &mut *running {
            running.leases += 1;
            return Ok(Self { handle: running.handle.clone() });
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread =
            std::thread::Builder::new().name("zraft-client".to_owned()).spawn(move || {
                runtime.block_on(stopped.notified());
                // A name that is being resolved is not waited for.
                runtime.shutdown_background();
            })?;
        *running = Some(Running { handle: handle.clone(), stop, thread, leases: 1 });
        Ok(Self { handle })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Locked until it is joined: who comes meanwhile finds no half-stopped thread.
        let mut running = lock(&RUNNING);
        let Some(last) = running.take_if(|running| {
            running.leases -= 1;
            running.leases == 0
        }) else {
            return;
        };
        last.stop.notify_one();
        // It panics only where tokio does; there is nothing left to be told of it.
        let _ = last.thread.join();
    }
}

/// How many clients and clusters share the thread; 0: there is none.
pub(crate) fn leases() -> usize {
    lock(&RUNNING).as_ref().map_or(0, |running| running.leases)
}
