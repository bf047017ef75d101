//! A mutex that a panic elsewhere does not poison.
//!
//! What handles and driver share is behind these. Built with `--cfg shuttle`, they are shuttle's, which tries the orders in
//! which threads can take them: see `interleavings`.

use std::sync::PoisonError;

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

/// Locks. What the mutexes of this crate guard is whole between any two statements, so a panic
/// of another holder (in an application's waker, say) leaves nothing half done.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
