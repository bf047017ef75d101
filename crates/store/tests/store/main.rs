//! The store, on a real folder and on a simulated disk.
#![allow(clippy::unwrap_used)]

mod crash;
mod golden;
mod identity;
mod log;
mod snapshots;
mod space;
mod support;
