//! Chaos runs: the real client against the embedded cluster, or against server processes, over real sockets, under faults.
//!
//! A run combines an in-process TCP [`proxy`] in front of each member, [`faults`] of every kind and a steady [`load`].
//! Two checks judge the result: the exactly-once [audit](zraft_test_server::Audit) and the [`linearizability`] checker. The [`runs`] put these
//! together. The program `zraft-chaos` executes them at full length, the tests at a short one.
//!
//! This crate is a tool, not an interface to build on.

pub mod beat;
pub mod failure;
pub mod faults;
pub mod guide;
pub mod journal;
pub mod linearizability;
pub mod load;
pub mod numbered;
pub mod plot;
pub mod processes;
pub mod proxy;
pub mod register;
pub mod report;
pub mod runs;
pub mod series;
pub mod stage;

/// The Rust programs of the README and the user guide, run as documentation tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/readme.md"))]
    mod readme {}
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/rust.md"))]
    mod rust {}
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/testing.md"))]
    mod testing {}
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/errors.md"))]
    mod errors {}
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/tuning.md"))]
    mod tuning {}
    #[doc = include_str!(concat!(env!("OUT_DIR"), "/operating.md"))]
    mod operating {}
}
