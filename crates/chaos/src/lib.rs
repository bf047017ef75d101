//! Chaos for the client: an in-process TCP [`proxy`] in front of the embedded cluster, [`faults`] of every kind, a steady
//! [`load`], and the two judges of what came of it, the exactly-once [`audit`] and the [`linearizability`] checker.
//!
//! The [`runs`] put these together; the program `zraft-chaos` makes them at full length, the tests at a short one. No
//! interface to build on.

pub mod audit;
pub mod beat;
pub mod failure;
pub mod faults;
pub mod guide;
pub mod linearizability;
pub mod load;
pub mod plot;
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
