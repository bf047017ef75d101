//! The store, on a real folder and on a simulated disk.
#![allow(clippy::unwrap_used)]

mod crash;
mod crashes_of_the_application;
mod golden;
mod identity;
mod log;
mod snapshots;
mod space;
mod support;
