//! The replicated system: real members on simulated disks, and the judge of all of them together.

pub(crate) mod judge;
