//! Locks for the state that handles and the driver share.
//!
//! Built with `--cfg shuttle`, the types are shuttle's. The tests in `interleavings` then try the orders in which
//! threads can take the locks.

use std::sync::PoisonError;
use std::task::Waker;

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

/// Locks a mutex, even if another holder panicked.
///
/// The data behind this crate's mutexes is consistent after every statement. A panic of another holder, for example
/// in an application's waker, therefore leaves nothing half done.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes every waker. The caller must hold no lock, because a waker runs code of the application's runtime.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
