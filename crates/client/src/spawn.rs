//! Starts a client's driver, as a task or on its own thread.

use std::sync::Arc;

use crate::driver::Driver;
use crate::handle_frontend::HandleFrontend;
use crate::shared::Shared;
use crate::sync::lock;

/// Returns true if a driver could be started from here: it has its own thread, or the caller is in a tokio runtime.
pub(crate) fn can_start(shared: &Shared) -> bool {
    shared.own_thread || tokio::runtime::Handle::try_current().is_ok()
}

/// Starts the driver. If no thread or runtime can be had, the driver is dropped, which fails every call that waits
/// for it.
pub(crate) fn start(shared: &Arc<Shared>) {
    let frontend = HandleFrontend::new(shared.clone());
    let query = lock(&shared.liveness_query).clone();
    // The query was checked when it was given.
    let config = shared.config.clone();
    let mut config = config.with_liveness_query(query).unwrap_or_else(|_| shared.config.clone());
    if let Some(members) = lock(&shared.inbox).members.clone() {
        config = config.with_members(members);
    }
    let driver = Driver::with_transport(config, frontend, shared.transport.clone());
    if shared.own_thread {
        // The thread ends with the driver.
        let _ = std::thread::Builder::new().name("zraft-client".to_owned()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                runtime.block_on(driver);
            }
        });
    } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(driver);
    }
}
