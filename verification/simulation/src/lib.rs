//! Verification of the client: simulation, exhaustive model, fuzz bodies and the museum of planted bugs.
//!
//! # Simulation
//!
//! The sans-I/O client runs in virtual time against a cluster, over a network that behaves like TCP. Faults are drawn from a
//! seed, and a judge reads every frame.
//!
//! - A run has one thread and one calendar of events. Everything in it comes from its seed: the clients' configurations, the
//!   paths between clients and members, the faults, the application's requests. The same seed gives the same trace.
//! - Clients are [`zraft_core::Machine`]s in the drive loop of [`zraft_rig`]: partial reads and writes, a process that is
//!   stopped, a wall clock that is set.
//! - The network carries bytes in order within a connection, and does to them what TCP can do: delay them, stall, end or reset
//!   the stream with or without its last bytes, in one direction only, or slowly.
//! - **The members share the embedded server's engine.** Its rules were measured on the live system and have their own tests; a
//!   second copy of them would have to be kept in step. The client is under test here, so its judge shares nothing with client
//!   or engine. It reads the frames of both directions where they leave and reach the machine, with its own frame reader. It
//!   keeps its own account of sessions, ids, windows, timers and answers. At the end the audit compares what the application
//!   was told with the cluster's journal. The simulation itself does what the engine would not do: a member that dies of a
//!   payload, a stray or undecodable message, a permanent rejection, an announced shutdown.
//!
//! | module | what it is |
//! | --- | --- |
//! | `world` | the simulated world: clients, network, members, faults |
//! | `judge` | the judge of each client's frames, and how its requests end |
//! | `cluster` | the replicated system: real members on simulated disks, and their judge |
//! | `model` | every order of two commands and a few faults, as a state space (in tests) |
//! | [`fuzz`] | the bodies of the fuzz targets |
//! | [`plants`] | planted bugs, and the copy of the sources that holds them |

mod cluster;
mod coverage;
mod expected;
pub mod fuzz;
mod judge;
#[cfg(test)]
mod model;
mod museum;
pub mod plants;
mod random;
mod report;
mod run;
pub mod scenario;
mod world;

pub use judge::Violation;
pub use museum::{Visit, replay, visit};
pub use run::{Range, Report, run_many, run_seed};
pub use world::{sim::Outcome, system::SystemKind};
