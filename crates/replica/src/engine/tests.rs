//! The engine's rules, each by a small cluster in virtual time, and random schedules over all of them.

mod cluster;
mod elections;
mod hostile;
mod membership;
mod persistence;
mod reads;
mod scenarios;
mod schedules;
mod snapshots;
