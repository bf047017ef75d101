//! What the program `zraft` does, apart from its arguments and from printing: the parts return values.
//!
//! For the program and its tests; no interface to build on.

pub mod bench;
pub mod capture;
pub mod demo;
pub mod incidents;
pub mod inspect;
pub mod latency;
pub mod lines;
pub mod members;
pub mod messages;
pub mod narrator;
pub mod patience;
pub mod time;
