//! The engine's rules, each by a small cluster in virtual time, and random schedules over all of them.

mod cluster;
mod elections;
mod hostile;
mod limits;
mod membership;
mod memory_log;
mod persistence;
mod reads;
mod scenarios;
mod schedules;
mod snapshots;
