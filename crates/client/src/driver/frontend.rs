//! The application's side of the driver.

use std::ops::BitOrAssign;
use std::task::Waker;

use zraft_core::{Instant, Machine};

/// Passes the application's calls to the machine, and the machine's outputs to the application.
///
/// This crate's handles are one implementation; the Node binding is another. In each turn the driver calls
/// [`process_inputs`](Self::process_inputs) and [`wants_messages`](Self::wants_messages) first, and
/// [`deliver_outputs`](Self::deliver_outputs) after it has read and written, or also in between. When nothing is
/// left to do, it calls [`prepare_sleep`](Self::prepare_sleep).
pub trait Frontend {
    /// Outputs are delivered before the driver writes, too. That pays if the application runs on another thread: it
    /// wakes while the driver writes. Otherwise the server would wait for the application's turn.
    const DELIVERS_BEFORE_WRITING: bool = false;

    /// Passes calls of the application to the machine. `now` reads the clock. Returns [`Progress::More`] if calls
    /// are left for the next turn.
    fn process_inputs(
        &mut self,
        machine: &mut Machine,
        now: &mut dyn FnMut() -> Instant,
    ) -> Progress;

    /// Returns true if the application wants an event for every message.
    fn wants_messages(&self) -> bool;

    /// Passes the machine's events, completions and server requests to the application.
    fn deliver_outputs(&mut self, machine: &mut Machine);

    /// Keeps the waker for the next call of the application. Returns [`Progress::More`] if one is there already; the
    /// driver then takes another turn at once.
    fn prepare_sleep(&mut self, machine: &Machine, waker: &Waker) -> Progress;

    /// Returns true if the driver may end once it has no connection.
    fn is_finished(&self, machine: &Machine) -> bool;
}

/// Whether a step left work that can be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing is left to do until the application, a socket or the timer wakes the driver.
    Idle,
    /// More work is ready.
    More,
}

impl Progress {
    /// Returns [`Progress::More`] if there is more to do.
    pub fn more_if(more: bool) -> Self {
        if more { Self::More } else { Self::Idle }
    }
}

impl BitOrAssign for Progress {
    fn bitor_assign(&mut self, other: Self) {
        if other == Self::More {
            *self = Self::More;
        }
    }
}
