//! Checks the budget of the client and the servers of the benchmarks.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod allocations;
mod peer;
mod support;
