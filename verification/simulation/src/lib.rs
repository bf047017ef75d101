//! Deterministic simulation: the sans-I/O client in virtual time, against a cluster over a network with TCP's nature, with
//! faults drawn from a seed, and an oracle that looks at every frame.
//!
//! - A run is one thread and one calendar of events; everything in it comes from its seed: the clients' configurations, the
//!   ways between clients and members, the faults, the application's requests. The same seed gives the same trace.
//! - Clients are [`zraft_core::Machine`]s, each with a driver's loop: bytes, time and actions as a real driver has them, partial
//!   reads and writes, a process that is stopped, a wall clock that is set.
//! - The network carries bytes in order within a connection, and can do to them what TCP can: delay, stall, end or reset with or
//!   without the last bytes, in one direction only, slowly.
//! - **The members share the embedded server's engine.** Its rules were written from what was measured on the live system,
//!   they are tested by themselves, and a second copy of them would have to be kept in step. What is under test here is the
//!   client; so what judges it shares nothing with either: the oracle reads the frames of both directions where they
//!   leave and reach the machine, cuts them by a frame reader of its own, keeps its own account of sessions, ids, windows,
//!   timers and answers, and in the end compares what the application was told with the cluster's journal. What
//!   the engine would not do (a member that dies of a payload, a stray or undecodable message, a rejection for good, an
//!   announced shutdown) is done around it.

mod client;
mod coverage;
mod expected;
mod fault;
mod faults;
pub mod fuzz;
mod hostile;
mod journal;
mod judge;
mod mend;
#[cfg(test)]
mod model;
mod museum;
mod net;
mod params;
mod pipe;
pub mod plants;
mod queue;
mod report;
mod rng;
mod run;
pub mod scenario;
mod servers;
mod sim;
mod trace;
mod wire;
mod words;
mod work;

pub use judge::Violation;
pub use museum::{Visit, replay, visit};
pub use run::{Range, Report, run_many, run_seed};
pub use sim::Outcome;
