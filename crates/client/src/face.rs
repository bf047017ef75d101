//! The side of the driver that faces the application.

use std::task::Waker;

use zraft_core::{Instant, Machine};

/// Brings what the application asks to the machine, and what the machine has to the application.
///
/// The handles of this crate are one; a binding to another language can be another.
pub trait Face {
    /// Tells the machine what the application asks. `now` gives the time. True: there is more.
    fn bring(&mut self, machine: &mut Machine, now: &mut dyn FnMut() -> Instant) -> bool;

    /// Whether an event is wanted of every message.
    fn wants_messages(&self) -> bool;

    /// Takes what the machine has for the application.
    fn hand_out(&mut self, machine: &mut Machine);

    /// Nothing is left to do: the waker is for the next thing asked. False: there is one already.
    fn sleep(&mut self, machine: &Machine, waker: &Waker) -> bool;

    /// Whether the driver may end, once no connection is left.
    fn is_over(&self, machine: &Machine) -> bool;
}
