//! The simulated world. Its layers, each of which knows only those above it in this list:
//!
//! | module | what it holds |
//! | --- | --- |
//! | `trace`, `pipe`, `net` | the history of a run, one direction of a connection, all connections |
//! | `fault`, `plan` | the names of the faults, and what a seed draws |
//! | `calendar`, `client` | what happens when, and the state of one client |
//! | `system` | the members: the model of the live system, or the replicated server |
//! | `raw` | clients that behave like the Scala and TypeScript ones |
//! | `sim` | the state of a run |
//! | `driver`, `application`, `lists`, `servers`, `faults`, `audit` | what clients, applications, members and faults do to that state |
//! | `course` | the course of a run: each event in its turn |

mod application;
mod audit;
pub(crate) mod calendar;
pub(crate) mod client;
mod course;
mod driver;
pub(crate) mod fault;
pub(crate) mod faults;
mod lists;
pub(crate) mod net;
pub(crate) mod pipe;
pub(crate) mod plan;
mod raw;
mod servers;
pub(crate) mod sim;
pub(crate) mod system;
pub(crate) mod trace;
