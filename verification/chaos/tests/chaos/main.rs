//! Checks the proxy, the checkers and short forms of the runs.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod linearizability;
mod program;
mod proxy;
mod registers;
mod runs;
mod support;
