//! Checks the budgets of the client and of a replicated server's members, and the servers of the benchmarks.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod allocations;
mod large;
mod members;
mod peer;
mod support;
