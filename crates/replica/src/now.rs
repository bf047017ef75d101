//! The two clocks that a member reads.

use std::time::Duration;

use zraft_session::Time;

/// What the clocks say when something happens. The replica reads no clock itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// A clock that never goes back and counts while the machine is suspended, if the system has one. Its zero is any
    /// moment before the replica was made.
    pub monotonic: Duration,
    /// The wall clock. It may go back and leap.
    pub wall: Time,
}
