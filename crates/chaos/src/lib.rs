//! Chaos for the client: an in-process TCP [`proxy`], and the two judges of what came of it: the exactly-once [`audit`] and
//! the [`linearizability`] checker.
//!
//! For this project's tests; no interface to build on.

pub mod audit;
pub mod linearizability;
pub mod proxy;
pub mod register;
